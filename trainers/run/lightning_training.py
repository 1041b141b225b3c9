"""Runs any training as a LightningModule: one Lightning epoch is one iteration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch.optim import Optimizer

from diffsim.trainers.algorithm import Training
from diffsim.trainers.errors import CheckpointError, UsageError


class LightningTraining(LightningModule):
    """A training for Lightning's Trainer.

        Trainer(max_epochs=200, enable_checkpointing=False).fit(LightningTraining(SHAC(mdp, policy)))

    Args:
        training: an algorithm, or another `Training`.
        evaluate_every_steps: env steps between evaluations; None to evaluate whenever Lightning validates.
        options: of the run, as YAML, which checkpoints keep.
    """

    def __init__(self, training: Training, evaluate_every_steps: int | None = None, options: str = "{}") -> None:
        super().__init__()
        self.automatic_optimization = False
        self.training_run = training
        self.evaluate_every_steps, self.options = evaluate_every_steps, options

    def train_dataloader(self) -> range:
        """One empty batch: Lightning's epoch is our iteration."""
        return range(1)

    val_dataloader = train_dataloader

    def configure_optimizers(self) -> list[Optimizer]:
        """The training's optimizers, whose states Lightning saves."""
        return self.training_run.optimizers

    def training_step(self, batch: Any, batch_idx: int) -> None:
        """Runs one iteration."""
        self.training_run.train_iteration()
        self.trainer.should_stop = self.trainer.should_stop or self.training_run.finished
        self._log()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Evaluates, if an evaluation is due."""
        training = self.training_run
        if self.evaluate_every_steps is not None and not training.crossed(self.evaluate_every_steps):
            return
        training.metrics.update({f"eval/{name}": value for name, value in training.evaluate().items()})
        self._log()

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """The training's, under its own names: a checkpoint does not depend on Lightning."""
        return self.training_run.state_dict(*args, **kwargs)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Loads what `state_dict` returned.

        Raises: CheckpointError if names or shapes differ.
        """
        with misfits():
            return self.training_run.load_state_dict(state_dict, strict=strict, assign=assign)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the state that is not in parameters, buffers or optimizers."""
        checkpoint["diffsim"] = {**self.training_run.training_state(), "options": self.options}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restores what `on_save_checkpoint` added.

        Raises: CheckpointError if it is of another algorithm or environment.
        """
        with misfits():
            self.training_run.load_training_state(checkpoint["diffsim"])

    def teardown(self, stage: str) -> None:
        """Stops helper processes."""
        self.training_run.close()

    def _log(self) -> None:
        # "step" is the horizontal axis that Lightning passes to its loggers.
        logged = {**self.training_run.metrics, "step": float(self.training_run.env_steps)}
        # As tensors on the CPU: Lightning would upload each number to the GPU and read it back, with a wait for each.
        tensors = {name: torch.tensor(value, dtype=torch.get_default_dtype()) for name, value in logged.items()}
        self.log_dict(tensors, on_step=False, on_epoch=True, batch_size=1)


@contextmanager
def misfits() -> Iterator[None]:
    """Raises CheckpointError for errors of a state with other names, shapes or types than what it is loaded into."""
    try:
        yield
    except UsageError:
        raise
    except (RuntimeError, LookupError, TypeError, ValueError, AttributeError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise CheckpointError(f"the checkpoint does not fit the algorithm or its environment: {reason}") from error


def training_of(module: LightningModule) -> Training:
    """The training that a `LightningTraining` runs."""
    assert isinstance(module, LightningTraining)
    return module.training_run
