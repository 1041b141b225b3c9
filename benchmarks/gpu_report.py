"""Results of `benchmarks.gpu`: a JSON file and a page, written again after every row."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from benchmarks.command import page, table
from benchmarks.pictures import draw_curves
from diffsim.trainers.run.machine import describe_machine

Row = dict[str, Any]


class Heading(NamedTuple):
    """Title of a part, and a paragraph that says what its columns are."""

    title: str
    text: str


class Clock:
    """Seconds since the start, and when parts have to end.

    Args:
        seconds: of all parts together.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds, self.start = seconds, time.monotonic()
        self.share = 0.0

    def begin(self, share: float) -> None:
        """Begins a part with a share of the time, and with what earlier parts have left."""
        self.share += share

    @property
    def passed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.start

    @property
    def left(self) -> float:
        """Seconds until the part has to end."""
        return self.share * self.seconds - self.passed


class Report:
    """Rows of each part, what was skipped, and what failed.

    Args:
        folder: of the files; their names are the machine's.
        command: the command's arguments.
        device: where the simulator ran.
        headings: of the parts, in order.
    """

    def __init__(self, folder: Path, command: str, device: str, headings: dict[str, Heading]) -> None:
        self.name = machine_name(device)
        self.folder, self.command, self.headings = folder, command, headings
        self.data: dict[str, Any] = {"machine": describe_machine(), "device": device, "command": command}
        self.data |= {"parts": {}, "skipped": [], "failed": [], "curve": []}

    def add(self, part: str, row: Row, failed: str = "") -> None:
        """Adds a row; `failed` says which check did not hold."""
        self.data["parts"].setdefault(part, []).append(row)
        print(f"{part}: " + ", ".join(f"{key} {cell(value)}" for key, value in row.items()), flush=True)
        if failed:
            self.fail(part, failed)
        self.save()

    def skip(self, part: str, what: str, why: object) -> None:
        """Says that something was not measured."""
        self._tell("skipped", part, f"{what} ({why})")

    def fail(self, part: str, what: str) -> None:
        """Says that a check did not hold."""
        self._tell("failed", part, what)

    def _tell(self, kind: str, part: str, text: str) -> None:
        self.data[kind].append(f"{part}: {text}")
        print(f"{part}: {kind}: {text}", flush=True)
        self.save()

    def save(self) -> None:
        """Writes the files."""
        (self.folder / f"{self.name}.json").write_text(json.dumps(self.data, indent=1) + "\n")
        picture = self.folder / f"{self.name}.png"
        if self.data["curve"]:
            points = np.array(self.data["curve"])[:, [0, 2]].T
            draw_curves("HalfCheetah-v5", [], points, "SHAC", picture, published=float(points[0].max()))
        (self.folder / f"{self.name}.md").write_text(self._page(picture))

    def _page(self, picture: Path) -> str:
        failed, skipped = ("\n".join(f"* {line}" for line in self.data[kind]) for kind in ("failed", "skipped"))
        parts = []
        for name, rows in self.data["parts"].items():
            title, text = self.headings[name]
            parts += [f"## {title}", text, rows_table(rows)]
        if self.data["curve"]:
            parts.append(f"![Return by env steps]({picture.name})")
        return page(
            f"The simulator on {self.name.replace('-', ' ')}",
            f"gpu {self.command}",
            f"Failed:\n\n{failed}" if failed else "All checks that ran hold.",
            *parts,
            f"## Not measured\n\n{skipped}" if skipped else "",
        )


def machine_name(device: str) -> str:
    """Name of the GPU, or of the processor, for files."""
    name = describe_machine().split(" (")[0] if device == "cpu" else torch.cuda.get_device_name(device)
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")


def rows_table(rows: list[Row]) -> str:
    """A table of all keys of the rows, in the order in which they first appear."""
    keys = list(dict.fromkeys(key for row in rows for key in row))
    right = {key for key in keys if not any(isinstance(row.get(key), str) for row in rows)}
    header = " | ".join(f"{key}:" if key in right else key for key in keys)
    return table(header, [[cell(row.get(key)) for key in keys] for row in rows])


def cell(value: object) -> str:
    """A value as text."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "**no**"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}" if abs(value) >= 0.01 else f"{value:.0e}"
    return str(value)
