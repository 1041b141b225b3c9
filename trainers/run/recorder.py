"""What happens beside training: rows of metrics, checkpoints, a progress bar, a clean stop."""

from __future__ import annotations

import signal
import time
from types import FrameType
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from diffsim.trainers.algorithm import Training
from diffsim.trainers.run.ranks import any_rank
from diffsim.trainers.run.run_folder import RunFolder


class Recorder(Callback):
    """After every iteration, writes metrics; after every evaluation, and at the end, a checkpoint.

    Of a row's `seconds` since training began, `eval_seconds` were spent in evaluations.

    Args:
        folder: where to.
        save_every: iterations between checkpoints, unless evaluations go by env steps.
        env_steps: after so many, training ends; None for no such end.
        seconds: after so many, evaluations not counted, training ends; None for no such end.
    """

    def __init__(
        self, folder: RunFolder, save_every: int, env_steps: int | None = None, seconds: float | None = None
    ) -> None:
        self.folder, self.save_every = folder, save_every
        self.env_steps = float("inf") if env_steps is None else env_steps
        self.seconds = float("inf") if seconds is None else seconds
        self.stopped_early = False
        self.stop_requested = False
        self.seconds_before = self.eval_seconds = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keeps the rows up to the checkpoint that training resumes from, starts the clock, and evaluates a first time.

        This first time is for evaluations by env steps only: there it gives all curves the same beginning.
        """
        assert isinstance(pl_module, Training)
        rows = [row for row in self.folder.read_metrics() if row["iteration"] <= pl_module.iteration]
        self.folder.write_metrics(rows)
        self.seconds_before, self.eval_seconds = (
            rows[-1].get(name, 0.0) if rows else 0.0 for name in ("seconds", "eval_seconds")
        )
        self.started = time.perf_counter()
        if pl_module.evaluate_every_steps is not None and pl_module.iteration == 0 and not rows:
            self.on_validation_start(trainer, pl_module)
            metrics = {f"eval/{name}": value for name, value in pl_module.evaluate().items()}
            self.on_validation_end(trainer, pl_module)
            self.folder.append_metrics({**self.counts(pl_module), **metrics})
        trainer.should_stop = self.complete(trainer, pl_module)  # nothing is left of the budget

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Records the iteration."""
        assert isinstance(pl_module, Training)
        self.folder.append_metrics({**self.counts(pl_module), **pl_module.metrics})
        complete = self.complete(trainer, pl_module)
        stop_requested = any_rank(self.stop_requested)
        self.stopped_early = stop_requested and not complete
        trainer.should_stop = trainer.should_stop or stop_requested or complete
        every = pl_module.evaluate_every_steps
        due = pl_module.iteration % self.save_every == 0 if every is None else pl_module.crossed(every)
        if trainer.should_stop or due:
            self.folder.save_checkpoint(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begins to count the seconds of an evaluation."""
        self.evaluation_started = time.perf_counter()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Adds them up."""
        self.eval_seconds += time.perf_counter() - self.evaluation_started

    def elapsed(self) -> float:
        """Seconds since training began, in this process and in those before it."""
        return self.seconds_before + time.perf_counter() - self.started

    def counts(self, training: Training) -> dict[str, float]:
        """What every row begins with."""
        return {
            "iteration": training.iteration,
            "env_steps": training.env_steps,
            "seconds": self.elapsed(),
            "eval_seconds": self.eval_seconds,
        }

    def complete(self, trainer: Trainer, training: Training) -> bool:
        """Whether nothing is left of the budget."""
        spent = training.env_steps >= self.env_steps or self.elapsed() - self.eval_seconds >= self.seconds
        return any_rank(spent or training.iteration == trainer.max_epochs)

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
