"""Checks of options: errors that name argument, rule and value."""

from __future__ import annotations

from typing import Any


def require(valid: bool, name: str, rule: str, value: Any) -> None:
    """Raises ValueError, as `name must be rule, got value`, unless `valid`."""
    if not valid:
        raise ValueError(f"{name} must be {rule}, got {value}")


def at_least_one(**counts: int | None) -> None:
    """Each of the named counts must be >= 1, or None."""
    for name, count in counts.items():
        require(count is None or count >= 1, name, ">= 1", count)


def positive(**numbers: float | None) -> None:
    """Each of the named numbers must be > 0, or None."""
    for name, number in numbers.items():
        require(number is None or number > 0, name, "> 0", number)


def nonnegative(**numbers: float) -> None:
    """Each of the named numbers must be >= 0."""
    for name, number in numbers.items():
        require(number >= 0, name, ">= 0", number)


def unit_interval(brackets: str, **numbers: float) -> None:
    """Each of the named numbers must lie between 0 and 1; `brackets`, such as "(]", says with which ends."""
    for name, number in numbers.items():
        inside = 0 < number < 1 or (number == 0 and brackets[0] == "[") or (number == 1 and brackets[1] == "]")
        require(inside, name, f"in {brackets[0]}0, 1{brackets[1]}", number)
