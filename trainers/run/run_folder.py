"""What a training run leaves on disk.

config.yaml           every option, resolved
machine.txt           what it ran on, a line for every time it was begun or resumed elsewhere
metrics.csv           one row per iteration
tensorboard/          the same, for TensorBoard
checkpoints/last.ckpt
checkpoints/replay/   experience that the checkpoint refers to, of algorithms that keep it
final.csv             one row per official episode of the trained policy; there once training is complete
learning_curve.png    official and training return against env steps
video.mp4             when asked for
"""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.figure
from lightning.pytorch import Trainer


class RunFolder:
    """Paths and files of one run.

    Args:
        path: the folder; made when first written to.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.yaml"
        self.machine = path / "machine.txt"
        self.metrics = path / "metrics.csv"
        self.final = path / "final.csv"
        self.checkpoint = path / "checkpoints" / "last.ckpt"
        self.curve = path / "learning_curve.png"
        self.video = path / "video.mp4"
        self._columns: list[str] = []

    @classmethod
    def fresh(cls, path: Path) -> RunFolder:
        """The folder `path`, or `path-2`, `path-3`, ... : the first that does not exist yet. Makes it."""
        candidate, number = path, 1
        while True:
            try:
                candidate.mkdir(parents=True)
                return cls(candidate)
            except FileExistsError:
                number += 1
                candidate = path.with_name(f"{path.name}-{number}")

    def save_checkpoint(self, trainer: Trainer) -> None:
        """Replaces the last checkpoint at one stroke: a crash leaves the old one or the new one, whole."""
        self.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        partial = self.checkpoint.with_suffix(".partial")
        trainer.save_checkpoint(partial)
        os.replace(partial, self.checkpoint)

    def read_metrics(self) -> list[dict[str, float]]:
        """Rows of the metrics file, without their empty cells; none if there is no file."""
        if not self.metrics.exists():
            return []
        with self.metrics.open(newline="") as file:
            return [{name: _number(text) for name, text in row.items() if text} for row in csv.DictReader(file)]

    def write_metrics(self, rows: list[dict[str, float]]) -> None:
        """Writes `rows` anew, with a column for every name that any of them has."""
        self._columns = write_table(self.metrics, rows)

    def append_metrics(self, row: dict[str, float]) -> None:
        """Adds a row. Values are written so that reading them back gives the same number."""
        if not set(row) <= set(self._columns):
            self.write_metrics([*self.read_metrics(), row])
            return
        with self.metrics.open("a", newline="") as file:
            csv.DictWriter(file, self._columns, restval="").writerow(row)

    def add_machine(self, line: str) -> None:
        """Notes what the run goes on with, unless that is what it has gone on with so far."""
        lines = self.machine.read_text().splitlines() if self.machine.exists() else []
        if lines[-1:] != [line]:
            self.machine.write_text("\n".join([*lines, line, ""]))

    def draw_curve(self, title: str) -> None:
        """Draws the learning curve from the metrics file."""
        rows = self.read_metrics()
        figure = matplotlib.figure.Figure(figsize=(7, 4), layout="constrained")
        axes = figure.subplots()
        for name, label, style in (
            ("return", "training", {"alpha": 0.4, "linewidth": 1}),
            ("eval/return", "official environment", {"marker": "o", "markersize": 3}),
        ):
            points = [(row["env_steps"], row[name]) for row in rows if name in row]
            if points:
                axes.plot(*zip(*points, strict=True), label=label, **style)
                axes.legend()
        axes.set(title=title, xlabel="environment steps", ylabel="return per episode")
        axes.grid(alpha=0.3)
        figure.savefig(self.curve, dpi=150)


def write_table(path: Path, rows: Sequence[Mapping[str, float | str]]) -> list[str]:
    """Writes rows as CSV, at one stroke, with a column for every name that any of them has: these names."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    partial = path.with_suffix(".partial")
    with partial.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)
    os.replace(partial, path)
    return columns


def _number(text: str) -> float:
    """The number that was written: counts stay whole."""
    return int(text) if text.isdigit() else float(text)
