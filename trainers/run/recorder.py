"""Lightning callbacks of a run: rows of metrics, checkpoints, a progress bar, a clean stop on Ctrl-C."""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass
from types import FrameType
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from diffsim.trainers.algorithm import Training
from diffsim.trainers.run.lightning_training import training_of
from diffsim.trainers.run.ranks import any_rank
from diffsim.trainers.run.run_folder import RunFolder


@dataclass(frozen=True)
class Budget:
    """When training ends, and how often it is evaluated and saved.

    Attributes:
        iterations: number of iterations; -1 for any number.
        env_steps: training ends at this number, or with the first iteration that reaches it, where the algorithm
            needs whole iterations; None for no such end.
        seconds: training ends with the first iteration that ends after this time, not counting evaluations; None for
            no such end.
        evaluate_every: iterations between evaluations, each followed by a checkpoint.
        evaluate_every_steps: env steps between evaluations; None to use `evaluate_every`.
    """

    iterations: int
    env_steps: int | None = None
    seconds: float | None = None
    evaluate_every: int = 20
    evaluate_every_steps: int | None = None


class Recorder(Callback):
    """Writes metrics after every iteration, and a checkpoint after every evaluation and at the end.

    In a row of metrics, `seconds` is the time since the start of training, and `eval_seconds` the part of it that
    evaluations took.
    """

    def __init__(self, folder: RunFolder, budget: Budget) -> None:
        self.folder, self.budget = folder, budget
        self.stopped_early = False
        self.stop_requested = False
        self.seconds_before = self.eval_seconds = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keeps the rows up to the checkpoint, and starts the clock.

        With `evaluate_every_steps`, it also evaluates, so that learning curves start at 0 env steps.
        """
        training = training_of(pl_module)
        rows = [row for row in self.folder.read_metrics() if row["iteration"] <= training.iteration]
        self.folder.write_metrics(rows)
        self.seconds_before, self.eval_seconds = (
            rows[-1].get(name, 0.0) if rows else 0.0 for name in ("seconds", "eval_seconds")
        )
        self.started = time.perf_counter()
        if self.budget.evaluate_every_steps is not None and training.iteration == 0 and not rows:
            self.on_validation_start(trainer, pl_module)
            metrics = {f"eval/{name}": value for name, value in training.evaluate().items()}
            self.on_validation_end(trainer, pl_module)
            self.folder.append_metrics({**self.counts(training), **metrics})
        trainer.should_stop = self.complete(trainer, training)  # the budget may be spent already

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Records the iteration."""
        training = training_of(pl_module)
        self.folder.append_metrics({**self.counts(training), **training.metrics})
        complete = self.complete(trainer, training)
        stop_requested = any_rank(self.stop_requested)
        self.stopped_early = stop_requested and not complete
        trainer.should_stop = trainer.should_stop or stop_requested or complete
        every = self.budget.evaluate_every_steps
        due = training.iteration % self.budget.evaluate_every == 0 if every is None else training.crossed(every)
        if trainer.should_stop or due:
            self.folder.save_checkpoint(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the clock of an evaluation."""
        self.evaluation_started = time.perf_counter()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Adds the duration of an evaluation."""
        self.eval_seconds += time.perf_counter() - self.evaluation_started

    def elapsed(self) -> float:
        """Seconds of training, including those before the run was resumed."""
        return self.seconds_before + time.perf_counter() - self.started

    def counts(self, training: Training) -> dict[str, float]:
        """The first columns of every row."""
        return {
            "iteration": training.iteration,
            "env_steps": training.env_steps,
            "seconds": self.elapsed(),
            "eval_seconds": self.eval_seconds,
        }

    def complete(self, trainer: Trainer, training: Training) -> bool:
        """Whether the budget of iterations, env steps or seconds is spent."""
        env_steps, seconds = self.budget.env_steps, self.budget.seconds
        spent = env_steps is not None and training.env_steps >= env_steps
        late = seconds is not None and self.elapsed() - self.eval_seconds >= seconds
        return any_rank(spent or late or training.iteration == trainer.max_epochs)

    def __enter__(self) -> Recorder:
        """Installs a handler: the first Ctrl-C ends training after the current iteration."""
        self.previous_handler = signal.signal(signal.SIGINT, self._request_stop)
        return self

    def __exit__(self, *exception: object) -> None:
        """Restores the previous handler."""
        signal.signal(signal.SIGINT, self.previous_handler)

    def _request_stop(self, number: int, frame: FrameType | None) -> None:
        if self.stop_requested:
            raise KeyboardInterrupt
        self.stop_requested = True


class ReturnBar(Callback):
    """A progress bar over iterations, with the returns in training and in the official environment."""

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
        self.bar = self.progress.add_task(
            "fit",
            total=trainer.max_epochs if trainer.max_epochs != -1 else None,
            completed=training_of(pl_module).iteration,
            status="compiling kernels ...",
        )
        self.progress.start()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Advances the bar."""
        training = training_of(pl_module)
        self.shown.update(training.metrics)
        self.progress.update(self.bar, completed=training.iteration, status=self.status(training))

    def status(self, training: Training) -> str:
        """The text next to the bar."""
        labels = {"return": "return", "eval/return": "official"}
        parts = [f"{text} {self.shown[name]:,.1f}" for name, text in labels.items() if name in self.shown]
        return "  ".join([*parts, f"{training.env_steps:,} env steps"])

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str, **kwargs: Any) -> None:
        """Stops redrawing the bar."""
        self.progress.stop()
