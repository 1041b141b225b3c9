"""Reads the YAML file of a sweep.

options: {task: Reacher-v5, algorithm: SHAC, env_steps: 20_000}   # of every run: those of `diffsim fit`
config: ../shac_reacher.yaml                     # a file of further options, or a name of `diffsim configs`
search:
  learning_rate: {low: 1.0e-4, high: 1.0e-2, log: true}   # a range, with a logarithmic scale
  horizon: {low: 8, high: 64, step: 8}                    # of integers, if both ends are
  activation: [tanh, elu]                                 # choices
trials: 20                                       # sets of options that are tried
seeds: [0, 1]                                    # runs of each trial; its score is their mean final return
seed: 0                                          # of the search itself
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffsim.trainers.compare.comparison import Run, option_text
from diffsim.trainers.compare.comparison_file import LEFT_OUT
from diffsim.trainers.compare.faults import examine
from diffsim.trainers.errors import OptionError
from diffsim.trainers.run.arguments import config_path
from diffsim.trainers.run.run_folder import RunFolder, read_yaml

KEYS = ("options", "config", "search", "trials", "seeds", "seed")
RANGE = ("low", "high", "log", "step")
OWN = ("seed", "run", "video", "iterations")
"""Options that a sweep sets itself, and refuses."""


@dataclass(frozen=True)
class Sweep:
    """A search for options.

    Attributes:
        name: of the file, without its suffix.
        options: of every run.
        search: by name of the option, a list of choices (numbers or text), or a mapping with `low`, `high`, and `log`
            or `step`.
        trials: number of sets of options that are tried.
        seeds: of the runs of each trial.
        seed: of the search.
    """

    name: str
    options: dict[str, Any]
    search: dict[str, Any]
    trials: int
    seeds: tuple[int, ...]
    seed: int

    def runs(self, number: int, params: Mapping[str, Any], output: Path) -> list[Run]:
        """The runs of a trial, one per seed, in folders below `output`."""
        options = {**self.options, **params}
        folders = {seed: RunFolder(output / "runs" / f"trial-{number}-seed-{seed}") for seed in self.seeds}
        task = str(options["task"])
        return [Run(task, f"trial {number}", seed, options, folder) for seed, folder in folders.items()]

    def ends(self) -> list[dict[str, Any]]:
        """Sets of options that reach the ends of all ranges and all choices."""
        values = {name: _extremes(space) for name, space in self.search.items()}
        count = max(len(found) for found in values.values())
        return [{name: found[k % len(found)] for name, found in values.items()} for k in range(count)]


def read_sweep(path: Path) -> Sweep:
    """Reads the sweep in the file `path`.

    Raises: OptionError that lists all faults.
    """
    content = read_yaml(path)
    faults = [f"unknown key {name}; valid: {', '.join(KEYS)}" for name in content if name not in KEYS]
    options, search = (_mapping(content, name, faults) for name in ("options", "search"))
    if "config" in content:
        config = path.parent / str(content["config"])
        file = config if config.is_file() else config_path(str(content["config"]))
        ignored = set(LEFT_OUT) - {"task", "algorithm"}
        options = {**{name: value for name, value in read_yaml(file).items() if name not in ignored}, **options}
    faults += [f"options: {name} is set by the sweep" for name in {*options, *search} if name in OWN]
    needed = ("task", "env_steps")
    faults += [f"options: {name} must be given" for name in needed if name not in {*options, *search}]
    if not search:
        faults.append("search must name at least one option")
    for name, space in search.items():
        faults += _space_faults(name, space)
        if isinstance(space, list):
            search[name] = [
                value if isinstance(value, bool | int | float | str) else option_text(value) for value in space
            ]
    trials, seeds, seed = content.get("trials", 20), content.get("seeds", [0]), content.get("seed", 0)
    if type(trials) is not int or trials < 1:
        faults.append(f"trials must be an integer >= 1, got {trials!r}")
    if not isinstance(seeds, list) or not seeds or any(type(s) is not int or s < 0 for s in seeds):
        faults.append(f"seeds must be a list of integers >= 0, got {seeds!r}")
    if type(seed) is not int or seed < 0:
        faults.append(f"seed must be an integer >= 0, got {seed!r}")
    if not faults:
        options.setdefault("algorithm", "BPTT")
        sweep = Sweep(path.stem, options, search, trials, tuple(seeds), seed)
        found = [fault for ends in sweep.ends() for fault in examine(sweep.runs(0, ends, Path("sweep"))[0])[1]]
        faults = list(dict.fromkeys(found))
        if not faults:
            return sweep
    raise OptionError(f"{len(faults)} fault(s); no run was started:\n" + "\n".join(f"  - {fault}" for fault in faults))


def _mapping(content: Mapping[str, Any], name: str, faults: list[str]) -> dict[str, Any]:
    value = content.get(name) or {}
    if isinstance(value, dict):
        return {str(key): item for key, item in value.items()}
    faults.append(f"{name} must be a mapping, got {value!r}")
    return {}


def _space_faults(name: str, space: Any) -> list[str]:
    """What is wrong with the range or the choices of an option."""
    if isinstance(space, list):
        return [] if len(space) > 1 else [f"{name}: choices must be at least two, got {space!r}"]
    if not isinstance(space, dict) or not {"low", "high"} <= set(space) or not set(space) <= set(RANGE):
        return [f"{name}: must be a list of choices, or a range with low, high, and log or step, got {space!r}"]
    low, high = space["low"], space["high"]
    numbers = all(type(end) in (int, float) for end in (low, high))
    if not numbers or not low < high or (space.get("log") and low <= 0):
        return [f"{name}: low must be below high, and above 0 with log, got {space!r}"]
    if space.get("log") and space.get("step"):
        return [f"{name}: log and step exclude each other, got {space!r}"]
    return []


def _extremes(space: Any) -> list[Any]:
    """The choices, or the ends of a range."""
    return space if isinstance(space, list) else [space["low"], space["high"]]
