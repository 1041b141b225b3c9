"""The Lightning side of every algorithm."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import torch
from lightning.pytorch import LightningModule
from torch import Tensor
from torch.optim import Optimizer

from diffsim.policies import Policy
from diffsim.trainers.errors import NonFiniteError
from diffsim.trainers.run.ranks import average_gradients

CHECKPOINT_FORMAT = 2
Evaluator = Callable[[Policy], dict[str, float]]


class Training(LightningModule, ABC):
    """Turns Lightning's hooks into `iterate`, one call per Lightning epoch, and `evaluate`.

    Whatever must survive a stop is a parameter, a buffer, an optimizer's state, `env_steps`, `iteration` or
    `generator`, the only source of randomness. All are in the checkpoint: resuming is exact, bit for bit.

    Args:
        seed: of `generator`, at least 0.
        device: of `generator`.

    Attributes:
        folder: where a run keeps what is too large to be written anew with every checkpoint; None to keep all of it
            in the checkpoint. Whoever trains sets it before anything is loaded.
        evaluate_every_steps: env steps between evaluations; None to evaluate whenever Lightning asks for it.
    """

    def __init__(self, *, seed: int, device: torch.device) -> None:
        super().__init__()
        if seed < 0:
            raise ValueError(f"seed must be >= 0, got {seed}")
        self.automatic_optimization = False
        self.folder: Path | None = None
        self.evaluate_every_steps: int | None = None
        self.generator = torch.Generator(device).manual_seed(seed)
        self.iteration = 0
        self.env_steps = 0
        self.env_steps_before = 0
        self.metrics: dict[str, float] = {}

    @abstractmethod
    def iterate(self) -> dict[str, Tensor | float]:
        """Does one iteration, counts its `env_steps`, and returns what to log."""

    def evaluate(self) -> dict[str, float]:
        """Measures what has been trained."""
        return {}

    def check(self) -> None:
        """Looks for what would stop training, without any training.

        Raises: UsageError that says what.
        """

    def crossed(self, every: int) -> bool:
        """Whether the last iteration reached, or went beyond, a multiple of `every` env steps."""
        return self.env_steps // every > self.env_steps_before // every

    def all_optimizers(self) -> list[Optimizer]:
        """The optimizers, in the order of `configure_optimizers`."""
        found: Any = self.optimizers(use_pl_optimizer=False)
        return found if isinstance(found, list) else [found]

    def gradient_step(
        self, loss: Callable[[], Tensor], optimizer: Optimizer, max_norm: float = float("inf")
    ) -> tuple[Tensor, Tensor]:
        """Takes one optimizer step down a loss, its gradient scaled down to at most `max_norm`.

        Args:
            loss: computes the number to reduce, with its graph. A line search calls it several times.
            optimizer: of the parameters to change.
            max_norm: largest 2-norm of the gradient over all of them.

        Returns: loss and gradient norm, both before the step.
        Raises: NonFiniteError, before any step, if the gradient is not finite.
        """
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        seen: list[tuple[Tensor, Tensor]] = []

        def closure() -> float:
            optimizer.zero_grad()
            value = loss()
            self.manual_backward(value)
            average_gradients(parameters)
            norm = torch.nn.utils.clip_grad_norm_(parameters, max_norm)
            if not norm.isfinite():
                raise NonFiniteError(f"gradient norm must be finite, got {norm.item()}")
            seen.append((value.detach(), norm))
            return float(value.detach())

        optimizer.step(closure)
        return seen[0]

    def train_dataloader(self) -> range:
        """One empty batch: Lightning's epoch is our iteration."""
        return range(1)

    val_dataloader = train_dataloader

    def training_step(self, batch: Any, batch_idx: int) -> None:
        """Runs `iterate`."""
        self.env_steps_before = self.env_steps
        self.metrics = {name: float(value) for name, value in self.iterate().items()}
        self.iteration += 1
        self._log()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Runs `evaluate`, if it is time."""
        if self.evaluate_every_steps is not None and not self.crossed(self.evaluate_every_steps):
            return
        self.metrics.update({f"eval/{name}": value for name, value in self.evaluate().items()})
        self._log()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds what is neither parameter, buffer nor optimizer."""
        checkpoint["diffsim"] = {
            "format": CHECKPOINT_FORMAT,
            "iteration": self.iteration,
            "env_steps": self.env_steps,
            "generator": self.generator.get_state(),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restores what `on_save_checkpoint` added."""
        saved = checkpoint["diffsim"]
        self.iteration, self.env_steps = saved["iteration"], saved["env_steps"]
        self.generator.set_state(saved["generator"].cpu())

    def _log(self) -> None:
        # "step" is the horizontal axis that Lightning hands to its loggers.
        logged = {**self.metrics, "step": float(self.env_steps)}
        self.log_dict(logged, on_step=False, on_epoch=True, batch_size=1)


class Algorithm(Training):
    """Trains a policy, and is measured by it.

    Args:
        policy: what is trained.
        seed: of `generator`, at least 0.
        device: of `generator`: the MDP's.
        evaluation: from the policy to metrics; none are taken if None.

    Attributes:
        run_defaults: options of a run, or of its policy, that suit this algorithm better than their own defaults.
    """

    run_defaults: ClassVar[dict[str, Any]] = {}

    def __init__(self, policy: Policy, *, seed: int, device: torch.device, evaluation: Evaluator | None = None) -> None:
        super().__init__(seed=seed, device=device)
        self.policy = policy
        self.evaluation = evaluation

    def training_step(self, batch: Any, batch_idx: int) -> None:
        """Runs `iterate`, with the policy as it is meant to be by now."""
        self.policy.anneal(self.env_steps)
        super().training_step(batch, batch_idx)

    def evaluate(self) -> dict[str, float]:
        """Measures the policy in the official environment."""
        return {} if self.evaluation is None else self.evaluation(self.policy)
