"""What would stop a run of a comparison, found before any starts, without training."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable
from typing import Any

import yaml

from diffsim.trainers.compare.comparison import Comparison, Run
from diffsim.trainers.errors import OptionError
from diffsim.trainers.run.arguments import (
    ALGORITHMS,
    GIVEN,
    POLICIES,
    RunOptions,
    choose,
    default_policy,
    parse_fit,
    pick,
    read_yaml,
)
from diffsim.trainers.run.build import build
from diffsim.trainers.run.fit_command import resolved


def require_faultless(comparison: Comparison) -> None:
    """Raises: OptionError that lists all faults of the comparison, of its cells, and of runs that are there already."""
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
        raise OptionError(f"{len(faults)} fault(s), and nothing was started:\n{lines}")


def examine(run: Run) -> tuple[dict[str, Any], list[str]]:
    """Every option of the run, and what is wrong with it; no options if that keeps them from being read."""
    faults = list(budget_faults(run))
    if run.algorithm not in ALGORITHMS:
        close = difflib.get_close_matches(run.algorithm, ALGORITHMS, n=1)
        meant = f"; did you mean {close[0]}?" if close else ""
        return {}, [*faults, f"algorithm must be one of {', '.join(ALGORITHMS)}, got {run.algorithm!r}{meant}"]
    try:
        policy = run.options.get("policy") or default_policy(run.algorithm, run.task)
        classes = [RunOptions, choose("algorithm", run.algorithm, ALGORITHMS), choose("policy", policy, POLICIES)]
    except OptionError as error:
        return {}, [*faults, str(error)]
    known = {name for cls in classes for name in inspect.signature(cls).parameters} - (GIVEN - {"policy", "seed"})
    unknown = [name for name in run.options if name not in known]
    faults += [f"unknown option {name}{_meant(name, known)}" for name in unknown]
    bad = {*unknown, *(fault.split()[0] for fault in faults)}
    options = {name: value for name, value in run.options.items() if name not in bad}
    clean = Run(run.task, run.label, run.seed, options, run.folder)
    try:
        values = resolved(parse_fit(clean.words()))
        build(RunOptions(**pick(values, RunOptions)), values).check()
    except (ValueError, TypeError, OSError, RuntimeError, ImportError) as error:
        return {}, [*faults, str(error)]
    return values, faults


def budget_faults(run: Run) -> Iterable[str]:
    """What is wrong with how long it trains."""
    for name, kinds in (("env_steps", (int,)), ("seconds", (int, float))):
        value = run.options.get(name)
        if value is None:
            if name == "env_steps":
                yield "env_steps must be given, got none"
        elif type(value) not in kinds or not value > 0:
            yield f"{name} must be a budget > 0, got {value!r}"


def changed(run: Run, values: dict[str, Any]) -> Iterable[str]:
    """Whether the run's folder holds one with other options."""
    if not run.folder.config.is_file():
        return
    there = read_yaml(run.folder.config)
    wanted = yaml.safe_load(yaml.safe_dump({**values, "seed": run.seed}))
    names = [name for name in {**wanted, **there} if name != "run" and wanted.get(name) != there.get(name)]
    if names:
        name = names[0]
        yield (
            f"{run.folder.path} holds a run with {name} {there.get(name)}, not {wanted.get(name)}; "
            "delete it, or choose another --output"
        )


def _meant(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else ""
