"""What algorithms have in common that learn from a vector environment, without its derivatives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from gymnasium.vector import VectorEnv
from torch import Tensor

from diffsim.policies import Policy
from diffsim.trainers.algorithm import Algorithm, Evaluator
from diffsim.trainers.experience.rollout import Actor, Trajectory, collect
from diffsim.trainers.experience.vector_env import resumable
from diffsim.trainers.maths.returns import episode_returns
from diffsim.trainers.maths.reward_normalizer import RewardNormalizer
from diffsim.trainers.ranges import unit_interval


class ModelFree(Algorithm):
    """Acts in N copies of an environment that go on where they were, and knows the returns of their episodes.

    Args:
        env: N copies, of any kind that Gymnasium has, whose autoreset mode is DISABLED; or our simulator's.
        policy: what is trained.
        gamma: discount, in (0, 1].
        normalize_reward: learn from rewards in units of the return's running deviation, where `scaled_reward` is asked.
        seed: of choices and of the environments, at least 0.
        evaluation: from the policy to metrics.
    """

    running_return: Tensor

    def __init__(
        self,
        env: VectorEnv,
        policy: Policy,
        *,
        gamma: float,
        normalize_reward: bool = False,
        seed: int,
        evaluation: Evaluator | None,
    ) -> None:
        weight = next(policy.parameters())
        super().__init__(policy, seed=seed, device=weight.device, evaluation=evaluation)
        unit_interval("(]", gamma=gamma)
        self.gamma = gamma
        self.env = resumable(env, seed)
        self.register_buffer("running_return", weight.new_zeros(env.num_envs))
        self.reward_normalizer = RewardNormalizer(env.num_envs, gamma).to(weight) if normalize_reward else None
        self.finished: list[Tensor] = []

    def collect(self, actor: Actor, noise: Tensor) -> Trajectory:
        """Follows `actor` from where the copies stand, one step for each of `noise` [H, N, Z]."""
        trajectory, _ = collect(self.env, actor, self.env.obs, noise)
        finished, self.running_return = episode_returns(trajectory.reward, trajectory.ended, self.running_return)
        self.finished.append(finished)
        self.env_steps += trajectory.reward.numel()
        return trajectory

    def scaled_reward(self, trajectory: Trajectory) -> Tensor:
        """Rewards as they are learned from, [H, N]."""
        if self.reward_normalizer is None:
            return trajectory.reward
        return self.reward_normalizer(trajectory.reward, trajectory.ended)

    def randn(self, *shape: int) -> Tensor:
        """Standard normal numbers, as the policy's weights are."""
        weight = next(self.policy.parameters())
        return torch.randn(shape, generator=self.generator, device=weight.device, dtype=weight.dtype)

    def update_normalizer(self, obs: Tensor) -> None:
        """Lets the policy, and what shares its statistics, see with newer ones from now on. `obs`: [..., O]."""
        if self.policy.normalizer is not None:
            self.policy.normalizer.update(obs)

    def episode_metrics(self) -> dict[str, Tensor]:
        """Mean return of the episodes that ended since the last call, if any did."""
        finished, self.finished = torch.cat(self.finished), []
        return {"return": finished.mean()} if len(finished) else {}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds where the environments stand."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["diffsim"]["env"] = self.env.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Puts the environments where they stood."""
        super().on_load_checkpoint(checkpoint)
        saved: Mapping[str, Tensor] = checkpoint["diffsim"]["env"]
        self.env.load_state_dict({name: value.cpu() for name, value in saved.items()})
