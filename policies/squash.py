"""Maps from raw choices to an action space: real numbers to bounded actions, indices to discrete actions."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete, Space
from torch import Tensor, nn
from torch.nn.functional import softplus


class Squash(nn.Module, ABC):
    """A fixed map from raw choices [..., size] to actions.

    Attributes:
        size: numbers in a raw choice.
    """

    size: int

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Maps raw choices `x` [..., size] to actions."""


class BoundedBox(Squash):
    """A map onto a bounded Box, with its center and half width.

    Args:
        space: bounded one-dimensional Box [A].

    Raises: TypeError if `space` is not a Box; ValueError if it is not a bounded vector.
    """

    center: Tensor
    half_width: Tensor

    def __init__(self, space: Space) -> None:
        super().__init__()
        if not isinstance(space, Box):
            raise TypeError(f"action_space must be a gymnasium.spaces.Box, got {type(space).__name__}")
        if len(space.shape) != 1 or not space.is_bounded():
            raise ValueError(f"action_space must be a vector with finite bounds, got {space}")
        low, high = torch.as_tensor(space.low), torch.as_tensor(space.high)
        self.size = space.shape[0]
        self.register_buffer("center", ((high + low) / 2).float())
        self.register_buffer("half_width", ((high - low) / 2).float())

    @abstractmethod
    def inverse(self, action: Tensor) -> Tensor:
        """Finds the `x` [..., A] that gives `action` [..., A]."""

    @abstractmethod
    def log_det(self, x: Tensor) -> Tensor:
        """Logarithm of the Jacobian's determinant, log |d action / d x|, at `x` [..., A]: [...]."""


class TanhBox(BoundedBox):
    """Squashes each number by tanh and scales it to the bounds of a Box.

    action = center + half_width * tanh(x)
    """

    def forward(self, x: Tensor) -> Tensor:
        """Maps `x` [..., A] to actions [..., A]."""
        return self.center + self.half_width * torch.tanh(x)

    def inverse(self, action: Tensor) -> Tensor:
        """Finds the `x` [..., A] that gives `action` [..., A].

        x is infinite for an action on a bound; such actions are first clipped to the nearest number inside.
        """
        unit = (action - self.center) / self.half_width
        edge = 1.0 - torch.finfo(unit.dtype).eps
        return torch.atanh(unit.clamp(-edge, edge))

    def log_det(self, x: Tensor) -> Tensor:
        """Logarithm of the Jacobian's determinant, log |d action / d x|, at `x` [..., A]: [...].

        log(1 - tanh(x)^2) = 2 (log 2 - x - softplus(-2 x)),    finite for every finite x
        """
        log_derivative = 2.0 * (math.log(2.0) - x - softplus(-2.0 * x))
        return (log_derivative + torch.log(self.half_width)).sum(-1)


class ClipBox(BoundedBox):
    """Clips each number to [-1, 1] and scales it to the bounds of a Box.

        action = center + half_width * clip(x, -1, 1)

    This is the usual choice for policy gradients. The density of an action is taken before clipping.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Maps `x` [..., A] to actions [..., A]."""
        return self.center + self.half_width * x.clamp(-1.0, 1.0)

    def inverse(self, action: Tensor) -> Tensor:
        """Finds the `x` [..., A] that gives `action` [..., A]; for a clipped action, that of the bound."""
        return (action - self.center) / self.half_width

    def log_det(self, x: Tensor) -> Tensor:
        """sum_i log half_width_i, for every `x` [..., A]: [...]."""
        return torch.log(self.half_width).sum().expand(x.shape[:-1])


class Indices(Squash):
    """Maps indices [..., F], counted from 0, to actions of a Discrete or MultiDiscrete space, counted from `start`.

    Args:
        space: Discrete, or MultiDiscrete with one axis.

    Attributes:
        counts: K_f, the number of values of each choice.

    Raises: TypeError if `space` is neither; ValueError if it has several axes.
    """

    start: Tensor

    def __init__(self, space: Space) -> None:
        super().__init__()
        if not isinstance(space, Discrete | MultiDiscrete):
            raise TypeError(f"action_space must be Discrete or MultiDiscrete, got {type(space).__name__}")
        if isinstance(space, MultiDiscrete) and space.nvec.ndim > 1:
            raise ValueError(f"action_space must have one axis, got shape {space.shape}")
        self.single = isinstance(space, Discrete)
        self.counts = (int(space.n),) if isinstance(space, Discrete) else tuple(int(count) for count in space.nvec)
        self.size = len(self.counts)
        self.register_buffer("start", torch.as_tensor(space.start, dtype=torch.int64).reshape(-1))

    def forward(self, x: Tensor) -> Tensor:
        """Maps indices `x`, int64 [..., F], to actions [...] of Discrete, or [..., F] of MultiDiscrete."""
        action = self.start + x
        return action[..., 0] if self.single else action


class Identity(Squash):
    """Returns raw choices as they are."""

    def forward(self, x: Tensor) -> Tensor:
        """Returns `x`."""
        return x


class OneHot(Identity):
    """The identity on concatenated one-hot vectors of one or several choices: [..., K_1 + ... + K_F].

    Args:
        space: Discrete, or MultiDiscrete with one axis.

    Attributes:
        counts: K_f, the number of values of each choice.

    Raises: TypeError if `space` is neither; ValueError if it has several axes.
    """

    def __init__(self, space: Space) -> None:
        super().__init__()
        self.choices = Indices(space)
        self.counts = self.choices.counts
        self.size = sum(self.counts)

    def indices(self, x: Tensor) -> Tensor:
        """The action of the largest entry of each vector of `x`: [...] for Discrete, [..., F] for MultiDiscrete."""
        return self.choices(torch.stack([part.argmax(-1) for part in x.split(self.counts, dim=-1)], dim=-1))


class Bits(Identity):
    """The identity on zeros and ones [..., A].

    Args:
        space: MultiBinary with one axis.

    Raises: TypeError if `space` is not MultiBinary; ValueError if it has several axes.
    """

    def __init__(self, space: Space) -> None:
        super().__init__()
        if not isinstance(space, MultiBinary):
            raise TypeError(f"action_space must be MultiBinary, got {type(space).__name__}")
        if len(space.shape) != 1:
            raise ValueError(f"action_space must have one axis, got shape {space.shape}")
        self.size = space.shape[0]
