"""An MDP as a Gymnasium environment: a vector environment of N copies, and an environment of one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from diffsim.checks import require
from diffsim.engine.checks import deferred_checks
from diffsim.mdp import MDP, action_size
from diffsim.random_state import restore
from diffsim.structured_actions import flattened, is_structured, structured
from diffsim.tasks import Task, make
from diffsim.tasks.goal_task import goal_task


class VectorEnv(gymnasium.vector.VectorEnv):
    """N copies of an MDP, stepped together, with NumPy arrays in and out and no gradients.

    A copy that ended, by termination or time-out, is reset by the next `step`, whose action it ignores and
    whose reward is 0: Gymnasium's NEXT_STEP auto-reset. Rewards are float64, as in Gymnasium's environments, and
    observations have the type of the observation space. Process noise comes from the generator that `reset` seeds.
    """

    metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP, "render_modes": []}

    def __init__(self, mdp: MDP, max_episode_steps: int | None = None) -> None:
        """Wraps an MDP.

        Args:
            mdp: the process.
            max_episode_steps: steps after which an episode is truncated, >= 1; None for the MDP's own number.
        """
        valid = max_episode_steps is None or max_episode_steps >= 1
        require(valid, "max_episode_steps", ">= 1 or None", max_episode_steps)
        self.mdp = mdp
        self.num_envs = mdp.num_envs
        self.max_episode_steps = max_episode_steps or mdp.max_episode_steps
        self.single_observation_space = mdp.observation_space
        self.single_action_space = mdp.action_space
        self.observation_space = batch_space(mdp.observation_space, mdp.num_envs)
        self.action_space = batch_space(mdp.action_space, mdp.num_envs)
        self._generator: torch.Generator | None = None
        self._state = torch.full((mdp.num_envs, mdp.state_size), torch.nan, dtype=mdp.dtype, device=mdp.device)
        self._age = np.zeros(mdp.num_envs, dtype=np.int64)
        self._ended = np.ones(mdp.num_envs, dtype=bool)
        self._moved: tuple[torch.Tensor, torch.Tensor] | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Starts new episodes.

        Args:
            seed: of all randomness from now on; None continues with the present generator.
            options: {"reset_mask": bool array [N]} resets only those copies.

        Returns: observations [N, O], and an empty info.
        """
        super().reset(seed=seed)
        if seed is not None or self._generator is None:
            generator = torch.Generator(self.mdp.device)
            self._generator = generator.manual_seed(int(self.np_random.integers(2**63)))
        mask = self._reset_mask(options)
        self._settle()
        with torch.no_grad(), deferred_checks() as checks:
            self._state = self._renewed(mask)
            obs = checks.read(self.mdp.observation(self._state))
        self._age[mask], self._ended[mask] = 0, False
        return self._seen(obs.array), {}

    def step(self, actions: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Advances every copy that has not ended, and resets the others.

        Args:
            actions: [N, A], in the action space's units; of a Tuple or Dict space, as its `batch_space` has them.

        Returns: observations [N, O], rewards [N], terminations [N], truncations [N], and an info.
        Raises: ResetNeeded before the first `reset`; ValueError if actions have the wrong shape or are not
        finite.
        """
        if self._generator is None:
            raise gymnasium.error.ResetNeeded("reset must be called before step")
        if is_structured(self.single_action_space):
            actions = flattened(self.single_action_space, actions)
        shape = (self.num_envs, action_size(self.single_action_space))
        if np.shape(actions) != shape:
            raise ValueError(f"actions must have shape {shape}, got {np.shape(actions)}")
        self._settle()
        renewed = self._ended.copy()
        with torch.no_grad(), deferred_checks() as checks:  # one read for all
            action = torch.as_tensor(np.asarray(actions), dtype=self.mdp.dtype, device=self.mdp.device)
            # Reset copies are stepped with the others, which costs nothing in a batch; their step is discarded.
            state = self._renewed(renewed)
            next_state = self.mdp.transition(state, action, self._noise())
            reward = checks.read(self.mdp.reward(state, action, next_state))
            terminal = checks.read(self.mdp.terminal(next_state))
            state = torch.where(self._column(renewed), state, next_state)
            obs = checks.read(self.mdp.observation(state))
            info = {name: checks.read(value) for name, value in self._info(state).items()}
        self._state = state
        self._age = np.where(renewed, 0, self._age + 1)
        terminated = (terminal.array > 0) & ~renewed
        truncated = self._age >= self.max_episode_steps
        self._ended = terminated | truncated
        rewards = np.where(renewed, 0.0, reward.array)
        arrays = {name: reading.array.astype(_numpy_type(reading.tensor)) for name, reading in info.items()}
        return self._seen(obs.array), rewards, terminated, truncated, arrays

    def worlds(self) -> tuple[torch.Tensor, torch.Tensor, torch.Generator]:
        """States [N, S] from which the next step continues, ages int64 [N], and the generator, all on the device.

        Raises: ResetNeeded before the first `reset`.
        """
        if self._generator is None:
            raise gymnasium.error.ResetNeeded("reset must be called before worlds")
        if self._moved is not None:
            return *self._moved, self._generator
        state, age = self._renewed(self._ended), np.where(self._ended, 0, self._age)
        return state, torch.as_tensor(age, device=self.mdp.device), self._generator

    def move_to(self, state: torch.Tensor, age: torch.Tensor) -> None:
        """Sets the states [N, S] and ages int64 [N] of all copies, none of which has ended. It reads nothing."""
        self._moved = state, age

    def _settle(self) -> None:
        """Reads the states and ages that `move_to` set."""
        if self._moved is not None:
            self._state, age = self._moved
            self._age, self._ended = age.cpu().numpy().copy(), np.zeros(self.num_envs, dtype=bool)
            self._moved = None

    def observe(self) -> Any:
        """Observations of the present states, [N, O], as `step` returns them."""
        self._settle()
        with torch.no_grad():
            return self._seen(self.mdp.observation(self._state).cpu().numpy())

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Everything that the next steps depend on, as plain tensors.

        Raises: ResetNeeded before the first `reset`.
        """
        if self._generator is None:
            raise gymnasium.error.ResetNeeded("reset must be called before state_dict")
        self._settle()
        parts = {"age": torch.as_tensor(self._age), "ended": torch.as_tensor(self._ended)}
        parts |= {"state": self._state, "generator": self._generator.get_state()}
        return {name: value.cpu().clone() for name, value in parts.items()}

    def load_state_dict(self, saved: Mapping[str, torch.Tensor]) -> np.ndarray:
        """Restores what `state_dict` returned. Returns the observations there, [N, O]."""
        self._generator = torch.Generator(self.mdp.device)
        restore(self._generator, saved["generator"])
        self._state = saved["state"].to(self._state)
        self._age, self._ended = saved["age"].numpy().copy(), saved["ended"].numpy().copy()
        self._moved = None
        return self.observe()

    def _reset_mask(self, options: dict[str, Any] | None) -> np.ndarray:
        """Which copies `reset` resets: bool [N]."""
        mask = (options or {}).get("reset_mask")
        if mask is None:
            return np.ones(self.num_envs, dtype=bool)
        if not isinstance(mask, np.ndarray) or mask.dtype != bool or mask.shape != (self.num_envs,):
            raise ValueError(f"options['reset_mask'] must be a bool array of shape ({self.num_envs},), got {mask!r}")
        return mask

    def _renewed(self, mask: np.ndarray) -> torch.Tensor:
        """The state, with new initial states where mask [N] is set: [N, S]."""
        if not mask.any():
            return self._state
        assert self._generator is not None
        return torch.where(self._column(mask), self.mdp.initial(self._generator), self._state)

    def _noise(self) -> torch.Tensor | None:
        """New process noise [N, W], or None if the dynamics have none."""
        if not self.mdp.noise_size:
            return None
        shape = (self.num_envs, self.mdp.noise_size)
        return torch.randn(shape, generator=self._generator, dtype=self.mdp.dtype, device=self.mdp.device)

    def _column(self, mask: np.ndarray) -> torch.Tensor:
        """A mask [N] as a tensor [N, 1] on the MDP's device."""
        return torch.as_tensor(mask, device=self.mdp.device)[:, None]

    def _seen(self, obs: np.ndarray) -> Any:
        """Observations [N, O] as the observation space has them."""
        return obs.astype(self.mdp.observation_space.dtype)

    def _info(self, state: torch.Tensor) -> dict[str, torch.Tensor]:
        """Info of a step that reached `state` [N, S]: empty."""
        return {}


class GoalVectorEnv(VectorEnv):
    """N copies of a goal task, whose observations are dictionaries, as gymnasium-robotics' environments have them.

    Its keys are "observation", "achieved_goal" and "desired_goal". The info of a step has "is_success" [N].
    """

    def __init__(self, mdp: MDP, max_episode_steps: int | None = None) -> None:
        """Wraps a `GoalTask`, or a wrapper around one."""
        super().__init__(mdp, max_episode_steps)
        task = goal_task(mdp)
        assert task is not None
        self.task = task
        self.single_observation_space = task.goal_observation_space
        self.observation_space = batch_space(self.single_observation_space, mdp.num_envs)

    def compute_reward(self, achieved_goal: np.ndarray, desired_goal: np.ndarray, info: Mapping[str, Any]) -> Any:
        """Reward [...] of a step that reached `achieved_goal` [..., G] when the goal was `desired_goal` [..., G]."""
        return self.task.reward_of_arrays(achieved_goal, desired_goal, info)

    def _seen(self, obs: np.ndarray) -> dict[str, np.ndarray]:
        return self.task.split_goals(super()._seen(obs))

    def _info(self, state: torch.Tensor) -> dict[str, torch.Tensor]:
        return self.task.info(state[:, : self.task.state_size])  # without the noise of a noisy reward


class Env(gymnasium.Env):
    """One copy of an MDP as a plain Gymnasium environment."""

    metadata = {"render_modes": []}

    def __init__(self, mdp: MDP) -> None:
        """Wraps an MDP with num_envs = 1. Gymnasium's TimeLimit counts the steps."""
        require(mdp.num_envs == 1, "mdp.num_envs", "1", mdp.num_envs)
        self._vector = vector_env(mdp, max_episode_steps=2**62)
        self.observation_space = self._vector.single_observation_space
        self.action_space = mdp.action_space

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Starts a new episode: observation [O], and an empty info."""
        super().reset(seed=seed)
        obs, info = self._vector.reset(seed=seed)
        return self._first(obs), info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Advances by one action [A]: observation [O], reward, terminated, truncated (never), and an info."""
        space = self.action_space
        batch = structured(space, flattened(space, action)[None]) if is_structured(space) else np.asarray(action)[None]
        obs, reward, terminated, truncated, info = self._vector.step(batch)
        first = {name: value[0] for name, value in info.items()}
        return self._first(obs), float(reward[0]), bool(terminated[0]), bool(truncated[0]), first

    @staticmethod
    def _first(obs: Any) -> Any:
        """The only copy's observation."""
        return {name: value[0] for name, value in obs.items()} if isinstance(obs, dict) else obs[0]


class GoalEnv(Env):
    """One copy of a goal task as a plain Gymnasium environment."""

    def compute_reward(self, achieved_goal: np.ndarray, desired_goal: np.ndarray, info: Mapping[str, Any]) -> Any:
        """Reward [...] of a step that reached `achieved_goal` [..., G] when the goal was `desired_goal` [..., G]."""
        assert isinstance(self._vector, GoalVectorEnv)
        return self._vector.compute_reward(achieved_goal, desired_goal, info)


def vector_env(mdp: MDP, max_episode_steps: int | None = None) -> VectorEnv:
    """The vector environment of an MDP; observations of a goal task are dictionaries."""
    return (VectorEnv if goal_task(mdp) is None else GoalVectorEnv)(mdp, max_episode_steps)


def _numpy_type(tensor: torch.Tensor) -> np.dtype:
    """NumPy's type of a tensor's numbers."""
    return torch.empty(0, dtype=tensor.dtype).numpy().dtype


def make_env(task: str | type[Task], **kwargs: Any) -> Env:
    """Entry point of `gymnasium.make("diffsim/<id>")`."""
    mdp = make(task, **kwargs)
    return (Env if goal_task(mdp) is None else GoalEnv)(mdp)


def make_vector_env(
    task: str | type[Task], num_envs: int = 1, max_episode_steps: int | None = None, **kwargs: Any
) -> VectorEnv:
    """N copies of a task on the simulator, as `gymnasium.make_vec("diffsim/<id>")` makes them.

    Args:
        task: as for `diffsim.make`: an id, `module:MyTask-v0`, or a class.
        num_envs: N >= 1.
        max_episode_steps: steps after which an episode is truncated; None for the task's own number.
        **kwargs: as for `diffsim.make`.
    """
    return vector_env(make(task, num_envs=num_envs, max_episode_steps=max_episode_steps, **kwargs))
