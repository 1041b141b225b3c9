"""Target networks."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import nn

Net = TypeVar("Net", bound=nn.Module)


def target_network(net: Net) -> Net:
    """Copies `net` without gradients; the copy shares the observation normalizer."""
    target = copy.deepcopy(net).requires_grad_(False)
    if isinstance(getattr(net, "normalizer", None), nn.Module):
        target.normalizer = net.normalizer
    return target


@torch.no_grad()
def polyak_update(target: nn.Module, net: nn.Module, rate: float) -> None:
    """Updates every weight of `target` by Polyak averaging, with `rate` in [0, 1).

    target <- rate * target + (1 - rate) * net
    """
    torch._foreach_lerp_(  # pyright: ignore[reportPrivateImportUsage]
        list(target.parameters()), list(net.parameters()), 1.0 - rate
    )
