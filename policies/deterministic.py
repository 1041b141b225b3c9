"""A deterministic policy."""

from __future__ import annotations

from collections.abc import Sequence

from gymnasium.spaces import Box
from torch import Tensor

from diffsim.policies.encoder import CONVOLUTIONS
from diffsim.policies.network import mlp
from diffsim.policies.policy import Policy


class DeterministicMLP(Policy):
    """One action per observation: a perceptron, squashed into the action space.

        u = center + half_width * tanh(mlp(o))

    Args:
        observation_space: vector Box [O], or images of integers: see `ImageEncoder`.
        action_space: bounded vector Box [A].
        hidden_sizes: widths of the hidden layers.
        activation: tanh, elu, silu, softplus or relu.
        layer_norm: normalise each hidden layer before its activation.
        normalize: normalise observations by their running mean and deviation; images are scaled by their bounds.
        out_scale: factor on the initial weights of the last layer; small starts near the middle action.
        convolutions: channels, kernel and stride of each layer that looks at images, before the hidden ones; empty for
            none. A vector has none.
    """

    noise_size = 0

    def __init__(
        self,
        observation_space: Box,
        action_space: Box,
        *,
        hidden_sizes: Sequence[int] = (64, 64),
        activation: str = "tanh",
        layer_norm: bool = False,
        normalize: bool = True,
        out_scale: float = 0.1,
        convolutions: Sequence[Sequence[int]] = CONVOLUTIONS,
    ) -> None:
        super().__init__(observation_space, action_space, normalize, convolutions=convolutions)
        self.network = mlp(
            self.obs_size,
            hidden_sizes,
            self.action_size,
            activation=activation,
            layer_norm=layer_norm,
            out_scale=out_scale,
        )

    def forward(self, obs: Tensor, noise: Tensor | None = None) -> Tensor:
        """Maps `obs` [..., O] to actions [..., A]; `noise` must be None or empty."""
        if noise is not None and noise.shape[-1] != 0:
            raise ValueError(f"noise must be None for a deterministic policy, got shape {tuple(noise.shape)}")
        return self.squash(self.network(self.features(obs)))
