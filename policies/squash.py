"""Maps from raw choices to an action space: real numbers to bounded actions, indices to discrete actions."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete, Space
from torch import Tensor, nn
from torch.nn.functional import softplus

from diffsim.checks import require

MOST_VALUES = 1024
"""Largest number of values of an integer in an action that is chosen as one of so many classes."""


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
    """A map onto a Box of any shape, as a vector [A] of its numbers, with its center and half width.

    Rounding never takes an action out of the bounds. A number without two finite bounds is not squashed: its half width
    is 1, its center is 0, or 1 inside the only bound if that is closer to it than 1, and it is clipped to this bound.

    Args:
        space: Box of floats with A numbers.
        unbounded: whether numbers without two finite bounds are allowed.

    Attributes:
        bounded: whether every number has two finite bounds.
        low: [A], smallest action; -inf without a bound.
        high: [A], largest action.

    Raises: TypeError if `space` is not a Box of floats; ValueError if it is empty, or its bounds are not valid.
    """

    center: Tensor
    half_width: Tensor
    low: Tensor
    high: Tensor
    finite: Tensor

    def __init__(self, space: Space, *, unbounded: bool = False) -> None:
        super().__init__()
        space = float_box(space)
        low, high = (bound.reshape(-1).astype(np.float64) for bound in (space.low, space.high))
        finite = np.isfinite(low) & np.isfinite(high)
        self.size, self.bounded = low.size, bool(finite.all())
        require(self.bounded or unbounded, "action_space", "one with finite bounds", space)
        middle = np.clip(0.0, np.minimum(low + 1, high), np.maximum(high - 1, low))  # of numbers without two bounds
        safe_low, safe_high = np.where(finite, low, 0.0), np.where(finite, high, 0.0)
        center = np.where(finite, (safe_high + safe_low) / 2, middle)
        self.register_buffer("center", torch.as_tensor(center).float())
        self.register_buffer("half_width", torch.as_tensor(np.where(finite, (safe_high - safe_low) / 2, 1.0)).float())
        self.register_buffer("low", torch.as_tensor(_rounded(low, np.inf)), persistent=False)
        self.register_buffer("high", torch.as_tensor(_rounded(high, -np.inf)), persistent=False)
        self.register_buffer("finite", torch.as_tensor(finite), persistent=False)

    def clamp(self, action: Tensor) -> Tensor:
        """`action` [..., A], clipped to the bounds."""
        return torch.clamp(action, self.low, self.high)

    def uniform(self, unit: Tensor) -> Tensor:
        """Actions [..., A] from numbers `unit` [..., A] in [0, 1]: uniform in the bounds if these are uniform."""
        return self.clamp(self.center + self.half_width * (2.0 * unit - 1.0))

    def _scaled(self, unit: Tensor, x: Tensor) -> Tensor:
        """The action for `unit` [..., A] in [-1, 1], with `x` in place of it where there are not two bounds."""
        unit = unit if self.bounded else torch.where(self.finite, unit, x)
        return self.clamp(self.center + self.half_width * unit)

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
        return self._scaled(torch.tanh(x), x)

    def inverse(self, action: Tensor) -> Tensor:
        """Finds the `x` [..., A] that gives `action` [..., A].

        x is infinite for an action on a bound; such actions are first clipped to the nearest number inside.
        """
        unit = (action - self.center) / self.half_width
        edge = 1.0 - torch.finfo(unit.dtype).eps
        x = torch.atanh(unit.clamp(-edge, edge))
        return x if self.bounded else torch.where(self.finite, x, unit)

    def log_det(self, x: Tensor) -> Tensor:
        """Logarithm of the Jacobian's determinant, log |d action / d x|, at `x` [..., A]: [...].

        log(1 - tanh(x)^2) = 2 (log 2 - x - softplus(-2 x)),    finite for every finite x
        """
        log_derivative = 2.0 * (math.log(2.0) - x - softplus(-2.0 * x))
        if not self.bounded:
            log_derivative = torch.where(self.finite, log_derivative, 0.0)
        return (log_derivative + torch.log(self.half_width)).sum(-1)


class ClipBox(BoundedBox):
    """Clips each number to [-1, 1] and scales it to the bounds of a Box.

        action = center + half_width * clip(x, -1, 1)

    This is the usual choice for policy gradients. The density of an action is taken before clipping.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Maps `x` [..., A] to actions [..., A]."""
        return self._scaled(x.clamp(-1.0, 1.0), x)

    def inverse(self, action: Tensor) -> Tensor:
        """Finds the `x` [..., A] that gives `action` [..., A]; for a clipped action, that of the bound."""
        return (action - self.center) / self.half_width

    def log_det(self, x: Tensor) -> Tensor:
        """sum_i log half_width_i, for every `x` [..., A]: [...]."""
        return torch.log(self.half_width).sum().expand(x.shape[:-1])


def float_box(space: Space) -> Box:
    """Returns `space`, if it is a Box of floats with at least one number, and each of its intervals has a width.

    Raises: TypeError or ValueError otherwise.
    """
    if not isinstance(space, Box):
        raise TypeError(f"action_space must be a gymnasium.spaces.Box, got {type(space).__name__}")
    if space.dtype.kind != "f":
        raise TypeError(f"action_space must be a Box of floats, or for integers use CategoricalMLP, got {space}")
    low, high = space.low.reshape(-1), space.high.reshape(-1)
    require(low.size > 0, "action_space", "a Box with at least one number", space)
    for i in np.flatnonzero(~(low < high)):
        require(False, "action_space", "one with low < high", f"low = {low[i]} and high = {high[i]} for number {i}")
    return space


def _rounded(bound: np.ndarray, inside: float) -> np.ndarray:
    """A bound [A] as float32, rounded towards `inside`, infinity or minus infinity, so that the Box contains it."""
    with np.errstate(over="ignore"):
        near = bound.astype(np.float32)
    outside = np.isfinite(bound) & ((near < bound) if inside > 0 else (near > bound))
    return np.where(outside, np.nextafter(near, np.float32(inside)), near)


class Indices(Squash):
    """Maps indices [..., F], counted from 0, to actions of a space of choices, counted from its lowest values.

    The choices of a space with several axes are numbered in the order of its flattened arrays.

    Args:
        space: Discrete, MultiDiscrete, MultiBinary, or a Box of integers.

    Attributes:
        counts: K_f, the number of values of each choice.

    Raises: TypeError if `space` is none of these; ValueError if it is empty, or a Box has more than 1,024 values per
        integer.
    """

    start: Tensor

    def __init__(self, space: Space) -> None:
        super().__init__()
        start, counts = _choices(space)
        self.single = isinstance(space, Discrete)
        self.counts = tuple(int(count) for count in counts)
        self.size = len(self.counts)
        self.register_buffer("start", torch.as_tensor(start, dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        """Maps indices `x`, int64 [..., F], to actions [...] of Discrete, or [..., F] of other spaces."""
        action = self.start + x
        return action[..., 0] if self.single else action


def has_choices(space: Space) -> bool:
    """Whether a space is not one of real numbers: actions are choices among values, not a Box of floats."""
    return not isinstance(space, Box) or space.dtype.kind in "iu"


def _choices(space: Space) -> tuple[np.ndarray, np.ndarray]:
    """Lowest values and numbers of values of the F choices of a space, int64 [F] each; see `Indices`."""
    if isinstance(space, Discrete):
        start, counts = space.start, space.n
    elif isinstance(space, MultiDiscrete):
        start, counts = space.start, space.nvec
    elif isinstance(space, MultiBinary):
        start, counts = np.zeros(space.shape), np.full(space.shape, 2)
    elif isinstance(space, Box) and space.dtype.kind in "iu":
        start, counts = space.low, space.high.astype(np.float64) - space.low + 1
        rule = f"one with at most {MOST_VALUES} values per integer, to choose among them"
        require(bool((counts <= MOST_VALUES).all()), "action_space", rule, space)
    else:
        got = f"Box of {space.dtype}" if isinstance(space, Box) else type(space).__name__
        raise TypeError(f"action_space must be Discrete, MultiDiscrete, MultiBinary or a Box of integers, got {got}")
    require(np.size(counts) > 0, "action_space", "one with at least one choice", space)
    return np.reshape(start, -1).astype(np.int64), np.reshape(counts, -1).astype(np.int64)


class Identity(Squash):
    """Returns raw choices as they are."""

    def forward(self, x: Tensor) -> Tensor:
        """Returns `x`."""
        return x


class OneHot(Identity):
    """The identity on concatenated one-hot vectors of one or several choices: [..., K_1 + ... + K_F].

    Args:
        space: as for `Indices`.

    Attributes:
        counts: K_f, the number of values of each choice.

    Raises: as `Indices`.
    """

    def __init__(self, space: Space) -> None:
        super().__init__()
        self.choices = Indices(space)
        self.counts = self.choices.counts
        self.size = sum(self.counts)

    def indices(self, x: Tensor) -> Tensor:
        """The action of the largest entry of each vector of `x`: [...] for Discrete, [..., F] for other spaces."""
        return self.choices(torch.stack([part.argmax(-1) for part in x.split(self.counts, dim=-1)], dim=-1))


class Bits(Identity):
    """The identity on zeros and ones [..., A].

    Args:
        space: MultiBinary, with A bits.

    Raises: TypeError if `space` is not MultiBinary; ValueError if it is empty.
    """

    def __init__(self, space: Space) -> None:
        super().__init__()
        if not isinstance(space, MultiBinary):
            raise TypeError(f"action_space must be MultiBinary, got {type(space).__name__}")
        self.size = math.prod(space.shape)
        require(self.size > 0, "action_space", "one with at least one bit", space)
