"""An ensemble of action-value functions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from gymnasium.spaces import Space
from torch import Tensor, nn

from diffsim.policies.encoder import ImageEncoder
from diffsim.policies.network import ACTIVATIONS, check_layers
from diffsim.policies.normalizer import ObservationNormalizer
from diffsim.policies.squash import ClipBox


class QMLP(nn.Module):
    """K independent perceptrons that estimate the expected return of action u in observation o: Q_k(o, u).

    Actions are scaled from their bounds to [-1, 1]. The K perceptrons share no weights. Each hidden layer is one
    batched matrix product, so that two perceptrons cost little more than one.

    Args:
        obs_size: O, numbers in an observation.
        action_space: Box of floats with A numbers.
        normalizer: normalises observations; usually the policy's own, shared and not copied. None for none.
        encoder: of images, which returns the O numbers; one for all K perceptrons. None for vectors.
        count: K, at least 1.
        hidden_sizes: widths of the hidden layers of each perceptron.
        activation: tanh, elu, silu, softplus or relu.
        layer_norm: normalise each hidden layer before its activation, which bounds the extrapolation to actions and
            observations outside the training data: Ball et al. (2023), "Efficient online reinforcement learning with
            offline data", section 4.2.

    Raises: ValueError if a size is below 1, or the activation is unknown.
    """

    def __init__(
        self,
        obs_size: int,
        action_space: Space,
        normalizer: ObservationNormalizer | None = None,
        encoder: ImageEncoder | None = None,
        *,
        count: int = 1,
        hidden_sizes: Sequence[int] = (256, 256),
        activation: str = "relu",
        layer_norm: bool = False,
    ) -> None:
        super().__init__()
        check_layers(hidden_sizes, activation, count=count, obs_size=obs_size)
        self.count, self.normalizer, self.encoder = count, normalizer, encoder
        self.bounds = ClipBox(action_space, unbounded=True)
        self.unit = bool((self.bounds.center == 0).all() and (self.bounds.half_width == 1).all())
        self.activation = ACTIVATIONS[activation]()
        sizes = [obs_size + self.bounds.size, *hidden_sizes, 1]
        pairs = list(zip(sizes[:-1], sizes[1:], strict=True))
        self.weights = nn.ParameterList(self._orthogonal(*pair) for pair in pairs)
        self.biases = nn.ParameterList(torch.zeros(count, 1, fan_out) for _, fan_out in pairs)
        self.gains = nn.ParameterList(torch.ones(count, 1, fan_out) for _, fan_out in pairs[:-1] if layer_norm)
        self.shifts = nn.ParameterList(torch.zeros(count, 1, fan_out) for _, fan_out in pairs[:-1] if layer_norm)

    def _orthogonal(self, fan_in: int, fan_out: int) -> Tensor:
        """Initial weights [K, in, out], orthogonal for each k, as in `mlp`."""
        drawn = [nn.init.orthogonal_(torch.empty(fan_out, fan_in)).T for _ in range(self.count)]
        return torch.stack(drawn)

    def forward(self, obs: Tensor, action: Tensor) -> Tensor:
        """Values of `action` [..., A] in `obs`, [..., O] or images: [K, ...]."""
        return self._values(obs, action, self.count)

    def first(self, obs: Tensor, action: Tensor) -> Tensor:
        """Values by the first perceptron only: [...]."""
        return self._values(obs, action, 1)[0]

    def _values(self, obs: Tensor, action: Tensor, count: int) -> Tensor:
        """Values by the first `count` perceptrons: [count, ...]."""
        features = obs if self.encoder is None else self.encoder(obs)
        features = features if self.normalizer is None else self.normalizer(features)
        x = torch.cat([features, action if self.unit else self.bounds.inverse(action)], dim=-1)
        shape, x = x.shape[:-1], x.reshape(1, -1, x.shape[-1]).expand(count, -1, -1)
        *hidden, (weight, bias) = zip(self.weights, self.biases, strict=True)
        for layer, (inner_weight, inner_bias) in enumerate(hidden):
            x = torch.baddbmm(inner_bias[:count], self._layer_input(layer, x), inner_weight[:count])
            if self.gains:
                x = nn.functional.layer_norm(x, x.shape[-1:]) * self.gains[layer][:count] + self.shifts[layer][:count]
            x = self.activation(x)
        x = self._layer_input(len(hidden), x)
        out = (x * weight[:count].mT).sum(-1) + bias[:count, :, 0]  # a matrix product with one column, fused
        return out.reshape(count, *shape)

    def _layer_input(self, layer: int, x: Tensor) -> Tensor:
        """What a layer of the perceptrons gets for `x` [count, B, F]: a subclass may normalise it."""
        return x
