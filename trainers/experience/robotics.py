"""Makes the tasks of gymnasium-robotics, such as Fetch, run with current MuJoCo versions."""

from __future__ import annotations

import importlib
import io
import warnings
from contextlib import redirect_stderr
from types import SimpleNamespace
from typing import Any

import gymnasium
import mujoco


class PlainEnums:
    """The `mujoco` module with joint and equality types as plain integers.

    Since MuJoCo 3.12, `mjtJoint.mjJNT_HINGE == x` is False for the NumPy integers of a model, though `x ==
    mjtJoint.mjJNT_HINGE` is True. gymnasium-robotics up to 1.4.2 evaluates `x in (mjtJoint.mjJNT_HINGE, ...)`, which
    compares the first way, so that making its environments fails with an AssertionError in `set_joint_qpos`.
    """

    mjtJoint = SimpleNamespace(**{name: int(value) for name, value in mujoco.mjtJoint.__members__.items()})  # noqa: N815
    mjtEq = SimpleNamespace(**{name: int(value) for name, value in mujoco.mjtEq.__members__.items()})  # noqa: N815

    def __getattr__(self, name: str) -> Any:
        return getattr(mujoco, name)


def register() -> None:
    """Registers the tasks of gymnasium-robotics, which must be installed."""
    with warnings.catch_warnings(), redirect_stderr(io.StringIO()):  # warnings about other environments
        warnings.simplefilter("ignore")
        robotics = importlib.import_module("gymnasium_robotics")
        setattr(importlib.import_module("gymnasium_robotics.utils.mujoco_utils"), "mujoco", PlainEnums())  # noqa: B010
        gymnasium.register_envs(robotics)
