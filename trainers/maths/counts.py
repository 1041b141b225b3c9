"""Exact numbers of what is due, from rates that are floating-point numbers."""

from __future__ import annotations

from fractions import Fraction

LARGEST_DENOMINATOR = 10**9


def due(rate: float, count: int) -> int:
    """Whole part of rate * count, where the rate stands for the simplest fraction that it rounds.

    1/49 as a floating-point number, times 49, is below 1; here it is 1.

    Args:
        rate: at least 0; a fraction with a denominator up to 10^9.
        count: at least 0.
    """
    return int(Fraction(rate).limit_denominator(LARGEST_DENOMINATOR) * count)
