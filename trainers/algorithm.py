"""Base classes of algorithms: options, networks, optimizers, and `iterate`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, dataclass_transform

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from diffsim.mdp import MDP
from diffsim.policies import BatchRenorm, Policy
from diffsim.random_state import restore
from diffsim.trainers.errors import NonFiniteError
from diffsim.trainers.metrics import Metric, check_late, measured
from diffsim.trainers.options import Option, bound, buffer, declare, given, option
from diffsim.trainers.run.ranks import average_gradients

CHECKPOINT_FORMAT = 2
Evaluator = Callable[[Policy], dict[str, float]]


class Training(nn.Module, ABC):
    """Base of everything that is trained in iterations. It does not need Lightning; `LightningTraining` adapts it.

        training.train_iteration()    # calls iterate, and counts

    What resuming needs is a parameter, a buffer, an optimizer's state, or in `training_state`. Resuming is exact, bit
    for bit. `generator` is the only source of randomness.

    Attributes:
        optimizers: what `make_optimizers` returned.
        device: where training happens.
        generator: the source of randomness, on this device.
        iteration: number of iterations done.
        env_steps: env steps taken.
        metrics: metrics of the last iteration.
        folder: where a run stores data that is too large to rewrite with every checkpoint; None to store all of it in
            the checkpoint. It must be set before a checkpoint is loaded.
        finished: whether there is nothing left to train.
        env_steps_limit: where training ends; None for no such end.
        ends_at_limit: whether an iteration ends at `env_steps_limit`, up to whole steps of all copies. Other
            algorithms need whole iterations, and end with the first one that reaches it.
    """

    ends_at_limit: ClassVar[bool] = False

    optimizers: list[Optimizer]
    generator: torch.Generator
    device: torch.device

    def __init__(self) -> None:
        super().__init__()
        self.folder: Path | None = None
        self.iteration = 0
        self.env_steps = 0
        self.env_steps_before = 0
        self.env_steps_limit: int | None = None
        self.metrics: dict[str, float] = {}
        self.finished = False

    @abstractmethod
    def iterate(self) -> Mapping[str, Metric]:
        """Does one iteration, counts its `env_steps`, and returns what to log."""

    def make_optimizers(self) -> list[Optimizer]:
        """The optimizers. Checkpoints store their states in this order."""
        return []

    def train_iteration(self) -> dict[str, float]:
        """Runs `iterate`. Returns its metrics as numbers."""
        self.env_steps_before = self.env_steps
        self.metrics = measured(self.iterate, self.device)
        self.iteration += 1
        return self.metrics

    def evaluate(self) -> dict[str, float]:
        """Returns metrics of an evaluation."""
        return {}

    def check(self) -> None:
        """Checks before training whether it can run.

        Raises: UsageError that says why not.
        """

    def announce(self, folder: Path) -> list[str]:
        """What a user should know before training in a run folder, such as the size of what it will store.

        Raises: UsageError if there is no room for it.
        """
        return []

    def close(self) -> None:
        """Stops helper processes. They restart if training continues."""

    def iteration_size(self) -> int | None:
        """Env steps of an iteration after the first; None if they depend on what happens in it."""
        return None

    def warm_up_size(self) -> int:
        """Env steps that the next iteration takes beyond `iteration_size`."""
        return 0

    def set_folder(self, folder: Path) -> None:
        """Sets `folder`."""
        self.folder = folder

    def within_limit(self, steps: int) -> int:
        """`steps`, or what is left of it before `env_steps_limit`, at least 1."""
        return steps if self.env_steps_limit is None else max(min(steps, self.env_steps_limit - self.env_steps), 1)

    def crossed(self, every: int) -> bool:
        """Whether the last iteration reached, or went beyond, a multiple of `every` env steps."""
        return self.env_steps // every > self.env_steps_before // every

    def gradient_step(
        self,
        loss: Callable[[], Tensor],
        optimizer: Optimizer,
        max_norm: float = float("inf"),
        check: Callable[[Tensor, Callable[[], object]], object] = check_late,
    ) -> tuple[Tensor, Tensor]:
        """Takes one optimizer step that reduces a loss. The gradient is scaled down to at most `max_norm`.

        Args:
            loss: computes the number to minimise, with its graph. A line search calls it several times.
            optimizer: of the parameters to change.
            max_norm: largest 2-norm of the gradient over all of them.
            check: what is called, before the step, with whether the gradient is not finite, and what then raises.

        Returns: loss and gradient norm, both before the step.
        Raises: NonFiniteError if the gradient is not finite: before any step, or by `check_late` on a GPU at the end
        of the iteration.
        """
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        first: list[tuple[Tensor, Tensor]] = []

        def closure() -> Tensor:
            optimizer.zero_grad()
            value = loss()
            value.backward()
            average_gradients(parameters)
            norm = torch.nn.utils.clip_grad_norm_(parameters, max_norm)
            check(~norm.isfinite(), partial(_refuse_norm, norm))
            first.append((value.detach(), norm))
            return value.detach()

        optimizer.step(closure)  # pyright: ignore[reportCallIssue, reportArgumentType]  (annotated as float)
        return first[0]

    def training_state(self) -> dict[str, Any]:
        """What a checkpoint needs besides parameters, buffers and optimizers' states: plain tensors and numbers."""
        return {
            "format": CHECKPOINT_FORMAT,
            "iteration": self.iteration,
            "env_steps": self.env_steps,
            "generator": self.generator.get_state(),
        }

    def load_training_state(self, saved: Mapping[str, Any]) -> None:
        """Restores what `training_state` returned."""
        self.iteration, self.env_steps = saved["iteration"], saved["env_steps"]
        restore(self.generator, saved["generator"])


def refuse_memory(algorithm: type[Algorithm], policy: type) -> None:
    """Raises ValueError if a class of policies has a memory, and the algorithm does not carry it."""
    if getattr(policy, "recurrent", False) and not algorithm.takes_recurrent:
        raise ValueError(
            f"policy must be one without a memory for {algorithm.__name__}, which learns from single steps, "
            f"got {policy.__name__}"
        )


def refuse_batch_renorm(algorithm: type[Algorithm], policy: nn.Module | None) -> None:
    """Raises ValueError if a policy has batch renormalisation, and the algorithm does not update its statistics."""
    if policy is None or algorithm.updates_batch_renorm:
        return
    if any(isinstance(module, BatchRenorm) for module in policy.modules()):
        raise ValueError(f"batch_renorm must be False for {algorithm.__name__}: only CrossQ updates its statistics")


def refuse_shared_parameters(algorithm: Training) -> None:
    """Raises ValueError if two optimizers have a parameter in common: one loss would then train the other's network."""
    names = {id(parameter): name for name, parameter in algorithm.named_parameters()}
    owners: dict[int, int] = {}
    for k, optimizer in enumerate(algorithm.optimizers):
        for parameter in (parameter for group in optimizer.param_groups for parameter in group["params"]):
            if owners.setdefault(id(parameter), k) != k:
                name = names.get(id(parameter), "one outside the algorithm")
                raise ValueError(
                    f"every parameter must be in one optimizer, got {name} in {owners[id(parameter)]} and {k}"
                )


def _refuse_norm(norm: Tensor) -> None:
    """Raises the error of a gradient that is not finite."""
    raise NonFiniteError(f"gradient norm must be finite, got {norm.item()}")


@dataclass_transform(kw_only_default=True, field_specifiers=(option, given, buffer))
class Algorithm(Training):
    """Trains a policy. A subclass declares its options, builds what it needs in `setup`, and writes `iterate`.

        class MyAlgorithm(ModelFree):
            learning_rate: float = option("Adam's step size.", "> 0", default=1e-3)

            def setup(self) -> None: ...          # networks and buffers; the options are attributes by then
            def make_optimizers(self) -> ...      # list of optimizers
            def iterate(self) -> ...              # one iteration; returns metrics

    The declarations make the constructor: see `diffsim.options`. A subclass may also have its own
    constructor, which passes the remaining arguments to this one.

    Attributes:
        options: every argument of the constructor by name.
        family: name of the algorithm's group in reports.
        run_defaults: options of a run, or of its policy, that suit this algorithm better than their own defaults.
        image_defaults: options of a run, its policy or this algorithm, where observations are images: `shows_images`.
        atari_defaults: further ones for Atari games.
        takes_recurrent: whether it carries the memory of a recurrent policy from step to step; others refuse it.
        updates_batch_renorm: whether it updates the statistics of a policy's `BatchRenorm`; others refuse it.
    """

    options: ClassVar[dict[str, Option]] = {}
    family: ClassVar[str] = "other"
    run_defaults: ClassVar[dict[str, Any]] = {}
    image_defaults: ClassVar[dict[str, Any]] = {}
    atari_defaults: ClassVar[dict[str, Any]] = {}
    takes_recurrent: ClassVar[bool] = False
    updates_batch_renorm: ClassVar[bool] = False

    policy: Policy
    seed: int
    evaluation: Evaluator | None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        declare(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Takes the declared options, checks them, and calls `setup`.

        Raises: TypeError or ValueError that names option, rule and value.
        """
        values = bound(type(self), args, kwargs)
        refuse_memory(type(self), type(values.get("policy")))
        refuse_batch_renorm(type(self), values.get("policy"))
        super().__init__()
        for name, value in values.items():
            setattr(self, name, value)
        self.generator = torch.Generator(self.device).manual_seed(self.seed)
        self.setup()
        self.optimizers = self.make_optimizers()
        refuse_shared_parameters(self)

    @property
    def device(self) -> torch.device:
        """Where training happens: the policy's device."""
        return next(self.policy.parameters()).device

    def setup(self) -> None:
        """Builds networks and buffers from the options."""

    def train_iteration(self) -> dict[str, float]:
        """Anneals the policy by env steps, then runs `iterate`."""
        self.policy.anneal(self.env_steps)
        return super().train_iteration()

    def evaluate(self) -> dict[str, float]:
        """Evaluates the policy in the official environment."""
        return {} if self.evaluation is None else self.evaluation(self.policy)


class MDPAlgorithm(Algorithm):
    """Learns through a differentiable MDP: a simulated task, or a learned model."""

    mdp: MDP = given("differentiable dynamics, reward and observation.")
    policy: Policy = given("the policy to train.")
    seed: int = option("seed of initial states and noises.", ">= 0", default=0)
    evaluation: Evaluator | None = given(
        "maps the policy to metrics; None for no evaluations.", default=None, kw_only=True
    )

    @property
    def device(self) -> torch.device:
        """The MDP's device."""
        return self.mdp.device

    def mdp_changed(self) -> None:
        """Discards what depends on the old dynamics; called when `mdp`, a learned model, was fitted again."""
