"""What algorithms have in common that learn a Q function from kept experience, and climb it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from gymnasium.vector import VectorEnv
from torch import Tensor, nn

from diffsim.policies import QMLP, Policy
from diffsim.policies.squash import BoundedBox
from diffsim.trainers.algorithm import Evaluator
from diffsim.trainers.experience.replay_batch import ReplayBatch
from diffsim.trainers.experience.replay_buffer import ReplayBuffer
from diffsim.trainers.maths.schedule import Decay, check_decay, part_left
from diffsim.trainers.model_free import ModelFree
from diffsim.trainers.ranges import at_least_one, nonnegative, require
from diffsim.trainers.value_gradient.optimizer_step import (
    CompiledAdam,
    OptimizerStep,
    compiled,
    mean_metrics,
    require_compiler,
)


class OffPolicy(ModelFree):
    """Acts, stores what happened, and learns from what is stored, in turn.

    After every step of the N copies come as many updates as `updates_per_step` says, each from a fresh batch. The
    first `warmup_steps` are uniformly random actions, without updates. One iteration is `steps` of it.

    A subclass says how to act in training (`explore`), what an update is (`learn`), and what it takes beside a batch
    (`draw`): all of `learn` can be compiled.

    Args:
        env: N copies, of any kind that Gymnasium has, whose autoreset mode is DISABLED; or our simulator's.
        policy: what is trained.
        critic: from observations [B, O] and actions [B, A] to values [K, B].
        replay: where experience is kept; one of `replay_size` steps if None.
        steps: env steps per iteration, of all copies together; rounded up to whole steps of all copies.
        warmup_steps: env steps of random actions to begin with, at least 0.
        updates_per_step: updates per env step of one copy, above 0; below 1 for fewer updates than steps.
        batch_size: steps drawn for an update.
        replay_size: steps kept.
        num_steps: rewards that a target sums before its value, n.
        gamma: discount, in (0, 1].
        decay_env_steps: when all rates fall linearly to 0, as two counts of env steps or the second; None for never.
        compile_updates: let torch compile updates when the first is due, which takes half a minute and a C++ compiler.
        seed: of choices and of the environments, at least 0.
        evaluation: from the policy to metrics.
    """

    def __init__(
        self,
        env: VectorEnv,
        policy: Policy,
        critic: nn.Module,
        *,
        replay: ReplayBuffer | None,
        steps: int,
        warmup_steps: int,
        updates_per_step: float,
        batch_size: int,
        replay_size: int,
        num_steps: int,
        gamma: float,
        decay_env_steps: Decay,
        compile_updates: bool,
        seed: int,
        evaluation: Evaluator | None,
    ) -> None:
        super().__init__(env, policy, gamma=gamma, seed=seed, evaluation=evaluation)
        at_least_one(steps=steps, batch_size=batch_size, num_steps=num_steps)
        nonnegative(warmup_steps=warmup_steps)
        require(updates_per_step > 0, "updates_per_step", "> 0", updates_per_step)
        self.steps, self.warmup_steps, self.updates_per_step = steps, warmup_steps, updates_per_step
        self.batch_size = batch_size
        check_decay(decay_env_steps)
        self.decay_env_steps = decay_env_steps
        weight = next(policy.parameters())
        self.critic = critic.to(weight)
        self.replay = self.make_replay(replay_size, num_steps) if replay is None else replay
        self.updates = 0
        self.seen: list[Tensor] = []
        self.compile_updates = compile_updates
        self.kept_steps: list[CompiledAdam] = []
        if compile_updates:
            self.learn = compiled(self.learn)

    def check(self) -> None:
        """There must be a compiler, if updates are to be compiled."""
        if self.compile_updates:
            require_compiler(next(self.policy.parameters()).device)

    @abstractmethod
    def explore(self, obs: Tensor) -> Tensor:
        """Actions [N, A] to take in training in `obs` [N, O]."""

    @abstractmethod
    def learn(self, steps: Sequence[OptimizerStep], batch: ReplayBatch, *drawn: Any) -> dict[str, Tensor]:
        """Takes a step of every optimizer whose turn it is. Returns what to log, each a number on the device."""

    def draw(self, batch: ReplayBatch) -> tuple[Any, ...]:
        """What `learn` takes beside its batch: noise, and what changes from update to update."""
        return ()

    def update(self, batch: ReplayBatch) -> dict[str, Tensor]:
        """Learns from one batch."""
        self.decay()
        return self.learn(self.descents(), batch, *self.draw(batch))

    def decay(self) -> None:
        """Sets the optimizers' rates to those of now."""
        if self.decay_env_steps is None:
            return
        left = part_left(self.decay_env_steps, self.env_steps)
        for group in (group for optimizer in self.all_optimizers() for group in optimizer.param_groups):
            group["lr"] = left * group.setdefault("initial_lr", group["lr"])

    def descents(self) -> list[OptimizerStep]:
        """Steps by each optimizer; those of a graph are kept from update to update."""
        if not self.compile_updates:
            return [OptimizerStep(optimizer) for optimizer in self.all_optimizers()]
        if not self.kept_steps:
            self.kept_steps = [CompiledAdam(optimizer) for optimizer in self.all_optimizers()]
        for descent in self.kept_steps:
            descent.prepare()
        return [*self.kept_steps]

    def iterate(self) -> dict[str, Tensor | float]:
        """Acts and learns, step by step."""
        rows: list[dict[str, Tensor]] = []
        for _ in range(-(-self.steps // self.env.num_envs)):
            self.act()
            due = int(self.updates_per_step * max(self.env_steps - self.warmup_steps, 0))
            while self.updates < due:
                self.updates += 1
                rows.append(self.update(self.batch()))
        if self.seen:
            self.update_normalizer(torch.cat(self.seen))
            self.seen = []
        return {**self.episode_metrics(), **mean_metrics(rows), "updates": self.updates, "replay": len(self.replay)}

    def batch(self) -> ReplayBatch:
        """What one update learns from."""
        return self.replay.sample(self.batch_size, self.generator)

    def act(self) -> None:
        """Takes one step in every copy, and stores it; `ended`, bool [N], says where an episode then ended."""
        warm = self.env_steps >= self.warmup_steps

        def actor(obs: Tensor, noise: Tensor | None) -> Tensor:
            return self.explore(obs) if warm else self.random_action(obs)

        trajectory = self.collect(actor, self.randn(1, self.env.num_envs, 0))
        self.replay.add_trajectory(trajectory)
        self.ended = trajectory.ended[0]
        if self.policy.normalizer is not None:
            self.seen.append(trajectory.obs[0])

    def random_action(self, obs: Tensor) -> Tensor:
        """Actions [N, A], uniform within their bounds, whatever `obs` [N, O] is."""
        bounds = self.bounds
        uniform = torch.rand((len(obs), bounds.size), generator=self.generator, device=obs.device, dtype=obs.dtype)
        return bounds.center + bounds.half_width * (2.0 * uniform - 1.0)

    def within_bounds(self, action: Tensor) -> Tensor:
        """The nearest actions [..., A] within their bounds."""
        bounds = self.bounds
        return action.clamp(bounds.center - bounds.half_width, bounds.center + bounds.half_width)

    @property
    def bounds(self) -> BoundedBox:
        """Middle and half width of the action space."""
        assert isinstance(self.policy.squash, BoundedBox)
        return self.policy.squash

    def make_replay(self, replay_size: int, num_steps: int) -> ReplayBuffer:
        """An empty replay for what `act` stores."""
        weight = next(self.policy.parameters())
        spaces = self.env.single_observation_space, self.env.single_action_space
        obs, action = (tuple(space.shape or ()) for space in spaces)
        fields = {"obs": obs, "action": action, "next_obs": obs}
        return ReplayBuffer(
            replay_size,
            self.env.num_envs,
            fields,
            gamma=self.gamma,
            num_steps=num_steps,
            device=weight.device,
            dtype=weight.dtype,
        )

    def setup(self, stage: str) -> None:
        """Begins with optimizers of its own; lets the replay know where the run is kept, before anything is loaded."""
        self.kept_steps = []
        if self.folder is not None:
            self.replay.folder = self.folder / "replay"

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds experience and the count of updates."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["diffsim"] |= {"updates": self.updates, "replay": self.replay.state_dict()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restores them."""
        super().on_load_checkpoint(checkpoint)
        self.updates = checkpoint["diffsim"]["updates"]
        self.replay.load_state_dict(checkpoint["diffsim"]["replay"])


def new_critic(
    env: VectorEnv, policy: Policy, hidden_sizes: Sequence[int], *, count: int = 1, layer_norm: bool = False
) -> QMLP:
    """`count` Q functions of what `policy` sees, as it sees it, and of the actions of `env`."""
    options = {"count": count, "hidden_sizes": hidden_sizes, "layer_norm": layer_norm}
    return QMLP(policy.obs_size, env.single_action_space, policy.normalizer, **options)
