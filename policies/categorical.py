"""A policy for discrete actions."""

from __future__ import annotations

from collections.abc import Sequence

from gymnasium.spaces import Box, Discrete, MultiDiscrete
from torch import Tensor

from diffsim.policies.distributions import Categoricals
from diffsim.policies.encoder import CONVOLUTIONS
from diffsim.policies.network import mlp
from diffsim.policies.policy import StochasticPolicy
from diffsim.policies.squash import Indices


class CategoricalMLP(StochasticPolicy):
    """One index, or several independent ones, by a perceptron's logits.

        p(u_f = k | o) = softmax_k(logits_f(o))

    Args:
        observation_space: vector Box [O], or images of integers: see `ImageEncoder`.
        action_space: Discrete, or MultiDiscrete with one axis [F], whose choices are independent given o.
        hidden_sizes: widths of the hidden layers.
        activation: tanh, elu, silu, softplus or relu.
        layer_norm: normalise each hidden layer before its activation.
        normalize: normalise observations by their running mean and deviation; images are scaled by their bounds.
        clip_obs: keep normalised observations within this distance of 0; None for no bound.
        hidden_scale: factor on the initial weights of the hidden layers.
        out_scale: factor on the initial weights of the last layer; small starts near equal probabilities.
        convolutions: channels, kernel and stride of each layer that looks at images, before the hidden ones; empty for
            none. A vector has none.
    """

    def __init__(
        self,
        observation_space: Box,
        action_space: Discrete | MultiDiscrete,
        *,
        hidden_sizes: Sequence[int] = (64, 64),
        activation: str = "tanh",
        layer_norm: bool = False,
        normalize: bool = True,
        clip_obs: float | None = None,
        hidden_scale: float = 1.0,
        out_scale: float = 0.01,
        convolutions: Sequence[Sequence[int]] = CONVOLUTIONS,
    ) -> None:
        squash = Indices(action_space)
        super().__init__(
            observation_space, action_space, normalize, squash, clip_obs=clip_obs, convolutions=convolutions
        )
        self.noise_size, self.counts = squash.size, squash.counts
        self.network = mlp(
            self.obs_size,
            hidden_sizes,
            sum(self.counts),
            activation=activation,
            layer_norm=layer_norm,
            hidden_scale=hidden_scale,
            out_scale=out_scale,
        )

    def raw_distribution(self, obs: Tensor) -> Categoricals:
        """The distribution of the indices, counted from 0."""
        logits = self.network(self.features(obs)).split(self.counts, dim=-1)
        return Categoricals(tuple(part.log_softmax(-1) for part in logits))
