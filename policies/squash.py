"""From all real numbers into the bounds of an action space."""

from __future__ import annotations

import math

import torch
from gymnasium.spaces import Box
from torch import Tensor, nn
from torch.nn.functional import softplus


class TanhBox(nn.Module):
    """Squashes each number by tanh and scales it to the bounds of a Box.

        action = center + half_width * tanh(x)

    Args:
        space: bounded one-dimensional Box [A].

    Raises: TypeError if `space` is not a Box; ValueError if it is not a bounded vector.
    """

    center: Tensor
    half_width: Tensor

    def __init__(self, space: Box) -> None:
        super().__init__()
        if not isinstance(space, Box):
            raise TypeError(f"action_space must be a gymnasium.spaces.Box, got {type(space).__name__}")
        if len(space.shape) != 1 or not space.is_bounded():
            raise ValueError(f"action_space must be a vector with finite bounds, got {space}")
        low, high = torch.as_tensor(space.low), torch.as_tensor(space.high)
        self.register_buffer("center", ((high + low) / 2).float())
        self.register_buffer("half_width", ((high - low) / 2).float())

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
