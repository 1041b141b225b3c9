"""Atari games of the Arcade Learning Environment, preprocessed as in the field, for evaluation and for training."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from gymnasium.wrappers import AtariPreprocessing, ClipReward, FrameStackObservation

from diffsim.checks import check_values, require
from diffsim.trainers.run.extras import import_extra, require_extra

ATARI = "ALE/"
"""Prefix of the ids of Atari games."""


def is_atari(task: str) -> bool:
    """Whether an id is that of an Atari game: ALE/Pong-v5 and others."""
    return task.startswith(ATARI)


@dataclass(frozen=True)
class AtariOptions:
    """How frames of the emulator become steps and observations [stack_size, height, width] of bytes.

    Sticky actions, no loss of lives and all frames of an episode: Machado et al. (2018), "Revisiting the Arcade
    Learning Environment". The rest: Mnih et al. (2015), "Human-level control through deep reinforcement learning".

    Args:
        frame_skip: frames per step, with the same action; an observation is the maximum of the last two.
        screen_size: width and height of an observation, pixels; one number for both.
        stack_size: frames in an observation.
        noop_max: an episode begins with a random number of steps without action, at most this many; 0 for none.
        repeat_action_probability: that the emulator ignores an action and repeats the last one, in each frame.
        terminal_on_life_loss: in training, whether a lost life is terminal for learning. The game goes on.
        clip_rewards: in training, whether rewards are clipped to [-1, 1]. Evaluation has the game's own rewards.
        num_threads: threads of the emulators in training; 0 for one per core.
    """

    frame_skip: int = 4
    screen_size: int | Sequence[int] = 84
    stack_size: int = 4
    noop_max: int = 30
    repeat_action_probability: float = 0.25
    terminal_on_life_loss: bool = False
    clip_rewards: bool = True
    num_threads: int = 0

    def __post_init__(self) -> None:
        check_values(">= 1", frame_skip=self.frame_skip, stack_size=self.stack_size)
        check_values(">= 0", noop_max=self.noop_max, num_threads=self.num_threads)
        check_values("in [0, 1]", repeat_action_probability=self.repeat_action_probability)
        size = self.screen_size if isinstance(self.screen_size, Sequence) else [self.screen_size] * 2
        valid = len(size) == 2 and all(isinstance(side, int) and side >= 1 for side in size)
        require(valid, "screen_size", "a number >= 1, or width and height", self.screen_size)

    @classmethod
    def pop(cls, options: dict[str, Any]) -> AtariOptions:
        """Removes the options of this class from `options`, and returns them."""
        return cls(**{field.name: options.pop(field.name) for field in fields(cls) if field.name in options})

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of an observation."""
        size = self.screen_size
        return (int(size[0]), int(size[1])) if isinstance(size, Sequence) else (size, size)


def register_games() -> None:
    """Registers the games with Gymnasium.

    Raises: UsageError without the `atari` extra.
    """
    require_extra("Atari", "atari", "ale_py", "cv2")
    ale = import_extra("Atari", "atari", "ale_py")
    ale.ALEInterface.setLoggerMode(ale.LoggerMode.Error)  # no banner for each copy
    gymnasium.register_envs(ale)


def atari_env(task: str, *, clip: bool = False, **kwargs: Any) -> gymnasium.Env:
    """One copy of a game, in Gymnasium's own wrappers, with the game's own rewards unless they are to be clipped.

    Args:
        task: ALE/<game>-v5.
        clip: whether `clip_rewards` counts.
        **kwargs: those of `AtariOptions`, and of `gymnasium.make`, such as mode, difficulty and full_action_space.

    Raises: UsageError without the `atari` extra; gymnasium.error.Error if there is no such game; ValueError if an
    option is out of range.
    """
    register_games()
    options = AtariOptions.pop(kwargs)
    own = {"repeat_action_probability": options.repeat_action_probability, "disable_env_checker": True}
    env = gymnasium.make(task, **{**own, **kwargs, "frameskip": 1})
    env = AtariPreprocessing(env, options.noop_max, options.frame_skip, options.size)
    env = ClipReward(env, -1.0, 1.0) if clip and options.clip_rewards else env
    return FrameStackObservation(env, options.stack_size, padding_type="zero")


class AtariCopies(VectorWrapper):
    """`AtariVectorEnv` of ale-py, which steps N copies in C++ threads, without autoreset.

    Its modes are NEXT_STEP and SAME_STEP. In both, `reset` with a mask and seeds starts the next episodes of copies
    that ended. Here no other reset is done: the observations of a step are those before any reset.

    Args:
        env: an `AtariVectorEnv`, without `episodic_life`.
        life_loss: whether a step that loses a life is terminal.

    Attributes:
        lives: [N], left in each copy.
        only_life: bool [N], whether the last step lost a life, and the game goes on.
    """

    def __init__(self, env: VectorEnv, life_loss: bool = False) -> None:
        super().__init__(env)
        self.metadata = {**env.metadata, "autoreset_mode": AutoresetMode.DISABLED}
        self.life_loss = life_loss
        self.lives, self.only_life = np.zeros(env.num_envs, dtype=int), np.zeros(env.num_envs, dtype=bool)

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Starts new episodes, in all copies or in those of options["reset_mask"]; seeds are one per copy, or None."""
        mask = (options or {}).get("reset_mask", np.ones(self.num_envs, dtype=bool))
        seeds: Any = seed
        if isinstance(seed, list):
            seeds = np.array([-1 if value is None else value % 2**31 for value in seed])[mask]
        obs, info = self.env.reset(seed=seeds, options=options)
        self.lives = np.array(info["lives"])
        return obs, info

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Steps every copy by actions [N]."""
        obs, reward, terminated, truncated, info = self.env.step(np.asarray(actions))
        if "final_obs" in info:
            ended = (terminated | truncated).reshape(-1, *[1] * (obs.ndim - 1))
            obs = np.where(ended, info["final_obs"], obs)
        lost = (info["lives"] < self.lives) & ~(terminated | truncated)
        self.lives, self.only_life = np.array(info["lives"]), lost & self.life_loss
        return obs, reward, terminated | self.only_life, truncated, info


def without_autoreset(env: VectorEnv) -> VectorEnv:
    """`AtariCopies` of an `AtariVectorEnv`, in any of its modes; another environment as it is."""
    ale = sys.modules.get("ale_py")
    return AtariCopies(env) if ale is not None and isinstance(env, ale.AtariVectorEnv) else env


def atari_copies(task: str, num_envs: int, options: AtariOptions, **kwargs: Any) -> AtariCopies:
    """N copies of a game in C++ threads.

    Args:
        task: ALE/<game>-v5.
        num_envs: N, at least 1.
        options: of the preprocessing.
        **kwargs: `full_action_space` and `max_num_frames_per_episode`.

    Raises: gymnasium.error.Error if there is no such game.
    """
    ale, spec = import_extra("Atari", "atari", "ale_py"), gymnasium.spec(task)
    width, height = options.size
    env = ale.AtariVectorEnv(
        spec.kwargs["game"],
        num_envs,
        img_width=width,
        img_height=height,
        frameskip=options.frame_skip,
        stack_num=options.stack_size,
        noop_max=options.noop_max,
        repeat_action_probability=options.repeat_action_probability,
        reward_clipping=options.clip_rewards,
        num_threads=options.num_threads,
        use_fire_reset=False,  # not in Gymnasium's wrappers, in which policies are evaluated
        **kwargs,
    )
    return AtariCopies(env, options.terminal_on_life_loss)


def in_threads(options: AtariOptions, kwargs: Mapping[str, Any]) -> bool:
    """Whether `atari_copies` can have these options of a game. Others need one copy after the other (`atari_env`).

    Raises: ValueError if lost lives are to be terminal, and it cannot.
    """
    others = kwargs.keys() - {"full_action_space", "max_num_frames_per_episode"}
    got = f"true with {', '.join(sorted(others))}"
    require(not (others and options.terminal_on_life_loss), "terminal_on_life_loss", "false", got)
    return not others
