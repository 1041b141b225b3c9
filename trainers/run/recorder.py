"""The Lightning callback that records a run: rows of metrics, checkpoints, and a clean stop on Ctrl-C or SIGTERM."""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass
from types import FrameType
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console

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
    evaluations took. Checkpoints have both, for a run whose metrics.csv is lost.

    While it is a context, the first Ctrl-C or SIGTERM ends training after the current iteration, and the second at
    once.

    Attributes:
        stop_signal: number of the signal that asked to stop; 0 for none.
        stopped_early: whether it ended training before the budget was spent.
    """

    def __init__(self, folder: RunFolder, budget: Budget, console: Console | None = None) -> None:
        self.folder, self.budget, self.console = folder, budget, console
        self.stopped_early = False
        self.stop_signal = 0
        self.seconds_before = self.eval_seconds = 0.0
        self.previous_handlers: dict[int, Any] = {}

    def state_dict(self) -> dict[str, Any]:
        """Both times."""
        return {"seconds": self.elapsed(), "eval_seconds": self.eval_seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continues the times of the checkpoint."""
        self.seconds_before, self.eval_seconds = state_dict["seconds"], state_dict["eval_seconds"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keeps the rows up to the checkpoint, and starts the clock.

        With `evaluate_every_steps`, it also evaluates, so that learning curves start at 0 env steps.
        """
        training = training_of(pl_module)
        rows = [row for row in self.folder.read_metrics() if row["iteration"] <= training.iteration]
        self.folder.write_metrics(rows)
        if rows:
            self.seconds_before, self.eval_seconds = (rows[-1].get(name, 0.0) for name in ("seconds", "eval_seconds"))
        signal.signal(signal.SIGTERM, self._request_stop)  # Lightning's handler would end without a checkpoint
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
        stop_requested = any_rank(self.stop_signal != 0)
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
        """Installs the handlers of both signals."""
        for number in (signal.SIGINT, signal.SIGTERM):
            self.previous_handlers[number] = signal.signal(number, self._request_stop)
        return self

    def __exit__(self, *exception: object) -> None:
        """Restores the previous handlers."""
        for number, handler in self.previous_handlers.items():
            signal.signal(number, handler)

    def _request_stop(self, number: int, frame: FrameType | None) -> None:
        if self.stop_signal:
            raise KeyboardInterrupt
        self.stop_signal = number
        if self.console is not None:
            self.console.print("Stopping after this iteration. Ctrl-C again stops at once.", highlight=False)
