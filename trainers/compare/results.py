"""Results of the runs of a comparison, read from their folders."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from diffsim.trainers.compare.comparison import Comparison, Run
from diffsim.trainers.compare.measures import LEAST_SEEDS
from diffsim.trainers.compare.styles import styles
from diffsim.trainers.run.registry import ALGORITHMS, choose

FAMILIES = ("Pathwise", "Likelihood ratio", "Value gradient", "Learned model", "Gradient-free", "Other")
"""Headings of the families of algorithms, in the order of the report; other families follow."""


class Curve(NamedTuple):
    """Evaluations of a run, ordered by time.

    Attributes:
        env_steps: [E].
        seconds: [E], of training without evaluations.
        mean: [E], return of mean actions, averaged over the episodes.
        sampled: [E], return of sampled actions; nan if they were not evaluated.
    """

    env_steps: np.ndarray
    seconds: np.ndarray
    mean: np.ndarray
    sampled: np.ndarray


@dataclass(frozen=True)
class Result:
    """Results of a run, finished or not.

    Attributes:
        run: the run.
        rows: metrics, one row per iteration.
        final: returns of the final evaluation, by kind of actions ("mean", "sampled"); empty if it is not finished.
        error: why it failed; empty if it has not failed.
    """

    run: Run
    rows: Sequence[dict[str, float]]
    final: dict[str, np.ndarray]
    error: str

    @property
    def state(self) -> Literal["finished", "failed", "unfinished", "not started"]:
        """State of the run."""
        if self.final:
            return "finished"
        return "failed" if self.error else "unfinished" if self.rows else "not started"

    @property
    def curve(self) -> Curve:
        """Evaluations during training."""
        rows = [row for row in self.rows if "eval/return" in row]
        names = ("env_steps", "seconds", "eval_seconds", "eval/return", "eval/stochastic_return")
        steps, total, evaluating, mean, sampled = (np.array([row.get(n, np.nan) for row in rows], float) for n in names)
        return Curve(steps, total - evaluating, mean, sampled)

    @property
    def score(self) -> float:
        """Mean final return of mean actions; nan if it is not finished."""
        return float(self.final["mean"].mean()) if self.final else np.nan

    @property
    def training_return(self) -> float:
        """Mean return of all episodes of all iterations of training; nan if none ended."""
        rows = [row for row in self.rows if "return" in row]
        if not rows:
            return np.nan
        counts = [row.get("episodes", 1) for row in rows]  # none in runs of older versions
        return float(np.average([row["return"] for row in rows], weights=counts))

    @property
    def area(self) -> float:
        """Mean of the learning curve over env steps up to the budget; nan if it is not finished."""
        budget = self.run.env_steps
        return area(self.curve, budget) if self.final and budget else np.nan


def area(curve: Curve, budget: int) -> float:
    """Mean of the curve between 0 and `budget` env steps, linearly interpolated between evaluations."""
    steps = np.union1d(curve.env_steps[curve.env_steps < budget], [0, budget])
    heights = np.interp(steps, curve.env_steps, curve.mean)
    return float(np.trapezoid(heights, steps)) / budget


def load(comparison: Comparison) -> list[Result]:
    """Reads the results of every run."""
    return [load_run(run) for run in comparison.runs]


def load_run(run: Run) -> Result:
    """Reads the results of a run."""
    final: dict[str, list[float]] = {}
    if run.folder.final.exists():
        with run.folder.final.open(newline="") as file:
            for row in csv.DictReader(file):
                final.setdefault(row["actions"], []).append(float(row["return"]))
    error = run.error.read_text().strip() if run.error.exists() else ""
    try:
        rows = run.folder.read_metrics()
    except ValueError:  # the last row is being written
        rows = []
    return Result(run, rows, {name: np.array(returns) for name, returns in final.items()}, error)


def family(algorithm: str) -> str:
    """Heading of an algorithm's family: its class attribute `family`, with a capital.

    Raises: OptionError if there is no such algorithm.
    """
    name = getattr(choose("algorithm", algorithm, ALGORITHMS), "family", "other")
    return name[:1].upper() + name[1:]


class Results:
    """Results of all runs of a comparison, accessed by task and label."""

    def __init__(self, comparison: Comparison, results: Sequence[Result]) -> None:
        self.comparison, self.all = comparison, list(results)
        self.tasks, self.labels = comparison.tasks, comparison.labels
        self.algorithm = {result.run.label: result.run.algorithm for result in self.all}
        self.styles = styles(self.algorithm)

    def of(self, task: str, label: str) -> list[Result]:
        """Results of a cell, one per seed."""
        return [result for result in self.all if result.run.cell == (task, label)]

    def finished(self, task: str, label: str) -> list[Result]:
        """Finished results of a cell."""
        return [result for result in self.of(task, label) if result.final]

    def budgets(self, task: str) -> dict[str, int]:
        """Budget in env steps of each label that has one on a task."""
        runs = [result.run for result in self.all if result.run.task == task]
        return {run.label: run.env_steps for run in runs if run.env_steps is not None}

    def enough_seeds(self) -> bool:
        """Whether there are enough seeds for intervals and performance profiles."""
        return len(self.comparison.seeds) >= LEAST_SEEDS

    def families(self) -> dict[str, list[str]]:
        """Labels by the family of their algorithms, in the order of `FAMILIES`."""
        groups: dict[str, list[str]] = {}
        for label, algorithm in self.algorithm.items():
            groups.setdefault(family(algorithm), []).append(label)
        return {name: groups[name] for name in dict.fromkeys((*FAMILIES, *groups)) if name in groups}

    def score_range(self, task: str) -> tuple[float, float]:
        """Returns that are the scores 0 and 1: from the comparison, or else the lowest and highest final score."""
        if task in self.comparison.score_range:
            return self.comparison.score_range[task]
        scores = [result.score for result in self.all if result.run.task == task and result.final]
        low, high = min(scores, default=0.0), max(scores, default=1.0)
        return low, high if high > low else low + 1.0

    def normalized(self, label: str, quantity: str = "score") -> list[np.ndarray]:
        """Scores ("score") or areas ("area") of finished runs, normalised by `score_range`, by task: arrays [seeds]."""
        scores = []
        for task in self.tasks:
            low, high = self.score_range(task)
            values = np.array([getattr(result, quantity) for result in self.finished(task, label)])
            scores.append((values - low) / (high - low))
        return scores

    def complete(self) -> list[str]:
        """Labels with a finished run on every task, which can be combined over tasks."""
        return [label for label in self.labels if all(self.finished(task, label) for task in self.tasks)]
