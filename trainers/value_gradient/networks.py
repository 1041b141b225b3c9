"""Steps of optimizers and of slow copies, without what is not needed of them."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from trainers.errors import NonFiniteError

Net = TypeVar("Net", bound=nn.Module)


def descend(loss: Tensor, optimizer: Optimizer) -> None:
    """Takes one step down `loss`, whose slope is computed by the optimizer's parameters, and by nothing else."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for parameter, slope in zip(parameters, torch.autograd.grad(loss, parameters, allow_unused=True), strict=True):
        parameter.grad = slope
    optimizer.step()


def slow_copy(net: Net) -> Net:
    """A copy that is not trained, and sees through the same statistics."""
    slow = copy.deepcopy(net).requires_grad_(False)
    if isinstance(getattr(net, "normalizer", None), nn.Module):
        slow.normalizer = net.normalizer
    return slow


@torch.no_grad()
def follow(slow: nn.Module, net: nn.Module, rate: float) -> None:
    """Moves every weight of `slow` towards that of `net`, keeping the part `rate` in [0, 1) of it.

    slow <- rate * slow + (1 - rate) * net
    """
    torch._foreach_lerp_(  # pyright: ignore[reportPrivateImportUsage]
        list(slow.parameters()), list(net.parameters()), 1.0 - rate
    )


def mean_metrics(rows: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Mean of each metric over the `rows` that have it.

    Raises: NonFiniteError if one is not finite.
    """
    names = dict.fromkeys(name for row in rows for name in row)
    means = {name: torch.stack([row[name] for row in rows if name in row]).mean() for name in names}
    for name, mean in means.items():
        if not mean.isfinite():
            raise NonFiniteError(f"{name} must be finite, got {mean.item()}")
    return means
