"""A policy that takes the action of highest value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gymnasium.spaces import Box, Discrete
from torch import Tensor

from diffsim.policies.mlp_policy import MLPPolicy
from diffsim.policies.squash import Indices


class DiscreteQMLP(MLPPolicy):
    """The greedy policy of a perceptron that gives Q(o, u) of every action u.

        u = argmax_u Q(o, u)

    Args:
        observation_space: vectors, images, or what `Observations` makes vectors of.
        action_space: Discrete, of K actions.
        hidden_sizes: widths of the hidden layers.
        activation: tanh, elu, silu, softplus or relu.
        normalize: normalise observations by their running mean and standard deviation.
        out_scale: factor on the initial weights of the last layer.
        **options: of `MLPPolicy`.

    Raises: TypeError if the action space is not Discrete.
    """

    noise_size = 0

    def __init__(
        self,
        observation_space: Box,
        action_space: Discrete,
        *,
        hidden_sizes: Sequence[int] = (256, 256),
        activation: str = "relu",
        normalize: bool = False,
        out_scale: float = 1.0,
        **options: Any,
    ) -> None:
        if not isinstance(action_space, Discrete):
            raise TypeError(f"action_space must be Discrete, got {type(action_space).__name__}")
        super().__init__(
            observation_space,
            action_space,
            Indices(action_space),
            int(action_space.n),
            hidden_sizes=hidden_sizes,
            activation=activation,
            normalize=normalize,
            out_scale=out_scale,
            **options,
        )
        self.num_actions, self.first_action = int(action_space.n), int(action_space.start)

    def values(self, obs: Tensor) -> Tensor:
        """Q of every action in `obs` [..., O]: [..., K]."""
        return self.network(self.features(obs))

    def forward(self, obs: Tensor, noise: Tensor | None = None) -> Tensor:
        """The best action for each of `obs` [..., O], as `env.step` takes it: int64 [...]; `noise` must be None."""
        if noise is not None:
            raise ValueError(f"noise must be None for a deterministic policy, got shape {tuple(noise.shape)}")
        return self.first_action + self.values(obs).argmax(-1)
