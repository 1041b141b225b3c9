"""Learning rates that decay towards the end of training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from diffsim.checks import check_values, require

BUDGET = "budget"
"""On the command line and in configurations: the length of the run."""
Decay = int | tuple[int, int] | Literal["budget"] | None
"""Env steps between which rates decay linearly: two counts, or the second where the first is 0; None for never."""


def check_decay(name: str, value: Decay) -> None:
    """Raises ValueError unless `value` is two increasing counts, or one that is at least 1, or None.

    The command line replaces `budget` by a count; a constructor refuses it.
    """
    if value is None or isinstance(value, int | str):
        check_decay_iterations(name, value)
    else:
        increasing = isinstance(value, Sequence) and len(value) == 2 and 0 <= value[0] < value[1]
        require(increasing, name, "two increasing counts", value)


def check_decay_iterations(name: str, value: int | str | None) -> None:
    """Raises ValueError unless `value` is a count of at least 1, or None."""
    require(value != BUDGET, name, "a count outside of the command line", repr(value))
    check_values(">= 1", **{name: value})


def part_left(decay_env_steps: Decay, env_steps: int) -> float:
    """Part of a learning rate that is left after `env_steps`: 1 up to the first count, 0 from the second on."""
    if decay_env_steps is None:
        return 1.0
    assert not isinstance(decay_env_steps, str)  # `check_decay` refuses it
    begin, end = (0, decay_env_steps) if isinstance(decay_env_steps, int) else decay_env_steps
    return min(max((end - env_steps) / (end - begin), 0.0), 1.0)
