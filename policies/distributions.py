"""Distributions of a policy's choices, sampled by explicit noise, with exact densities and divergences.

All are distributions of *raw* choices, before `policy.squash` maps them to actions: numbers before tanh, or indices.
Squashing does not depend on parameters, so density ratios and divergences of raw choices equal those of the actions.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor


class Distribution(ABC):
    """A batch [...] of distributions, one per observation."""

    @property
    @abstractmethod
    def mode(self) -> Tensor:
        """The most probable choice, [..., F]."""

    @abstractmethod
    def sample(self, noise: Tensor) -> Tensor:
        """The reparameterised sample for standard normal `noise` [..., F]: [..., F]."""

    @abstractmethod
    def log_prob(self, raw: Tensor) -> Tensor:
        """Log density, or log probability, of `raw` [..., F]: [...]."""

    @abstractmethod
    def entropy(self) -> Tensor:
        """- E[log p], in nats: [...]."""

    @abstractmethod
    def kl(self, other: Self) -> Tensor:
        """KL divergence KL(self || other) = E_self[log p_self - log p_other], in nats: [...]."""

    @abstractmethod
    def detach(self) -> Self:
        """The same distribution, detached from the graph."""


@dataclass(frozen=True)
class DiagonalGaussian(Distribution):
    """Independent normal numbers.

    Args:
        mean: [..., A].
        std: [..., A], above 0.
    """

    mean: Tensor
    std: Tensor

    @property
    def mode(self) -> Tensor:
        """The mean."""
        return self.mean

    def sample(self, noise: Tensor) -> Tensor:
        """Mean plus std * noise."""
        return self.mean + self.std * noise

    def log_prob(self, raw: Tensor) -> Tensor:
        """Log density of `raw` [..., A]."""
        z = (raw - self.mean) / self.std
        return (-0.5 * z.square() - self.std.log() - 0.5 * math.log(2.0 * math.pi)).sum(-1)

    def entropy(self) -> Tensor:
        """sum_i log std_i + log(2 pi e) / 2."""
        return (self.std.log() + 0.5 * math.log(2.0 * math.pi * math.e)).sum(-1)

    def kl(self, other: DiagonalGaussian) -> Tensor:
        """sum_i log(std'_i / std_i) + (std_i^2 + (mean_i - mean'_i)^2) / (2 std'_i^2) - 1/2."""
        squares = (self.std.square() + (self.mean - other.mean).square()) / (2.0 * other.std.square())
        return (other.std.log() - self.std.log() + squares - 0.5).sum(-1)

    def detach(self) -> DiagonalGaussian:
        """The same distribution, detached from the graph."""
        return DiagonalGaussian(self.mean.detach(), self.std.detach())


@dataclass(frozen=True)
class FullGaussian(Distribution):
    """Jointly normal numbers, with covariance L L'.

    Args:
        mean: [..., A].
        factor: L, lower triangular with a positive diagonal, [..., A, A] or [A, A] for all.
    """

    mean: Tensor
    factor: Tensor

    @property
    def mode(self) -> Tensor:
        """The mean."""
        return self.mean

    def sample(self, noise: Tensor) -> Tensor:
        """Mean plus L noise."""
        return self.mean + (self.factor @ noise.unsqueeze(-1)).squeeze(-1)

    def log_prob(self, raw: Tensor) -> Tensor:
        """Log density of `raw` [..., A]."""
        z = _solve(self.factor, (raw - self.mean).unsqueeze(-1)).squeeze(-1)
        return -0.5 * z.square().sum(-1) - self._log_det() - 0.5 * math.log(2.0 * math.pi) * z.shape[-1]

    def entropy(self) -> Tensor:
        """The sum log det L + A log(2 pi e) / 2."""
        size = self.mean.shape[-1]
        return (self._log_det() + 0.5 * math.log(2.0 * math.pi * math.e) * size).expand(self.mean.shape[:-1])

    def kl(self, other: FullGaussian) -> Tensor:
        """(|L'^-1 L|^2 + |L'^-1 (mean - mean')|^2 - A) / 2 + log det L' - log det L."""
        spread = _solve(other.factor, self.factor).square().sum((-2, -1))
        shift = _solve(other.factor, (self.mean - other.mean).unsqueeze(-1)).square().sum((-2, -1))
        return other._log_det() - self._log_det() + 0.5 * (spread + shift - self.mean.shape[-1])

    def detach(self) -> FullGaussian:
        """The same distribution, detached from the graph."""
        return FullGaussian(self.mean.detach(), self.factor.detach())

    def _log_det(self) -> Tensor:
        return self.factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)


@dataclass(frozen=True)
class Categoricals(Distribution):
    """F independent choices, each of one index among K_f.

    One normal number samples each choice, by inverting the cumulative distribution: index k where
    p_0 + ... + p_{k-1} < Phi(noise) <= p_0 + ... + p_k.

    Args:
        log_probs: normalised log probabilities, [..., K_f] for each of the F choices.
    """

    log_probs: tuple[Tensor, ...]

    @property
    def mode(self) -> Tensor:
        """The most probable index of each choice, int64 [..., F]."""
        return torch.stack([log_prob.argmax(-1) for log_prob in self.log_probs], dim=-1)

    def sample(self, noise: Tensor) -> Tensor:
        """Indices, int64 [..., F]."""
        uniform = torch.special.ndtr(noise)
        chosen = [
            (log_prob.exp().cumsum(-1)[..., :-1] < uniform[..., f : f + 1]).sum(-1)
            for f, log_prob in enumerate(self.log_probs)
        ]
        return torch.stack(chosen, dim=-1)

    def log_prob(self, raw: Tensor) -> Tensor:
        """Log probability of the indices `raw` [..., F]."""
        parts = [log_prob.gather(-1, raw[..., f : f + 1]) for f, log_prob in enumerate(self.log_probs)]
        return torch.cat(parts, dim=-1).sum(-1)

    def entropy(self) -> Tensor:
        """- sum_f sum_k p log p."""
        return -torch.stack([(log_prob.exp() * log_prob).sum(-1) for log_prob in self.log_probs]).sum(0)

    def kl(self, other: Categoricals) -> Tensor:
        """sum_f sum_k p (log p - log p')."""
        pairs = zip(self.log_probs, other.log_probs, strict=True)
        return torch.stack([(p.exp() * (p - q)).sum(-1) for p, q in pairs]).sum(0)

    def detach(self) -> Categoricals:
        """The same distribution, detached from the graph."""
        return Categoricals(tuple(log_prob.detach() for log_prob in self.log_probs))


@dataclass(frozen=True)
class Mixed(Distribution):
    """Normal numbers and choices, independent of each other.

    Args:
        numbers: A normal numbers.
        choices: F choices.
    """

    numbers: DiagonalGaussian
    choices: Categoricals

    @property
    def mode(self) -> Tensor:
        """The mean and the most probable indices, as numbers: [..., A + F]."""
        return torch.cat([self.numbers.mode, self.choices.mode.to(self.numbers.mean)], dim=-1)

    def sample(self, noise: Tensor) -> Tensor:
        """Numbers, and indices as numbers. Only the former have a gradient."""
        first, second = self.split(noise)
        return torch.cat([self.numbers.sample(first), self.choices.sample(second).to(first)], dim=-1)

    def log_prob(self, raw: Tensor) -> Tensor:
        """Log density of the numbers, plus log probability of the indices."""
        first, second = self.split(raw)
        return self.numbers.log_prob(first) + self.choices.log_prob(second.round().long())

    def entropy(self) -> Tensor:
        """The sum of both."""
        return self.numbers.entropy() + self.choices.entropy()

    def kl(self, other: Mixed) -> Tensor:
        """The sum of both."""
        return self.numbers.kl(other.numbers) + self.choices.kl(other.choices)

    def detach(self) -> Mixed:
        """The same distribution, detached from the graph."""
        return Mixed(self.numbers.detach(), self.choices.detach())

    def split(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        """The entries [..., A + F] of numbers and of choices."""
        size = self.numbers.mean.shape[-1]
        return raw[..., :size], raw[..., size:]


def _solve(factor: Tensor, right: Tensor) -> Tensor:
    """L^-1 R for lower triangular L."""
    return torch.linalg.solve_triangular(factor, right, upper=False)
