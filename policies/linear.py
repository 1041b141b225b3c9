"""Deterministic policies that are linear in features of the observation: few parameters, for search without gradients.

class Quadratic(FeaturePolicy):
    def basis(self, obs): ...        # [..., O] to [..., F]
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from gymnasium.spaces import Box, Space
from torch import Tensor, nn

from diffsim.checks import check_value
from diffsim.policies.policy import Policy
from diffsim.policies.squash import ClipBox, OneHot, has_choices


class FeaturePolicy(Policy):
    """A policy that is linear in features g(o), for continuous or discrete actions.

        x = W g(o),    u = center + half_width * clip(x, -1, 1)    or, for discrete actions,    u = argmax_k x_k

    W starts at zero, so that the middle action, or the first choice, is taken everywhere. A subclass defines `basis`
    and passes the number of features to this constructor.

    Args:
        observation_space: vector Box [O].
        action_space: bounded Box of floats, with A numbers, or a space of choices as for `CategoricalMLP`.
        num_features: F, the numbers that `basis` returns.
        normalize: normalise observations by their running mean and standard deviation.
        clip_obs: clip normalised observations to [-clip_obs, clip_obs]; None does not clip.

    Attributes:
        weight: W, [X, F], where X is A, or the number of all choices.

    Raises: ValueError if the observations are not vectors.
    """

    noise_size = 0

    def __init__(
        self,
        observation_space: Space,
        action_space: Space,
        num_features: int,
        *,
        normalize: bool = False,
        clip_obs: float | None = None,
    ) -> None:
        if not isinstance(observation_space, Box) or len(observation_space.shape) != 1:
            raise ValueError(f"observation_space must be a vector Box, got {observation_space}")
        squash = OneHot(action_space) if has_choices(action_space) else ClipBox(action_space)
        super().__init__(observation_space, action_space, normalize, squash, clip_obs=clip_obs)
        self.weight = nn.Parameter(torch.zeros(squash.size, num_features))

    @abstractmethod
    def basis(self, obs: Tensor) -> Tensor:
        """Features g of observations `obs` [..., O]: [..., F]."""

    def forward(self, obs: Tensor, noise: Tensor | None = None) -> Tensor:
        """Maps `obs` [..., O] to actions, as `env.step` takes them; `noise` must be None or empty."""
        if noise is not None and noise.shape[-1] != 0:
            raise ValueError(f"noise must be None for a deterministic policy, got shape {tuple(noise.shape)}")
        output = self.basis(obs) @ self.weight.mT
        return self.squash.indices(output) if isinstance(self.squash, OneHot) else self.squash(output)


class LinearPolicy(FeaturePolicy):
    """A policy that is linear in the observation.

        x = W [o, 1]

    Args:
        observation_space: vector Box [O].
        action_space: bounded Box of floats, with A numbers, or a space of choices as for `CategoricalMLP`.
        bias: append a 1 to the observation.
        **options: of `FeaturePolicy`.

    Source: Mania, Guy & Recht (2018), "Simple random search of static linear policies is competitive for RL"
    (there without bias).
    """

    def __init__(self, observation_space: Box, action_space: Space, *, bias: bool = True, **options: Any) -> None:
        super().__init__(observation_space, action_space, observation_space.shape[0] + bias, **options)
        self.bias = bias

    def basis(self, obs: Tensor) -> Tensor:
        """The normalised observation, and 1 if there is a bias: [..., F]."""
        features = self.features(obs)
        return torch.cat([features, torch.ones_like(features[..., :1])], -1) if self.bias else features


class RBFPolicy(FeaturePolicy):
    """A policy that is linear in Gaussian radial basis functions of the normalised observation.

        g_j(o) = exp(-|o - c_j|^2 / (2 width^2)),    c_j ~ N(0, I)

    The centres are drawn when the policy is made, as initial weights are, and do not change.

    Args:
        observation_space: vector Box [O].
        action_space: bounded Box of floats, with A numbers, or a space of choices as for `CategoricalMLP`.
        num_centers: F, number of basis functions.
        width: of every basis function, in units of the normalised observation; sqrt(O) if None.
        normalize: normalise observations by their running mean and standard deviation.
        **options: of `FeaturePolicy`.
    """

    centers: Tensor

    def __init__(
        self,
        observation_space: Box,
        action_space: Space,
        *,
        num_centers: int = 32,
        width: float | None = None,
        normalize: bool = True,
        **options: Any,
    ) -> None:
        check_value("num_centers", num_centers, ">= 1")
        super().__init__(observation_space, action_space, num_centers, normalize=normalize, **options)
        self.width = self.obs_size**0.5 if width is None else width
        check_value("width", self.width, "finite and > 0")
        self.register_buffer("centers", torch.randn(num_centers, self.obs_size))

    def basis(self, obs: Tensor) -> Tensor:
        """Values of the basis functions: [..., F]."""
        distance = (self.features(obs)[..., None, :] - self.centers).square().sum(-1)
        return torch.exp(-distance / (2 * self.width**2))
