"""What a run shows while it trains: a progress bar on a terminal, a line per evaluation elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from diffsim.trainers.algorithm import Training
from diffsim.trainers.run.lightning_training import training_of
from diffsim.trainers.run.recorder import Recorder

LONGEST_SILENCE = 60.0  # seconds between lines where there is no terminal


class ReturnBar(Callback):
    """Shows env steps and those of the budget, time left, and returns in training and in the official environment.

    On a terminal it redraws a bar after each iteration. Elsewhere it prints a line for each evaluation, and at least
    one per minute.

    Args:
        console: where to print.
        recorder: of the run, with its budget and its clock.
    """

    def __init__(self, console: Console, recorder: Recorder) -> None:
        self.console, self.recorder = console, recorder
        columns = (TextColumn("{task.fields[amount]}"), BarColumn(bar_width=10), TextColumn("{task.fields[status]}"))
        self.progress = Progress(*columns, console=console, disable=not console.is_terminal)
        self.shown: dict[str, float] = {}
        self.pace: tuple[float, float] | None = None
        self.printed = time.monotonic()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draws the bar."""
        training = training_of(pl_module)
        self.env_steps_before = training.env_steps
        done = self.done(trainer, training)
        self.tell_end(trainer, training)
        self.bar = self.progress.add_task(
            "fit",
            total=100,
            completed=percent(done),
            amount=self.amount(training, done),
            status="compiling ...",
        )
        self.progress.start()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Advances the bar, or prints a line."""
        training = training_of(pl_module)
        self.shown.update(training.metrics)
        done, now = self.done(trainer, training), time.monotonic()
        if self.pace is None:
            self.pace = now, done  # the first iteration compiles, and says nothing about the others
            self.tell_size(training)
        words = [self.status(training), self.time_left(done, now)]
        amount, status = self.amount(training, done), "  ".join(filter(None, words))
        self.progress.update(self.bar, completed=percent(done), amount=amount, status=status)
        evaluated = any(name.startswith("eval/") for name in training.metrics)
        if not self.console.is_terminal and (evaluated or trainer.should_stop or now - self.printed >= LONGEST_SILENCE):
            self.printed = now
            after = timedelta(seconds=int(self.recorder.elapsed()))
            line = "  ".join(filter(None, (amount, status, f"after {after}")))
            self.console.print(line, soft_wrap=True, markup=False, highlight=False)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Says that an evaluation is under way, on a terminal: it may take longer than the iteration."""
        every = self.recorder.budget.evaluate_every_steps
        if every is None or training_of(pl_module).crossed(every):
            self.progress.update(self.bar, status="evaluating ...")

    def tell_end(self, trainer: Trainer, training: Training) -> None:
        """Says before training how long an iteration is, if training can only end beyond the budget because of it."""
        size, budget, begin = training.iteration_size(), self.recorder.budget.env_steps, training.env_steps
        if budget is None or size is None or training.ends_at_limit or begin >= budget:
            return
        extra = training.warm_up_size()
        count = max(-(-(budget - begin - extra) // size), 1)
        last, most = begin + extra + count * size, trainer.max_epochs
        if last == budget or (most is not None and 0 <= most < training.iteration + count):
            return
        first = f", the first {size + extra:,}" if extra else ""
        self.console.print(
            f"An iteration takes {size:,} env steps{first}. Training ends with the first iteration that reaches "
            f"{budget:,}, after {last:,}.",
            soft_wrap=True,
            highlight=False,
        )

    def tell_size(self, training: Training) -> None:
        """The same after the first iteration, of an algorithm that does not know it before."""
        size, budget = training.env_steps - self.env_steps_before, self.recorder.budget.env_steps
        if training.iteration_size() is not None or training.ends_at_limit or budget is None:
            return
        if size and budget % size:
            self.console.print(
                f"The first iteration took {size:,} env steps. Training ends with the first iteration that reaches "
                f"{budget:,}.",
                soft_wrap=True,
                highlight=False,
            )

    def done(self, trainer: Trainer, training: Training) -> float:
        """Part of the budget that is spent, of iterations, env steps or seconds: the largest."""
        budget, recorder = self.recorder.budget, self.recorder
        parts = [0.0]
        if trainer.max_epochs is not None and trainer.max_epochs > 0:
            parts.append(training.iteration / trainer.max_epochs)
        if budget.env_steps is not None:
            parts.append(training.env_steps / budget.env_steps)
        if budget.seconds is not None:
            parts.append((recorder.elapsed() - recorder.eval_seconds) / budget.seconds)
        return max(parts)

    def amount(self, training: Training, done: float) -> str:
        """Env steps taken, and how many there will be."""
        steps, budget = training.env_steps, self.recorder.budget.env_steps
        if budget is not None and steps >= done * budget:
            return f"{steps:,}/{budget:,} env steps"
        return f"{steps:,}/{steps / done:,.0f} env steps" if steps and done else f"{steps:,} env steps"

    def time_left(self, done: float, now: float) -> str:
        """The time until the budget is spent, at the pace since the first iteration; empty if it is not known."""
        if self.pace is None or done <= self.pace[1] or done >= 1.0:
            return ""
        began, before = self.pace
        return f"{timedelta(seconds=round((now - began) * (1.0 - done) / (done - before)))} left"

    def status(self, training: Training) -> str:
        """The returns."""
        labels = {"return": "return", "eval/return": "official"}
        return "  ".join(f"{text} {self.shown[name]:,.1f}" for name, text in labels.items() if name in self.shown)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str, **kwargs: Any) -> None:
        """Stops redrawing the bar."""
        self.progress.stop()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Stops redrawing the bar: after an error Lightning does not call `teardown`."""
        self.progress.stop()


def percent(done: float) -> int:
    """A part of the budget in percent, at most 100."""
    return min(int(100 * done), 100)


@contextmanager
def busy(console: Console, words: str) -> Iterator[None]:
    """Shows what takes long while the context is open: moving on a terminal, a line elsewhere."""
    if console.is_terminal:
        with console.status(words):
            yield
        return
    console.print(words, soft_wrap=True, highlight=False)
    yield
