"""The files of a training run.

config.yaml           every option, including defaults
machine.txt           machine, versions and commit: a line for the start, and one for each resumption with others
metrics.csv           one row per iteration
tensorboard/          the same, for TensorBoard
checkpoints/last.ckpt
checkpoints/replay/   rows of the replay buffer that the checkpoint refers to
final.csv             one row per official episode of the trained policy, written when training is complete
learning_curve.png    official and training return against env steps
video.mp4, .gif       with --video, --gif
policy.onnx, .pt, .npz  written by diffsim export
"""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.figure
import numpy as np
import yaml
from lightning.pytorch import Trainer

from diffsim.trainers.errors import OptionError
from diffsim.trainers.options import RENAMED
from diffsim.trainers.zoo import zoo


class RunFolder:
    """Paths and files of one run.

    Args:
        path: the folder; created when it is first written to.
        outputs: folder of videos and exported policies; `path` if None.
    """

    def __init__(self, path: Path, outputs: Path | None = None) -> None:
        self.path, self.outputs = path, outputs or path
        self.config = path / "config.yaml"
        self.machine = path / "machine.txt"
        self.metrics = path / "metrics.csv"
        self.final = path / "final.csv"
        self.checkpoint = path / "checkpoints" / "last.ckpt"
        self.curve = path / "learning_curve.png"
        self.video, self.gif = self.outputs / "video.mp4", self.outputs / "video.gif"
        self._columns: list[str] = []

    @classmethod
    def fresh(cls, path: Path, options: Mapping[str, Any] | None = None) -> RunFolder:
        """Creates the first of the folders `path`, `path-2`, ... that does not exist yet, with `options` as config."""
        candidate, number = path, 1
        while True:
            try:
                candidate.mkdir(parents=True)
                break
            except FileExistsError:
                number += 1
                candidate = path.with_name(f"{path.name}-{number}")
        folder = cls(candidate)
        if options is not None:
            folder.config.write_text(yaml.safe_dump(options, sort_keys=False))
        return folder

    def read_config(self) -> dict[str, Any]:
        """The options of the run, by their current names.

        Raises: OptionError if the file cannot be read.
        """
        return with_present_names(read_yaml(self.config))

    def update_config(self) -> None:
        """Rewrites config.yaml with the current names of the options, if it has old ones."""
        values = read_yaml(self.config)
        if (present := with_present_names(values)) != values:
            partial = self.config.with_suffix(".partial")
            partial.write_text(yaml.safe_dump(present, sort_keys=False))
            os.replace(partial, self.config)

    def save_checkpoint(self, trainer: Trainer) -> None:
        """Replaces the last checkpoint atomically: after a crash, either the old or the new one is complete."""
        self.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        partial = self.checkpoint.with_suffix(".partial")
        trainer.save_checkpoint(partial)
        os.replace(partial, self.checkpoint)

    def read_metrics(self) -> list[dict[str, float]]:
        """Rows of metrics.csv, without their empty cells; none if there is no file."""
        if not self.metrics.exists():
            return []
        with self.metrics.open(newline="") as file:
            return [{name: _number(text) for name, text in row.items() if text} for row in csv.DictReader(file)]

    def write_metrics(self, rows: list[dict[str, float]]) -> None:
        """Replaces all rows. There is a column for every name that occurs."""
        self._columns = write_table(self.metrics, rows)

    def append_metrics(self, row: dict[str, float]) -> None:
        """Adds a row. Numbers are written so that reading gives the same number."""
        if not set(row) <= set(self._columns):
            self.write_metrics([*self.read_metrics(), row])
            return
        with self.metrics.open("a", newline="") as file:
            csv.DictWriter(file, self._columns, restval="").writerow(row)

    def add_machine(self, line: str) -> None:
        """Adds a line to machine.txt, unless it equals the last one."""
        lines = self.machine.read_text().splitlines() if self.machine.exists() else []
        if lines[-1:] != [line]:
            self.machine.write_text("\n".join([*lines, line, ""]))

    def read_final(self) -> list[float]:
        """Returns of the final episodes with mean actions; none before training is complete."""
        if not self.final.exists():
            return []
        with self.final.open(newline="") as file:
            return [float(row["return"]) for row in csv.DictReader(file) if row["actions"] == "mean"]

    def draw_curve(self, title: str) -> None:
        """Draws the learning curve from the metrics, and the mean and standard deviation of the final episodes."""
        rows = self.read_metrics()
        figure = matplotlib.figure.Figure(figsize=(7, 4), layout="constrained")
        axes = figure.subplots()
        for name, label, style in (
            ("return", "training", {"alpha": 0.4, "linewidth": 1, "markersize": 4}),
            ("eval/return", "official environment", {"marker": "o", "markersize": 3}),
        ):
            points = [(row["env_steps"], row[name]) for row in rows if name in row]
            if points:
                marker = {"marker": "o"} if len(points) == 1 else {}
                axes.plot(*zip(*points, strict=True), label=label, **{**style, **marker})
        if final := self.read_final():
            mean, std = float(np.mean(final)), float(np.std(final))
            words = f"final: {mean:,.1f} ± {std:,.1f}, {len(final)} episodes"
            axes.errorbar(rows[-1]["env_steps"], mean, std, fmt="D", color="black", capsize=4, label=words, zorder=3)
        if axes.has_data():
            axes.legend()
        axes.set(title=title, xlabel="environment steps", ylabel="return per episode")
        axes.grid(alpha=0.3)
        figure.savefig(self.curve, dpi=150)


def write_table(path: Path, rows: Sequence[Mapping[str, float | str]]) -> list[str]:
    """Writes rows as CSV, atomically, with a column for every name that occurs. Returns these names."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    partial = path.with_suffix(".partial")
    with partial.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)
    os.replace(partial, path)
    return columns


def _number(text: str) -> float:
    """The number that was written; a count is an int."""
    return int(text) if text.isdigit() else float(text)


def existing_folder(option: str, path: str, *, own: bool = False) -> RunFolder:
    """The run in the folder `path`, or the shipped policy `zoo:NAME`, whose outputs are in runs/zoo-NAME.

    Raises: OptionError if there is none, or it is shipped although it must be one's `own`.
    """
    if path.startswith(zoo.PREFIX):
        name = path.removeprefix(zoo.PREFIX)
        if own:
            raise OptionError(f"{option} must be a run of yours: the zoo has policies without optimizers, got {path!r}")
        return RunFolder(zoo.folder_of(name), Path("runs") / f"zoo-{name}")
    folder = RunFolder(Path(path))
    if not folder.config.is_file():
        shipped = "" if own else ", or zoo:NAME"
        raise OptionError(f"{option} must be the folder of a run, with its config.yaml{shipped}, got {path!r}")
    return folder


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file of options.

    Raises: OptionError if it cannot be read, or is not a mapping.
    """
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise OptionError(f"config must be a readable YAML file, got {str(path)!r}: {error}") from None
    if not isinstance(content, dict):
        raise OptionError(f"config must hold one option per line, `name: value`, got {str(path)!r}")
    return content


def with_present_names(values: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a run of an older version, with their current names and values."""
    present: dict[str, Any] = {}
    for name, value in values.items():
        if name == "member":
            value = {"step": "ts1", "episode": "tsinf"}.get(value, value)
        if name == "improver_kwargs" and isinstance(value, dict):
            value = with_present_names(value)
        present[RENAMED.get(name, name)] = value
    return present
