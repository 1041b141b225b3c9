"""Base class of the searches that ascend an estimate of the gradient of the return."""

from __future__ import annotations

from torch import Tensor

from diffsim.trainers.black_box.search import PopulationSearch
from diffsim.trainers.metrics import Metric
from diffsim.trainers.options import option


class AscentSearch(PopulationSearch):
    """Changes the policy's parameters by an optimizer and a gradient that was estimated from returns alone.

    A subclass makes the optimizer, of `self.trained`.
    """

    learning_rate: float = option("step size of the optimizer.", "> 0")

    def ascend(self, gradient: Tensor) -> dict[str, Metric]:
        """Takes a step of the optimizer along `gradient`, float64 [D]. Returns its norm as a metric."""
        parts = gradient.to(self.device).split([p.numel() for p in self.trained])
        for parameter, part in zip(self.trained, parts, strict=True):
            parameter.grad = -part.view_as(parameter).to(parameter)
        self.optimizers[0].step()
        self.optimizers[0].zero_grad()
        return {"grad_norm": gradient.norm()}
