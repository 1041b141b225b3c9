"""What the runs of a comparison have left on disk, finished or not."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from diffsim.trainers.compare.comparison import Comparison, Run
from diffsim.trainers.run.arguments import ALGORITHMS

FAMILIES = {
    "pathwise": "Pathwise",
    "likelihood_ratio": "Likelihood ratio",
    "value_gradient": "Value gradient",
    "model_based": "Learned model",
}
"""Headings of the ways of getting a policy gradient, by folder of `trainers`."""


class Curve(NamedTuple):
    """Evaluations of a run, in the order of time.

    Attributes:
        env_steps: [E].
        seconds: [E], of training alone, without evaluations.
        mean: [E], return by mean actions, averaged over the episodes.
        sampled: [E], by sampled actions; nan where they were not played.
    """

    env_steps: np.ndarray
    seconds: np.ndarray
    mean: np.ndarray
    sampled: np.ndarray


@dataclass(frozen=True)
class Result:
    """What there is of a run.

    Attributes:
        run: whose it is.
        rows: its metrics, one row per iteration.
        final: returns of the trained policy's episodes, by kind of actions ("mean", "sampled"); empty before its end.
        error: why it failed; empty if it did not.
    """

    run: Run
    rows: Sequence[dict[str, float]]
    final: dict[str, np.ndarray]
    error: str

    @property
    def state(self) -> Literal["finished", "failed", "unfinished", "not begun"]:
        """How far it is."""
        if self.final:
            return "finished"
        return "failed" if self.error else "unfinished" if self.rows else "not begun"

    @property
    def curve(self) -> Curve:
        """Its evaluations."""
        rows = [row for row in self.rows if "eval/return" in row]
        columns = (
            [row["env_steps"] for row in rows],
            [row["seconds"] - row["eval_seconds"] for row in rows],
            [row["eval/return"] for row in rows],
            [row.get("eval/stochastic_return", np.nan) for row in rows],
        )
        return Curve(*(np.array(column, dtype=float) for column in columns))

    @property
    def score(self) -> float:
        """Mean final return by mean actions; nan before its end."""
        return float(self.final["mean"].mean()) if self.final else np.nan

    @property
    def area(self) -> float:
        """Mean of the learning curve over env steps up to the budget; nan before its end."""
        budget = self.run.env_steps
        return area(self.curve, budget) if self.final and budget else np.nan


def area(curve: Curve, budget: int) -> float:
    """Mean height of the curve between 0 and `budget` env steps, straight lines between evaluations."""
    steps = np.union1d(curve.env_steps[curve.env_steps < budget], [0, budget])
    heights = np.interp(steps, curve.env_steps, curve.mean)
    return float(np.trapezoid(heights, steps)) / budget


def load(comparison: Comparison) -> list[Result]:
    """What there is of every run."""
    return [load_run(run) for run in comparison.runs]


def load_run(run: Run) -> Result:
    """What there is of a run."""
    final: dict[str, list[float]] = {}
    if run.folder.final.exists():
        with run.folder.final.open(newline="") as file:
            for row in csv.DictReader(file):
                final.setdefault(row["actions"], []).append(float(row["return"]))
    error = run.error.read_text().strip() if run.error.exists() else ""
    try:
        rows = run.folder.read_metrics()
    except ValueError:  # its last row is being written at this moment
        rows = []
    return Result(run, rows, {name: np.array(returns) for name, returns in final.items()}, error)


class Results:
    """What there is of a comparison, looked up by task and label.

    Args:
        comparison: whose results they are.
        results: of all its runs.
    """

    def __init__(self, comparison: Comparison, results: Sequence[Result]) -> None:
        self.comparison, self.all = comparison, list(results)
        self.tasks, self.labels = comparison.tasks, comparison.labels
        self.algorithm = {result.run.label: result.run.algorithm for result in self.all}

    def of(self, task: str, label: str) -> list[Result]:
        """Those of a cell, one per seed."""
        return [result for result in self.all if result.run.cell == (task, label)]

    def finished(self, task: str, label: str) -> list[Result]:
        """Those of a cell that are trained and judged."""
        return [result for result in self.of(task, label) if result.final]

    def families(self) -> dict[str, list[str]]:
        """Labels by the way their algorithms get a policy gradient."""
        groups: dict[str, list[str]] = {}
        for label, algorithm in self.algorithm.items():
            groups.setdefault(FAMILIES[ALGORITHMS[algorithm].split(".")[2]], []).append(label)
        return {name: groups[name] for name in FAMILIES.values() if name in groups}

    def score_range(self, task: str) -> tuple[float, float]:
        """Returns that count as 0 and 1: as the comparison says, or the lowest and highest final score there is."""
        if task in self.comparison.score_range:
            return self.comparison.score_range[task]
        scores = [result.score for result in self.all if result.run.task == task and result.final]
        low, high = min(scores, default=0.0), max(scores, default=1.0)
        return low, high if high > low else low + 1.0

    def normalized(self, label: str, quantity: str = "score") -> list[np.ndarray]:
        """Scores ("score") or areas ("area") of finished runs on the scale from 0 to 1, by task: arrays [seeds]."""
        scores = []
        for task in self.tasks:
            low, high = self.score_range(task)
            values = np.array([getattr(result, quantity) for result in self.finished(task, label)])
            scores.append((values - low) / (high - low))
        return scores

    def complete(self) -> list[str]:
        """Labels with a finished run on every task: those that can be put together over tasks."""
        return [label for label in self.labels if all(self.finished(task, label) for task in self.tasks)]
