"""The base class of policies that are one perceptron, and the only place of the options they share."""

from __future__ import annotations

from collections.abc import Sequence

from gymnasium.spaces import Space

from diffsim.policies.encoder import CONVOLUTIONS
from diffsim.policies.network import mlp
from diffsim.policies.policy import Policy
from diffsim.policies.squash import Squash


class MLPPolicy(Policy):
    """A policy whose `network` maps the features of an observation to `out_size` numbers.

    Args:
        observation_space: vectors, images, or what `Observations` makes vectors of.
        action_space: space of the actions.
        squash: map from raw outputs to the action space.
        out_size: numbers that the network returns.
        hidden_sizes: widths of the hidden layers.
        activation: tanh, elu, silu, softplus or relu.
        layer_norm: normalise each hidden layer before its activation.
        batch_renorm: normalise the inputs of every layer by `BatchRenorm`, whose statistics only `CrossQ` updates.
        normalize: normalise observations by their running mean and standard deviation; images are scaled by their
            bounds.
        clip_obs: clip normalised observations to [-clip_obs, clip_obs]; None does not clip.
        hidden_scale: factor on the initial weights of the hidden layers.
        out_scale: factor on the initial weights of the last layer; a small one starts near the middle action.
        convolutions: channels, kernel size and stride of each convolution of images, before the hidden layers; vectors
            use none.
        feature_size: numbers to which a last layer of the encoder of images reduces its features; 0 for no such layer.
    """

    def __init__(
        self,
        observation_space: Space,
        action_space: Space,
        squash: Squash,
        out_size: int,
        *,
        hidden_sizes: Sequence[int] = (64, 64),
        activation: str = "tanh",
        layer_norm: bool = False,
        batch_renorm: bool = False,
        normalize: bool = True,
        clip_obs: float | None = None,
        hidden_scale: float = 1.0,
        out_scale: float = 0.1,
        convolutions: Sequence[Sequence[int]] = CONVOLUTIONS,
        feature_size: int = 0,
    ) -> None:
        images = {"convolutions": convolutions, "feature_size": feature_size}
        super().__init__(observation_space, action_space, normalize, squash, clip_obs=clip_obs, **images)
        self.network = mlp(
            self.obs_size,
            hidden_sizes,
            out_size,
            activation=activation,
            layer_norm=layer_norm,
            batch_renorm=batch_renorm,
            hidden_scale=hidden_scale,
            out_scale=out_scale,
        )
