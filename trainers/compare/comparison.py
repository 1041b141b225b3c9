"""A comparison and its runs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from diffsim.trainers.compare.published import PublishedTable
from diffsim.trainers.run.run_folder import RunFolder


@dataclass(frozen=True, eq=False)
class Run:
    """One training run of a comparison.

    Attributes:
        task: name of the task and its settings in the comparison.
        label: name of the algorithm and its settings in the comparison.
        seed: of the run.
        options: all other options of `diffsim fit`.
        folder: the run's folder.
    """

    task: str
    label: str
    seed: int
    options: Mapping[str, Any]
    folder: RunFolder

    @property
    def task_id(self) -> str:
        """Id of the task."""
        return str(self.options.get("task", self.task))

    @property
    def algorithm(self) -> str:
        """Name of the algorithm."""
        return str(self.options.get("algorithm", self.label))

    @property
    def cell(self) -> tuple[str, str]:
        """Task and label. All seeds of a cell have the same options."""
        return self.task, self.label

    @property
    def log(self) -> Path:
        """File of the run's output."""
        return self.folder.path.with_name(f"{self.folder.path.name}.log")

    @property
    def error(self) -> Path:
        """File that says why the run failed; it exists only then."""
        return self.folder.path.with_name(f"{self.folder.path.name}.error")

    @property
    def finished(self) -> bool:
        """Whether the run is trained and evaluated."""
        return self.folder.final.exists()

    @property
    def env_steps(self) -> int | None:
        """Budget in env steps."""
        return self.options.get("env_steps")

    def arguments(self) -> list[str]:
        """Arguments of `diffsim fit` for a new run."""
        own = {"task": self.task_id, "algorithm": self.algorithm, "seed": self.seed, "run": str(self.folder.path)}
        named = {**own, **{name: value for name, value in self.options.items() if name not in own}}
        return [f"--{name}={option_text(value)}" for name, value in named.items()]


def option_text(value: Any) -> str:
    """A value as text for the command line: YAML on one line, so that mappings keep keys that are numbers."""
    if isinstance(value, str):
        return value
    return yaml.safe_dump(value, default_flow_style=True, width=math.inf).removesuffix("...\n").strip()


@dataclass(frozen=True)
class Comparison:
    """Tasks x algorithms x seeds.

    Attributes:
        name: of the file, without its suffix.
        seeds: of every cell.
        runs: all runs, ordered by seed, so that every cell has results early.
        thresholds: returns to reach, by task.
        score_range: returns that are the scores 0 and 1, by task, where they are given.
        labels: of the algorithms, in the order of the file.
        baseline: label that the others are compared with.
        references: file of published numbers, or None.
        published: a paper's table of tasks and methods, or None.
        faults: errors in the file; `runs` are then those that could be read.
    """

    name: str
    seeds: tuple[int, ...]
    runs: tuple[Run, ...]
    thresholds: dict[str, list[float]]
    score_range: dict[str, tuple[float, float]]
    labels: tuple[str, ...]
    baseline: str
    references: Path | None
    published: PublishedTable | None = None
    faults: list[str] = field(default_factory=list)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names, in order."""
        return tuple(dict.fromkeys(run.task for run in self.runs))
