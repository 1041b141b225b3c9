"""Checks the runs of a comparison before any of them starts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import yaml

from diffsim.checks import did_you_mean
from diffsim.trainers.compare.comparison import Comparison, Run
from diffsim.trainers.errors import OptionError
from diffsim.trainers.options import RENAMED
from diffsim.trainers.run.arguments import RunOptions, default_policy, parameters_of, parse_fit, pick, resolved
from diffsim.trainers.run.build import build
from diffsim.trainers.run.parsing import GIVEN
from diffsim.trainers.run.registry import ALGORITHMS, POLICIES, choose


def require_faultless(comparison: Comparison) -> None:
    """Checks the comparison, its cells and the existing runs.

    Raises: OptionError that lists all faults.
    """
    faults = [*comparison.faults]
    found: dict[str, list[str]] = {}
    first: dict[tuple[str, str], Run] = {}
    for run in comparison.runs:
        first.setdefault(run.cell, run)
    for cell, run in sorted(first.items(), key=lambda item: comparison.labels.index(item[0][1])):
        values, messages = examine(run)
        others = [other for other in comparison.runs if other.cell == cell]
        messages += [message for other in others if values for message in changed(other, values)]
        for message in messages:
            found.setdefault(f"{run.label}: {message}", []).append(run.task)
    faults += [f"{', '.join(tasks)}: {message}" for message, tasks in found.items()]
    if faults:
        lines = "\n".join(f"  - {fault}" for fault in faults)
        raise OptionError(f"{len(faults)} fault(s); no run was started:\n{lines}")


def examine(run: Run) -> tuple[dict[str, Any], list[str]]:
    """All options of the run, and its faults; no options if they cannot be read."""
    faults = list(budget_faults(run))
    try:
        policy = run.options.get("policy") or default_policy(run.algorithm, run.task_id)
        classes = [RunOptions, choose("algorithm", run.algorithm, ALGORITHMS), choose("policy", policy, POLICIES)]
    except OptionError as error:
        return {}, [*faults, str(error)]
    known = {name for cls in classes for name in parameters_of(cls)} - (GIVEN - {"policy", "seed"})
    unknown = [name for name in run.options if name not in known]
    faults += [f"unknown option {name}{did_you_mean(RENAMED.get(name, name), known)}" for name in unknown]
    bad = {*unknown, *(fault.split()[0] for fault in faults)}
    options = {name: value for name, value in run.options.items() if name not in bad}
    clean = Run(run.task, run.label, run.seed, options, run.folder)
    try:
        values = resolved(parse_fit(clean.arguments()))
        build(RunOptions(**pick(values, RunOptions)), values).check()
    except (ValueError, TypeError, OSError, RuntimeError, ImportError) as error:
        return {}, [*faults, str(error)]
    return values, faults


def budget_faults(run: Run) -> Iterable[str]:
    """Faults of the run's budget."""
    for name, kinds in (("env_steps", (int,)), ("seconds", (int, float))):
        value = run.options.get(name)
        if value is None:
            if name == "env_steps":
                yield "env_steps must be given, got none"
        elif type(value) not in kinds or not value > 0:
            yield f"{name} must be a budget > 0, got {value!r}"


def changed(run: Run, values: dict[str, Any]) -> Iterable[str]:
    """A fault if the run's folder holds a run with other options."""
    if not run.folder.config.is_file():
        return
    there = run.folder.read_config()
    wanted = yaml.safe_load(yaml.safe_dump({**values, "seed": run.seed}))
    names = [name for name in {**wanted, **there} if name != "run" and wanted.get(name) != there.get(name)]
    if names:
        name = names[0]
        yield (
            f"{run.folder.path} holds a run with {name} {there.get(name)}, not {wanted.get(name)}; "
            "delete it, or choose another --output"
        )
