"""A choice among alternatives that the observation describes, by a weighted sum of each alternative's features."""

from __future__ import annotations

import torch
from gymnasium.spaces import Box, Discrete
from torch import Tensor, nn

from diffsim.checks import check_value, require
from diffsim.policies.distributions import Categoricals
from diffsim.policies.policy import StochasticPolicy
from diffsim.policies.squash import Indices

IMPOSSIBLE = -1e9
"""Preference of an action that is not legal: its probability is zero, and its logarithm finite."""


class LinearChoice(StochasticPolicy):
    """Chooses the action with the best weighted sum of its own features, as players of Tetris do.

        V_k = w' f_k,    u = argmax of V_k over the legal actions k,    p(u = k | o) = softmax_k(V_k / temperature)

    The observation has 1 + F numbers for each of K actions, one action after the other: 1 if it is legal, else 0, and
    its features f_k. The weights w are the only parameters.

    Args:
        observation_space: vector Box [K * (1 + F)].
        action_space: Discrete, of K actions.
        temperature: of sampled actions, above 0. The mode does not depend on it.

    Attributes:
        weights: w, [F]; zero at first.

    Raises: ValueError or TypeError if a space is of the wrong kind or size.
    Source: Bertsekas & Tsitsiklis (1996), section 8.3, for Tetris; Kakade (2001), "A natural policy gradient", for the
    probabilities.
    """

    noise_size = 1

    def __init__(self, observation_space: Box, action_space: Discrete, *, temperature: float = 1.0) -> None:
        if not isinstance(action_space, Discrete):
            raise TypeError(f"action_space must be Discrete, got {type(action_space).__name__}")
        super().__init__(observation_space, action_space, False, Indices(action_space))
        check_value("temperature", temperature, "finite and > 0")
        self.num_actions, self.temperature = int(action_space.n), temperature
        columns, rest = divmod(self.obs_size, self.num_actions)
        rule = f"[K * (1 + F)] with K = {self.num_actions} actions and F >= 1 features"
        require(rest == 0 and columns >= 2, "observation_space", rule, [self.obs_size])
        self.weights = nn.Parameter(torch.zeros(columns - 1))

    def raw_distribution(self, obs: Tensor) -> Categoricals:
        """Distribution of the action's index, for `obs` [..., K * (1 + F)]."""
        rows = self.features(obs).unflatten(-1, (self.num_actions, -1))
        value = (rows[..., 1:] * self.weights).sum(-1) / self.temperature
        return Categoricals((torch.where(rows[..., 0] > 0, value, IMPOSSIBLE).log_softmax(-1),))
