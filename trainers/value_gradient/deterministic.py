"""What DPG, DDPG and TD3 have in common: a deterministic policy, and noise to explore with."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from diffsim.policies import QMLP
from diffsim.trainers.options import option
from diffsim.trainers.value_gradient.exploration import Exploration
from diffsim.trainers.value_gradient.off_policy import OffPolicy


class Deterministic(OffPolicy):
    """Acts by u = mu(o) + noise, clipped to the bounds, with a part of uniformly random actions."""

    exploration: Literal["gaussian", "ou"] = option("kind of noise (see `Exploration`).", default="gaussian")
    exploration_std: float = option(
        "of the noise per step, in units of the actions' half widths.", "in [0, inf)", default=0.2
    )
    random_action_rate: float = option(
        "probability that an action is uniformly random instead.", "in [0, 1]", default=0.0
    )
    action_penalty: float = option(
        "weight of the mean squared action, in units of half widths, in the policy's loss.", ">= 0", default=0.0
    )

    def setup(self) -> None:
        """Makes critic, replay buffer and noise.

        Raises: TypeError if the policy is not deterministic.
        """
        policy = self.policy
        if policy.noise_size != 0:
            raise TypeError(
                f"policy must be a deterministic one, such as DeterministicMLP, got {type(policy).__name__}"
            )
        super().setup()
        noise = Exploration(self.exploration, self.exploration_std, self.env.num_envs, policy.action_size)
        del self.exploration  # the module takes the option's name, by which checkpoints know it
        self.add_module("exploration", noise.to(next(policy.parameters())))

    @property
    def noise(self) -> Exploration:
        """The process that makes exploration noise."""
        noise = self.get_submodule("exploration")
        assert isinstance(noise, Exploration)
        return noise

    def explore(self, obs: Tensor) -> Tensor:
        """The policy's actions with noise, or random ones: [N, A]."""
        noise = self.noise(self.randn(*self.noise.last.shape))
        action = self.within_bounds(self.policy(obs) + self.bounds.half_width * noise)
        if self.random_action_rate == 0.0:
            return action
        uniform = torch.rand(len(obs), 1, generator=self.generator, device=obs.device, dtype=action.dtype)
        return torch.where(uniform < self.random_action_rate, self.random_action(obs), action)

    def act(self) -> None:
        """Takes one step in every copy, and stores it. Resets the noise where an episode ended."""
        super().act()
        self.noise.reset(self.ended)

    def actor_loss(self, obs: Tensor) -> Tensor:
        """The policy's loss over `obs` [B, O]: action_penalty * mean mu(o)^2 - mean Q_1(o, mu(o))."""
        action = self.policy(obs)
        value = self.critic.first(obs, action) if isinstance(self.critic, QMLP) else self.critic(obs, action)[0]
        if self.action_penalty == 0.0:
            return -value.mean()
        unit = (action - self.bounds.center) / self.bounds.half_width
        return self.action_penalty * unit.square().mean() - value.mean()
