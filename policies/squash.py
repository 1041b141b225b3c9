"""From raw choices into an action space: all real numbers into bounds, indices into discrete actions."""

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
    """The affine part: where the middle of a bounded Box is, and how far its bounds.

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

    Args:
        space: bounded one-dimensional Box [A].

    Raises: TypeError if `space` is not a Box; ValueError if it is not a bounded vector.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Maps `x` [..., A] to actions [..., A]."""
        return self.center + self.half_width * torch.tanh(x)

    def inverse(self, action: Tensor) -> Tensor:
        """Finds the `x` [..., A] that gives `action` [..., A].

        On a bound, or beyond, x is infinite in principle; there the nearest number inside stands in for it.
        """
        unit = (action - self.center) / self.half_width
        edge = 1.0 - torch.finfo(unit.dtype).eps
        return torch.atanh(unit.clamp(-edge, edge))

    def log_det(self, x: Tensor) -> Tensor:
        """Logarithm of the Jacobian's determinant, log |d action / d x|, at `x` [..., A]: [...].

        log(1 - tanh(x)^2) = 2 (log 2 - x - softplus(-2 x)),    finite for every finite x
        """
        slope = 2.0 * (math.log(2.0) - x - softplus(-2.0 * x))
        return (slope + torch.log(self.half_width)).sum(-1)


class ClipBox(BoundedBox):
    """Scales each number to the bounds of a Box, and clips what lies beyond them.

        action = center + half_width * clip(x, -1, 1)

    What policy gradients were first measured with. The density of an action is taken to be that before clipping.

    Args:
        space: bounded one-dimensional Box [A].

    Raises: TypeError if `space` is not a Box; ValueError if it is not a bounded vector.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Maps `x` [..., A] to actions [..., A]."""
        return self.center + self.half_width * x.clamp(-1.0, 1.0)

    def inverse(self, action: Tensor) -> Tensor:
        """Finds the `x` [..., A] that gives `action` [..., A]; of a clipped one, the bound."""
        return (action - self.center) / self.half_width

    def log_det(self, x: Tensor) -> Tensor:
        """sum_i log half_width_i, for every `x` [..., A]: [...]."""
        return torch.log(self.half_width).sum().expand(x.shape[:-1])


class Indices(Squash):
    """Indices [..., F] as Discrete or MultiDiscrete spaces count them: from their `start`, and without F for Discrete.

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


class OneHot(Squash):
    """One-hot vectors of one or several choices, side by side: [..., K_1 + ... + K_F]. They are left as they are.

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

    def forward(self, x: Tensor) -> Tensor:
        """The vectors `x` themselves."""
        return x

    def indices(self, x: Tensor) -> Tensor:
        """Where each vector of `x` is largest, as the space counts: [...] for Discrete, [..., F] for MultiDiscrete."""
        return self.choices(torch.stack([part.argmax(-1) for part in x.split(self.counts, dim=-1)], dim=-1))


class Bits(Squash):
    """Zeros and ones [..., A], left as they are.

    Args:
        space: MultiBinary with one axis.

    Raises: TypeError if `space` is another; ValueError if it has several axes.
    """

    def __init__(self, space: Space) -> None:
        super().__init__()
        if not isinstance(space, MultiBinary):
            raise TypeError(f"action_space must be MultiBinary, got {type(space).__name__}")
        if len(space.shape) != 1:
            raise ValueError(f"action_space must have one axis, got shape {space.shape}")
        self.size = space.shape[0]

    def forward(self, x: Tensor) -> Tensor:
        """The bits `x` themselves."""
        return x
