"""A value function."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from diffsim.policies.encoder import ImageEncoder
from diffsim.policies.network import mlp
from diffsim.policies.normalizer import ObservationNormalizer


class ValueMLP(nn.Module):
    """One number per observation, by a perceptron: V(o), the return to expect from there.

    Args:
        obs_size: O, numbers in an observation.
        normalizer: through which observations are seen, usually the policy's own; None to see them as they are.
            It is shared, not copied: whoever trains updates it once for both.
        encoder: of images, whose features are then the O numbers; its weights are the value's own. None for vectors.
        hidden_sizes: widths of the hidden layers.
        activation: tanh, elu, silu, softplus or relu. The actor follows the slope of V, so prefer a smooth one.
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
        seen = obs if self.encoder is None else self.encoder(obs)
        seen = seen if self.normalizer is None else self.normalizer(seen)
        return self.network(seen).squeeze(-1)
