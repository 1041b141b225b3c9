"""MDPs that change one method of another MDP."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box
from torch import Tensor

from diffsim.mdp import MDP
from diffsim.wrappers import MDPWrapper


class BoundedMDP(MDPWrapper):
    """An MDP whose episodes also terminate where an observed number leaves a symmetric interval around zero.

    It is used in training only, to end episodes in states from which nothing is learned, such as a robot on its back
    in a task that never terminates. Evaluation uses the unchanged task.

    Args:
        mdp: its dynamics, rewards and terminations are unchanged.
        bounds: maps the index of a number in the observation to its largest allowed magnitude, in its unit.

    Raises: ValueError if an index is not in the observation, or a bound is not above 0.
    """

    def __init__(self, mdp: MDP, bounds: Mapping[int, float]) -> None:
        super().__init__(mdp)
        (size,) = mdp.observation_space.shape
        for index, bound in bounds.items():
            if not (isinstance(index, int) and 0 <= index < size) or not bound > 0:
                raise ValueError(
                    f"termination_bounds must map indices of observed numbers, 0 to {size - 1}, to bounds > 0, "
                    f"got {index!r}: {bound}"
                )
        self.bounds = dict(bounds)

    def terminal(self, state: Tensor) -> Tensor:
        """Whether the MDP terminates, or an observed number is out of its bounds: bool [N]."""
        obs = self.mdp.observation(state)
        outside = [obs[:, index].abs() > bound for index, bound in self.bounds.items()]
        return torch.stack([self.mdp.terminal(state), *outside]).any(0)


class ShowsHidden(MDPWrapper):
    """An MDP that shows what it hides: its observation is that of the inner MDP, and then `hidden`.

    Args:
        mdp: the inner MDP.
    """

    def __init__(self, mdp: MDP) -> None:
        super().__init__(mdp)
        with torch.no_grad():
            size = mdp.hidden(mdp.initial(torch.Generator(mdp.device))).shape[1]
        (self.num_observed,) = mdp.observation_space.shape
        self.observation_space = Box(-np.inf, np.inf, (self.num_observed + size,), mdp.observation_space.dtype.type)

    def observation(self, state: Tensor) -> Tensor:
        """Observation, and what it hides: [N, O + K]."""
        return torch.cat([self.mdp.observation(state), self.mdp.hidden(state)], dim=1)

    def for_policy(self, policy: Any) -> Any:  # noqa: ANN401  (an actor, as `rollout` takes it)
        """An actor for `rollout` that gives the policy the inner MDP's observation only."""
        return _WithoutHidden(policy, self.num_observed)


class _WithoutHidden:
    """A policy that is given the first numbers of each observation only."""

    def __init__(self, policy: Any, num_observed: int) -> None:  # noqa: ANN401
        self.policy, self.num_observed = policy, num_observed
        self.memory_size = getattr(policy, "memory_size", 0)

    def __call__(self, obs: Tensor, noise: Tensor | None) -> Tensor:
        return self.policy(obs[..., : self.num_observed], noise)

    def step(self, obs: Tensor, memory: Tensor, noise: Tensor | None) -> tuple[Tensor, Tensor]:
        """Action and memory."""
        return self.policy.step(obs[..., : self.num_observed], memory, noise)


class ObservedReward(MDPWrapper):
    """An MDP whose reward is a function of observations and the action.

    Args:
        mdp: its dynamics and terminations are unchanged.
        function: maps obs [N, O], action [N, A] and next_obs [N, O] to rewards [N].
    """

    def __init__(self, mdp: MDP, function: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
        super().__init__(mdp)
        self.function = function

    def reward(self, state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        """Reward by `function`: [N]."""
        return self.function(self.observation(state), action, self.observation(next_state))
