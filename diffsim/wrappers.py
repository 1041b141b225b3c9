"""Wrappers: MDPs that change one thing of another MDP."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from gymnasium.spaces import Box
from torch import Tensor

from diffsim.checks import check_count, check_shape, check_std, require
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
        self.position_indices = mdp.position_indices

    def initial(self, generator: torch.Generator) -> Tensor:
        """As the inner MDP."""
        return self.mdp.initial(generator)

    def transition(self, state: Tensor, action: Tensor, noise: Tensor | None = None) -> Tensor:
        """As the inner MDP."""
        return self.mdp.transition(state, action, noise)

    def observation(self, state: Tensor) -> Tensor:
        """As the inner MDP."""
        return self.mdp.observation(state)

    def hidden(self, state: Tensor) -> Tensor:
        """As the inner MDP."""
        return self.mdp.hidden(state)

    def reward(self, state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        """As the inner MDP."""
        return self.mdp.reward(state, action, next_state)

    def terminal(self, state: Tensor) -> Tensor:
        """As the inner MDP."""
        return self.mdp.terminal(state)


class AugmentedMDP(MDPWrapper):
    """An MDP whose state is that of another one, followed by further numbers.

    Observation, reward and terminal states are the inner MDP's; subclasses define `initial` and `transition`, and
    override what depends on the further numbers.

    Args:
        mdp: the inner MDP.
        size: further numbers in a state.
        noise_size: further numbers in the noise of a transition.
    """

    def __init__(self, mdp: MDP, size: int, noise_size: int = 0) -> None:
        super().__init__(mdp)
        self.state_size, self.noise_size = mdp.state_size + size, mdp.noise_size + noise_size

    def inner(self, state: Tensor) -> Tensor:
        """The inner MDP's part of `state` [N, S]."""
        return state[:, : self.mdp.state_size]

    def own(self, state: Tensor) -> Tensor:
        """The further numbers of `state` [N, S]."""
        return state[:, self.mdp.state_size :]

    def split_noise(self, noise: Tensor | None) -> tuple[Tensor | None, Tensor]:
        """The inner MDP's part of the noise [N, W], None if it has none, and the further numbers.

        Raises: ValueError if the shape is wrong.
        """
        check_shape("noise", noise, (self.num_envs, self.noise_size))
        assert noise is not None
        size = self.mdp.noise_size
        return noise[:, :size] if size else None, noise[:, size:]

    def observation(self, state: Tensor) -> Tensor:
        """As the inner MDP."""
        return self.mdp.observation(self.inner(state))

    def hidden(self, state: Tensor) -> Tensor:
        """As the inner MDP."""
        return self.mdp.hidden(self.inner(state))

    def reward(self, state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        """As the inner MDP."""
        return self.mdp.reward(self.inner(state), action, self.inner(next_state))

    def terminal(self, state: Tensor) -> Tensor:
        """As the inner MDP."""
        return self.mdp.terminal(self.inner(state))


class NoisyReward(AugmentedMDP):
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
        super().__init__(mdp, 1, 1)
        self.std = float(std)

    def initial(self, generator: torch.Generator) -> Tensor:
        """Draws an initial state for every copy: [N, S]."""
        state = self.mdp.initial(generator)
        return torch.cat([state, torch.zeros_like(state[:, :1])], dim=1)

    def transition(self, state: Tensor, action: Tensor, noise: Tensor | None = None) -> Tensor:
        """Advances every copy by one step; the last column of `noise` [N, W] is added to the reward."""
        inner_noise, own = self.split_noise(noise)
        return torch.cat([self.mdp.transition(self.inner(state), action, inner_noise), self.std * own], dim=1)

    def reward(self, state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        """Reward with the noise of the step to `next_state` [N, S]: [N]."""
        return super().reward(state, action, next_state) + next_state[:, -1]


class PositionsOnly(MDPWrapper):
    """Observes positions only, the columns `mdp.position_indices` of the observation.

    Args:
        mdp: the inner MDP.

    Raises: ValueError if the MDP names no positions.

    Source: Duan et al. (2016), "Benchmarking Deep Reinforcement Learning for Continuous Control", section 3.3, limited
    sensors.
    """

    def __init__(self, mdp: MDP) -> None:
        check_positions(mdp.position_indices, type(mdp).__name__)
        super().__init__(mdp)
        self.indices = list(mdp.position_indices)
        self.position_indices = tuple(range(len(self.indices)))
        space = mdp.observation_space
        self.observation_space = Box(space.low[self.indices], space.high[self.indices], dtype=space.dtype.type)

    def observation(self, state: Tensor) -> Tensor:
        """Observed positions in `state` [N, S]: [N, O]."""
        return self.mdp.observation(state)[:, self.indices]

    def hidden(self, state: Tensor) -> Tensor:
        """The inner MDP's observation, and what that hides."""
        return torch.cat([self.mdp.observation(state), super().hidden(state)], dim=1)


class NoisyObservation(AugmentedMDP):
    """Adds Gaussian noise to every observed number, in every state anew.

        o = h(s) + std * w,   w ~ N(0, I)

    The noise of the present observation is the last part of the state, so that the observation stays a function of
    the state and scenarios fix it. `initial` draws that of the first observation.

    Args:
        mdp: the inner MDP.
        std: standard deviation, in the units of the observed numbers, >= 0.

    Raises: ValueError if std is negative or not finite.

    Source: Duan et al. (2016), section 3.3, noisy observations.
    """

    def __init__(self, mdp: MDP, std: float) -> None:
        check_std("observation_noise", std)
        (size,) = mdp.observation_space.shape
        super().__init__(mdp, size, size)
        self.std = float(std)
        self.observation_space = Box(-np.inf, np.inf, (size,), dtype=mdp.observation_space.dtype.type)

    def initial(self, generator: torch.Generator) -> Tensor:
        """Draws an initial state for every copy, and the noise of its observation: [N, S]."""
        state = self.mdp.initial(generator)
        shape = self.num_envs, self.state_size - self.mdp.state_size
        noise = torch.randn(shape, generator=generator, dtype=self.dtype, device=self.device)
        return torch.cat([state, self.std * noise], dim=1)

    def transition(self, state: Tensor, action: Tensor, noise: Tensor | None = None) -> Tensor:
        """Advances every copy by one step; the last columns of `noise` [N, W] are added to the next observation."""
        inner_noise, own = self.split_noise(noise)
        return torch.cat([self.mdp.transition(self.inner(state), action, inner_noise), self.std * own], dim=1)

    def observation(self, state: Tensor) -> Tensor:
        """Noisy observation of `state` [N, S]: [N, O]."""
        return super().observation(state) + self.own(state)

    def hidden(self, state: Tensor) -> Tensor:
        """The observation without noise, and what that hides."""
        return torch.cat([super().observation(state), super().hidden(state)], dim=1)


class DelayedActions(AugmentedMDP):
    """Executes each action `delay` steps after it was chosen; the first `delay` actions of an episode are zeros.

    The actions that wait are the last part of the state, the oldest first, so that gradients reach the step that chose
    an action. The reward of a step is that of the action that it executes.

    Args:
        mdp: the inner MDP.
        delay: steps, >= 0, fewer than an episode has.

    Raises: ValueError if the delay is out of range, or zero is no action.

    Source: Duan et al. (2016), section 3.3, delayed actions.
    """

    def __init__(self, mdp: MDP, delay: int) -> None:
        check_delay(delay, mdp.max_episode_steps)
        require(
            mdp.action_space.contains(np.zeros_like(mdp.action_space.low)), "action_space", "a box around 0", "none"
        )
        (self.action_size,) = mdp.action_space.shape
        super().__init__(mdp, delay * self.action_size)

    def initial(self, generator: torch.Generator) -> Tensor:
        """Draws an initial state for every copy, with zeros as waiting actions: [N, S]."""
        state = self.mdp.initial(generator)
        return torch.cat([state, state.new_zeros(self.num_envs, self.state_size - self.mdp.state_size)], dim=1)

    def transition(self, state: Tensor, action: Tensor, noise: Tensor | None = None) -> Tensor:
        """Executes the oldest waiting action for one step, and lets `action` [N, A] wait."""
        check_shape("action", action, (self.num_envs, self.action_size))
        executed, waiting = self._queue(state, action)
        return torch.cat([self.mdp.transition(self.inner(state), executed, noise), waiting], dim=1)

    def reward(self, state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        """Reward of the executed action: [N]."""
        return super().reward(state, self._queue(state, action)[0], next_state)

    def hidden(self, state: Tensor) -> Tensor:
        """The actions that wait, and what the inner MDP hides."""
        return torch.cat([self.own(state), super().hidden(state)], dim=1)

    def _queue(self, state: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        """The action [N, A] that a step executes, and those that wait after it."""
        queue = torch.cat([self.own(state), action], dim=1)
        return queue[:, : self.action_size], queue[:, self.action_size :]


def check_positions(indices: Sequence[int], name: object) -> None:
    """Raises ValueError if a task called `name` names no positions."""
    require(len(indices) > 0, "positions_only", f"False for {name}, which names no positions", True)


def check_delay(delay: int, horizon: int | None) -> None:
    """Raises TypeError or ValueError unless an action's delay is >= 0 and shorter than an episode of `horizon`."""
    check_count("action_delay", delay, 0)
    valid = horizon is None or delay < horizon
    require(valid, "action_delay", f"less than the {horizon} steps of an episode", delay)
