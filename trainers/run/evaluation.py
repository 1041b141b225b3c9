"""Evaluates a policy in the official Gymnasium environment (C MuJoCo), also if it was trained on other dynamics."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import gymnasium
import mujoco
import numpy as np
import torch

from diffsim.checks import check_values
from diffsim.policies import Policy, as_tensor
from diffsim.structured_actions import taken
from diffsim.trainers.errors import UsageError
from diffsim.trainers.experience.goals import make_official
from diffsim.trainers.experience.time_limits import episode_limit


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
        """
        generator = torch.Generator().manual_seed(self.seed)
        noise = None
        envs = [make_official(self.task, **self.task_kwargs) for _ in range(self.episodes)]
        obs = np.stack([env.reset(seed=self.seed + i)[0] for i, env in enumerate(envs)])
        returns, lengths, last_info = np.zeros(self.episodes), np.zeros(self.episodes), [{}] * self.episodes
        running, limit = np.ones(self.episodes, dtype=bool), episode_limit(envs[0])
        memory = policy.initial_memory(self.episodes)
        policy.reset()
        while running.any():
            if sampled:
                noise = torch.randn(self.episodes, policy.noise_size, generator=generator)
            actions, memory = act(policy, obs, memory, noise)
            for i in np.flatnonzero(running):
                obs[i], reward, terminated, truncated, last_info[i] = envs[i].step(
                    taken(envs[i].action_space, actions[i])
                )
                returns[i] += float(reward)
                lengths[i] += 1
                running[i] = not (terminated or truncated)
            if running.any() and lengths.max() >= limit.steps:
                limit.warn()
                break
        for env in envs:
            env.close()
        reported = all("is_success" in info for info in last_info)
        successes = np.array([bool(info["is_success"]) for info in last_info]) if reported else None
        return Episodes(returns, lengths, successes)

    @torch.inference_mode()
    def record(self, policy: Policy, path: Path) -> None:
        """Writes a video of the first episode to `path`, an .mp4 file.

        Raises: UsageError without the `video` extra, or if rendering fails.
        """
        ffmpeg = require_video()
        if not {"DISPLAY", "WAYLAND_DISPLAY", "MUJOCO_GL"} & set(os.environ) and sys.platform == "linux":
            os.environ["MUJOCO_GL"] = "egl"  # without a screen, MuJoCo's default cannot draw
        env = make_official(self.task, render_mode="rgb_array", **self.task_kwargs)
        keep_in_sight(env)
        obs, _ = env.reset(seed=self.seed)
        memory, steps, limit = policy.initial_memory(1), 0, episode_limit(env)
        policy.reset()
        try:
            frame = np.asarray(env.render())
        except Exception as error:  # each OpenGL library has its own
            raise UsageError(f"a video needs OpenGL (MUJOCO_GL=egl, osmesa or glfw): {error}") from error
        size, rate = (frame.shape[1], frame.shape[0]), env.metadata["render_fps"]
        writer = ffmpeg.write_frames(str(path), size, fps=rate, macro_block_size=1)
        writer.send(None)
        ended = False
        while not ended:
            writer.send(np.ascontiguousarray(env.render()))
            (action,), memory = act(policy, np.asarray(obs)[None], memory)
            obs, _, terminated, truncated, _ = env.step(taken(env.action_space, action))
            steps += 1
            ended = terminated or truncated or steps >= limit.steps
        writer.close()
        env.close()


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
