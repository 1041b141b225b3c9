"""MDPs that change one thing about another."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from diffsim.mdp import MDP
from diffsim.wrappers import MDPWrapper


class BoundedMDP(MDPWrapper):
    """An MDP whose episodes also end where an observed number leaves a symmetric interval around zero.

    For training alone: it keeps worlds out of states from which nothing is to be learned, such as a robot on its
    back in a task that never ends. What is evaluated is the task as it is.

    Args:
        mdp: whose dynamics, rewards and ends stay as they are.
        bounds: from the index of a number in the observation to the largest magnitude allowed, in its unit.

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
        """Where the MDP ends, or an observed number is out of its bounds: bool [N]."""
        obs = self.mdp.observation(state)
        beyond = [obs[:, index].abs() > bound for index, bound in self.bounds.items()]
        return torch.stack([self.mdp.terminal(state), *beyond]).any(0)


class ObservedReward(MDPWrapper):
    """An MDP with another reward, a function of what is observed.

    Args:
        mdp: whose dynamics and ends stay as they are.
        function: from obs [N, O], action [N, A] and next_obs [N, O] to rewards [N].
    """

    def __init__(self, mdp: MDP, function: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
        super().__init__(mdp)
        self.function = function

    def reward(self, state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        """The function's: [N]."""
        return self.function(self.observation(state), action, self.observation(next_state))


class RecordedMDP(MDPWrapper):
    """An MDP that remembers the states it left and reached, as they are in the graph.

    Attributes:
        left: states [N, S], one for each call to `transition`.
        reached: next states [N, S], likewise.
    """

    def __init__(self, mdp: MDP) -> None:
        super().__init__(mdp)
        self.left: list[Tensor] = []
        self.reached: list[Tensor] = []

    def transition(self, state: Tensor, action: Tensor, noise: Tensor | None = None) -> Tensor:
        """As the MDP's, and remembered."""
        self.left.append(state)
        self.reached.append(self.mdp.transition(state, action, noise))
        return self.reached[-1]
