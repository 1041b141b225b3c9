"""Checks of arguments: errors that name argument, rule and value."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterable
from numbers import Real
from typing import Any

Rule = str | Callable[[str, Any], None]
"""A range, such as ">= 1", "finite and > 0", "in (0, 1]"; or a function of name and value that raises ValueError."""


def require(valid: bool, name: str, rule: str, value: Any) -> None:
    """Raises ValueError, as `name must be rule, got value`, unless `valid`."""
    if not valid:
        raise ValueError(f"{name} must be {rule}, got {value}")


def check_value(name: str, value: Any, rule: Rule | None) -> None:
    """Raises ValueError unless a value obeys its rule."""
    if callable(rule):
        rule(name, value)
    elif rule is not None:
        require(_obeys(value, rule), name, rule, value)


def check_values(rule: Rule, **values: Any) -> None:
    """Raises ValueError unless all of the named values obey a rule. None is valid."""
    for name, value in values.items():
        if value is not None:
            check_value(name, value, rule)


def check_choice(name: str, value: Any, valid: Iterable[Any]) -> None:
    """Raises ValueError unless a value is one of the valid ones."""
    valid = list(valid)
    require(value in valid, name, f"one of {', '.join(map(str, valid))}", repr(value))


def check_count(name: str, value: Any, least: int = 1) -> None:
    """Raises TypeError unless a value is an int, and ValueError unless it is at least `least`."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int, got {value!r}")
    check_value(name, value, f">= {least}")


def check_shape(name: str, value: Any, shape: tuple[int, ...], note: str = "") -> None:
    """Raises ValueError unless a tensor, or None, has a shape; `note` follows the shape in the message."""
    got = None if value is None else tuple(value.shape)
    if got != shape:
        raise ValueError(f"{name} must have shape {shape}{note}, got {got}")


def check_std(name: str, std: object) -> None:
    """Raises TypeError or ValueError unless a standard deviation is a number, finite and not negative."""
    if isinstance(std, bool) or not isinstance(std, Real):
        raise TypeError(f"{name} must be a number, got {std!r}")
    check_value(name, std, "finite and >= 0")


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """`; did you mean NAME?` for the most similar of the valid names; empty if none is close.

    Case does not matter. The initials of a name's words stand for it, as `lr` for `learning_rate`.
    """
    known = {word.lower(): word for word in reversed(list(valid))}
    initials = {"".join(part[0] for part in re.split(r"[-_]+", word) if part): word for word in known if len(word) > 1}
    word = name.lower()
    close = [word] if word in known else [initials[word]] if len(word) > 1 and word in initials else []
    close = close or difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {known[close[0]]}?" if close else ""


def _obeys(value: Any, rule: str) -> bool:
    """Whether a number lies in a range: ">= 1", "finite and > 0", "in (0, 1]"."""
    if rule.startswith("finite and "):
        return math.isfinite(value) and _obeys(value, rule.removeprefix("finite and "))
    if rule.startswith(">="):
        return value >= float(rule[2:])
    if rule.startswith(">"):
        return value > float(rule[1:])
    low, high = map(float, rule[4:-1].split(","))
    above = value > low or (rule[3] == "[" and value == low)
    return above and (value < high or (rule[-1] == "]" and value == high))
