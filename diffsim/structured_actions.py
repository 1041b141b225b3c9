"""Actions as Gymnasium's environments take them, and as rows of numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Space, Tuple

from diffsim.mdp import action_size


def is_structured(space: Space) -> bool:
    """Whether actions of a space are tuples or dictionaries."""
    return isinstance(space, Tuple | Dict)


def structured(space: Space, numbers: np.ndarray) -> Any:
    """An action, or a batch of actions, from its numbers.

    Args:
        space: of one copy.
        numbers: [..., A], those of all parts in order; of a Discrete part, its value.

    Returns: a tuple or dictionary of arrays [..., A_i], and of whole numbers [...] for Discrete parts.
    """
    if isinstance(space, Discrete):
        return numbers[..., 0].round().astype(np.int64)
    if not isinstance(space, Tuple | Dict):
        return numbers
    spaces = dict(space.spaces) if isinstance(space, Dict) else dict(enumerate(space.spaces))
    parts = list(spaces.values())
    ends = np.cumsum([action_size(part) for part in parts])[:-1]
    found = [structured(*pair) for pair in zip(parts, np.split(numbers, ends, axis=-1), strict=True)]
    return dict(zip(spaces, found, strict=True)) if isinstance(space, Dict) else tuple(found)


def taken(space: Space, action: np.ndarray) -> Any:
    """An action, or a batch of actions, as an environment takes it: of its shape and type, and within its bounds.

    Args:
        space: of one copy.
        action: of a Discrete space its values [...], of others rows of numbers [..., A]. Numbers out of the bounds of a
            Box are clipped to them.

    Returns: arrays [..., *shape] of the type of the space; of a Tuple or Dict space, tuples or dictionaries of them.
    """
    if is_structured(space):
        numbers = action if action.dtype.kind == "f" else action.astype(np.float64)
        return _as_parts(space, structured(space, numbers))
    if not isinstance(space, Box | MultiDiscrete | MultiBinary):
        return action
    action = action.reshape(action.shape[:-1] + space.shape)
    if isinstance(space, Box):
        action = np.minimum(np.maximum(action, space.low), space.high)
    return action.astype(space.dtype, copy=False)


def _as_parts(space: Space, action: Any) -> Any:
    """`taken`, for the parts of a structured action."""
    if isinstance(space, Dict):
        return {name: _as_parts(part, action[name]) for name, part in space.spaces.items()}
    if isinstance(space, Tuple):
        return tuple(_as_parts(*pair) for pair in zip(space.spaces, action, strict=True))
    return taken(space, action)


def flattened(space: Space, action: Any) -> np.ndarray:
    """The numbers of an action, or of a batch of actions, [..., A]: the inverse of `structured`."""
    if isinstance(space, Discrete):
        return np.asarray(action, dtype=np.float64)[..., None]
    if not isinstance(space, Tuple | Dict):
        return np.asarray(action)
    parts = space.spaces if isinstance(space, Dict) else dict(enumerate(space.spaces))
    return np.concatenate([flattened(part, action[name]) for name, part in parts.items()], axis=-1)
