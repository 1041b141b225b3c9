"""Environments whose observations are images of them: stacked frames, repeated actions."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, fields
from typing import Any

import gymnasium
import mujoco
import numpy as np
from gymnasium.spaces import Box
from gymnasium.wrappers import (
    AddRenderObservation,
    FrameStackObservation,
    GrayscaleObservation,
    ResizeObservation,
    TransformObservation,
)

from diffsim.checks import check_values
from diffsim.tasks import find_task, official_env
from diffsim.trainers.run.extras import require_extra


@dataclass(frozen=True)
class PixelOptions:
    """How an environment becomes images of bytes, [channels * stack_size, screen_size, screen_size].

    The defaults are those of Lillicrap et al. (2016), "Continuous control with deep reinforcement learning", section 7,
    but for the repeated actions, of which they have 3.

    Args:
        pixels: whether observations are images; if not, there are no other options.
        screen_size: height and width, pixels.
        stack_size: frames in an observation, from the oldest to the newest.
        action_repeat: environment steps per step, with the same action; their rewards are summed.
        grayscale: one channel in place of three colours.
    """

    pixels: bool = False
    screen_size: int = 64
    stack_size: int = 3
    action_repeat: int = 1
    grayscale: bool = False

    def __post_init__(self) -> None:
        check_values(">= 1", screen_size=self.screen_size, stack_size=self.stack_size)
        check_values(">= 1", action_repeat=self.action_repeat)

    @classmethod
    def pop(cls, options: dict[str, Any]) -> PixelOptions:
        """Removes the options of this class from `options`, if `pixels` is among them and true, and returns them."""
        if not options.pop("pixels", False):
            return cls()
        return cls(True, **{field.name: options.pop(field.name) for field in fields(cls) if field.name in options})


class RepeatAction(gymnasium.Wrapper):
    """Takes each action `count` times, or until the episode ends, and sums the rewards."""

    def __init__(self, env: gymnasium.Env, count: int) -> None:
        super().__init__(env)
        self.count = count

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """One step: the last observation, and the sum of the rewards."""
        total: Any = 0.0
        for _ in range(self.count):
            obs, reward, terminated, truncated, info = self.env.step(action)
            total = total + reward
            if terminated or truncated:
                break
        return obs, total, terminated, truncated, info


def pixel_env(task: Any, options: PixelOptions, **kwargs: Any) -> gymnasium.Env:
    """One copy of an environment, observed through its own camera; Gymnasium's wrappers.

    Args:
        task: as for `official_env`.
        options: of the images.
        **kwargs: as for `official_env`.

    Raises: UsageError without the `pixels` extra.
    """
    require_extra("pixels", "pixels", "cv2", "pygame")
    size = options.screen_size
    spec = gymnasium.registry.get(task)
    if find_task(task) is not None or (spec is not None and "mujoco" in str(spec.entry_point)):
        headless()
        kwargs = {"width": size, "height": size, **kwargs}  # drawn in this size: much faster than reduced from 480
    env = official_env(task, **{**kwargs, "render_mode": "rgb_array"})
    if isinstance(model := getattr(env.unwrapped, "model", None), mujoco.MjModel):
        draw_fast(model)
    env = RepeatAction(env, options.action_repeat) if options.action_repeat > 1 else env
    env = ResizeObservation(AddRenderObservation(env, render_only=True), (size, size))
    env = GrayscaleObservation(env) if options.grayscale else env
    env = FrameStackObservation(env, options.stack_size)
    if options.grayscale:
        return env
    shape = (3 * options.stack_size, size, size)
    return TransformObservation(env, channels_first, Box(0, 255, shape, np.uint8))


def channels_first(frames: np.ndarray) -> np.ndarray:
    """Colour frames [K, H, W, 3] as one image [3 K, H, W]."""
    return np.ascontiguousarray(frames.transpose(0, 3, 1, 2)).reshape(-1, *frames.shape[1:3])


def draw_fast(model: mujoco.MjModel) -> None:
    """Turns off shadows and reflections, before the first picture: without a GPU they take most of its time."""
    model.vis.quality.shadowsize = 0
    model.mat_reflectance[:] = 0.0


def headless() -> None:
    """Lets MuJoCo draw without a screen on Linux, by EGL unless MUJOCO_GL says otherwise."""
    if sys.platform == "linux" and not {"DISPLAY", "WAYLAND_DISPLAY", "MUJOCO_GL"} & set(os.environ):
        os.environ["MUJOCO_GL"] = "egl"
