"""A policy that takes the action of highest value."""

from __future__ import annotations

from collections.abc import Sequence

from gymnasium.spaces import Box, Discrete
from torch import Tensor

from diffsim.policies.network import mlp
from diffsim.policies.policy import Policy
from diffsim.policies.squash import Indices


class DiscreteQMLP(Policy):
    """Q(o, u) of every action u by one perceptron, and the action for which it is largest.

    Args:
        observation_space: vector Box [O].
        action_space: Discrete, of K actions.
        hidden_sizes: widths of the hidden layers.
        activation: tanh, elu, silu, softplus or relu.
        layer_norm: normalise each hidden layer before its activation.
        normalize: normalise observations by their running mean and deviation.
        out_scale: factor on the initial weights of the last layer.

    Raises: TypeError if the actions are not one choice among K.
    """

    noise_size = 0

    def __init__(
        self,
        observation_space: Box,
        action_space: Discrete,
        *,
        hidden_sizes: Sequence[int] = (256, 256),
        activation: str = "relu",
        layer_norm: bool = False,
        normalize: bool = False,
        out_scale: float = 1.0,
    ) -> None:
        if not isinstance(action_space, Discrete):
            raise TypeError(f"action_space must be Discrete, got {type(action_space).__name__}")
        super().__init__(observation_space, action_space, normalize, Indices(action_space))
        self.num_actions, self.first_action = int(action_space.n), int(action_space.start)
        self.network = mlp(
            self.obs_size,
            hidden_sizes,
            self.num_actions,
            activation=activation,
            layer_norm=layer_norm,
            out_scale=out_scale,
        )

    def values(self, obs: Tensor) -> Tensor:
        """Q of every action in `obs` [..., O]: [..., K]."""
        return self.network(self.features(obs))

    def forward(self, obs: Tensor, noise: Tensor | None = None) -> Tensor:
        """The best action for each of `obs` [..., O], as `env.step` takes it: int64 [...]; `noise` must be None."""
        if noise is not None:
            raise ValueError(f"noise must be None for a deterministic policy, got shape {tuple(noise.shape)}")
        return self.first_action + self.values(obs).argmax(-1)
