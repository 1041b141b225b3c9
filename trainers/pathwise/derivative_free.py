"""Climbing a deterministic function of a few parameters by its values alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


@torch.no_grad()
def central_differences(value: Callable[[], Tensor], parameters: Sequence[Tensor], step: float) -> list[Tensor]:
    """Gradient of a function of tensors, from two of its values per number in them.

        dJ/dtheta_i = (J(theta + step e_i) - J(theta - step e_i)) / (2 step) + O(step^2)

    Under common random numbers (fixed scenarios) the noise of both values is the same and cancels.

    Args:
        value: computes J from the present parameters.
        parameters: theta, moved in place and put back to the bit.
        step: how far each number is moved, > 0.

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
    """Tries a move of each number in turn, and keeps those that raise the function. It never falls.

    Forwards first, then backwards. A move that helps is tried twice as long, in the same direction, the next time;
    one that does not, half as long.

    Args:
        value: computes J from the present parameters.
        parameters: theta, changed in place; P numbers in all.
        steps: [P], moves to try, changed in place.

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
    """A number equal to `value`, whose gradient by the parameters is the given one: what an optimizer is fed."""
    slope = sum((p * g).sum() for p, g in zip(parameters, gradient, strict=True))
    assert isinstance(slope, Tensor)
    return value.detach() + (slope - slope.detach())
