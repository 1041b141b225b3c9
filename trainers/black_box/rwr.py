"""Reward-weighted regression."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from diffsim.trainers.black_box.candidates import Candidates
from diffsim.trainers.black_box.gaussian import GaussianSearch, weighted_mean, weighted_spread
from diffsim.trainers.black_box.shares import Answer
from diffsim.trainers.metrics import Metric
from diffsim.trainers.options import option


class RWR(GaussianSearch):
    """Reward-weighted regression: fits the search distribution to all members, weighted by their returns.

        mean <- sum_k w_k theta_k / sum_k w_k,    covariance <- the unbiased weighted covariance about it
        w_k = (U_k - U_min) / (U_max - U_min),    or    w_k = exp(temperature * (U_k - U_max) / (U_max - U_min))

    This is a step of expectation maximisation on E[U], or on E[exp(U)], with U as a probability up to a factor.

    Source: Dayan & Hinton (1997), "Using expectation-maximization for reinforcement learning"; Peters & Schaal (2007),
    "Reinforcement learning by reward-weighted regression for operational space control"; the weights U - U_min are
    those of Duan et al. (2016).
    """

    weights: Literal["linear", "exponential"] = option("w as a function of the return, see above.", default="linear")
    temperature: float = option("of exponential weights.", "> 0", default=10.0)
    min_std: float = option(default=0.05)

    def tell(self, candidates: Candidates, returns: Tensor, answer: Answer) -> dict[str, Metric]:
        """Fits the distribution to the weighted members."""
        theta, weight = candidates.vectors(), self.weight(returns)
        mean = weighted_mean(theta, weight)
        self.set_distribution(mean, weighted_spread(theta, weight, mean, full=self.full, unbiased=True))
        return {"std": self.std(), "effective_members": effective_members(weight)}

    def weight(self, returns: Tensor) -> Tensor:
        """The weights of returns [P] that are not all equal: [P]."""
        unit = (returns - returns.min()) / (returns.max() - returns.min())
        return unit if self.weights == "linear" else torch.exp(self.temperature * (unit - 1.0))


def effective_members(weight: Tensor) -> Tensor:
    """(sum_k w_k)^2 / sum_k w_k^2 of weights [P]: P if they are equal, 1 if only one is not zero."""
    return weight.sum().square() / weight.square().sum()
