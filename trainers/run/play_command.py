"""`diffsim play`: shows a trained policy in MuJoCo's interactive viewer."""

from __future__ import annotations

import importlib
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

import mujoco
import torch
from rich.console import Console

from diffsim.trainers.errors import UsageError, option_errors
from diffsim.trainers.experience.goals import make_official
from diffsim.trainers.run.api import NumpyPolicy, load_policy
from diffsim.trainers.run.arguments import RunOptions, official_id, pick
from diffsim.trainers.run.parsing import make_parser, parse
from diffsim.trainers.run.run_folder import existing_folder

DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY")


def play_command(argv: Sequence[str], console: Console) -> int:
    """Plays the policy of the run that `argv` names until the window closes. Returns the number of episodes begun.

    Raises: OptionError if there is no such run; UsageError without a display, or for a task without a MuJoCo model.
    """
    parser = make_parser("play", "Show a trained policy in MuJoCo's viewer, on C MuJoCo. It needs a display.")
    parser.add_argument("run", metavar="RUN", help="Folder of the run, or zoo:NAME.")
    parser.add_argument("--seed", type=int, default=1_000_000, help="Seed of the first episode, at least 0.")
    parser.add_argument("--speed", type=float, default=1.0, help="Simulated seconds per second.")
    given = parse(parser, argv)
    folder = existing_folder("RUN", given.run)
    require_display(given.run)
    options = RunOptions(**pick(folder.read_config(), RunOptions))
    with option_errors():
        if given.speed <= 0:
            raise ValueError(f"speed must be > 0, got {given.speed}")
        env = make_official(official_id(options.task), **options.task_kwargs)
    if not hasattr(env.unwrapped, "model"):
        raise UsageError(
            f"task must have a MuJoCo model to be played, got {options.task!r}; use diffsim evaluate --video"
        )
    console.print("Close the window to stop.")
    return play(env, load_policy(folder.path), given.seed, given.speed)


def require_display(run: str) -> None:
    """Raises UsageError that says what to do, unless there is a display."""
    if sys.platform == "linux" and not any(os.environ.get(name) for name in DISPLAYS):
        raise UsageError(
            f"play needs a display, and neither {' nor '.join(DISPLAYS)} is set. Without one, record a video: "
            f"diffsim evaluate {run} --video, or --gif; or copy the run to a machine with a display; or use ssh -X"
        )


def open_window(model: mujoco.MjModel, data: mujoco.MjData) -> Any:
    """MuJoCo's passive viewer, a context that shows `data` at each `sync`."""
    viewer = importlib.import_module("mujoco.viewer")  # imports OpenGL
    return viewer.launch_passive(model, data)


@torch.inference_mode()
def play(env: Any, policy: NumpyPolicy, seed: int, speed: float) -> int:
    """Steps the environment in real time, and shows it, until the window closes. Returns the number of episodes."""
    simulated = env.unwrapped
    obs, _ = env.reset(seed=seed)
    episodes = 1
    with open_window(simulated.model, simulated.data) as window:
        while window.is_running():
            began = time.perf_counter()
            obs, _, terminated, truncated, _ = env.step(policy(obs))
            window.sync()
            if terminated or truncated:
                obs, _ = env.reset()
                policy.reset()
                episodes += 1
            time.sleep(max(simulated.dt / speed - (time.perf_counter() - began), 0.0))
    return episodes
