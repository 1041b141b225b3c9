"""Published returns, from a YAML file, to compare with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from diffsim.trainers.run.arguments import official_id
from diffsim.trainers.run.run_folder import read_yaml


class Reference(NamedTuple):
    """A published return.

    Attributes:
        task: id, with the newest version.
        algorithm: name of the algorithm.
        env_steps: budget.
        mean: return, averaged over the seeds.
        std: standard deviation over the seeds.
        source: name of the source in the file.
    """

    task: str
    algorithm: str
    env_steps: int
    mean: float
    std: float
    source: str


def read_references(path: Path | None) -> tuple[list[Reference], dict[str, dict[str, Any]]]:
    """Reads all returns and their sources from a file; none if `path` is None."""
    if path is None:
        return [], {}
    sources: dict[str, dict[str, Any]] = read_yaml(path)["sources"]
    found = [
        Reference(task, algorithm, steps, float(mean), float(std), name)
        for name, source in sources.items()
        for task, curves in source["returns"].items()
        for algorithm, points in curves.items()
        for steps, (mean, std) in points.items()
    ]
    return found, sources


def matching(references: Sequence[Reference], task: str, budgets: dict[str, int | None]) -> list[Reference]:
    """References for the task at the budget of each algorithm; `budgets` maps algorithms to env steps."""
    return [
        reference
        for reference in references
        if reference.task == official_id(task) and budgets.get(reference.algorithm) == reference.env_steps
    ]
