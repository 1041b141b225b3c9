"""Maximises a deterministic function of a few parameters without derivatives."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


@torch.no_grad()
def central_differences(value: Callable[[], Tensor], parameters: Sequence[Tensor], step: float) -> list[Tensor]:
    """Gradient by central differences, from two values of the function per parameter.

        dJ/dtheta_i = (J(theta + step e_i) - J(theta - step e_i)) / (2 step) + O(step^2)

    Under common random numbers (fixed scenarios) the noise of both values is the same and cancels.

    Args:
        value: computes J from the current parameters.
        parameters: theta, changed in place and restored exactly.
        step: change of each parameter, > 0.

    Returns: a tensor for each parameter, of its shape.
    Source: Spall (2003), "Introduction to Stochastic Search and Optimization", section 6.3 and chapter 14.
    """
    gradient = [torch.zeros_like(p) for p in parameters]
    for parameter, slope in zip(parameters, gradient, strict=True):
        numbers = parameter.view(-1)
        for i, number in enumerate(numbers.clone()):
            numbers[i] = number + step
            ahead = value()
            numbers[i] = number - step
            slope.view(-1)[i] = (ahead - value()) / (2 * step)
            numbers[i] = number
    return gradient


@torch.no_grad()
def coordinate_sweep(value: Callable[[], Tensor], parameters: Sequence[Tensor], steps: Tensor) -> Tensor:
    """Changes one parameter at a time, and keeps the changes that increase the function, which thus never decreases.

    Each step is tried forwards, then backwards. If one of them helps, the next sweep starts with twice this step, in
    this direction; if neither helps, with half of it.

    Args:
        value: computes J from the current parameters.
        parameters: theta, changed in place; P numbers in all.
        steps: [P], steps to try, changed in place.

    Returns: J before the sweep.
    Source: Hooke & Jeeves (1961), "Direct search solution of numerical and statistical problems".
    """
    before = best = value()
    numbers = [(parameter.view(-1), i) for parameter in parameters for i in range(parameter.numel())]
    for k, (vector, i) in enumerate(numbers):
        start = vector[i].clone()
        for sign in (1.0, -1.0):
            vector[i] = start + sign * steps[k]
            reached = value()
            if reached > best:
                best = reached
                steps[k] *= 2 * sign
                break
        else:
            vector[i] = start
            steps[k] /= 2
    return before


def with_gradient(value: Tensor, parameters: Sequence[Tensor], gradient: Sequence[Tensor]) -> Tensor:
    """A number equal to `value` whose gradient with respect to the parameters is `gradient`, for an optimizer."""
    slope = sum((p * g).sum() for p, g in zip(parameters, gradient, strict=True))
    assert isinstance(slope, Tensor)
    return value.detach() + (slope - slope.detach())
