"""What happens beside training: rows of metrics, checkpoints, a progress bar, a clean stop."""

from __future__ import annotations

import signal
import time
from types import FrameType
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from trainers.algorithm import Training
from trainers.run_folder import RunFolder


class Recorder(Callback):
    """After every iteration, writes metrics; after every evaluation, and at the end, a checkpoint.

    Args:
        folder: where to.
        save_every: iterations between checkpoints.
        env_steps: after so many, training ends; None for no such end.
    """

    def __init__(self, folder: RunFolder, save_every: int, env_steps: int | None = None) -> None:
        self.folder, self.save_every = folder, save_every
        self.env_steps = float("inf") if env_steps is None else env_steps
        self.stopped_early = False
        self.stop_requested = False
        self.seconds_before = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keeps the rows up to the checkpoint that training resumes from, and starts the clock."""
        assert isinstance(pl_module, Training)
        rows = [row for row in self.folder.read_metrics() if row["iteration"] <= pl_module.iteration]
        self.folder.write_metrics(rows)
        self.seconds_before = rows[-1]["seconds"] if rows else 0.0
        self.started = time.perf_counter()
        trainer.should_stop = pl_module.env_steps >= self.env_steps  # nothing is left of the budget

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Records the iteration."""
        assert isinstance(pl_module, Training)
        counts = {
            "iteration": pl_module.iteration,
            "env_steps": pl_module.env_steps,
            "seconds": self.seconds_before + time.perf_counter() - self.started,
        }
        self.folder.append_metrics({**counts, **pl_module.metrics})
        complete = pl_module.iteration == trainer.max_epochs or pl_module.env_steps >= self.env_steps
        self.stopped_early = self.stop_requested and not complete
        trainer.should_stop = trainer.should_stop or self.stop_requested or complete
        if trainer.should_stop or pl_module.iteration % self.save_every == 0:
            self.folder.save_checkpoint(trainer)

    def __enter__(self) -> Recorder:
        """From now on, a first Ctrl-C ends training after the iteration under way."""
        self.previous_handler = signal.signal(signal.SIGINT, self._request_stop)
        return self

    def __exit__(self, *exception: object) -> None:
        """Ctrl-C means again what it meant before."""
        signal.signal(signal.SIGINT, self.previous_handler)

    def _request_stop(self, number: int, frame: FrameType | None) -> None:
        if self.stop_requested:
            raise KeyboardInterrupt
        self.stop_requested = True


class ReturnBar(Callback):
    """A progress bar over iterations that shows the return, in training and in the official environment.

    Args:
        console: where to draw.
    """

    def __init__(self, console: Console) -> None:
        self.progress = Progress(
            MofNCompleteColumn(),
            BarColumn(bar_width=10),
            TimeElapsedColumn(),
            TextColumn("{task.fields[status]}"),
            console=console,
        )
        self.shown: dict[str, float] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draws the bar."""
        assert isinstance(pl_module, Training)
        self.bar = self.progress.add_task(
            "fit",
            total=trainer.max_epochs if trainer.max_epochs != -1 else None,
            completed=pl_module.iteration,
            status="compiling kernels ...",
        )
        self.progress.start()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Moves the bar on."""
        assert isinstance(pl_module, Training)
        self.shown.update(pl_module.metrics)
        self.progress.update(self.bar, completed=pl_module.iteration, status=self.status(pl_module))

    def status(self, training: Training) -> str:
        """What stands beside the bar."""
        labels = {"return": "return", "eval/return": "official"}
        parts = [f"{text} {self.shown[name]:,.1f}" for name, text in labels.items() if name in self.shown]
        return "  ".join([*parts, f"{training.env_steps:,} env steps"])

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str, **kwargs: Any) -> None:
        """Leaves the bar as it is."""
        self.progress.stop()
