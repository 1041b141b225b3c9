"""What algorithms have in common that learn a Q function from a replay buffer."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from diffsim.checks import require
from diffsim.policies import QMLP, ImageEncoder
from diffsim.policies.squash import BoundedBox
from diffsim.trainers.experience.random_shift import random_shift
from diffsim.trainers.experience.replay_batch import ReplayBatch
from diffsim.trainers.experience.replay_buffer import ReplayBuffer
from diffsim.trainers.experience.rollout import stored_type
from diffsim.trainers.maths.counts import due
from diffsim.trainers.maths.schedule import Decay, check_decay, part_left
from diffsim.trainers.metrics import Metric
from diffsim.trainers.model_free import ModelFree
from diffsim.trainers.options import given, option
from diffsim.trainers.value_gradient.compile_updates import compiled, require_compiler
from diffsim.trainers.value_gradient.optimizer_step import CompiledAdam, OptimizerStep, mean_metrics

PIXELS: dict[str, Any] = {
    "convolutions": ((32, 3, 2), (32, 3, 1), (32, 3, 1), (32, 3, 1)),
    "share_encoder": True,
    "random_shift": 4,
    "replay_size": 100_000,
}
"""Options for images of TD3 and SAC: encoder and shifts of Kostrikov et al. (2021), "Image augmentation is all you
need", section 4, without the layer of 50 features after the convolutions, which is `feature_size`."""


class OffPolicy(ModelFree):
    """Alternates between acting, which fills a replay buffer, and updates from batches of it.

    The first `warmup_steps` env steps take uniformly random actions, without updates. After that, `updates_per_step`
    updates follow each env step of one copy, each from a fresh batch. One iteration is `steps` env steps.

    A subclass defines how to act in training (`explore`), the update (`learn`), and the update's other inputs than its
    batch, such as noise (`draw`). All of `learn` can be compiled.

    Attributes:
        num_critics: number of Q functions in the critic that is made if none is given.
    """

    family = "value gradient"
    ends_at_limit = True
    num_critics = 1

    critic: nn.Module = given(
        "Q, from observations [B, O] and actions [B, A] to values [K, B]; a new `QMLP` if None.", default=None
    )
    replay: ReplayBuffer = given(
        "stores experience; a new `ReplayBuffer` of `replay_size` steps if None.", default=None
    )
    steps: int = option(
        "env steps per iteration, of all copies together; rounded up to whole steps of all copies.",
        ">= 1",
        default=1000,
    )
    warmup_steps: int = option("env steps of random actions before the first update.", ">= 0", default=1000)
    updates_per_step: float = option("updates per env step of one copy; may be below 1.", "> 0", default=1.0)
    batch_size: int = option("samples per update.", ">= 1", default=256)
    replay_size: int = option("steps that the replay buffer holds.", default=1_000_000)
    num_steps: int = option("n, the number of rewards that a target sums before its value.", ">= 1", default=1)
    target_rate: float = option("part of the target networks kept per update.", "in [0, 1)", default=0.995)
    learning_rate: float = option("of the policy's Adam.", "> 0", default=3e-4)
    critic_learning_rate: float = option("of the critic's Adam.", "> 0", default=3e-4)
    decay_env_steps: Decay = option(
        "env steps between which all learning rates fall linearly to 0: two counts, or the second; budget for the "
        "run's env_steps; None for never.",
        check_decay,
        default=None,
    )
    critic_weight_decay: float = option("of the critic's Adam.", ">= 0", default=0.0)
    critic_hidden_sizes: Sequence[int] = option("widths of each Q function's hidden layers.", default=(256, 256))
    critic_layer_norm: bool = option(
        "normalise these layers, which reduces the overestimation that many updates per step cause.", default=False
    )
    share_encoder: bool = option(
        "policy and critic share the encoder of images, which the critic's loss alone trains.", default=False
    )
    random_shift: int = option(
        "images of a batch are shifted at random by at most this many pixels in each direction, with their edges "
        "repeated; 0 for none (DrQ).",
        ">= 0",
        default=0,
    )
    compile_updates: bool = option(
        "compile updates by torch.compile before the first one, in about 30 s; needs a C++ compiler.", default=False
    )

    def setup(self) -> None:
        """Makes the critic and the replay buffer, unless they are given.

        Raises: TypeError or ValueError if the actions are not in a bounded Box of floats.
        """
        self.check_actions()
        for name in ("share_encoder", "random_shift"):
            value = getattr(self, name)
            rule = "false or 0 unless observations are images"
            require(not value or self.policy.encoder is not None, name, rule, value)
        super().setup()
        self.critic = self.make_critic().to(next(self.policy.parameters()))
        self.replay = self.make_replay() if self.replay is None else self.replay
        self.updates = 0
        self.observed: list[Tensor] = []
        self.compiled_steps: list[CompiledAdam] = []
        if self.compile_updates:
            self.learn = compiled(self.learn)

    def check_actions(self) -> None:
        """Checks that the actions are in a bounded Box, from which random ones can be drawn.

        Raises: TypeError or ValueError if they are not.
        """
        rule = f"one with finite bounds for {type(self).__name__}, which draws random actions"
        require(self.bounds.bounded, "action_space", rule, self.policy.action_space)

    def make_critic(self) -> nn.Module:
        """The critic that is given, or a new one that shares the policy's observation normaliser."""
        if self.critic is not None:
            return self.critic
        return QMLP(
            self.policy.obs_size,
            self.env.single_action_space,
            self.policy.normalizer,
            self.policy.encoder if self.share_encoder else self.policy.fresh_encoder(),
            count=self.num_critics,
            hidden_sizes=self.critic_hidden_sizes,
            layer_norm=self.critic_layer_norm,
        )

    def make_replay(self) -> ReplayBuffer:
        """An empty replay buffer for what `act` stores."""
        weight = next(self.policy.parameters())
        fields, images = self.envs.transition_shapes, None
        if self.policy.encoder is not None:
            images = stored_type(self.env.single_observation_space, weight.dtype)
        options = {"gamma": self.gamma, "num_steps": self.num_steps, "device": weight.device, "dtype": weight.dtype}
        return ReplayBuffer(self.replay_size, self.env.num_envs, fields, images=images, **options)

    def announce(self, folder: Path) -> list[str]:
        """Says how large the replay buffer will be.

        Raises: OptionError if there is no room for it.
        """
        return [*super().announce(folder), self.replay.announce(folder)]

    def check(self) -> None:
        """There must be a compiler, if updates are to be compiled."""
        if self.compile_updates:
            require_compiler(next(self.policy.parameters()).device)

    def set_folder(self, folder: Path) -> None:
        """Sets `folder`, in which the replay buffer logs its rows."""
        super().set_folder(folder)
        self.replay.folder = folder / "replay"

    def make_optimizers(self) -> list[Optimizer]:
        """Adam for the policy, without an encoder that the critic trains, and for the critic."""
        decay = self.critic_weight_decay
        shared = set(self.policy.encoder.parameters()) if self.policy.encoder and self.share_encoder else set()
        own = [parameter for parameter in self.policy.parameters() if parameter not in shared]
        return [
            Adam(own, lr=self.learning_rate, fused=True),
            Adam(self.critic.parameters(), lr=self.critic_learning_rate, weight_decay=decay, fused=True),
        ]

    @abstractmethod
    def explore(self, obs: Tensor) -> Tensor:
        """Actions [N, A] to take in training for `obs` [N, O]."""

    @abstractmethod
    def learn(self, steps: Sequence[OptimizerStep], batch: ReplayBatch, *drawn: Any) -> dict[str, Tensor]:
        """One update.

        Args:
            steps: one for each of `optimizers`.
            batch: samples to learn from.
            *drawn: what `draw` returned.

        Returns: what to log, each a number on the device.
        """

    def draw(self, batch: ReplayBatch) -> tuple[Any, ...]:
        """Inputs of `learn` that a graph cannot compute: noise, and what depends on the number of updates."""
        return ()

    def iterate(self) -> dict[str, Metric]:
        """Takes `steps` env steps, fewer before `env_steps_limit`, with the updates that are due."""
        return self.collect_and_learn(self.within_limit(self.steps))

    def collect_and_learn(self, steps: int) -> dict[str, Metric]:
        """Alternates between one step of all copies and the updates that are then due, for `steps` env steps."""
        rows: list[dict[str, Tensor]] = []
        for _ in range(-(-steps // self.env.num_envs)):
            self.act()
            total = due(self.updates_per_step, max(self.env_steps - self.warmup_steps, 0))
            while self.updates < total:
                self.updates += 1
                rows.append(self.update(self.batch()))
        if self.observed:
            self.update_normalizer(torch.cat(self.observed))
            self.observed = []
        return {**self.episode_metrics(), **mean_metrics(rows), "updates": self.updates, "replay": len(self.replay)}

    def act(self) -> None:
        """Takes one step in every copy, and stores it. Sets `ended`, bool [N]: whether an episode ended with it."""
        warm = self.env_steps >= self.warmup_steps

        def actor(obs: Tensor, noise: Tensor | None) -> Tensor:
            return self.explore(obs) if warm else self.random_action(obs)

        trajectory = self.collect(actor, self.randn(1, self.env.num_envs, 0))
        self.replay.add_trajectory(trajectory)
        self.ended = trajectory.ended[0]
        if self.policy.normalizer is not None:
            self.observed.append(trajectory.obs[0])

    def batch(self) -> ReplayBatch:
        """Samples for one update; images are shifted at random if `random_shift` says so."""
        batch = self.replay.sample(self.batch_size, self.generator)
        if not self.random_shift or self.policy.encoder is None:
            return batch
        last = self.policy.encoder.channels_last
        obs, next_obs = (
            random_shift(images, self.random_shift, self.generator, channels_last=last)
            for images in (batch.obs, batch.next_obs)
        )
        return batch._replace(obs=obs, next_obs=next_obs)

    def encoded(self, batch: ReplayBatch, target_critic: nn.Module) -> ReplayBatch:
        """The batch with features in place of images, if networks share the encoder.

        The critic encodes `obs`, with a gradient, and its target network `next_obs`, without.
        """
        if not self.share_encoder:
            return batch
        encoder, target_encoder = (cast(ImageEncoder, net.encoder) for net in (self.critic, target_critic))
        with torch.no_grad():
            next_obs = target_encoder(batch.next_obs)
        return batch._replace(obs=encoder(batch.obs), next_obs=next_obs)

    def update(self, batch: ReplayBatch) -> dict[str, Tensor]:
        """Makes one update from a batch."""
        self.decay()
        return self.learn(self.optimizer_steps(), batch, *self.draw(batch))

    def decay(self) -> None:
        """Sets the learning rates for the present number of env steps."""
        if self.decay_env_steps is None:
            return
        left = part_left(self.decay_env_steps, self.env_steps)
        for group in (group for optimizer in self.optimizers for group in optimizer.param_groups):
            group["lr"] = left * group.setdefault("initial_lr", group["lr"])

    def optimizer_steps(self) -> list[OptimizerStep]:
        """Functions that take a step of each optimizer. A compiled graph needs the same ones in every update."""
        if not self.compile_updates:
            return [OptimizerStep(optimizer) for optimizer in self.optimizers]
        if not self.compiled_steps:
            self.compiled_steps = [CompiledAdam(optimizer) for optimizer in self.optimizers]
        for step in self.compiled_steps:
            step.prepare()
        return [*self.compiled_steps]

    def random_action(self, obs: Tensor) -> Tensor:
        """Uniformly random actions [N, A] within their bounds, one for each of `obs` [N, O]."""
        bounds = self.bounds
        weight, shape = bounds.center, (len(obs), bounds.size)
        uniform = torch.rand(shape, generator=self.generator, device=weight.device, dtype=weight.dtype)
        return bounds.uniform(uniform)

    def within_bounds(self, action: Tensor) -> Tensor:
        """`action` [..., A], clipped to its bounds."""
        return self.bounds.clamp(action)

    @property
    def bounds(self) -> BoundedBox:
        """Centre and half width of the action space.

        Raises: TypeError if the policy's actions are not real numbers.
        """
        if not isinstance(self.policy.squash, BoundedBox):
            kind = type(self.policy).__name__
            raise TypeError(f"policy must have actions of real numbers for {type(self).__name__}, got {kind}")
        return self.policy.squash

    def training_state(self) -> dict[str, Any]:
        """Adds the replay buffer and the number of updates."""
        return {**super().training_state(), "updates": self.updates, "replay": self.replay.state_dict()}

    def load_training_state(self, saved: Mapping[str, Any]) -> None:
        """Restores what `training_state` returned."""
        super().load_training_state(saved)
        self.updates = saved["updates"]
        self.replay.load_state_dict(saved["replay"])
        self.compiled_steps = []  # they hold the optimizers' old moments
