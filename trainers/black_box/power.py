"""PoWER: policy learning by weighting exploration with the returns."""

from __future__ import annotations

import torch
from torch import Tensor

from diffsim.checks import require
from diffsim.trainers.black_box.candidates import Candidates
from diffsim.trainers.black_box.gaussian import GaussianSearch
from diffsim.trainers.black_box.shares import Answer
from diffsim.trainers.errors import UsageError
from diffsim.trainers.metrics import Metric
from diffsim.trainers.options import buffer, option

VARIANCE_RANGE = (0.1, 10.0)
"""Bounds of the variances, in units of the initial ones; Kober's."""


class PoWER(GaussianSearch):
    """Policy learning by weighting exploration with the returns: reuses the best roll-outs of all generations.

        theta <- theta + sum_k W_k U_k (theta_k - theta) / sum_k W_k U_k,    W_k = 1 / variances that drew theta_k
        variances <- sum_k U_k (theta_k - theta)^2 / sum_k U_k

    The first sum is over the `kept` best roll-outs so far (importance sampling as the authors do it), the second over
    the `variance_kept` best, with the old theta. Variances stay within 0.1 and 10 times the initial ones. Returns must
    not be negative, as an improper probability distribution; with `shift`, the worst return in memory is subtracted
    from all.

    A lucky return of a noisy task stays in memory. Use enough episodes per member there.

    Source: Kober & Peters (2009), "Policy search for motor primitives in robotics"; (2011), "Policy search for motor
    primitives in robotics", Machine Learning 84. Memory sizes and bounds are those of the authors' code.
    """

    population: int = option(default=16)
    kept: int = option("roll-outs that move the mean.", ">= 1", default=10)
    variance_kept: int = option("roll-outs that set the variances; at least `kept`.", ">= 2", default=100)
    adapt_variance: bool = option("adapt the variances.", default=True)
    shift: bool = option("subtract the worst return in memory from all returns.", default=True)

    host_buffers = (*GaussianSearch.host_buffers, "memory_theta", "memory_variance", "memory_return")
    memory_theta: Tensor = buffer()
    memory_variance: Tensor = buffer()
    memory_return: Tensor = buffer()

    def setup(self) -> None:
        """Makes the memory, whose empty places have the return -inf.

        Raises: ValueError if the memory is too small, or a full covariance is asked for.
        """
        require(self.covariance == "diagonal", "covariance", "diagonal for PoWER", repr(self.covariance))
        require(self.variance_kept >= self.kept, "variance_kept", f">= kept = {self.kept}", self.variance_kept)
        super().setup()
        empty = torch.zeros(self.variance_kept, self.size, dtype=torch.float64)
        self.register_buffer("memory_theta", empty)
        self.register_buffer("memory_variance", torch.ones_like(empty))
        self.register_buffer("memory_return", torch.full((self.variance_kept,), -torch.inf, dtype=torch.float64))

    def tell(self, candidates: Candidates, returns: Tensor, answer: Answer) -> dict[str, Metric]:
        """Remembers the best roll-outs, and moves the mean towards them.

        Raises: UsageError if a return is negative and `shift` is false.
        """
        if not self.shift and returns.min() < 0.0:
            raise UsageError(f"shift must be true for negative returns, got false and {float(returns.min())}")
        self.remember(candidates.vectors(), returns)
        found = self.memory_return.isfinite()
        worst = self.memory_return[found].min() if self.shift else 0.0
        value = torch.where(found, self.memory_return - worst, 0.0)[:, None]
        eps = self.memory_theta - self.mean
        weight = (value / self.memory_variance)[: self.kept]
        step = (weight * eps[: self.kept]).sum(0) / weight.sum(0).clamp_min(torch.finfo(torch.float64).tiny)
        variance = (value * eps.square()).sum(0) / value.sum().clamp_min(torch.finfo(torch.float64).tiny)
        low, high = (bound * self.init_std**2 for bound in VARIANCE_RANGE)
        self.set_distribution(self.mean + step, variance.clamp(low, high) if self.adapt_variance else self.spread)
        return {"std": self.std(), "kept_return": self.memory_return[: self.kept][found[: self.kept]].mean()}

    def remember(self, theta: Tensor, returns: Tensor) -> None:
        """Merges a generation into the memory, which is sorted by return, the best first."""
        together = torch.cat([self.memory_return, returns])
        order = together.argsort(descending=True, stable=True)[: self.variance_kept]
        self.memory_theta.copy_(torch.cat([self.memory_theta, theta])[order])
        self.memory_variance.copy_(torch.cat([self.memory_variance, self.spread.expand_as(theta)])[order])
        self.memory_return.copy_(together[order])
