"""Networks that follow others slowly."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import nn

Net = TypeVar("Net", bound=nn.Module)


def target_network(net: Net) -> Net:
    """A copy that is not trained, and sees through the same statistics."""
    slow = copy.deepcopy(net).requires_grad_(False)
    if isinstance(getattr(net, "normalizer", None), nn.Module):
        slow.normalizer = net.normalizer
    return slow


@torch.no_grad()
def polyak_update(slow: nn.Module, net: nn.Module, rate: float) -> None:
    """Moves every weight of `slow` towards that of `net`, keeping the part `rate` in [0, 1) of it.

    slow <- rate * slow + (1 - rate) * net
    """
    torch._foreach_lerp_(  # pyright: ignore[reportPrivateImportUsage]
        list(slow.parameters()), list(net.parameters()), 1.0 - rate
    )
