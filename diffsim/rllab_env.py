"""RllabMountainCar-v0 in NumPy: evaluates policies, and is the reference of the task's tests.

`diffsim.tasks.RllabMountainCar` is the same model in torch, for many copies and with gradients.
"""

from __future__ import annotations

import math
from typing import Any

import gymnasium
import numpy as np

import diffsim.tasks.rllab.mountain_car as model
from diffsim.checks import check_value


class RllabMountainCarEnv(gymnasium.Env):
    """`diffsim.tasks.RllabMountainCar` with the same options.

    Attributes:
        x, v: position and velocity along x, m and m/s; None before the first `reset`.
        width: of the track, m.
    """

    metadata = {"render_modes": [], "render_fps": 20}

    def __init__(self, *, random_model: bool = False, drag: float = model.DRAG) -> None:
        check_value("drag", drag, "finite and >= 0")
        self.random_model, self.drag = random_model, drag
        self.observation_space, self.action_space = model.spaces()
        self.x: float | None = None
        self.v, self.width = 0.0, model.TRACK_WIDTH

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Starts at the bottom with a random velocity, and with a random model on a new track."""
        super().reset(seed=seed)
        self.x, self.v = 0.0, float(self.np_random.uniform(-model.MAX_START_SPEED, model.MAX_START_SPEED))
        if self.random_model:
            self.width = model.TRACK_WIDTH + float(self.np_random.uniform(-1.0, 1.0))
        return np.array([self.x, self.v]), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Holds an action [1] for 0.05 s.

        Raises: ResetNeeded before the first `reset`; ValueError if the action has the wrong shape or is not finite.
        """
        if self.x is None:
            raise gymnasium.error.ResetNeeded("reset must be called before step")
        action = np.asarray(action, dtype=np.float64)
        if action.shape != (1,) or not np.isfinite(action).all():
            raise ValueError(f"action must be 1 finite number, got {action!r}")
        force, step = model.FORCE * min(1.0, max(-1.0, float(action[0]))), model.DT / model.SUBSTEPS
        state = np.array([self.x, self.v])
        for _ in range(model.SUBSTEPS):
            first = self._rate(state, force)
            second = self._rate(state + step / 2 * first, force)
            third = self._rate(state + step / 2 * second, force)
            state = state + step / 6 * (first + 2 * second + 2 * third + self._rate(state + step * third, force))
        x, self.v = state.tolist()
        self.x, terminated = x, x >= model.GOAL or x <= -model.MAX_DISTANCE
        return state, self._height() - 1.0, terminated, False, {}

    def _rate(self, state: np.ndarray, force: float) -> np.ndarray:
        """Derivatives of position and velocity: weight, drag and force along the slope, and the track's curvature."""
        x, v = state
        k = 2 * math.pi / self.width
        depth = math.cos(k * model.HALF_LENGTH)
        angle, bend = math.atan(depth * k * math.sin(k * x)), depth * k**2 * math.cos(k * x)
        cosine, sine = math.cos(angle), math.sin(angle)
        along = (force - self.drag * v / cosine) / model.MASS - model.GRAVITY * sine
        return np.array([v, cosine * (along - sine * bend * v**2)])

    def _height(self) -> float:
        """Of the car's centre, m."""
        k = 2 * math.pi / self.width
        assert self.x is not None
        return 1.0 + model.CLEARANCE - math.cos(k * model.HALF_LENGTH) * math.cos(k * self.x)
