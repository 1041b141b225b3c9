"""HelicopterHover-v0 in NumPy, Euler step by Euler step: evaluates policies, and is the reference of the task's tests.

`diffsim.tasks.HelicopterHover` is the same model in torch, for many copies and with gradients.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np

import diffsim.tasks.helicopter_model as model
from diffsim.checks import check_choice, check_value
from diffsim.helicopter_picture import HelicopterPicture

Vector = tuple[float, float, float]


class HelicopterHoverEnv(gymnasium.Env):
    """`diffsim.tasks.HelicopterHover` with the same options.

    Args:
        render_mode: "rgb_array" for pictures from above and from the side.
        noise_scale, wind, wind_range, wind_amplitude, wind_frequency: as of the task.

    Attributes:
        velocity, position: along the world's axes north, east, down; m/s, m.
        rate: angular velocity about the body's axes, rad/s.
        quaternion: orientation, x, y, z, w.
        gust: six accelerations by turbulence.
        time: steps since the episode began.
        crashed: whether a bound was exceeded.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}

    def __init__(
        self,
        render_mode: str | None = None,
        *,
        noise_scale: float = 1.0,
        wind: Sequence[float] = (0.0, 0.0),
        wind_range: float = 0.0,
        wind_amplitude: float = 0.0,
        wind_frequency: float = 0.5,
    ) -> None:
        check_choice("render_mode", render_mode, (None, "rgb_array"))
        model.check_wind("wind", wind)
        numbers = {"noise_scale": noise_scale, "wind_range": wind_range, "wind_amplitude": wind_amplitude}
        for name, value in {**numbers, "wind_frequency": wind_frequency}.items():
            check_value(name, value, "finite and >= 0")
        self.render_mode, self.noise_scale = render_mode, noise_scale
        self.wind, self.wind_range = np.array(wind, dtype=np.float64), wind_range
        self.wind_amplitude, self.wind_frequency = wind_amplitude, wind_frequency
        self.observation_space, self.action_space = model.spaces()
        self._picture = HelicopterPicture()
        self.time = -1

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Starts at rest at the origin, with a new wind."""
        super().reset(seed=seed)
        self.velocity: Vector = (0.0, 0.0, 0.0)
        self.position: Vector = (0.0, 0.0, 0.0)
        self.rate: Vector = (0.0, 0.0, 0.0)
        self.quaternion = (0.0, 0.0, 0.0, 1.0)
        self.gust, self.time, self.crashed = np.zeros(6), 0, False
        self.mean_wind = self.wind + self.wind_range * self.np_random.uniform(-1, 1, 2)
        self.phase = self.np_random.uniform(0, 2 * np.pi, 2)
        self._picture = HelicopterPicture()
        return self._observation(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Holds an action [4] for 0.1 s.

        Raises: ResetNeeded before the first `reset`; ValueError if the action has the wrong shape or is not finite.
        """
        if self.time < 0:
            raise gymnasium.error.ResetNeeded("reset must be called before step")
        action = np.asarray(action, dtype=np.float64)
        if action.shape != (4,) or not np.isfinite(action).all():
            raise ValueError(f"action must be 4 finite numbers, got {action!r}")
        self.advance(action, self.np_random.standard_normal(6))
        return self._observation(), self._reward(), self.crashed, False, {}

    def advance(self, action: np.ndarray, noise: np.ndarray) -> None:
        """Makes the ten Euler steps of an action [4], with standard normal `noise` [6]."""
        innovation = model.NOISE_FACTOR * np.array(model.NOISE_STD) * self.noise_scale * noise
        self.gust = model.NOISE_MEMORY * self.gust + (1 - model.NOISE_MEMORY) * innovation
        angle = self.wind_frequency * model.DT * model.SUBSTEPS * self.time + self.phase
        north, east = (self.mean_wind + self.wind_amplitude * np.sin(angle)).tolist()
        controls, gust = np.clip(action, -1.0, 1.0).tolist(), self.gust.tolist()
        for _ in range(model.SUBSTEPS):
            self._euler(controls, gust, (north, east, 0.0))
            self.crashed = self.crashed or self._beyond()
        self.time += 1

    def _euler(self, controls: list[float], gust: list[float], wind: Vector) -> None:
        """One Euler step: position, velocity, orientation and angular velocity, each from those before it."""
        dt, q = model.DT, self.quaternion
        self.position = _add(self.position, self.velocity, dt)
        body, air = rotated(_conjugate(q), self.velocity), rotated(_conjugate(q), wind)
        force = [-d * b - w * a + n for d, b, w, a, n in zip(model.VELOCITY_DRAG, body, model.WIND_DRAG, air, gust[:3])]  # noqa: B905
        x, y, z = rotated(q, (force[0], force[1] + model.SIDE_THRUST, force[2] + model.LIFT * controls[3]))
        self.velocity = _add(self.velocity, (x, y, z + model.GRAVITY), dt)
        self.quaternion = product(q, _rotation(self.rate, dt))
        terms = zip(model.RATE_DRAG, self.rate, model.RATE_GAIN, controls[:3], gust[3:], strict=True)
        p, q_, r = (-drag * rate + gain * control + n for drag, rate, gain, control, n in terms)
        self.rate = _add(self.rate, (p, q_, r), dt)

    def _beyond(self) -> bool:
        """Whether a bound is exceeded."""
        bounds = (
            *((self.velocity, model.MAX_VELOCITY), (self.position, model.MAX_POSITION)),
            (self.rate, model.MAX_RATE),
        )
        return any(abs(x) > bound for values, bound in bounds for x in values) or self.quaternion[3] < model.MIN_QW

    def _reward(self) -> float:
        """Minus the sum of squares, or that of all steps that a crash leaves out."""
        if self.crashed:
            return model.CRASH_REWARD * (model.EPISODE_STEPS - self.time)
        return -sum(x * x for x in (*self.velocity, *self.position, *self.rate, *self.quaternion[:3]))

    def _observation(self) -> np.ndarray:
        back = _conjugate(self.quaternion)
        body = (*rotated(back, self.velocity), *rotated(back, self.position))
        return np.array([*body, *self.rate, *self.quaternion[:3]])

    def render(self) -> Any:
        """A picture, uint8 [240, 480, 3], with the path so far."""
        if self.render_mode is None:
            return None
        return self._picture.rgb(self.position, rotated(self.quaternion, (1.0, 0.0, 0.0)))


def product(a: Sequence[float], b: Sequence[float]) -> tuple[float, float, float, float]:
    """Product of two quaternions x, y, z, w: the rotation b, then a."""
    ax, ay, az, aw = a
    bx, by, bz, bw = b
    return (
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
        aw * bw - ax * bx - ay * by - az * bz,
    )


def rotated(q: Sequence[float], vector: Sequence[float]) -> Vector:
    """A vector rotated by a quaternion."""
    return product(product(q, (*vector, 0.0)), _conjugate(q))[:3]


def _conjugate(q: Sequence[float]) -> tuple[float, float, float, float]:
    return -q[0], -q[1], -q[2], q[3]


def _rotation(rate: Vector, dt: float) -> tuple[float, float, float, float]:
    """Quaternion of a rotation with an angular velocity, rad/s, for a time."""
    angle = math.sqrt(sum(x * x for x in rate)) * dt
    factor = 0.5 * dt if angle == 0.0 else math.sin(angle / 2) / angle * dt
    return rate[0] * factor, rate[1] * factor, rate[2] * factor, math.cos(angle / 2)


def _add(a: Vector, b: Vector, scale: float) -> Vector:
    """A + scale * b."""
    return a[0] + scale * b[0], a[1] + scale * b[1], a[2] + scale * b[2]
