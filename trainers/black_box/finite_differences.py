"""Gradient ascent by finite differences on the policy's parameters."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.optim import SGD, Adam, Optimizer

from diffsim.trainers.black_box.ascent import AscentSearch
from diffsim.trainers.black_box.candidates import Candidates, Vectors
from diffsim.trainers.black_box.shares import Answer, CommonNumbers
from diffsim.trainers.metrics import Metric
from diffsim.trainers.options import option


class FiniteDifferences(AscentSearch):
    """Ascends the gradient of the mean return by central differences, two members per parameter.

        dU/dtheta_j = (U(theta + delta e_j) - U(theta - delta e_j)) / (2 delta)

    U is the mean of M episodes. With independent noises the variance of a difference is 2 Var(U) / M / (2 delta)^2;
    common random numbers, the default here, cancel most of it. For policies with few parameters.

    `Pegasus` with `gradient="finite_differences"` uses the same differences on fixed scenarios of an MDP, with a line
    search.

    Source: Spall (2003), "Introduction to Stochastic Search and Optimization", sections 6.3 and 14.4.
    """

    perturbation: float = option("delta, change of each parameter.", "finite and > 0", default=0.1)
    optimizer: Literal["adam", "sgd"] = option("adam, or sgd: plain gradient ascent.", default="adam")
    learning_rate: float = option(default=0.05)
    common_numbers: CommonNumbers = option(default="generation")

    def make_optimizers(self) -> list[Optimizer]:
        """Adam or SGD."""
        return [(Adam if self.optimizer == "adam" else SGD)(self.trained, lr=self.learning_rate)]

    def ask(self) -> Candidates:
        """All parameters, each changed by delta: first forwards, then backwards."""
        steps = self.perturbation * torch.eye(self.size, dtype=torch.float64)
        return Vectors(self.vector() + torch.cat([steps, -steps]))

    def tell(self, candidates: Candidates, returns: Tensor, answer: Answer) -> dict[str, Metric]:
        """Takes a step along the differences."""
        ahead, behind = returns.chunk(2)
        return self.ascend((ahead - behind) / (2 * self.perturbation))
