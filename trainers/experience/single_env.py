"""One copy of any environment, by its id: on C MuJoCo, of Gymnasium, an Atari game, or observed as images."""

from __future__ import annotations

from typing import Any

import gymnasium

from diffsim.tasks import Task, official_env
from diffsim.trainers.experience.atari import AtariOptions, atari_env, is_atari
from diffsim.trainers.experience.pixels import PixelOptions, pixel_env


def single_env(task: str | type[Task], *, training: bool = False, **kwargs: Any) -> gymnasium.Env:
    """One copy of an environment.

    Args:
        task: as for `official_env`; ALE/<game>-v5 is preprocessed (`AtariOptions`).
        training: whether rewards of Atari games are clipped, if `clip_rewards` says so.
        **kwargs: options of the environment, and those of `AtariOptions` or `PixelOptions`.
    """
    if isinstance(task, str) and is_atari(task):
        return atari_env(task, clip=training, **kwargs)
    pixels = PixelOptions.pop(kwargs)
    return pixel_env(task, pixels, **kwargs) if pixels.pixels else official_env(task, **kwargs)


def frames_per_step(task: str, kwargs: dict[str, Any]) -> int:
    """Frames of an Atari game, or steps of the environment itself, in one step of the task with these options."""
    if is_atari(task):
        return AtariOptions.pop(dict(kwargs)).frame_skip
    return PixelOptions.pop(dict(kwargs)).action_repeat


def shows_images(task: str | None, kwargs: dict[str, Any]) -> bool:
    """Whether this is a task from images: an Atari game, or one with the option `pixels`."""
    return task is not None and (is_atari(task) or bool(kwargs.get("pixels")))
