"""A deterministic policy."""

from __future__ import annotations

from typing import Any

from gymnasium.spaces import Box
from torch import Tensor

from diffsim.policies.mlp_policy import MLPPolicy
from diffsim.policies.squash import TanhBox


class DeterministicMLP(MLPPolicy):
    """One action per observation: the output of a perceptron, squashed into the action space.

        u = center + half_width * tanh(mlp(o))

    Args:
        observation_space: vectors, images, or what `Observations` makes vectors of.
        action_space: bounded vector Box [A].
        **options: of `MLPPolicy`.
    """

    noise_size = 0

    def __init__(self, observation_space: Box, action_space: Box, **options: Any) -> None:
        squash = TanhBox(action_space)
        super().__init__(observation_space, action_space, squash, squash.size, **options)

    def forward(self, obs: Tensor, noise: Tensor | None = None) -> Tensor:
        """Maps `obs` [..., O] to actions [..., A]; `noise` must be None or empty."""
        if noise is not None and noise.shape[-1] != 0:
            raise ValueError(f"noise must be None for a deterministic policy, got shape {tuple(noise.shape)}")
        return self.squash(self.network(self.features(obs)))
