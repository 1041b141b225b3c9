"""Derivatives of clamps.

Inside its range a clamp has derivative 1, outside 0. At an end it is 1 for a control or an activation, the derivative
towards feasible ones; and 1/2, the mean of both sides, for a force, since forces add up.
"""

import warp as wp

from diffsim.types import HALF, ZERO, real


@wp.func
def inside(x: real, low: real, high: real) -> real:
    """Derivative of a clamp: 1 within the range, ends included, else 0."""
    if x < low or x > high:
        return ZERO
    return real(1.0)


@wp.func
def strictly_inside(x: real, low: real, high: real) -> real:
    """1 within the range, ends excluded, else 0."""
    if x <= low or x >= high:
        return ZERO
    return real(1.0)


@wp.func
def force_slope(x: real, low: real, high: real) -> real:
    """Derivative of the clamp of a force: 1 within the range, 1/2 at its ends, else 0."""
    return HALF * (inside(x, low, high) + strictly_inside(x, low, high))
