"""What DPG, DDPG and TD3 have in common: a deterministic policy, and noise to explore with."""

from __future__ import annotations

from typing import Any, Literal

import torch
from gymnasium.vector import VectorEnv
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from diffsim.policies import QMLP, Policy
from diffsim.trainers.ranges import nonnegative, positive, unit_interval
from diffsim.trainers.value_gradient.exploration import Exploration
from diffsim.trainers.value_gradient.off_policy import OffPolicy


class Deterministic(OffPolicy):
    """Acts by u = mu(o) + noise, within the bounds; now and then, where that is asked for, at random.

    Args:
        env: N copies to learn in.
        policy: mu, what is trained.
        critic: from observations [B, O] and actions [B, A] to values [K, B].
        exploration: "gaussian" or "ou": see `Exploration`.
        exploration_std: of its noise, in units of the actions' half widths.
        random_action_rate: probability that a copy's action is uniformly random instead, in [0, 1].
        action_penalty: of the mean squared action, in units of half widths, in what the policy climbs; at least 0.
        learning_rate: of the policy's Adam.
        critic_learning_rate: of the critic's Adam.
        critic_weight_decay: of the critic's weights, at least 0.
        **options: see `OffPolicy`.

    Raises: TypeError if the policy is not deterministic.
    """

    def __init__(
        self,
        env: VectorEnv,
        policy: Policy,
        critic: nn.Module,
        *,
        exploration: Literal["gaussian", "ou"],
        exploration_std: float,
        learning_rate: float,
        critic_learning_rate: float,
        critic_weight_decay: float = 0.0,
        random_action_rate: float = 0.0,
        action_penalty: float = 0.0,
        **options: Any,
    ) -> None:
        if policy.noise_size != 0:
            raise TypeError(
                f"policy must be a deterministic one, such as DeterministicMLP, got {type(policy).__name__}"
            )
        positive(learning_rate=learning_rate, critic_learning_rate=critic_learning_rate)
        nonnegative(critic_weight_decay=critic_weight_decay)
        nonnegative(action_penalty=action_penalty)
        unit_interval("[]", random_action_rate=random_action_rate)
        super().__init__(env, policy, critic, **options)
        self.exploration = Exploration(exploration, exploration_std, env.num_envs, policy.action_size)
        self.exploration.to(next(policy.parameters()))
        self.learning_rate, self.critic_learning_rate = learning_rate, critic_learning_rate
        self.critic_weight_decay = critic_weight_decay
        self.random_action_rate, self.action_penalty = random_action_rate, action_penalty

    def configure_optimizers(self) -> list[Optimizer]:
        """Adam for the policy and for the critic."""
        decay = self.critic_weight_decay
        return [
            Adam(self.policy.parameters(), lr=self.learning_rate, fused=True),
            Adam(self.critic.parameters(), lr=self.critic_learning_rate, weight_decay=decay, fused=True),
        ]

    def explore(self, obs: Tensor) -> Tensor:
        """The policy's actions and noise, clipped to the bounds: [N, A]."""
        noise = self.exploration(self.randn(*self.exploration.last.shape))
        action = self.within_bounds(self.policy(obs) + self.bounds.half_width * noise)
        if self.random_action_rate == 0.0:
            return action
        chance = torch.rand(len(obs), 1, generator=self.generator, device=obs.device, dtype=obs.dtype)
        return torch.where(chance < self.random_action_rate, self.random_action(obs), action)

    def act(self) -> None:
        """Takes one step in every copy, stores it, and begins the noise anew where an episode ended."""
        super().act()
        self.exploration.begin(self.ended)

    def actor_loss(self, obs: Tensor) -> Tensor:
        """What the policy's step reduces: the penalty of mu(o) less mean Q_1(o, mu(o)), over `obs` [B, O]."""
        action = self.policy(obs)
        value = self.critic.first(obs, action) if isinstance(self.critic, QMLP) else self.critic(obs, action)[0]
        if self.action_penalty == 0.0:
            return -value.mean()
        unit = (action - self.bounds.center) / self.bounds.half_width
        return self.action_penalty * unit.square().mean() - value.mean()
