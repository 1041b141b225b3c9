"""Linear decay of learning rates."""

from __future__ import annotations

from collections.abc import Sequence

from diffsim.trainers.ranges import at_least_one, require

Decay = int | tuple[int, int] | None
"""Env steps between which rates decay linearly to 0: (first, last), or last alone if first is 0; None for no decay."""


def check_decay(decay_env_steps: Decay) -> None:
    """Raises ValueError unless `decay_env_steps` is two increasing counts, one count >= 1, or None."""
    if decay_env_steps is None or isinstance(decay_env_steps, int):
        at_least_one(decay_env_steps=decay_env_steps)
    else:
        pair = isinstance(decay_env_steps, Sequence) and len(decay_env_steps) == 2
        increasing = pair and 0 <= decay_env_steps[0] < decay_env_steps[1]
        require(increasing, "decay_env_steps", "two rising counts", decay_env_steps)


def part_left(decay_env_steps: Decay, env_steps: int) -> float:
    """Factor on a learning rate after `env_steps`: 1 up to the first count, 0 from the second on."""
    if decay_env_steps is None:
        return 1.0
    begin, end = (0, decay_env_steps) if isinstance(decay_env_steps, int) else decay_env_steps
    return min(max((end - env_steps) / (end - begin), 0.0), 1.0)
