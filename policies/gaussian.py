"""Gaussian policies, squashed into the action space."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from gymnasium.spaces import Box, Space
from torch import Tensor, nn

from diffsim.policies.distributions import DiagonalGaussian, FullGaussian
from diffsim.policies.encoder import CONVOLUTIONS
from diffsim.policies.network import mlp
from diffsim.policies.policy import StochasticPolicy
from diffsim.policies.squash import BoundedBox, ClipBox, TanhBox

LOG_STD_RANGE = (-5.0, 2.0)  # bounds of a learned log deviation, as in Haarnoja et al. (2018)


def bounded(action_space: Space, bounds: str) -> BoundedBox:
    """How numbers are kept within `action_space`: "tanh" or "clip".

    Raises: ValueError if `bounds` is neither; TypeError or ValueError if the space has none.
    """
    if bounds not in ("tanh", "clip"):
        raise ValueError(f"bounds must be one of tanh, clip, got {bounds!r}")
    return TanhBox(action_space) if bounds == "tanh" else ClipBox(action_space)


class GaussianMLP(StochasticPolicy):
    """Actions from a normal distribution around a perceptron's output, squashed by tanh.

        x = mean(o) + std(o) * z,   z ~ N(0, I)         u = center + half_width * tanh(x)

    Args:
        observation_space: vector Box [O], or images of integers: see `ImageEncoder`.
        action_space: bounded vector Box [A].
        hidden_sizes: widths of the hidden layers.
        activation: tanh, elu, silu, softplus or relu.
        layer_norm: normalise each hidden layer before its activation.
        normalize: normalise observations by their running mean and deviation; images are scaled by their bounds.
        clip_obs: keep normalised observations within this distance of 0; None for no bound.
        hidden_scale: factor on the initial weights of the hidden layers.
        out_scale: factor on the initial weights of the last layer; small starts near the middle action.
        convolutions: channels, kernel and stride of each layer that looks at images, before the hidden ones; empty for
            none. A vector has none.
        std: "fixed" keeps `initial_std`; "learned" learns one deviation per action dimension; "state" lets
            the network choose it from the observation.
        initial_std: deviation before squashing, at the start of training; above 0, and between exp(-5) and
            exp(2) unless it is fixed.
        bounds: keep actions within their bounds by "tanh", or by "clip" of x to [-1, 1] (see `ClipBox`).
    """

    def __init__(
        self,
        observation_space: Box,
        action_space: Box,
        *,
        hidden_sizes: Sequence[int] = (64, 64),
        activation: str = "tanh",
        layer_norm: bool = False,
        normalize: bool = True,
        clip_obs: float | None = None,
        hidden_scale: float = 1.0,
        out_scale: float = 0.1,
        convolutions: Sequence[Sequence[int]] = CONVOLUTIONS,
        std: Literal["fixed", "learned", "state"] = "learned",
        initial_std: float = 0.5,
        bounds: Literal["tanh", "clip"] = "tanh",
    ) -> None:
        self.squash: BoundedBox
        squash = bounded(action_space, bounds)
        super().__init__(
            observation_space, action_space, normalize, squash, clip_obs=clip_obs, convolutions=convolutions
        )
        if std not in ("fixed", "learned", "state"):
            raise ValueError(f"std must be one of fixed, learned, state, got {std!r}")
        if not initial_std > 0:
            raise ValueError(f"initial_std must be > 0, got {initial_std}")
        log_std = math.log(initial_std)
        if std != "fixed" and not LOG_STD_RANGE[0] < log_std < LOG_STD_RANGE[1]:
            low, high = (math.exp(bound) for bound in LOG_STD_RANGE)
            raise ValueError(f"initial_std must be within ({low:.4f}, {high:.4f}), got {initial_std}")
        self.noise_size = self.action_size
        self.std = std
        out_size = 2 * self.action_size if std == "state" else self.action_size
        self.network = mlp(
            self.obs_size,
            hidden_sizes,
            out_size,
            activation=activation,
            layer_norm=layer_norm,
            hidden_scale=hidden_scale,
            out_scale=out_scale,
        )
        offset = torch.full((self.action_size,), log_std)
        if std == "learned":
            self.log_std = nn.Parameter(offset)
        else:
            self.register_buffer("log_std", offset)

    def distribution(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation, before squashing, of each action number: two tensors [..., A]."""
        out = self.network(self.features(obs))
        if self.std == "fixed":
            return out, self.log_std.exp().expand_as(out)
        if self.std == "learned":
            return out, self.log_std.clamp(*LOG_STD_RANGE).exp().expand_as(out)
        mean, log_std = out.chunk(2, dim=-1)
        return mean, (self.log_std + log_std).clamp(*LOG_STD_RANGE).exp()

    def raw_distribution(self, obs: Tensor) -> DiagonalGaussian:
        """The normal distribution of x, before squashing."""
        return DiagonalGaussian(*self.distribution(obs))

    def log_prob(self, obs: Tensor, action: Tensor) -> Tensor:
        """Log density of `action` [..., A] given `obs` [..., O]: [...].

            log p(u) = log N(x; mean, std^2) - log |du / dx|,    x = atanh((u - center) / half_width)

        An action that was rounded onto a bound has lost its x; `sample` gives action and density at once.
        Source: Haarnoja et al. (2018), "Soft Actor-Critic", appendix C.
        """
        if action.shape[-1] != self.action_size:
            raise ValueError(f"action must have {self.action_size} numbers, got {action.shape[-1]}")
        x = self.squash.inverse(action)
        return self.raw_distribution(obs).log_prob(x) - self.squash.log_det(x)

    def sample(self, obs: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Action [..., A] for `obs` [..., O] and `noise` [..., A], and its log density [...].

        Exact for every noise, even where tanh saturates. Both are differentiable.
        """
        distribution = self.raw_distribution(obs)
        x = distribution.sample(self.checked(noise))
        return self.squash(x), distribution.log_prob(x) - self.squash.log_det(x)


class FullGaussianMLP(StochasticPolicy):
    """Actions from a normal distribution whose numbers vary together, squashed into the action space.

        x = mean(o) + L z,   z ~ N(0, I),   L lower triangular: covariance L L', learned, the same for all o

    Args:
        observation_space: vector Box [O], or images of integers: see `ImageEncoder`.
        action_space: bounded vector Box [A].
        hidden_sizes: widths of the hidden layers.
        activation: tanh, elu, silu, softplus or relu.
        layer_norm: normalise each hidden layer before its activation.
        normalize: normalise observations by their running mean and deviation; images are scaled by their bounds.
        clip_obs: keep normalised observations within this distance of 0; None for no bound.
        hidden_scale: factor on the initial weights of the hidden layers.
        out_scale: factor on the initial weights of the last layer; small starts near the middle action.
        convolutions: channels, kernel and stride of each layer that looks at images, before the hidden ones; empty for
            none. A vector has none.
        initial_std: deviation of each number before squashing, at the start, without correlations; between exp(-5)
            and exp(2). The diagonal of L stays between these.
        bounds: keep actions within their bounds by "tanh", or by "clip" of x to [-1, 1] (see `ClipBox`).
    """

    def __init__(
        self,
        observation_space: Box,
        action_space: Box,
        *,
        hidden_sizes: Sequence[int] = (64, 64),
        activation: str = "tanh",
        layer_norm: bool = False,
        normalize: bool = True,
        clip_obs: float | None = None,
        hidden_scale: float = 1.0,
        out_scale: float = 0.1,
        convolutions: Sequence[Sequence[int]] = CONVOLUTIONS,
        initial_std: float = 0.5,
        bounds: Literal["tanh", "clip"] = "tanh",
    ) -> None:
        squash = bounded(action_space, bounds)
        super().__init__(
            observation_space, action_space, normalize, squash, clip_obs=clip_obs, convolutions=convolutions
        )
        low, high = (math.exp(bound) for bound in LOG_STD_RANGE)
        if not low < initial_std < high:
            raise ValueError(f"initial_std must be within ({low:.4f}, {high:.4f}), got {initial_std}")
        size = self.noise_size = self.action_size
        self.network = mlp(
            self.obs_size,
            hidden_sizes,
            size,
            activation=activation,
            layer_norm=layer_norm,
            hidden_scale=hidden_scale,
            out_scale=out_scale,
        )
        self.log_diagonal = nn.Parameter(torch.full((size,), math.log(initial_std)))
        self.below_diagonal = nn.Parameter(torch.zeros(size, size))

    def raw_distribution(self, obs: Tensor) -> FullGaussian:
        """The normal distribution of x, before squashing."""
        diagonal = self.log_diagonal.clamp(*LOG_STD_RANGE).exp()
        return FullGaussian(self.network(self.features(obs)), self.below_diagonal.tril(-1) + torch.diag(diagonal))
