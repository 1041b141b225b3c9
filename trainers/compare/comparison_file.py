"""Reads the YAML file of a comparison.

    seeds: [0, 1, 2]
    options: {env_steps: 100_000, evaluate_every_steps: 10_000}   # of every run
    tasks:
      Reacher-v5:
        thresholds: [-10, -5]            # returns; the report has the time and the env steps to reach them
        score_range: [-45, -4]           # returns that are the scores 0 and 1, to combine tasks
        options: {evaluate_episodes: 5}  # of all runs on this task
        algorithms: {SHAC: {config: ../shac_reacher.yaml}}   # of one algorithm on this task
        skip: [PETS]                     # algorithms that are not run on this task
      Reacher, noisy:                    # a name for other settings
        task: Reacher-v5
        options: {task_kwargs: {observation_noise: 0.1}}
    algorithms:
      SHAC: {num_envs: 32}
      SHAC, long windows: {algorithm: SHAC, horizon: 64}     # a label for other settings
      my_module:MyAlgorithm: {}          # your own, from the current folder; its label is MyAlgorithm
    baseline: SHAC                       # that the others are compared with; the first algorithm by default
    references: references.yaml          # published numbers
    published: {table: paper.csv, source: ..., protocol: ..., env_steps: 1_000_000}   # a paper's table, see `published`

Options are those of `diffsim fit`. They are merged in this order, later ones win: all runs, task, algorithm, algorithm
on a task. `config` names a file of options, which the options beside it override. The file's budget, task, seed and
evaluation options are ignored: the comparison sets them. The value `budget` is replaced by the run's env steps.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from diffsim.trainers.compare.comparison import Comparison, Run
from diffsim.trainers.compare.published import read_published
from diffsim.trainers.errors import UsageError
from diffsim.trainers.run.run_folder import RunFolder, read_yaml

KEYS = ("seeds", "options", "tasks", "algorithms", "baseline", "references", "published")
TASK_KEYS = ("thresholds", "score_range", "options", "algorithms", "skip", "task")
LEFT_OUT = ("task", "algorithm", "seed", "run", "video", "env_steps", "seconds", "iterations", "final_episodes")
LEFT_OUT += ("logger", "evaluate_every", "evaluate_every_steps", "evaluate_episodes", "evaluate_stochastic")
"""Options of a config file that a comparison ignores."""
OWN = ("task", "seed", "run", "video", "iterations", "evaluate_every")
"""Options that a comparison sets itself, and refuses."""
BUDGET = "budget"
COPY = "comparison.yaml"
EVALUATIONS = 10  # per run, if evaluate_every_steps is not given


def read_comparison(path: Path, output: Path) -> Comparison:
    """Reads the comparison in the file `path`, with run folders in `output`.

    Raises: OptionError if the file is not a YAML mapping. All other faults are listed in the result.
    """
    content = read_yaml(path)
    faults = [f"unknown key {name}; valid: {', '.join(KEYS)}" for name in content if name not in KEYS]
    tasks = _mapping(content, "tasks", faults)
    algorithms = _mapping(content, "algorithms", faults)
    for name, group in (("tasks", tasks), ("algorithms", algorithms)):
        if not group:
            faults.append(f"{name} must name at least one, got none")
    seeds = _seeds(content.get("seeds", [0]), faults)
    common = _options(content.get("options"), "options", path.parent, faults)
    runs: list[Run] = []
    thresholds: dict[str, list[float]] = {}
    ranges: dict[str, tuple[float, float]] = {}
    names = short_labels(algorithms)
    for task, entry in tasks.items():
        entry = _task(task, entry, algorithms, faults)
        thresholds[task] = entry["thresholds"]
        if entry["score_range"] is not None:
            ranges[task] = entry["score_range"]
        whole = _options(entry["options"], f"{task}: options", path.parent, faults)
        for label, given in algorithms.items():
            if label in entry["skip"]:
                continue
            own = _options(given, label, path.parent, faults)
            here = _options(entry["algorithms"].get(label), f"{task}, {label}", path.parent, faults)
            chosen = {} if names[label] == label else {"algorithm": label}
            chosen |= {} if entry["task"] is None else {"task": str(entry["task"])}
            options = _completed({**chosen, **common, **whole, **own, **here})
            for seed in seeds:
                name = re.sub(r"[^\w.-]+", "-", f"{task}-{names[label]}-seed-{seed}")
                runs.append(Run(task, names[label], seed, options, RunFolder(output / "runs" / name)))
    counts = Counter(run.folder.path.name for run in runs)
    faults += [f"two runs would be called {name}" for name in sorted(counts) if counts[name] > 1]
    order = {seed: i for i, seed in enumerate(seeds)}
    references = content.get("references")
    if references is not None and not (path.parent / str(references)).is_file():
        faults.append(f"references must be a file beside the comparison, got {references!r}")
    baseline = str(content.get("baseline", next(iter(algorithms), "")))
    if algorithms and names.get(baseline, baseline) not in names.values():
        faults.append(f"baseline must be one of {', '.join(algorithms)}, got {baseline!r}")
    published = None
    if "published" in content:
        published = read_published(content["published"], path.parent, tasks, faults)
    return Comparison(
        name=path.stem,
        seeds=tuple(seeds),
        runs=tuple(sorted(runs, key=lambda run: order[run.seed])),
        thresholds=thresholds,
        score_range=ranges,
        labels=tuple(names.values()),
        baseline=names.get(baseline, baseline),
        references=None if references is None else path.parent / str(references),
        published=published,
        faults=list(dict.fromkeys(faults)),
    )


def short_labels(algorithms: Mapping[str, Any]) -> dict[str, str]:
    """Labels by name: `MyAlgorithm` for `my_module:MyAlgorithm`, unless two labels would be equal."""
    short = {
        name: name if isinstance(options, dict) and "algorithm" in options else re.sub(r"^[\w.]+:(?=\w+$)", "", name)
        for name, options in algorithms.items()
    }
    counts = Counter(short.values())
    return {name: label if counts[label] == 1 else name for name, label in short.items()}


def save_comparison(path: Path, output: Path) -> None:
    """Copies the file to `output`, with the content of all config files, so that it does not depend on them."""
    content = read_yaml(path)
    faults: list[str] = []

    def whole(options: Any) -> dict[str, Any]:
        return _options(options, "", path.parent, faults)

    content["options"] = whole(content.get("options"))
    content["algorithms"] = {name: whole(given) for name, given in _mapping(content, "algorithms", faults).items()}
    content["tasks"] = _mapping(content, "tasks", faults)
    for task, entry in content["tasks"].items():
        parts = {name: whole(entry[name]) for name in ("options",) if name in (entry or {})}
        own = {label: whole(given) for label, given in (entry or {}).get("algorithms", {}).items()}
        content["tasks"][task] = {**(entry or {}), **parts, **({"algorithms": own} if own else {})}
    if "references" in content:
        (output / "references.yaml").write_text((path.parent / content["references"]).read_text())
        content["references"] = "references.yaml"
    if "published" in content:
        (output / "published.csv").write_text((path.parent / content["published"]["table"]).read_text())
        content["published"]["table"] = "published.csv"
    (output / COPY).write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True))


def find_comparison(output: Path) -> Path:
    """The comparison's file in its output folder.

    Raises: UsageError if there is none.
    """
    if not (output / COPY).is_file():
        raise UsageError(f"DIR must be the folder of a comparison, with its {COPY}, got {str(output)!r}")
    return output / COPY


def _mapping(content: Mapping[str, Any], name: str, faults: list[str]) -> dict[str, Any]:
    value = content.get(name)
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return dict.fromkeys(value)
    if value is None or isinstance(value, dict):
        return {str(key): item for key, item in (value or {}).items()}
    faults.append(f"{name} must be a mapping or a list of names, got {value!r}")
    return {}


def _seeds(value: Any, faults: list[str]) -> list[int]:
    whole = isinstance(value, list) and all(type(seed) is int and seed >= 0 for seed in value)
    if whole and value and len(set(value)) == len(value):
        return value
    faults.append(f"seeds must be a list of different integers >= 0, got {value!r}")
    return []


def _task(task: str, entry: Any, algorithms: Mapping[str, Any], faults: list[str]) -> dict[str, Any]:
    """The checked entry of a task, with a value for every key."""
    clean: dict[str, Any] = {
        "task": None,
        "thresholds": [],
        "score_range": None,
        "options": None,
        "algorithms": {},
        "skip": [],
    }
    if not isinstance(entry, dict | None):
        faults.append(f"{task}: must be followed by a mapping, got {entry!r}")
        return clean
    faults += [
        f"{task}: unknown key {name}; valid: {', '.join(TASK_KEYS)}" for name in entry or {} if name not in clean
    ]
    given = {**clean, **{name: value for name, value in (entry or {}).items() if name in clean}}
    if not _numbers(given["thresholds"]):
        faults.append(f"{task}: thresholds must be a list of numbers, got {given['thresholds']!r}")
        given["thresholds"] = []
    bounds = given["score_range"]
    if bounds is not None and not (_numbers(bounds) and len(bounds) == 2 and bounds[0] < bounds[1]):
        faults.append(f"{task}: score_range must be two rising numbers, got {bounds!r}")
        given["score_range"] = None
    for name, kind in (("algorithms", dict), ("skip", list)):
        if not isinstance(given[name], kind):
            faults.append(f"{task}: {name} must be a {kind.__name__}, got {given[name]!r}")
            given[name] = kind()
        faults += [
            f"{task}: {name} must be among the comparison's, got {label!r}"
            for label in given[name]
            if label not in algorithms
        ]
    return given


def _numbers(value: Any) -> bool:
    return isinstance(value, list) and all(type(number) in (int, float) for number in value)


def _options(given: Any, where: str, folder: Path, faults: list[str]) -> dict[str, Any]:
    """The options of one place of the file, merged with those of its config file."""
    if given is None:
        return {}
    if not isinstance(given, dict):
        faults.append(f"{where}: must be a mapping of options, got {given!r}")
        return {}
    own = {str(name): value for name, value in given.items() if name != "config"}
    faults += [f"{where}: {name} is not an option of a comparison" for name in own if name in OWN]
    own = {name: value for name, value in own.items() if name not in OWN}
    if "config" not in given:
        return own
    path = folder / str(given["config"])
    if not path.is_file():
        faults.append(f"{where}: config must be a file, got {given['config']!r}")
        return own
    return {**{name: value for name, value in read_yaml(path).items() if name not in LEFT_OUT}, **own}


def _completed(options: dict[str, Any]) -> dict[str, Any]:
    """Adds the evaluation options, and replaces the value `budget` by the number of env steps."""
    env_steps = options.get("env_steps")
    if type(env_steps) is int:
        options = {"evaluate_every_steps": max(env_steps // EVALUATIONS, 1), **options}
    options = {"evaluate_stochastic": True, **options}
    counted = {name for name, value in options.items() if value == BUDGET and name != "decay_iterations"}
    return {name: env_steps if name in counted else value for name, value in options.items()}
