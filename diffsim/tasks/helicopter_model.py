"""Numbers of the helicopter model of the RL competition, an XCell Tempest near hover.

Axes: of the world north, east, down; of the body forward, right, down. Controls: aileron, elevator, rudder, collective.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.spaces import Box

from diffsim.checks import require

SUBSTEPS = 10
"""Euler steps per action."""
DT = 0.01
"""Duration of an Euler step, s."""
EPISODE_STEPS = 6000
GRAVITY = 9.81
VELOCITY_DRAG = (0.18, 0.43, 0.49)
"""Deceleration of the body's velocity per m/s, 1/s."""
WIND_DRAG = (0.18, 0.43, 0.0)
"""The same for wind; the model has none along the body's vertical axis."""
RATE_DRAG = (12.78, 10.12, 8.16)
"""Deceleration of the angular velocity per rad/s, 1/s."""
RATE_GAIN = (33.04, -33.32, 70.54)
"""Angular acceleration by aileron, elevator and rudder, rad/s^2."""
LIFT = -42.15
"""Acceleration by the collective along the body's vertical axis, m/s^2."""
SIDE_THRUST = -0.54
"""Acceleration by the tail rotor along the body's y axis, m/s^2."""
NOISE_STD = (0.1941, 0.2975, 0.6058, 0.1508, 0.2492, 0.0734)
"""Standard deviations of the gusts' innovations: accelerations, m/s^2, and angular accelerations, rad/s^2."""
NOISE_MEMORY = 0.8
NOISE_FACTOR = 2.0
MAX_VELOCITY, MAX_POSITION, MAX_RATE = 5.0, 20.0, 4 * np.pi
"""Bounds of each number, m/s, m and rad/s; beyond them the helicopter has crashed."""
MIN_QW = float(np.cos(np.deg2rad(15)))
"""Smallest scalar part of the orientation's quaternion: 30 degrees from level and north."""
CRASH_REWARD = -3 * (MAX_VELOCITY**2 + MAX_POSITION**2 + MAX_RATE**2) - (1 - MIN_QW**2)
"""Reward for each step that a crash leaves out."""
TRIM = (0.0, 0.0, 0.0, -GRAVITY / LIFT)
"""Controls that carry the weight."""


def spaces() -> tuple[Box, Box]:
    """Spaces of observations and actions."""
    return Box(-np.inf, np.inf, (12,), np.float64), Box(-1.0, 1.0, (4,), np.float32)


def check_wind(name: str, wind: Any) -> None:
    """Raises ValueError unless a wind is two finite numbers."""
    valid = isinstance(wind, Sequence | np.ndarray) and len(wind) == 2 and bool(np.isfinite(wind).all())
    require(valid, name, "two finite numbers, north and east", wind)
