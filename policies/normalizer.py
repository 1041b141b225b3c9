"""Normalisation of observations by their running mean and standard deviation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from diffsim.checks import check_values


class ObservationNormalizer(nn.Module):
    """Normalises observations to zero mean and unit variance, by running statistics.

        normalised = (o - mean) / sqrt(variance + epsilon)    clipped to [-clip_obs, clip_obs]

    The statistics are buffers: they are saved with the policy, and no gradient passes through them. They change only
    in `update`, so that a whole window of experience is normalised by the same statistics. Before the first update,
    the mean is 0 and the variance 1.

    Args:
        size: O, numbers in an observation.
        epsilon: added to the variance, so that an almost constant observation is not amplified. If None, 1e-4 (for
            observations of order one in SI units), or 1e-8 with clip_obs.
        clip_obs: bound of the magnitude of normalised observations, above 0; None does not clip.

    Raises: ValueError if epsilon or clip_obs is not above 0.
    """

    mean: Tensor
    variance: Tensor
    count: Tensor

    def __init__(self, size: int, epsilon: float | None = None, clip_obs: float | None = None) -> None:
        super().__init__()
        check_values("> 0", epsilon=epsilon, clip_obs=clip_obs)
        self.epsilon = epsilon or (1e-4 if clip_obs is None else 1e-8)
        self.clip_obs = clip_obs
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("variance", torch.ones(size))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def forward(self, obs: Tensor) -> Tensor:
        """Normalises `obs` [..., O]."""
        normalised = (obs - self.mean) / torch.sqrt(self.variance + self.epsilon)
        return normalised if self.clip_obs is None else normalised.clamp(-self.clip_obs, self.clip_obs)

    @torch.no_grad()
    def update(self, obs: Tensor) -> None:
        """Merges a batch `obs` [..., O] into the running mean and (population) variance."""
        batch = obs.detach().reshape(-1, obs.shape[-1]).to(torch.float64)
        if len(batch):
            self.merge(batch.mean(0), batch.var(0, correction=0), len(batch))

    @torch.no_grad()
    def merge(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """Merges the statistics of another batch into the running ones.

        Args:
            mean: [O], float64.
            variance: [O], float64, population variance.
            count: observations in the batch, at least 1.

        Source: Chan, Golub & LeVeque (1983), "Algorithms for computing the sample variance", equation 2.1.
        """
        total = self.count + count
        delta = mean - self.mean
        squares = self.variance.to(torch.float64) * self.count + variance * count
        squares = squares + delta.square() * self.count * count / total
        self.mean.copy_(self.mean + delta * count / total)
        self.variance.copy_(squares / total)
        self.count.copy_(total)
