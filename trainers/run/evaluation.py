"""Evaluates a policy in the official Gymnasium environment (C MuJoCo), also if it was trained on other dynamics."""

from __future__ import annotations

import importlib
import itertools
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import gymnasium
import mujoco
import numpy as np
import torch
from PIL import Image

from diffsim.checks import check_values
from diffsim.policies import Policy, as_tensor
from diffsim.structured_actions import taken
from diffsim.trainers.errors import UsageError
from diffsim.trainers.experience.env_faults import env_faults, in_time
from diffsim.trainers.experience.goals import make_official
from diffsim.trainers.experience.time_limits import episode_limit

GIF_RATE, GIF_SECONDS, GIF_WIDTH = 25.0, 10.0, 320  # pictures per second, and pixels: a file of a few megabytes


class Episodes(NamedTuple):
    """Results of episodes.

    Attributes:
        returns: [episodes], undiscounted.
        lengths: [episodes], steps.
        successes: [episodes], whether the last step was a success; None if the environment does not report it.
    """

    returns: np.ndarray
    lengths: np.ndarray
    successes: np.ndarray | None


@dataclass(frozen=True)
class OfficialEvaluation:
    """Runs whole episodes of an official environment with mean actions, and optionally with sampled actions.

    Args:
        task: Gymnasium id.
        task_kwargs: options of the environment.
        episodes: number of episodes, at least 1.
        seed: episode i is reset with seed `seed + i`, so that every policy starts from the same states.
        stochastic: repeat the episodes with sampled actions, unless the policy has no noise.

    Raises: ValueError if episodes is out of range.
    """

    task: str
    task_kwargs: Mapping[str, Any]
    episodes: int = 10
    seed: int = 0
    stochastic: bool = False

    def __post_init__(self) -> None:
        check_values(">= 1", episodes=self.episodes)

    def __call__(self, policy: Policy) -> dict[str, float]:
        """Mean and standard deviation of the return, mean length of an episode, and the success rate, if reported."""
        played = self.both(policy)
        returns, lengths, successes = played["mean"]
        metrics = {"return": float(returns.mean()), "return_std": float(returns.std()), "length": float(lengths.mean())}
        if successes is not None:
            metrics["success_rate"] = float(successes.mean())
        if "sampled" in played:
            sampled = played["sampled"].returns
            metrics |= {"stochastic_return": float(sampled.mean()), "stochastic_return_std": float(sampled.std())}
        return metrics

    def both(self, policy: Policy) -> dict[str, Episodes]:
        """Episodes with "mean" actions and, if `stochastic`, with "sampled" ones; both are equal without noise."""
        mean = self.run(policy)
        if not self.stochastic:
            return {"mean": mean}
        return {"mean": mean, "sampled": self.run(policy, sampled=True) if policy.noise_size else mean}

    @torch.inference_mode()
    def run(self, policy: Policy, *, sampled: bool = False) -> Episodes:
        """Runs every episode with mean or sampled actions. The noise is the same at every call.

        The policy acts for all episodes until the last one has ended, so that row i of its memory or plan is always
        that of episode i. An episode ends after `LONGEST_EPISODE` steps, with a warning, if the environment has no time
        limit.

        An episode is a success if `is_success` is true in its last info.

        Raises: WorkerError if an environment raises an error, or hangs.
        """
        generator = torch.Generator().manual_seed(self.seed)
        envs = [make_official(self.task, **self.task_kwargs) for _ in range(self.episodes)]
        with env_faults(envs):
            played = self.play(envs, policy, generator if sampled else None)
        for env in envs:
            env.close()
        return played

    def play(self, envs: Sequence[gymnasium.Env], policy: Policy, generator: torch.Generator | None) -> Episodes:
        """Runs one episode in each of `envs`, with sampled actions if there is a generator."""
        noise = None
        with in_time():
            obs = np.stack([env.reset(seed=self.seed + i)[0] for i, env in enumerate(envs)])
        returns, lengths, last_info = np.zeros(self.episodes), np.zeros(self.episodes), [{}] * self.episodes
        running, limit = np.ones(self.episodes, dtype=bool), episode_limit(envs[0])
        memory = policy.initial_memory(self.episodes)
        policy.reset()
        while running.any():
            if generator is not None:
                noise = torch.randn(self.episodes, policy.noise_size, generator=generator)
            actions, memory = act(policy, obs, memory, noise)
            with in_time():
                for i in map(int, np.flatnonzero(running)):
                    action = taken(envs[i].action_space, actions[i])
                    obs[i], reward, terminated, truncated, last_info[i] = envs[i].step(action)
                    returns[i] += float(reward)
                    lengths[i] += 1
                    running[i] = not (terminated or truncated)
            if running.any() and lengths.max() >= limit.steps:
                limit.warn()
                break
        reported = all("is_success" in info for info in last_info)
        successes = np.array([bool(info["is_success"]) for info in last_info]) if reported else None
        return Episodes(returns, lengths, successes)

    def record(self, policy: Policy, path: Path) -> None:
        """Writes a video of the first episode to `path`, an .mp4 or a .gif file.

        Raises: UsageError without the `video` extra, which an .mp4 file needs, or if rendering fails.
        """
        if path.suffix == ".gif":
            write_gif(path, *self.film(policy))
            return
        ffmpeg = require_video()
        pictures, rate = self.film(policy)
        first = next(pictures)
        writer = ffmpeg.write_frames(str(path), (first.shape[1], first.shape[0]), fps=rate, macro_block_size=1)
        writer.send(None)
        for picture in itertools.chain([first], pictures):
            writer.send(np.ascontiguousarray(picture))
        writer.close()

    def film(self, policy: Policy) -> tuple[Iterator[np.ndarray], float]:
        """Pictures [height, width, 3] of the first episode, and their number per second.

        Raises: UsageError if rendering fails.
        """
        if not {"DISPLAY", "WAYLAND_DISPLAY", "MUJOCO_GL"} & set(os.environ) and sys.platform == "linux":
            os.environ["MUJOCO_GL"] = "egl"  # without a screen, MuJoCo's default cannot draw
        env = make_official(self.task, render_mode="rgb_array", **self.task_kwargs)
        keep_in_sight(env)
        obs, _ = env.reset(seed=self.seed)
        try:
            env.render()
        except Exception as error:  # each OpenGL library has its own
            raise UsageError(f"a video needs OpenGL (MUJOCO_GL=egl, osmesa or glfw): {error}") from error
        return self._pictures(policy, env, obs), env.metadata["render_fps"]

    def _pictures(self, policy: Policy, env: gymnasium.Env, obs: Any) -> Iterator[np.ndarray]:
        """The picture before each step of an episode that begins with `obs`."""
        memory, steps, limit, ended = policy.initial_memory(1), 0, episode_limit(env), False
        policy.reset()
        while not ended:
            yield np.asarray(env.render())
            with torch.inference_mode():
                (action,), memory = act(policy, np.asarray(obs)[None], memory)
            obs, _, terminated, truncated, _ = env.step(taken(env.action_space, action))
            steps += 1
            ended = terminated or truncated or steps >= limit.steps
        env.close()


def write_gif(path: Path, pictures: Iterator[np.ndarray], rate: float) -> None:
    """Writes an animation of at most `GIF_SECONDS` seconds, with pictures of at most `GIF_WIDTH` pixels.

    Browsers show at most 50 pictures per second; of more, every second, third, ... is kept.
    """
    skip = max(round(rate / GIF_RATE), 1)
    kept = itertools.islice(itertools.islice(pictures, 0, None, skip), int(GIF_SECONDS * rate / skip))
    images = [Image.fromarray(picture) for picture in kept]
    for image in images:
        image.thumbnail((GIF_WIDTH, GIF_WIDTH))
    first, *others = [image.quantize(128) for image in images]
    first.save(path, save_all=True, append_images=others, duration=1000 * skip / rate, loop=0, optimize=True)


def keep_in_sight(env: gymnasium.Env) -> None:
    """Renders a MuJoCo environment with the camera that tracks the robot, if its model has one.

    The default camera of Gymnasium 1.4 is fixed, and robots leave the picture.
    """
    renderer = getattr(env.unwrapped, "mujoco_renderer", None)
    if renderer is not None and renderer.camera_id == -1:
        renderer.camera_id = mujoco.mj_name2id(renderer.model, mujoco.mjtObj.mjOBJ_CAMERA, "track")


def require_video() -> ModuleType:
    """The library that writes videos.

    Raises: UsageError without the `video` extra.
    """
    try:
        return importlib.import_module("imageio_ffmpeg")
    except ImportError as error:
        raise UsageError('a video needs the "video" extra: pip install -e ".[video]"') from error


def act(
    policy: Policy, obs: np.ndarray, memory: torch.Tensor, noise: torch.Tensor | None = None
) -> tuple[np.ndarray, torch.Tensor]:
    """Acts as a policy in Gymnasium's environments.

    Args:
        policy: with or without a memory.
        obs: [N, O].
        memory: [N, M].
        noise: [N, Z], or None for mean actions.

    Returns: actions [N, A], and the memory after them [N, M].
    """
    parameter = next(policy.parameters())
    noise = None if noise is None else noise.to(parameter)
    action, memory = policy.step(as_tensor(policy, obs), memory, noise)
    return policy.decode(action).cpu().numpy(), memory
