"""Gaussian policies, squashed into the action space."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from gymnasium.spaces import Box, Space
from torch import Tensor, nn

from diffsim.checks import check_choice, check_value, require
from diffsim.policies.distributions import DiagonalGaussian, FullGaussian
from diffsim.policies.mlp_policy import MLPPolicy
from diffsim.policies.policy import StochasticPolicy
from diffsim.policies.squash import BoundedBox, ClipBox, TanhBox

LOG_STD_RANGE = (-5.0, 2.0)  # bounds of a learned log standard deviation, as in Haarnoja et al. (2018)


def box_squash(action_space: Space, bounds: str) -> BoundedBox:
    """The map from all real numbers into `action_space`, whose numbers may be unbounded: "tanh" or "clip".

    Raises: ValueError if `bounds` is neither; TypeError or ValueError if the space is not a Box of floats.
    """
    check_choice("bounds", bounds, ("tanh", "clip"))
    return (TanhBox if bounds == "tanh" else ClipBox)(action_space, unbounded=True)


def check_initial_std(initial_std: float) -> None:
    """Raises ValueError unless the logarithm of `initial_std` is inside `LOG_STD_RANGE`."""
    low, high = (math.exp(bound) for bound in LOG_STD_RANGE)
    require(low < initial_std < high, "initial_std", f"within ({low:.4f}, {high:.4f})", initial_std)


class GaussianMLP(StochasticPolicy, MLPPolicy):
    """Normally distributed actions whose mean is the output of a perceptron, squashed by tanh.

        x = mean(o) + std(o) * z,   z ~ N(0, I)         u = center + half_width * tanh(x)

    Args:
        observation_space: vectors, images, or what `Observations` makes vectors of.
        action_space: Box of floats with A numbers; those without two finite bounds are not squashed.
        std: standard deviation before squashing. "fixed" is `initial_std`; "learned" is one parameter per action
            dimension; "state" is an output of the network, a function of the observation.
        initial_std: standard deviation before squashing at the start of training; above 0, and between exp(-5) and
            exp(2) unless it is fixed.
        bounds: how actions are kept within their bounds: "tanh", or "clip" of x to [-1, 1] (see `ClipBox`).
        **options: of `MLPPolicy`.
    """

    def __init__(
        self,
        observation_space: Box,
        action_space: Box,
        *,
        std: Literal["fixed", "learned", "state"] = "learned",
        initial_std: float = 0.5,
        bounds: Literal["tanh", "clip"] = "tanh",
        **options: Any,
    ) -> None:
        self.squash: BoundedBox
        squash = box_squash(action_space, bounds)
        check_choice("std", std, ("fixed", "learned", "state"))
        out_size = 2 * squash.size if std == "state" else squash.size
        super().__init__(observation_space, action_space, squash, out_size, **options)
        check_value("initial_std", initial_std, "> 0")
        if std != "fixed":
            check_initial_std(initial_std)
        self.noise_size = self.action_size
        self.std = std
        offset = torch.full((self.action_size,), math.log(initial_std))
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

        It is inexact for an action that was rounded onto a bound; `sample` returns an action with its exact density.
        Source: Haarnoja et al. (2018), "Soft Actor-Critic", appendix C.
        """
        if action.shape[-1] != self.action_size:
            raise ValueError(f"action must have {self.action_size} numbers, got {action.shape[-1]}")
        x = self.squash.inverse(action)
        return self.raw_distribution(obs).log_prob(x) - self.squash.log_det(x)

    def sample(self, obs: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Action [..., A] for `obs` [..., O] and `noise` [..., A], and its log density [...].

        The density is exact for every noise, even where tanh saturates. Both results are differentiable.
        """
        distribution = self.raw_distribution(obs)
        x = distribution.sample(self.check_noise(noise))
        return self.squash(x), distribution.log_prob(x) - self.squash.log_det(x)


class FullGaussianMLP(StochasticPolicy, MLPPolicy):
    """Normally distributed actions with a full covariance matrix, squashed into the action space.

        x = mean(o) + L z,   z ~ N(0, I),   L lower triangular

    The covariance L L' is learned, and the same for every observation.

    Args:
        observation_space: vectors, images, or what `Observations` makes vectors of.
        action_space: Box of floats with A numbers; those without two finite bounds are not squashed.
        initial_std: diagonal of L at the start of training, where L is diagonal; between exp(-5) and exp(2). The
            diagonal is clamped to these bounds.
        bounds: how actions are kept within their bounds: "tanh", or "clip" of x to [-1, 1] (see `ClipBox`).
        **options: of `MLPPolicy`.
    """

    def __init__(
        self,
        observation_space: Box,
        action_space: Box,
        *,
        initial_std: float = 0.5,
        bounds: Literal["tanh", "clip"] = "tanh",
        **options: Any,
    ) -> None:
        squash = box_squash(action_space, bounds)
        super().__init__(observation_space, action_space, squash, squash.size, **options)
        check_initial_std(initial_std)
        size = self.noise_size = self.action_size
        self.log_diagonal = nn.Parameter(torch.full((size,), math.log(initial_std)))
        self.below_diagonal = nn.Parameter(torch.zeros(size, size))

    def raw_distribution(self, obs: Tensor) -> FullGaussian:
        """The normal distribution of x, before squashing."""
        diagonal = self.log_diagonal.clamp(*LOG_STD_RANGE).exp()
        return FullGaussian(self.network(self.features(obs)), self.below_diagonal.tril(-1) + torch.diag(diagonal))
