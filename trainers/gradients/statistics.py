"""Statistics of gradient estimates: variance, bias and cosine, and the horizon at which one estimator wins."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class GradientMoments:
    """Mean and variance of samples that are added in batches, and the mean of each batch.

    Attributes:
        count: n, number of samples so far.
        batch_means: mean of each batch, B tensors [D], float64.
    """

    def __init__(self) -> None:
        self.count, self.batch_means, self._sizes = 0, [], []
        self._squares = 0.0

    def add(self, gradients: Tensor) -> None:
        """Adds a batch, [N, D]."""
        gradients = gradients.detach().double()
        self.count += len(gradients)
        self._sizes.append(len(gradients))
        self.batch_means.append(gradients.mean(0))
        self._squares += gradients.square().sum().item()

    @property
    def mean(self) -> Tensor:
        """Mean over all samples: [D]."""
        sizes = torch.tensor(self._sizes, dtype=torch.float64, device=self.batch_means[0].device)
        return (torch.stack(self.batch_means) * sizes[:, None]).sum(0) / self.count

    @property
    def variance(self) -> float:
        """Variance of one sample, summed over the D entries: E|g - E g|^2."""
        return max(self._squares - self.count * self.mean.square().sum().item(), 0.0) / (self.count - 1)

    @property
    def squared_noise(self) -> float:
        """Expected squared distance of `mean` from the expectation: variance / n."""
        return self.variance / self.count

    @property
    def norm(self) -> float:
        """Estimate of |E g|, corrected for the noise in |mean|; nan if noise is at least half of |mean|^2."""
        squared = self.mean.square().sum().item()
        return math.sqrt(squared - self.squared_noise) if squared > 2 * self.squared_noise else math.nan


class GradientComparison(NamedTuple):
    """An estimator compared with the reference. Relative numbers are nan if the norm of the reference is nan.

    Attributes:
        variance: of one sample, E|g - E g|^2.
        bias: |E g - g_ref| / |g_ref|, corrected for noise; 0 if it is below the floor.
        bias_floor: smallest detectable bias: three times the distance due to noise alone, over |g_ref|.
        cosine: between the mean of one batch and the reference, averaged over batches, corrected for the noise of the
            reference.
        noise: variance of the mean of one batch of N, over |g_ref|^2: variance / (N |g_ref|^2).
    """

    variance: float
    bias: float
    bias_floor: float
    cosine: float
    noise: float

    def error(self, cost: float = 1.0) -> float:
        """Relative squared error at the cost of a batch of N, if each sample costs `cost` times as much."""
        return self.bias**2 + cost * self.noise


def compare_gradients(moments: GradientMoments, reference: GradientMoments) -> GradientComparison:
    """Compares an estimator with an independent, unbiased reference.

    The expected noise is subtracted from the squared distance of the two means:

        bias^2 = |mean - mean_ref|^2 - noise,    noise = variance / n + variance_ref / n_ref

    The bias is 0 unless the distance is above three times that due to noise alone: three standard errors if all noise
    is in one direction, and more in several directions.
    """
    norm = reference.norm
    noise = moments.squared_noise + reference.squared_noise
    distance = (moments.mean - reference.mean).square().sum().item()
    bias = math.sqrt(distance - noise) if distance > 9 * noise else 0.0
    return GradientComparison(
        variance=moments.variance,
        bias=bias / norm,
        bias_floor=3 * math.sqrt(noise) / norm,
        cosine=_mean_cosine(moments, reference.mean, norm),
        noise=moments.variance * len(moments.batch_means) / (moments.count * norm**2),
    )


def turning_point(horizons: Sequence[int], challenged: Sequence[float], challenger: Sequence[float]) -> int | None:
    """The smallest horizon from which on the challenger is always smaller; None if there is none.

    If one of the two is nan, the challenger is not smaller.
    """
    turn = None
    for horizon, old, new in reversed(list(zip(horizons, challenged, challenger, strict=True))):
        if not new < old:
            break
        turn = horizon
    return turn


def _mean_cosine(moments: GradientMoments, reference: Tensor, norm: float) -> float:
    """Mean cosine between the batch means and the reference, whose true norm is `norm`."""
    cosines = []
    for mean in moments.batch_means:
        length = mean.norm().item()
        cosines.append(mean.dot(reference).item() / (length * norm) if length else 0.0)
    return sum(cosines) / len(cosines)
