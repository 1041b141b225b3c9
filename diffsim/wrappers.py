"""Wrappers: MDPs that change one thing of another MDP."""

from __future__ import annotations

import torch
from torch import Tensor

from diffsim.checks import check_shape, check_std
from diffsim.mdp import MDP


class MDPWrapper(MDP):
    """An MDP that forwards every call to another one; subclasses override what they change.

    Args:
        mdp: the inner MDP.
    """

    def __init__(self, mdp: MDP) -> None:
        self.mdp = mdp
        self.num_envs, self.device, self.dtype = mdp.num_envs, mdp.device, mdp.dtype
        self.state_size, self.noise_size = mdp.state_size, mdp.noise_size
        self.max_episode_steps = mdp.max_episode_steps
        self.observation_space, self.action_space = mdp.observation_space, mdp.action_space

    def initial(self, generator: torch.Generator) -> Tensor:
        """As the inner MDP."""
        return self.mdp.initial(generator)

    def transition(self, state: Tensor, action: Tensor, noise: Tensor | None = None) -> Tensor:
        """As the inner MDP."""
        return self.mdp.transition(state, action, noise)

    def observation(self, state: Tensor) -> Tensor:
        """As the inner MDP."""
        return self.mdp.observation(state)

    def reward(self, state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        """As the inner MDP."""
        return self.mdp.reward(state, action, next_state)

    def terminal(self, state: Tensor) -> Tensor:
        """As the inner MDP."""
        return self.mdp.terminal(state)


class NoisyReward(MDPWrapper):
    """Adds Gaussian noise to the reward; the noise that `transition` takes has one number more.

        r = R(s, u, s') + std * w,   w ~ N(0, 1)

    The last number of a state is the noise of the step that led to it, so that the reward stays a function of
    (s, u, s') and scenarios fix it. Observations do not contain it.

    Args:
        mdp: the inner MDP.
        std: standard deviation of each step's noise, in units of reward, >= 0.

    Raises: ValueError if std is negative or not finite.
    """

    def __init__(self, mdp: MDP, std: float) -> None:
        check_std("reward_noise", std)
        super().__init__(mdp)
        self.std = float(std)
        self.state_size, self.noise_size = mdp.state_size + 1, mdp.noise_size + 1

    def initial(self, generator: torch.Generator) -> Tensor:
        """Draws an initial state for every copy: [N, S]."""
        state = self.mdp.initial(generator)
        return torch.cat([state, torch.zeros_like(state[:, :1])], dim=1)

    def transition(self, state: Tensor, action: Tensor, noise: Tensor | None = None) -> Tensor:
        """Advances every copy by one step; the last column of `noise` [N, W] is added to the reward."""
        check_shape("noise", noise, (self.num_envs, self.noise_size))
        assert noise is not None
        next_state = self.mdp.transition(state[:, :-1], action, noise[:, :-1] if self.mdp.noise_size else None)
        return torch.cat([next_state, self.std * noise[:, -1:]], dim=1)

    def observation(self, state: Tensor) -> Tensor:
        """Observation of `state` [N, S], without the noise: [N, O]."""
        return self.mdp.observation(state[:, :-1])

    def reward(self, state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        """Reward with the noise of the step to `next_state` [N, S]: [N]."""
        return self.mdp.reward(state[:, :-1], action, next_state[:, :-1]) + next_state[:, -1]

    def terminal(self, state: Tensor) -> Tensor:
        """Whether an episode ends in `state` [N, S]: bool [N]."""
        return self.mdp.terminal(state[:, :-1])
