"""A table of published returns, tasks x methods, from a CSV file.

    Task,Random,TRPO,CEM
    Mountain Car,-415.4 ± 0.0,-61.7 ± 0.9,-66.0 ± 2.4

A cell is a mean and a standard deviation over seeds, or empty. Rows have the names of a comparison's tasks, and columns
those of its algorithms; either may have more than the other.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from diffsim.checks import did_you_mean

KEYS = ("table", "source", "protocol", "env_steps")


class Published(NamedTuple):
    """Mean and standard deviation over seeds of a published return."""

    mean: float
    std: float


@dataclass(frozen=True)
class PublishedTable:
    """A table of published returns.

    Attributes:
        source: title and place.
        protocol: what a number is the mean of, and the number of seeds.
        env_steps: budget of every run.
        rows: returns by task and method, without empty cells.
    """

    source: str
    protocol: str
    env_steps: int
    rows: dict[str, dict[str, Published]]


def read_published(entry: Any, folder: Path, tasks: Iterable[str], faults: list[str]) -> PublishedTable | None:
    """Reads what the key `published` of a comparison's file describes; None with faults.

    Args:
        entry: a mapping with the keys "table", a CSV file in `folder`, "source", "protocol" and "env_steps".
        folder: of the comparison's file.
        tasks: names of the comparison's tasks, all of which must be rows.
        faults: what is wrong is added to it.
    """
    if not isinstance(entry, dict) or set(entry) != set(KEYS) or type(entry["env_steps"]) is not int:
        faults.append(f"published must have the keys {', '.join(KEYS)}, the last an integer, got {entry!r}")
        return None
    path = folder / str(entry["table"])
    if not path.is_file():
        faults.append(f"published: table must be a file beside the comparison, got {entry['table']!r}")
        return None
    try:
        rows = read_rows(path)
    except ValueError as error:
        faults.append(f"published: {error}")
        return None
    faults += [f"{task}: must be a row of {path.name}{did_you_mean(task, rows)}" for task in tasks if task not in rows]
    return PublishedTable(str(entry["source"]), str(entry["protocol"]), entry["env_steps"], rows)


def read_rows(path: Path) -> dict[str, dict[str, Published]]:
    """Returns by task and method.

    Raises: ValueError if a cell is not `mean ± std`, or a row has another number of cells than the header.
    """
    with path.open(newline="", encoding="utf-8") as file:
        header, *lines = csv.reader(file)
    rows: dict[str, dict[str, Published]] = {}
    for task, *cells in lines:
        if len(cells) != len(header) - 1:
            raise ValueError(f"{path.name}, {task}: must have {len(header)} cells, got {len(cells) + 1}")
        rows[task] = {name: _cell(path, task, cell) for name, cell in zip(header[1:], cells, strict=True) if cell}
    return rows


def _cell(path: Path, task: str, cell: str) -> Published:
    """The two numbers of a cell."""
    try:
        mean, std = map(float, cell.split("±"))
    except ValueError:
        raise ValueError(f"{path.name}, {task}: a cell must be like 1.5 ± 0.2, got {cell!r}") from None
    return Published(mean, std)
