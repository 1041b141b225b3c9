"""Fast optimizer steps, which compiled graphs can contain, and the metrics of many updates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.optim import Optimizer

from diffsim.trainers.errors import NonFiniteError
from diffsim.trainers.metrics import check_late


class OptimizerStep:
    """Takes steps of one optimizer: `step(loss)`. Unlike `Training.gradient_step`, it neither checks nor clips.

    Args:
        optimizer: with one group of parameters.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        (self.group,) = optimizer.param_groups
        self.parameters: list[Tensor] = self.group["params"]

    def __call__(self, loss: Tensor) -> None:
        """Takes one step that reduces `loss`, whose gradient is computed by the optimizer's parameters only."""
        self.step(torch.autograd.grad(loss, self.parameters))

    def step(self, gradients: Sequence[Tensor]) -> None:
        """Takes one step by `gradients`, one per parameter."""
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        self.optimizer.step()


class CompiledAdam(OptimizerStep):
    """Adam's step, written so that a compiled graph can contain it; `Adam.step` cannot be compiled.

    It updates the parameters and the optimizer's own moments and counts:

        m <- beta1 m + (1 - beta1) g,    v <- beta2 v + (1 - beta2) g^2,    g: gradient + weight_decay * x
        x <- x - lr / (1 - beta1^t) * m / (sqrt(v / (1 - beta2^t)) + eps)

    `prepare` computes outside the graph what depends on t alone. The graph would compute it again for every weight.

    The optimizer's state must not be loaded while this exists: it refers to the tensors of the present state.

    Args:
        optimizer: an Adam with one group of parameters.

    Source: Kingma & Ba (2015), "Adam: a method for stochastic optimization", algorithm 1.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        super().__init__(optimizer)
        for parameter in self.parameters:
            if not optimizer.state[parameter]:
                moments = {"exp_avg": torch.zeros_like(parameter), "exp_avg_sq": torch.zeros_like(parameter)}
                optimizer.state[parameter] = {"step": torch.zeros((), device=parameter.device), **moments}
        # As vectors: a compiled graph loses what it writes into float64 scalars (torch 2.13).
        names = ("exp_avg", "exp_avg_sq", "step")
        self.state = [[torch.atleast_1d(optimizer.state[x][name]) for name in names] for x in self.parameters]
        self.betas, self.eps, self.weight_decay = (self.group[name] for name in ("betas", "eps", "weight_decay"))
        self.count = max(int(count) for _, _, count in self.state)  # t of the next step, after `prepare`
        self.stepped = True
        self.prepare()

    def prepare(self) -> None:
        """Prepares the next step, if one was taken since the last call."""
        if self.stepped:
            self.count += 1
            first, second = (1.0 - beta**self.count for beta in self.betas)
            like = self.parameters[0]
            scales = self.group["lr"] / first, second**-0.5
            # Filled on the device: an upload would wait for it.
            self.scales = torch.stack([like.new_full((), scale) for scale in scales])
        self.stepped = False

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor]) -> None:
        """Takes the step of `Adam.step`."""
        beta1, beta2 = self.betas
        rate, inverse_root = self.scales
        for parameter, gradient, (mean, square, count) in zip(self.parameters, gradients, self.state, strict=True):
            x, g = torch.atleast_1d(parameter, gradient)
            if self.weight_decay:
                g = g + self.weight_decay * x
            mean.lerp_(g, 1.0 - beta1)
            square.lerp_(g.square(), 1.0 - beta2)
            x.sub_(rate * mean / (square.sqrt() * inverse_root + self.eps))
            count.add_(1.0)
        self.stepped = True


def mean_metrics(rows: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Mean of each metric over the `rows` that have it.

    Raises: NonFiniteError if one is not finite.
    """
    names = dict.fromkeys(name for row in rows for name in row)
    means = {name: torch.stack([row[name] for row in rows if name in row]).mean() for name in names}
    for name, mean in means.items():
        check_late(~mean.isfinite(), partial(_refuse, name, mean))
    return means


def _refuse(name: str, mean: Tensor) -> None:
    """Raises the error of a metric that is not finite."""
    raise NonFiniteError(f"{name} must be finite, got {mean.item()}")
