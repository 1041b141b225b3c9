"""Means and standard deviations that normalise the inputs and outputs of a model."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from diffsim.models.data import Data

LEAST_STD = 1e-6  # relative to the largest magnitude: a feature that varies less counts as constant


class Moments(NamedTuple):
    """Mean and standard deviation of each feature, [F] each. A constant feature has standard deviation 1."""

    mean: Tensor
    std: Tensor

    @classmethod
    def of(cls, values: Tensor) -> Moments:
        """Moments over the rows of `values` [M, F]."""
        wide = values.double()
        mean, std = wide.mean(0), wide.std(0, correction=0)
        constant = std <= LEAST_STD * wide.abs().amax(0).clamp_min(1e-12)
        return cls(mean.to(values), torch.where(constant, 1.0, std).to(values))


class Statistics(NamedTuple):
    """Moments of all inputs and outputs of a model."""

    obs: Moments
    action: Moments
    change: Moments
    reward: Moments

    @classmethod
    def of(cls, data: Data) -> Statistics:
        """Statistics over all transitions; `change` is next_obs - obs.

        Raises: ValueError if `data` is empty.
        """
        if not len(data):
            raise ValueError("data must have >= 1 transition, got 0")
        parts = (data.obs, data.action, data.next_obs - data.obs, data.reward[:, None])
        return cls(*map(Moments.of, parts))

    def lists(self) -> dict[str, Any]:
        """All means and standard deviations as lists of floats."""
        return {name: {"mean": m.mean.tolist(), "std": m.std.tolist()} for name, m in self._asdict().items()}

    @property
    def step_inputs(self) -> Moments:
        """Moments of [obs, action]."""
        return Moments(*(torch.cat(pair) for pair in zip(self.obs, self.action, strict=True)))

    @property
    def reward_inputs(self) -> Moments:
        """Moments of [obs, action, next_obs]; next observations are normalised like observations."""
        return Moments(*(torch.cat(parts) for parts in zip(self.obs, self.action, self.obs, strict=True)))
