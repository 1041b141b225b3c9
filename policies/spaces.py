"""Observation spaces, and their observations as policies take them: vectors, or images."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Space, Tuple

from diffsim.checks import require

MOST_CHOICES = 100_000
"""Largest number of entries in the one-hot vectors of a discrete observation."""


def is_image(space: Space) -> bool:
    """Whether observations are images: integers [H, W], or integers or bounded floats [C, H, W] or [H, W, C]."""
    if not isinstance(space, Box):
        return False
    axes = len(space.shape)
    return (axes in (2, 3) and space.dtype.kind in "iu") or (axes == 3 and space.is_bounded())


class Observations:
    """Observations of a space, as policies take them: vectors [O], or images.

    Vectors are those of `gymnasium.spaces.flatten`: one-hot for Discrete and MultiDiscrete, and the parts of Dict and
    Tuple one after the other. A Box that is no image is flattened.

    Args:
        space: Box with at most three axes, Discrete, MultiDiscrete, MultiBinary, or a Dict or Tuple of them.

    Attributes:
        given: the space.
        space: a Box, of what `flat` returns.
        columns: columns in a vector of each part of a Dict or Tuple, by its names with dots between: "body.arm".

    Raises: ValueError if the space has no numbers, or has a part of another kind, which it names.
    """

    def __init__(self, space: Space) -> None:
        parts = list(_parts(space))
        require(bool(parts), "observation_space", "one with at least one number", space)
        for name, part in parts:
            _check(part, f" as {name!r}" if name else "")
        self.given = space
        self.columns: dict[str, slice] = {}
        if is_image(space) or (isinstance(space, Box) and len(space.shape) == 1):
            self.space: Box = _with_torch_type(space)
            return
        flat = gymnasium.spaces.flatten_space(space)
        assert isinstance(flat, Box)
        require(flat.shape[0] > 0, "observation_space", "one with at least one number", space)
        self.space, self.columns = flat, dict(_columns(space))

    def flat(self, obs: Any) -> np.ndarray:
        """Vectors [..., O], or images [..., *shape], of one observation or a batch of them."""
        if self.space is self.given:
            return np.asarray(obs)
        if is_image(self.space):
            return np.asarray(obs).astype(self.space.dtype)
        return _numbers(self.given, obs)


def _parts(space: Space, name: str = "") -> Iterator[tuple[str, Space]]:
    """Name and space of every part that is not a Dict or Tuple."""
    if isinstance(space, Dict | Tuple):
        for key, part in _children(space):
            yield from _parts(part, f"{name}.{key}" if name else key)
    else:
        yield name, space


def _children(space: Dict | Tuple) -> list[tuple[str, Space]]:
    items = space.spaces.items() if isinstance(space, Dict) else enumerate(space.spaces)
    return [(str(key), part) for key, part in items]


def _check(space: Space, where: str) -> None:
    """Raises ValueError unless the space is one of numbers that has at least one, and not too many."""
    kinds = Box | Discrete | MultiDiscrete | MultiBinary
    kind = "a Box, Discrete, MultiDiscrete or MultiBinary space, or a Dict or Tuple of these"
    require(isinstance(space, kinds), "observation_space", kind, f"{space}{where}")
    shape = space.shape or ()
    require(0 not in shape, "observation_space", "one with at least one number", f"{space}{where}")
    require(len(shape) <= 3, "observation_space", "one with at most 3 axes", f"{space}{where}")
    if isinstance(space, Discrete | MultiDiscrete):
        rule = f"one with at most {MOST_CHOICES:,} choices, each of which becomes a number"
        require(gymnasium.spaces.flatdim(space) <= MOST_CHOICES, "observation_space", rule, f"{space}{where}")


def _with_torch_type(space: Space) -> Box:
    """The Box, with signed integers if its unsigned ones have no operations in torch."""
    assert isinstance(space, Box)
    if space.dtype.kind != "u" or space.dtype.itemsize == 1:
        return space
    wider = {2: np.int32}.get(space.dtype.itemsize, np.int64)
    return Box(space.low.astype(wider), space.high.astype(wider), dtype=wider)


def _columns(space: Space, name: str = "", start: int = 0) -> Iterator[tuple[str, slice]]:
    """Columns of every part, and of the Dicts and Tuples that hold them."""
    if name:
        yield name, slice(start, start + gymnasium.spaces.flatdim(space))
    if isinstance(space, Dict | Tuple):
        for key, part in _children(space):
            yield from _columns(part, f"{name}.{key}" if name else key, start)
            start += gymnasium.spaces.flatdim(part)


def _numbers(space: Space, obs: Any) -> np.ndarray:
    """Vectors [..., O] of one observation, or of a batch of them."""
    if isinstance(space, Dict):
        return np.concatenate([_numbers(part, obs[name]) for name, part in space.spaces.items()], axis=-1)
    if isinstance(space, Tuple):
        return np.concatenate([_numbers(*pair) for pair in zip(space.spaces, obs, strict=True)], axis=-1)
    array = np.asarray(obs)
    if isinstance(space, Discrete):
        return _one_hot(array - space.start, int(space.n))
    assert space.shape is not None
    rows = array.reshape(*array.shape[: array.ndim - len(space.shape)], -1)
    if not isinstance(space, MultiDiscrete):
        return rows
    index, counts = rows - space.start.reshape(-1), space.nvec.reshape(-1)
    return np.concatenate([_one_hot(index[..., i], int(count)) for i, count in enumerate(counts)], axis=-1)


def _one_hot(index: np.ndarray, count: int) -> np.ndarray:
    """One-hot vectors [..., count] of indices [...]."""
    return (index[..., None] == np.arange(count)).astype(np.float32)
