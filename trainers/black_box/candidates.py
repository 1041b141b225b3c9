"""Parameter vectors of a population: as vectors, or as seeds of perturbations of one vector."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor


class Candidates(ABC):
    """Parameter vectors of K members."""

    @property
    @abstractmethod
    def count(self) -> int:
        """K."""

    @abstractmethod
    def part(self, start: int, stop: int) -> Self:
        """Members `start` to `stop` - 1; a `stop` beyond the last member means all that there are."""

    @abstractmethod
    def vectors(self) -> Tensor:
        """The members: [K, D]."""


@dataclass(frozen=True)
class Vectors(Candidates):
    """Members as they are.

    Args:
        theta: [K, D].
    """

    theta: Tensor

    @property
    def count(self) -> int:
        """K."""
        return len(self.theta)

    def part(self, start: int, stop: int) -> Vectors:
        """Members `start` to `stop` - 1."""
        return Vectors(self.theta[start:stop].clone())  # a view would be pickled with all of its storage

    def vectors(self) -> Tensor:
        """The members: [K, D]."""
        return self.theta


@dataclass(frozen=True)
class Perturbations(Candidates):
    """Perturbations of one vector, each described by the seed of its noise: a table of noise that is never stored.

        theta_k = center + scale * sign_k * eps(seed_k),    eps ~ N(0, I)

    Args:
        center: [D].
        scale: standard deviation of the perturbations, at least 0.
        seeds: K seeds of noise; two members with the same seed and opposite signs are mirrored.
        signs: K signs, 1 or -1.

    Source: Salimans et al. (2017), "Evolution Strategies as a Scalable Alternative to RL", section 2.1.
    """

    center: Tensor
    scale: float
    seeds: Sequence[int]
    signs: Sequence[float]

    @property
    def count(self) -> int:
        """K."""
        return len(self.seeds)

    def part(self, start: int, stop: int) -> Perturbations:
        """Members `start` to `stop` - 1."""
        return replace(self, seeds=self.seeds[start:stop], signs=self.signs[start:stop])

    def noise(self, index: int) -> Tensor:
        """The noise of member `index`, without its sign: [D]."""
        generator = torch.Generator().manual_seed(self.seeds[index])
        return torch.randn(len(self.center), generator=generator, dtype=self.center.dtype)

    def vectors(self) -> Tensor:
        """The members: [K, D]."""
        rows = [sign * self.noise(k) for k, sign in enumerate(self.signs)]
        return self.center + self.scale * torch.stack(rows)
