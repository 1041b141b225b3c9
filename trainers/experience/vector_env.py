"""Vector environments whose state can be saved in a checkpoint and restored exactly."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode, VectorWrapper
from gymnasium.vector.utils import batch_space

import diffsim.gym
from diffsim.policies import Observations, Policy
from diffsim.registration import TETRIS, TETRIS_STEPS
from diffsim.structured_actions import taken
from diffsim.tetris import TetrisVectorEnv
from diffsim.trainers.errors import CheckpointError, OptionError
from diffsim.trainers.experience.atari import (
    AtariCopies,
    AtariOptions,
    atari_copies,
    in_threads,
    is_atari,
    register_games,
    without_autoreset,
)
from diffsim.trainers.experience.autoreset import require_mask
from diffsim.trainers.experience.env_faults import vector_env_faults
from diffsim.trainers.experience.goals import ACHIEVED, register_extras
from diffsim.trainers.experience.single_env import frames_per_step, single_env
from diffsim.trainers.experience.sync_vector_env import FastSyncVectorEnv
from diffsim.trainers.experience.time_limits import episode_limit
from diffsim.trainers.run.arguments import SIMULATED


class ResumableEnv(VectorWrapper):
    """A vector environment with autoreset mode DISABLED, whose state can be saved as tensors and restored.

    Observations are vectors or images, made by `Observations`, in new arrays: the environment may reuse its own.

    Attributes:
        obs: [N, O], present observations.
        policy: whose `origin` is subtracted when observations become tensors; see `centered_for`.
        frames_per_step: frames, or steps of the environment itself, per step of a copy.
        remake: makes the same environment again, in another process; None if that is unknown.
    """

    obs: np.ndarray
    remake: Callable[[], ResumableEnv] | None = None
    policy: Policy | None = None
    frames_per_step: int = 1

    def __init__(self, env: gymnasium.vector.VectorEnv) -> None:
        super().__init__(env)
        self.metadata = {**env.metadata, "autoreset_mode": AutoresetMode.DISABLED}
        self.observations = Observations(env.single_observation_space)
        self.single_observation_space = self.observations.space
        self.observation_space = batch_space(self.single_observation_space, env.num_envs)

    @property
    def transition_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of observations and of a policy's actions, by the names of a transition's fields."""
        obs, action = self.single_observation_space.shape, self.single_action_space
        assert obs is not None
        shape = () if isinstance(action, Discrete) else (math.prod(action.shape or ()),)
        return {"obs": obs, "action": shape, "next_obs": obs}

    def flat(self, obs: Any) -> np.ndarray:
        """Converts observations of the wrapped environment to vectors or images, in new arrays: [N, O]."""
        return np.array(self.observations.flat(obs))

    def centered_for(self, policy: Policy) -> None:
        """Subtracts the origin of `policy` from observations that become tensors. Sets it if that was not done.

        Observations with goals have none: rewards are functions of the goals themselves.
        """
        if not policy.centered and ACHIEVED not in self.observations.columns:
            policy.center(self.obs)
        self.policy = policy

    @property
    def origin(self) -> np.ndarray | None:
        """Int64 [O], subtracted from observations when they become tensors; None for none."""
        origin = None if self.policy is None else self.policy.origin
        return None if origin is None else origin.cpu().numpy()

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Starts new episodes, in all copies or in those of options["reset_mask"], bool [N].

        Raises: WorkerError if a copy raises an error, or its process dies or hangs.
        """
        with vector_env_faults(self.env):
            obs, info = self.env.reset(seed=seed, options=options)  # pyright: ignore[reportArgumentType]  (too narrow)
        self.obs = self.flat(obs)
        return self.obs, info

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Steps every copy by a policy's actions: values [N] of a Discrete space, rows of numbers [N, A] of others.

        Raises: WorkerError if a copy raises an error, or its process dies or hangs.
        """
        taken = self.taken(np.asarray(actions))
        with vector_env_faults(self.env):
            obs, reward, terminated, truncated, info = self.env.step(taken)
        self.obs = self.flat(obs)
        return self.obs, reward, terminated, truncated, info

    def taken(self, actions: np.ndarray) -> Any:
        """Actions [N, A] as the wrapped environment takes them."""
        return taken(self.single_action_space, actions)

    @abstractmethod
    def state_dict(self) -> dict[str, torch.Tensor]:
        """Everything that the next steps depend on, as tensors."""

    @abstractmethod
    def load_state_dict(self, saved: Mapping[str, torch.Tensor]) -> None:
        """Restores the state that `state_dict` returned.

        Raises: CheckpointError if that is impossible.
        """


class ReplayedEnv(ResumableEnv):
    """Gymnasium environments that are restored by replaying the actions of their current episodes.

    The k-th episode of copy n is reset with a seed derived from (seed, n, k). This seed and the actions since determine
    the state of copy n, so that any deterministic environment is restored exactly, without access to its internals.
    Only the seeds and actions are saved.

    An episode is truncated after `LONGEST_EPISODE` steps, with a warning, if the environment has no time limit. So
    neither the actions nor the time to replay them grow without end: 27,000 steps of all copies at most.

    A game of Atari goes on after a lost life, although the step may be terminal for learning: it is not reset there.

    Args:
        env: N copies, with autoreset mode DISABLED; or Gymnasium's SyncVectorEnv or AsyncVectorEnv in any mode, whose
            copies are reset here too when their episodes end. In mode SAME_STEP they are then reset twice.
        seed: at least 0.

    Raises: ValueError for another environment with autoreset.
    """

    def __init__(self, env: gymnasium.vector.VectorEnv, seed: int) -> None:
        super().__init__(env)
        self.same_step = require_mask(env) == AutoresetMode.SAME_STEP
        self.seed, self.limit = seed, episode_limit(env)
        self.reset(seed=seed)

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Starts new episodes, in all copies or in those of options["reset_mask"], bool [N].

        With an int as `seed` all copies restart from their first episode, as after construction with that seed.
        """
        if isinstance(seed, int):
            self.seed, self.episode = seed, np.full(self.num_envs, -1)
            self.age, self.actions = np.zeros(self.num_envs, dtype=np.int64), []
        mask = options["reset_mask"] if options and "reset_mask" in options else np.ones(self.num_envs, dtype=bool)
        if isinstance(self.env, AtariCopies) and not isinstance(seed, int):
            mask = mask & ~self.env.only_life
            if not mask.any():
                return self.obs, {}
        self.episode, self.age = self.episode + mask, self.age * ~mask
        del self.actions[: len(self.actions) - self.age.max()]
        return self._start(mask)

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Steps every copy, and records the actions [N, ...]. Observations are those before any reset."""
        self.actions.append(np.array(actions))
        self.age = self.age + 1
        obs, reward, terminated, truncated, info = self._step(actions)
        if ((late := self.age >= self.limit.steps) & ~(terminated | truncated)).any():
            self.limit.warn()
            truncated = truncated | late & ~terminated
        return obs, reward, terminated, truncated, info

    def _step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Steps every copy, without a record or a limit."""
        obs, reward, terminated, truncated, info = super().step(actions)
        if self.same_step:
            for n in np.flatnonzero(terminated | truncated):
                self.obs[n] = self.observations.flat(info["final_obs"][n])
        return obs, reward, terminated, truncated, info

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Episode numbers, ages, the actions of all current episodes, and the present observations."""
        actions = np.stack(self.actions) if self.actions else np.zeros((0, self.num_envs))
        parts = {"episode": self.episode, "age": self.age, "actions": actions, "obs": self.obs}
        return {name: torch.as_tensor(array).clone() for name, array in parts.items()}

    def load_state_dict(self, saved: Mapping[str, torch.Tensor]) -> None:
        """Replays the actions of the current episodes.

        Raises: CheckpointError if the observations then differ: the environment has randomness that its seed does not
        determine, or is a different one.
        """
        parts = {name: value.numpy() for name, value in saved.items()}
        self.episode, self.age, self.actions = parts["episode"], parts["age"], list(parts["actions"])
        begins = len(self.actions) - self.age
        self._start(np.ones(self.num_envs, dtype=bool))
        for time, actions in enumerate(self.actions):
            _, _, terminated, truncated, _ = self._step(actions)
            # Copies whose episode began later are stepped too, and reset when it begins.
            restarted = (begins > time) & (terminated | truncated) | (begins == time + 1)
            if restarted.any():
                self._start(restarted)
        if not np.array_equal(self.obs, parts["obs"]):
            raise CheckpointError(
                "the environment must be a function of its seed and actions, to be resumed; "
                "after replaying the actions, its observations differ from the checkpoint's"
            )

    def _start(self, mask: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
        """Resets the copies of `mask`, bool [N], with the seeds of their current episodes."""
        seeds: list[int | None] = [None] * self.num_envs
        for n in np.flatnonzero(mask):
            seeds[n] = episode_seed(self.seed, int(n), int(self.episode[n]))
        return super().reset(seed=seeds, options={"reset_mask": mask.copy()})


class SimulatedEnv(ResumableEnv):
    """The vector environment of our simulator, or of Tetris, which saves and restores its own state.

    Args:
        env: `gymnasium.make_vec("diffsim/<id>")`, unwrapped.
        seed: of initial states and process noise, at least 0.
    """

    def __init__(self, env: diffsim.gym.VectorEnv | TetrisVectorEnv, seed: int) -> None:
        super().__init__(env)
        self.simulated = env
        self.reset(seed=seed)

    @property
    def obs(self) -> np.ndarray:
        """Present observations, [N, O]; read from the device after `moved_to`."""
        if self._obs is None:
            assert isinstance(self.simulated, diffsim.gym.VectorEnv)
            self._obs = self.flat(self.simulated.observe())
        return self._obs

    @obs.setter
    def obs(self, obs: np.ndarray) -> None:
        self._obs: np.ndarray | None = obs

    def taken(self, actions: np.ndarray) -> Any:
        """Actions [N, A] as the simulator takes them: those of a Box keep their precision."""
        return actions if isinstance(self.single_action_space, Box) else super().taken(actions)

    def moved_to(self, state: torch.Tensor, age: torch.Tensor) -> None:
        """Sets states [N, S] and ages int64 [N] of copies of our simulator, on the device."""
        assert isinstance(self.simulated, diffsim.gym.VectorEnv)
        self.simulated.move_to(state, age)
        self._obs = None

    def state_dict(self) -> dict[str, torch.Tensor]:
        """State of the wrapped environment."""
        return self.simulated.state_dict()

    def load_state_dict(self, saved: Mapping[str, torch.Tensor]) -> None:
        """Restores the state that `state_dict` returned."""
        self.obs = self.flat(self.simulated.load_state_dict(saved))


def resumable(env: gymnasium.vector.VectorEnv, seed: int) -> ResumableEnv:
    """Wraps a vector environment so that its state can be saved.

    Raises: ValueError if its autoreset mode is wrong.
    """
    if isinstance(env, ResumableEnv):
        return env
    env = without_autoreset(env)
    return (
        SimulatedEnv(env, seed) if isinstance(env, diffsim.gym.VectorEnv | TetrisVectorEnv) else ReplayedEnv(env, seed)
    )


def make_env(
    task: str,
    num_envs: int,
    *,
    seed: int = 0,
    device: str = "cpu",
    process_noise: float | list[float] = 0.0,
    reward_noise: float = 0.0,
    **kwargs: Any,
) -> ResumableEnv:
    """Makes N copies of an environment for training.

    Args:
        task: any Gymnasium id, or a task of your own on C MuJoCo (`official_env`), whose copies are stepped one after
            the other on the CPU; ALE/<game>-v5, in C++ threads (`AtariOptions`); or diffsim/<id>, simulated in parallel
            by our simulator, and diffsim/Tetris-v0.
        num_envs: N, at least 1.
        seed: of all randomness, at least 0.
        device: of the simulation of diffsim/<id>.
        process_noise: see `diffsim.make`; for diffsim/<id> only.
        reward_noise: see `diffsim.make`; for diffsim/<id> only.
        **kwargs: options of the environment.

    Raises: OptionError if there is no such task, or it takes no noise.
    """
    noises = {"process_noise": process_noise, "reward_noise": reward_noise}
    env = _make(task, num_envs, seed, device, noises, kwargs)
    env.remake = partial(make_env, task, num_envs, seed=seed, device=device, **noises, **kwargs)
    return env


def _make(
    task: str, num_envs: int, seed: int, device: str, noises: dict[str, Any], kwargs: dict[str, Any]
) -> ResumableEnv:
    """What `make_env` returns, for the same arguments."""
    if task.startswith(SIMULATED) and task != f"{SIMULATED}{TETRIS}":
        return SimulatedEnv(
            diffsim.gym.make_vector_env(task.removeprefix(SIMULATED), num_envs, device=device, **noises, **kwargs), seed
        )
    for name, value in noises.items():
        if value != 0.0:
            raise OptionError(
                f"{name} must be 0 for an environment of Gymnasium, got {value}; {SIMULATED}<id> takes it"
            )
    if task.startswith(SIMULATED):
        return SimulatedEnv(
            TetrisVectorEnv(num_envs, device=device, **{"max_episode_steps": TETRIS_STEPS, **kwargs}), seed
        )
    if is_atari(task):
        register_games()
    register_extras(task)
    make = partial(_checked_env, task, disable_env_checker=True, **kwargs)
    try:
        env = _atari_copies(task, num_envs, dict(kwargs)) or FastSyncVectorEnv([make] * num_envs)
    except gymnasium.error.Error as error:
        raise OptionError(
            f"task must be an id of Gymnasium, with the robotics extra also of gymnasium-robotics, or {SIMULATED}<id>, "
            f"got {task!r}: {error}"
        ) from None
    replayed = ReplayedEnv(env, seed)
    replayed.frames_per_step = frames_per_step(task, kwargs)
    return replayed


def _atari_copies(task: str, num_envs: int, kwargs: dict[str, Any]) -> AtariCopies | None:
    """N copies of a game in C++ threads; None for other tasks, and for options that need Gymnasium's own wrappers."""
    if not is_atari(task):
        return None
    options = AtariOptions.pop(kwargs)
    return atari_copies(task, num_envs, options, **kwargs) if in_threads(options, kwargs) else None


def _checked_env(task: str, **kwargs: Any) -> gymnasium.Env:
    """`single_env`. Raises ValueError that names an observation space which Gymnasium or we cannot use."""
    env = single_env(task, training=True, **kwargs)
    Observations(env.observation_space)
    return env


def episode_seed(seed: int, copy: int, episode: int) -> int:
    """A seed for one episode, practically independent of those of all other episodes, in [0, 2^32)."""
    return int(np.random.SeedSequence([seed, copy, episode]).generate_state(1)[0])
