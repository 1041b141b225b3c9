"""What a comparison is made of."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from diffsim.trainers.run.run_folder import RunFolder


@dataclass(frozen=True, eq=False)
class Run:
    """One training run of a comparison.

    Attributes:
        task: id.
        label: the algorithm's name in the comparison.
        seed: of the run.
        options: everything else that `diffsim fit` is told.
        folder: where it goes.
    """

    task: str
    label: str
    seed: int
    options: Mapping[str, Any]
    folder: RunFolder

    @property
    def algorithm(self) -> str:
        """The algorithm's own name."""
        return str(self.options.get("algorithm", self.label))

    @property
    def cell(self) -> tuple[str, str]:
        """Task and label: all seeds of a cell have the same options."""
        return self.task, self.label

    @property
    def log(self) -> Path:
        """What the run printed."""
        return self.folder.path.with_name(f"{self.folder.path.name}.log")

    @property
    def error(self) -> Path:
        """Why the run failed; there if it did."""
        return self.folder.path.with_name(f"{self.folder.path.name}.error")

    @property
    def finished(self) -> bool:
        """Whether it has been trained and judged."""
        return self.folder.final.exists()

    @property
    def env_steps(self) -> int | None:
        """Its budget in env steps."""
        return self.options.get("env_steps")

    def words(self) -> list[str]:
        """What `diffsim fit` is told, from scratch."""
        own = {"task": self.task, "algorithm": self.algorithm, "seed": self.seed, "run": str(self.folder.path)}
        named = {**own, **{name: value for name, value in self.options.items() if name not in own}}
        return [f"--{name}={said(value)}" for name, value in named.items()]


def said(value: Any) -> str:
    """A value as it is said on the command line: YAML on one line, whose mappings keep keys that are numbers."""
    if isinstance(value, str):
        return value
    return yaml.safe_dump(value, default_flow_style=True, width=math.inf).removesuffix("...\n").strip()


@dataclass(frozen=True)
class Comparison:
    """Tasks x algorithms x seeds.

    Attributes:
        name: of the file, without its ending.
        seeds: of every cell.
        runs: all of them, seed by seed, so that every cell is seen early.
        thresholds: returns to reach, by task.
        score_range: returns that count as 0 and as 1, by task, where they are given.
        labels: of the algorithms, in order.
        baseline: the label that the others are compared with.
        references: file of published numbers, or None.
        faults: what is wrong with the file; then `runs` are those that can be read.
    """

    name: str
    seeds: tuple[int, ...]
    runs: tuple[Run, ...]
    thresholds: dict[str, list[float]]
    score_range: dict[str, tuple[float, float]]
    labels: tuple[str, ...]
    baseline: str
    references: Path | None
    faults: list[str] = field(default_factory=list)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Ids, in order."""
        return tuple(dict.fromkeys(run.task for run in self.runs))
