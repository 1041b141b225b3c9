"""A value function."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from diffsim.policies.encoder import ImageEncoder
from diffsim.policies.network import mlp
from diffsim.policies.normalizer import ObservationNormalizer


class ValueMLP(nn.Module):
    """A perceptron that estimates the expected return from an observation: V(o).

    Args:
        obs_size: O, numbers in an observation.
        normalizer: normalises observations; usually the policy's own, shared and not copied, so that the algorithm
            updates it once for both. None for none.
        encoder: of images, which returns the O numbers; its weights are not shared. None for vectors.
        hidden_sizes: widths of the hidden layers.
        activation: tanh, elu, silu, softplus or relu. Prefer a smooth one where the actor uses the gradient
            of V.
        layer_norm: normalise each hidden layer before its activation.
        hidden_scale: factor on the initial weights of the hidden layers.
    """

    def __init__(
        self,
        obs_size: int,
        normalizer: ObservationNormalizer | None = None,
        encoder: ImageEncoder | None = None,
        *,
        hidden_sizes: Sequence[int] = (128, 128),
        activation: str = "elu",
        layer_norm: bool = True,
        hidden_scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.normalizer, self.encoder = normalizer, encoder
        self.network = mlp(
            obs_size, hidden_sizes, 1, activation=activation, layer_norm=layer_norm, hidden_scale=hidden_scale
        )

    def forward(self, obs: Tensor) -> Tensor:
        """Values of `obs`, [..., O] or images: [...]."""
        features = obs if self.encoder is None else self.encoder(obs)
        features = features if self.normalizer is None else self.normalizer(features)
        return self.network(features).squeeze(-1)
