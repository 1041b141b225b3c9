"""Runs a training with Lightning's Trainer, in a run folder."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import Logger
from rich.console import Console

from diffsim.trainers.algorithm import Training
from diffsim.trainers.run.display import ReturnBar
from diffsim.trainers.run.lightning_training import LightningTraining
from diffsim.trainers.run.loggers import finish, make_logger
from diffsim.trainers.run.recorder import Budget, Recorder
from diffsim.trainers.run.run_folder import RunFolder


def train(
    training: Training,
    budget: Budget,
    folder: RunFolder,
    console: Console,
    checkpoint: Path | None = None,
    bar: type[ReturnBar] = ReturnBar,
    logger: str = "tensorboard",
) -> Recorder:
    """Trains until the budget is spent, one Lightning epoch per iteration, from a checkpoint if there is one.

    Raises: KeyboardInterrupt after a second Ctrl-C; UsageError without the extra that the logger needs.
    """
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    training.set_folder(folder.checkpoint.parent)
    training.env_steps_limit = budget.env_steps
    every_steps, recorder = budget.evaluate_every_steps, Recorder(folder, budget, console)
    with warnings.catch_warnings(), recorder:
        warnings.filterwarnings("ignore", module="lightning")
        every = budget.evaluate_every if every_steps is None else 1  # LightningTraining decides when
        callbacks = [recorder, bar(console, recorder)]
        made = make_logger(logger, folder)
        trainer = make_trainer(training.device, budget.iterations, every, made, callbacks)
        options = folder.config.read_text() if folder.config.is_file() else "{}"
        module = LightningTraining(training, every_steps, options)
        try:
            trainer.fit(module, ckpt_path=checkpoint, weights_only=True)
        except SystemExit:  # what Lightning makes of it
            raise KeyboardInterrupt from None
        finally:
            finish(made)
            training.close()  # after an error Lightning does not call `teardown`
    if budget.env_steps is not None and training.env_steps > budget.env_steps and not training.ends_at_limit:
        console.print(
            f"Training took {training.env_steps:,} env steps, not {budget.env_steps:,}: "
            f"it ends with a whole iteration, and the last took {training.env_steps - training.env_steps_before:,}.",
            soft_wrap=True,
            highlight=False,
        )
    return recorder


def make_trainer(
    device: torch.device, iterations: int, evaluate_every: int, logger: Logger | None, callbacks: Sequence[Callback]
) -> Trainer:
    """Lightning's trainer, for one epoch per iteration; -1 for any number of iterations."""
    cuda = device.type == "cuda"
    index = torch.cuda.current_device() if cuda and device.index is None else device.index
    return Trainer(
        accelerator="gpu" if cuda else "cpu",
        devices=[index] if cuda else 1,
        max_epochs=iterations,
        check_val_every_n_epoch=evaluate_every,
        num_sanity_val_steps=0,
        logger=logger or False,
        callbacks=list(callbacks),
        enable_progress_bar=False,
        enable_checkpointing=False,
        enable_model_summary=False,
    )
