"""When to look whether the episodes of all copies have ended."""

from __future__ import annotations

from collections.abc import Iterator

GROWTH = 8  # a GPU is asked again after an eighth more steps


def look_times(stride: int, longest: int | None, limit: int | None = None) -> Iterator[int]:
    """Numbers of steps after which to look whether the episodes of all copies have ended.

    A look waits for a GPU, and each step beyond the last end is in vain. On a GPU the first look is after as many steps
    as the longest of the last episodes took, which changes little where there are many copies.

    Args:
        stride: fewest steps between two looks; without `longest`, all looks are this far apart.
        longest: steps of the longest of the last episodes, 0 at first, on a GPU; None on the CPU.
        limit: largest number of steps, with which the numbers end; None if it is unknown.
    """
    steps = max(longest or 0, stride)
    while limit is None or steps < limit:
        yield steps
        steps += stride if longest is None else max(steps // GROWTH, stride)
    yield limit
