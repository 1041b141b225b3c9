"""A policy for discrete actions."""

from __future__ import annotations

from typing import Any

from gymnasium.spaces import Box, Discrete, MultiDiscrete
from torch import Tensor

from diffsim.policies.distributions import Categoricals
from diffsim.policies.mlp_policy import MLPPolicy
from diffsim.policies.policy import StochasticPolicy
from diffsim.policies.squash import Indices


class CategoricalMLP(StochasticPolicy, MLPPolicy):
    """One discrete choice, or several independent ones, from the logits of a perceptron.

        p(u_f = k | o) = softmax_k(logits_f(o))

    Args:
        observation_space: vectors, images, or what `Observations` makes vectors of.
        action_space: Discrete, MultiDiscrete, MultiBinary, or a Box of integers; the choices are independent given o.
        out_scale: factor on the initial weights of the last layer; a small one starts near equal
            probabilities.
        **options: of `MLPPolicy`.
    """

    def __init__(
        self,
        observation_space: Box,
        action_space: Discrete | MultiDiscrete,
        *,
        out_scale: float = 0.01,
        **options: Any,
    ) -> None:
        squash = Indices(action_space)
        super().__init__(observation_space, action_space, squash, sum(squash.counts), out_scale=out_scale, **options)
        self.noise_size, self.counts = squash.size, squash.counts

    def raw_distribution(self, obs: Tensor) -> Categoricals:
        """Distribution of the indices, counted from 0."""
        logits = self.network(self.features(obs)).split(self.counts, dim=-1)
        return Categoricals(tuple(part.log_softmax(-1) for part in logits))
