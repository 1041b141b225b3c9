"""Steps of optimizers, without what is not needed of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.optim import Optimizer

from trainers.errors import NonFiniteError


def descend(loss: Tensor, optimizer: Optimizer) -> None:
    """Takes one step down `loss`, whose slope is computed by the optimizer's parameters, and by nothing else."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for parameter, slope in zip(parameters, torch.autograd.grad(loss, parameters, allow_unused=True), strict=True):
        parameter.grad = slope
    optimizer.step()


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
