"""Partial observation as options of any task: on the simulator, and in the environment that evaluates policies."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box

from diffsim.checks import check_std, require
from diffsim.mdp import MDP
from diffsim.tasks.goal_task import goal_task
from diffsim.wrappers import DelayedActions, NoisyObservation, PositionsOnly, check_delay, check_positions


@dataclass(frozen=True)
class PartialObservation:
    """What a policy sees less than a task's observation, and how late it acts.

    Args:
        positions_only: observe positions only (`PositionsOnly`).
        observation_noise: standard deviation of noise on each observed number, >= 0 (`NoisyObservation`).
        action_delay: steps by which actions are delayed, >= 0 and fewer than an episode has (`DelayedActions`).

    Raises: TypeError or ValueError if a value is out of range.
    """

    positions_only: bool = False
    observation_noise: float = 0.0
    action_delay: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.positions_only, bool):
            raise TypeError(f"positions_only must be True or False, got {self.positions_only!r}")
        check_std("observation_noise", self.observation_noise)
        check_delay(self.action_delay, None)

    @classmethod
    def pop(cls, options: dict[str, Any]) -> PartialObservation:
        """Takes its own options out of those of a task."""
        return cls(**{field.name: options.pop(field.name) for field in fields(cls) if field.name in options})

    def mdp(self, task: MDP) -> MDP:
        """The partially observed task; the task itself if it is observed as it is.

        Raises: ValueError if the task names no positions, has goals and noise, or its episodes are too short.
        """
        mdp = PositionsOnly(task) if self.positions_only else task
        mdp = DelayedActions(mdp, self.action_delay) if self.action_delay else mdp
        if not self.observation_noise:
            return mdp
        require(goal_task(task) is None, "observation_noise", "0 for a task with goals", self.observation_noise)
        return NoisyObservation(mdp, self.observation_noise)

    def env(self, env: gymnasium.Env, id: object, positions: Sequence[int]) -> gymnasium.Env:
        """The partially observed environment, the twin of `mdp`.

        Args:
            env: of one copy.
            id: its name in errors.
            positions: indices of the observed numbers that are positions; empty if they are not known.

        Raises: ValueError as `mdp`, and if observations or actions are not boxes.
        """
        if self.action_delay:
            box = isinstance(env.action_space, Box) and env.action_space.contains(np.zeros_like(env.action_space.low))
            require(box, "action_delay", f"0 for {id}, whose actions are no box around 0", self.action_delay)
            check_delay(self.action_delay, None if env.spec is None else env.spec.max_episode_steps)
            env = DelayedActionsEnv(env, self.action_delay)
        if self.positions_only:
            check_positions(positions, id)
            env = PositionsOnlyEnv(env, positions)
        if self.observation_noise:
            vector = isinstance(env.observation_space, Box)
            rule = f"0 for {id}, whose observations are no vectors"
            require(vector, "observation_noise", rule, self.observation_noise)
            env = NoisyObservationEnv(env, self.observation_noise)
        return env


class PositionsOnlyEnv(gymnasium.ObservationWrapper):
    """`PositionsOnly` around an environment.

    Args:
        env: with vectors as observations.
        positions: indices of the observed numbers that are positions.
    """

    def __init__(self, env: gymnasium.Env, positions: Sequence[int]) -> None:
        super().__init__(env)
        self.indices = list(positions)
        space = env.observation_space
        assert isinstance(space, Box)
        self.observation_space = Box(space.low[self.indices], space.high[self.indices], dtype=space.dtype.type)

    def observation(self, observation: np.ndarray) -> np.ndarray:
        """The positions of an observation [O]."""
        return observation[self.indices]


class NoisyObservationEnv(gymnasium.Wrapper):
    """`NoisyObservation` around an environment. The seed of `reset` determines the noise.

    Args:
        env: with vectors as observations.
        std: standard deviation of the noise, >= 0.
    """

    def __init__(self, env: gymnasium.Env, std: float) -> None:
        super().__init__(env)
        self.std = std
        space = env.observation_space
        assert isinstance(space, Box)
        self.observation_space = Box(-np.inf, np.inf, space.shape, dtype=space.dtype.type)
        self._rng: np.random.Generator | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Starts a new episode: noisy observation and info."""
        obs, info = self.env.reset(seed=seed, options=options)
        if seed is not None or self._rng is None:
            self._rng = np.random.default_rng(None if seed is None else [seed, 1])  # not the environment's own stream
        return self._noisy(obs), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Advances by one action."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        return self._noisy(obs), reward, terminated, truncated, info

    def _noisy(self, obs: np.ndarray) -> np.ndarray:
        """An observation [O] with new noise."""
        assert self._rng is not None
        return (obs + self.std * self._rng.standard_normal(obs.shape)).astype(obs.dtype)


class DelayedActionsEnv(gymnasium.Wrapper):
    """`DelayedActions` around an environment.

    Args:
        env: with vectors as actions.
        delay: steps, >= 1.
    """

    def __init__(self, env: gymnasium.Env, delay: int) -> None:
        super().__init__(env)
        self.delay = delay
        self._queue: deque[np.ndarray] = deque()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Starts a new episode with zeros as waiting actions."""
        assert isinstance(self.action_space, Box)
        self._queue = deque(np.zeros_like(self.action_space.low) for _ in range(self.delay))
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Executes the oldest waiting action, and lets `action` wait."""
        self._queue.append(np.array(action))
        return self.env.step(self._queue.popleft())
