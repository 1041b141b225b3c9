"""Measure-valued derivatives of distributions, as pairs of choices."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Bernoulli

from diffsim.trainers.graphs.draws import Noise, gaussian_parameters, independent

Pair = tuple[Tensor, Tensor, Tensor, Tensor]
"""An entry of a parameter [N], the factor of its derivative [N], and the values [N, ...] of both parts."""


def measure_valued_term(distribution: Any, value: Tensor, noise: Noise, costs_at: Callable[[Tensor], Tensor]) -> Tensor:
    """A term of value zero, whose first derivative is that of the expected costs by the distribution.

        dE[f] / dphi = c (E_+[f] - E_-[f])

    for each number of the choice; the other numbers keep their values.

    Args:
        distribution: normal with independent numbers, or Bernoulli.
        value: the choice, [N, ...].
        noise: of the node.
        costs_at: maps a value of the node [N, ...] to the costs after it, [N].

    Returns: [N].
    Raises: ValueError for other distributions.
    """
    total = value.new_zeros(len(value))
    for parameter, factor, positive, negative in _pairs(distribution, value, noise):
        with torch.no_grad():
            slope = factor * (costs_at(positive) - costs_at(negative))
        total = total + _WithSlope.apply(parameter, slope)
    return total


def _pairs(distribution: Any, value: Tensor, noise: Noise) -> Iterator[Pair]:
    """The pairs of all entries of all parameters that need a gradient."""
    gaussian, bits = gaussian_parameters(distribution), independent(distribution)
    if gaussian is not None:
        mean, std = (part.expand(value.shape) for part in gaussian)
        pairs = _gaussian_pairs(mean, std, noise)
    elif isinstance(bits, Bernoulli):
        pairs = [(bits.probs, torch.ones_like(value), torch.ones_like(value), torch.zeros_like(value))]
    else:
        kind = type(distribution).__name__
        raise ValueError(f"distribution of {noise.name!r} must be Normal or Bernoulli to be measure-valued, got {kind}")
    for parameter, *others in pairs:
        if not parameter.requires_grad:
            continue
        entries = parameter.reshape(len(value), -1)
        factor, positive, negative = (part.detach().reshape(len(value), -1) for part in others)
        for index in range(entries.shape[1]):
            above, below = (_replaced(value, index, part[:, index]) for part in (positive, negative))
            yield entries[:, index], factor[:, index], above, below


def _gaussian_pairs(mean: Tensor, std: Tensor, noise: Noise) -> list[tuple[Tensor, ...]]:
    """Parameter, factor and both values, all [N, ...], for mean and standard deviation.

    By the mean, both parts are Rayleigh distances from the mean. By the standard deviation, the positive part is a
    double-sided Maxwell variable M and the negative one normal, coupled as U M with a uniform U.
    """
    rayleigh = (-2.0 * noise.uniform(mean, use=1).log()).sqrt()
    generator = noise.generator(2, mean)
    normals = torch.randn((3, *mean.shape), generator=generator, dtype=mean.dtype, device=mean.device)
    maxwell = normals.square().sum(0).sqrt() * (noise.uniform(mean, use=3) - 0.5).sign()
    return [
        (mean, 1.0 / (std * math.sqrt(2.0 * math.pi)), mean + std * rayleigh, mean - std * rayleigh),
        (std, 1.0 / std, mean + std * maxwell, mean + std * maxwell * noise.uniform(mean, use=4)),
    ]


def _replaced(value: Tensor, index: int, entry: Tensor) -> Tensor:
    """A value [N, ...] with another number at one index of each flattened row."""
    changed = value.detach().reshape(len(value), -1).clone()
    changed[:, index] = entry
    return changed.reshape(value.shape)


class _WithSlope(torch.autograd.Function):
    """Zero, with a given derivative. The derivative has none itself: differentiating it is an error."""

    @staticmethod
    def forward(ctx: Any, parameter: Tensor, slope: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Zeros [N]."""
        ctx.save_for_backward(parameter, slope)
        return torch.zeros_like(parameter)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The slope."""
        return grad * _Last.apply(*ctx.saved_tensors), None


class _Last(torch.autograd.Function):
    """A derivative whose own derivative is not known."""

    @staticmethod
    def forward(ctx: Any, parameter: Tensor, slope: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The slope [N]."""
        return slope.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Raises RuntimeError."""
        raise RuntimeError("a measure-valued derivative must be differentiated once, got a second time")
