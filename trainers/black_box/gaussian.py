"""Base class of the searches that adapt a Gaussian distribution of parameters."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from diffsim.checks import require
from diffsim.trainers.black_box.candidates import Candidates, Vectors
from diffsim.trainers.black_box.search import PopulationSearch
from diffsim.trainers.options import buffer, option

MAX_FULL_SIZE = 4000
"""Largest D of a full covariance: 128 MB in float64, and a minute per decomposition."""


class GaussianSearch(PopulationSearch):
    """Draws every generation from N(mean, covariance), and adapts both. The policy has the mean as its parameters.

    The distribution starts at the policy's initial parameters, and is kept in float64.
    """

    population: int = option("P, members of a generation.", ">= 2", default=64)
    init_std: float = option("standard deviation of every parameter at the start.", "finite and > 0", default=1.0)
    min_std: float = option(
        "smallest standard deviation, along every axis of the covariance.", "finite and >= 0", default=0.0
    )
    covariance: Literal["diagonal", "full"] = option(
        'one variance per parameter ("diagonal"), or all covariances too ("full"), for at most 4,000 parameters.',
        default="diagonal",
    )

    host_buffers = ("mean", "spread")
    mean: Tensor = buffer()
    spread: Tensor = buffer()

    def setup(self) -> None:
        """Makes the distribution: `mean` [D], and `spread`, variances [D] or the covariance [D, D].

        Raises: ValueError if the policy is too large for a full covariance.
        """
        super().setup()
        self.full = self.covariance == "full"
        if self.full:
            check_full_size(self.size, 'covariance="diagonal"')
        self.register_buffer("mean", self.vector())
        variances = torch.full((self.size,), self.init_std**2, dtype=torch.float64)
        self.register_buffer("spread", variances.diag() if self.full else variances)

    def ask(self) -> Candidates:
        """Draws the members."""
        noise = self.randn(self.population, self.size)
        return Vectors(self.mean + (noise @ self.factor().T if self.full else noise * self.spread.sqrt()))

    def factor(self) -> Tensor:
        """V sqrt(lambda) of the full covariance's eigenvectors and eigenvalues, [D, D]."""
        values, vectors = torch.linalg.eigh(self.spread)
        return vectors * values.clamp_min(0.0).sqrt()

    def set_distribution(self, mean: Tensor, spread: Tensor) -> None:
        """Sets mean [D] and variances [D] or covariance [D, D], the latter not below `min_std`, and the policy."""
        least = self.min_std**2
        if not self.full:
            spread = spread.clamp_min(least)
        elif least > 0.0:
            values, vectors = torch.linalg.eigh(spread)
            spread = vectors * values.clamp_min(least) @ vectors.T
        self.mean.copy_(mean)
        self.spread.copy_(spread)
        self.set_policy(mean)

    def std(self) -> Tensor:
        """Root of the mean variance of a parameter."""
        return (self.spread.diagonal() if self.full else self.spread).mean().sqrt()


def weighted_mean(theta: Tensor, weight: Tensor) -> Tensor:
    """sum_k w_k theta_k / sum_k w_k of vectors `theta` [K, D] with weights [K] >= 0: [D]."""
    return weight @ theta / weight.sum()


def weighted_spread(theta: Tensor, weight: Tensor, center: Tensor, *, full: bool, unbiased: bool = False) -> Tensor:
    """Weighted variances, or covariances, of vectors about a center.

        C = sum_k w_k (theta_k - center) (theta_k - center)' / Z
        Z = sum_k w_k,    or, unbiased if the center is the weighted mean,    ((sum_k w_k)^2 - sum_k w_k^2) / sum_k w_k

    Args:
        theta: [K, D].
        weight: [K], at least 0, not all zero.
        center: [D].
        full: return the covariance [D, D], otherwise the variances [D].
        unbiased: choose the second Z; if it is zero, because only one weight is not zero, the result is zero.

    Source: Deisenroth, Neumann & Peters (2013), "A Survey on Policy Search for Robotics", equation 2.38.
    """
    deviation, total = theta - center, weight.sum()
    normalizer = total - weight.square().sum() / total if unbiased else total
    if normalizer <= total * 1e-12:
        return torch.zeros((len(center),) * (2 if full else 1), dtype=theta.dtype)
    scaled = weight[:, None] * deviation / normalizer
    return scaled.T @ deviation if full else (scaled * deviation).sum(0)


def check_full_size(size: int, alternative: str) -> None:
    """Raises ValueError if D is too large for a full covariance matrix."""
    require(
        size <= MAX_FULL_SIZE,
        "policy",
        f"one of at most {MAX_FULL_SIZE} parameters for a full covariance ({alternative} takes more)",
        f"{size} parameters",
    )
