"""A task as a Gymnasium environment on C MuJoCo, in which policies are evaluated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import mujoco
import numpy as np
import torch
from gymnasium.envs.registration import EnvSpec, load_env_creator
from torch import Tensor

from diffsim.engine.black_box import BlackBox
from diffsim.engine.simulator import DynamicsPoint
from diffsim.engine.world_inputs import WORLD_INPUTS
from diffsim.quiet import official_model
from diffsim.tasks.find import EQUATION_TASKS, HYBRID_TASKS, TASKS, check_options, find_task, task_class, task_options
from diffsim.tasks.goal_task import GoalTask
from diffsim.tasks.memory_task import MemoryTask
from diffsim.tasks.partial_observation import PartialObservation
from diffsim.tasks.random_model import RandomModelTask, write_fields
from diffsim.tasks.task import Task


def official_env(id: str | type[Task], **kwargs: Any) -> gymnasium.Env:
    """The environment on C MuJoCo in which policies of a task are evaluated.

    Args:
        id: a task of your own, as for `diffsim.make`, or any Gymnasium id, also `module:Env-v0`.
        **kwargs: options of the task; `render_mode`, and the options of Gymnasium's MujocoRenderer; those of
            `gymnasium.make`, such as `max_episode_steps`; and those of `PartialObservation`.

    Returns: for Gymnasium's ids `gymnasium.make(id)`, for others an `OfficialEnv` with the task's time limit; partially
    observed if the options say so.

    Raises: ValueError if an option of `PartialObservation` is out of range, or the environment cannot have it; or for
    `randomize`, which only worlds on the simulator have.
    """
    if kwargs.pop("randomize", None):
        raise ValueError(
            "randomize must be an option of worlds on the simulator: of diffsim.make, of diffsim/<id>, or in "
            f"training_kwargs; {id} on C MuJoCo has the model's own parameters"
        )
    partial = PartialObservation.pop(kwargs)
    env = _observed_env(id, kwargs)
    return partial.env(env, id, position_indices(id, kwargs) if partial.positions_only else ())


def own_env(env_id: str, entry_point: str, **kwargs: Any) -> gymnasium.Env:
    """Entry point of `gymnasium.make(id)` for the tasks that are not Gymnasium's, which may be partially observed.

    Args:
        env_id: id of the task.
        entry_point: `module:class` of its environment.
        **kwargs: options of the environment, and those of `PartialObservation`.
    """
    partial = PartialObservation.pop(kwargs)
    env = load_env_creator(entry_point)(**kwargs)
    assert isinstance(env, gymnasium.Env)
    return partial.env(env, env_id, position_indices(env_id, kwargs) if partial.positions_only else ())


def position_indices(id: str | type[Task], options: Mapping[str, Any]) -> Sequence[int]:
    """Indices of the observed numbers that are positions: those of the task of this id, none for other environments.

    Args:
        id: as for `official_env`.
        options: of its environment; those that the task does not have are ignored.
    """
    cls = find_task(id) if isinstance(id, str) else id
    if cls is None:
        return ()
    own = {name: value for name, value in options.items() if name in task_options(cls)}
    return (on_c_mujoco(cls) if issubclass(cls, Task) else cls)(num_envs=1, **own).position_indices


def _observed_env(id: str | type[Task], kwargs: Mapping[str, Any]) -> gymnasium.Env:
    """The environment without partial observation."""
    if isinstance(id, str) and (id in {**TASKS, **HYBRID_TASKS, **EQUATION_TASKS} or find_task(id) is None):
        with official_model():
            return gymnasium.make(id, **kwargs)
    cls = task_class(id)
    steps = cls.max_episode_steps
    entry_point = OfficialGoalEnv if issubclass(cls, GoalTask) else OfficialEnv
    name = id if isinstance(id, str) else f"{id.__module__}:{id.__name__}"
    spec = EnvSpec(name, entry_point, max_episode_steps=steps, disable_env_checker=True, kwargs={"task": id})
    with official_model():
        return gymnasium.make(spec, **kwargs)


def on_c_mujoco(cls: type[Task]) -> type[Task]:
    """A subclass of a task whose steps C MuJoCo makes, in float64, with the fields of its own model."""
    changes = {"simulated": False, "fields_written": True, "dtype": torch.float64, "__module__": cls.__module__}
    return type(cls.__name__, (cls,), changes)


class OfficialEnv(gymnasium.Env):
    """One copy of a task, stepped by C MuJoCo in float64: the task's functions, with another simulator.

    Time, warm starts and contacts are carried from step to step, as in Gymnasium's environments. `reset(seed=...)`
    seeds the generator of the initial states.

    Args:
        task: id or class.
        render_mode: "human", "rgb_array", "depth_array" or "rgbd_tuple".
        width, height: of a picture, pixels.
        camera_id, camera_name, default_camera_config, max_geom, visual_options: as for Gymnasium's MujocoRenderer.
        **options: of the task.

    Raises: TypeError if an option is unknown.
    """

    metadata = {"render_modes": ["human", "rgb_array", "depth_array", "rgbd_tuple"]}

    def __init__(
        self,
        task: str | type[Task],
        *,
        render_mode: str | None = None,
        width: int = 480,
        height: int = 480,
        camera_id: int | None = None,
        camera_name: str | None = None,
        default_camera_config: dict[str, Any] | None = None,
        max_geom: int = 1000,
        visual_options: dict[int, bool] | None = None,
        **options: Any,
    ) -> None:
        cls = task_class(task)
        check_options(task, cls, options)
        self.task = on_c_mujoco(cls)(num_envs=1, **options)
        self.model = self.task.mj_model
        self.model.vis.global_.offwidth = max(self.model.vis.global_.offwidth, width)
        self.model.vis.global_.offheight = max(self.model.vis.global_.offheight, height)
        self._physics = BlackBox(self.model, perturbation=1e-6)
        self.data = self._physics.data
        self.observation_space, self.action_space = self._spaces()
        self.render_mode = render_mode
        self.metadata = {**self.metadata, "render_fps": max(1, round(1 / self.task.dt))}
        from gymnasium.envs.mujoco.mujoco_rendering import MujocoRenderer

        camera = camera_id, camera_name, visual_options
        self.mujoco_renderer = MujocoRenderer(
            self.model, self.data, default_camera_config, width, height, max_geom, *camera
        )
        self._generator: torch.Generator | None = None
        self._state: Tensor | None = None
        self._lengths: list[Tensor] = []
        if isinstance(self.task, RandomModelTask) and self.task.random_model:
            self.set_lengths(_row(np.array(self.task.nominal_lengths)))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Starts a new episode: observation, and an empty info."""
        super().reset(seed=seed)
        if seed is not None or self._generator is None:
            self._generator = torch.Generator().manual_seed(int(self.np_random.integers(2**63)))
        with torch.inference_mode():
            qpos, qvel = self.task.reset_model(self._generator)
            act = self.task.reset_act(self._generator)[0].double().numpy()
            if isinstance(self.task, RandomModelTask) and self.task.random_model:
                self.set_lengths(self.task.random_lengths(self._generator))
            memory = self.task.initial_memory(self._generator) if isinstance(self.task, MemoryTask) else None
            self.set_state(*[part[0].double().numpy() for part in (qpos, qvel)], memory=memory, act=act)
            if self.render_mode == "human":
                self.render()
            return self._observation(), {}

    def set_state(
        self, qpos: np.ndarray, qvel: np.ndarray, memory: Tensor | None = None, act: np.ndarray | None = None
    ) -> None:
        """Continues from positions [nq], velocities [nv] and activations [na], None for zeros, as after a reset.

        `memory` is that of a `MemoryTask`, [1, K].
        """
        mujoco.mj_resetData(self.model, self.data)
        self.data.qpos[:], self.data.qvel[:] = qpos, qvel
        self.data.act[:] = 0.0 if act is None else act
        mujoco.mj_forward(self.model, self.data)
        further = self._lengths if memory is None else [memory]
        self._state = self.task.state_at(_row(qpos), _row(qvel), *further, act=_row(self.data.act))

    @property
    def state(self) -> Tensor:
        """The task's present state, [1, S].

        Raises: ResetNeeded before the first `reset`.
        """
        if self._state is None:
            raise gymnasium.error.ResetNeeded("reset must be called before there is a state")
        return self._state

    @torch.inference_mode()
    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Advances by one action [A]: observation, reward, terminated, truncated (never), and an info.

        Raises: ResetNeeded before the first `reset`; ValueError if the action has the wrong shape or is not finite;
        FloatingPointError if the physics diverged.
        """
        if self._state is None:
            raise gymnasium.error.ResetNeeded("reset must be called before step")
        action = np.asarray(action)
        if action.shape != (self.model.nu,) or not np.isfinite(action).all():
            raise ValueError(f"action must be {self.model.nu} finite numbers, got {action!r}")
        self.data.ctrl[:] = action
        state, self._state = self._state, self._advance()
        if isinstance(self.task, MemoryTask):
            memory = self.task.next_memory(self.task.memory(state), _row(action), self._state)
            self._state = torch.cat([self._state, memory], dim=1)
        reward = self.task.reward(state, _row(action), self._state)
        terminated = self.task.terminal(self._state)
        if self.render_mode == "human":
            self.render()
        return self._observation(), float(reward), bool(terminated), False, self._info()

    def _advance(self) -> Tensor:
        """Holds the controls for `frame_skip` physics steps: the state reached, [1, S]."""
        for name, value in self.task.simulator_arguments(self.state).items():
            if name in WORLD_INPUTS and value is not None:
                getattr(self.data, name)[:] = value[0].numpy()
        if self.task.num_extras:
            outcome = self._physics.run(self.task.frame_skip)
            if self.task.extras_after_step:
                outcome = self._physics.run(0)
            physics, *point = (_row(part) for part in outcome)
            return torch.cat([physics, self.task.extras(DynamicsPoint(*point)), *self._lengths], dim=1)
        self._physics.move(self.task.frame_skip)
        physics = np.concatenate([self.data.qpos, self.data.qvel, self.data.act])
        return torch.cat([_row(physics), *self._lengths], dim=1)

    def set_lengths(self, lengths: Tensor) -> None:
        """Sets the lengths [1, K] of a random model, until the next reset; pictures still show the model's own.

        It writes the fields that they imply into the model, and into the copy of it that evaluates extras.
        """
        assert isinstance(self.task, RandomModelTask) and self.task.random_model
        self._lengths = [lengths]
        fields = self.task.parameters(lengths)
        write_fields(self.model, fields)
        write_fields(self.task.simulator.mj_model, fields)  # pyright: ignore[reportAttributeAccessIssue]

    def render(self) -> Any:
        """A picture of the present state, as `render_mode` says."""
        return self.mujoco_renderer.render(self.render_mode)

    def close(self) -> None:
        """Closes the window or the off-screen buffer."""
        self.mujoco_renderer.close()

    def _spaces(self) -> tuple[gymnasium.Space, gymnasium.Space]:
        """Spaces of observations and actions."""
        return self.task.observation_space, self.task.action_space

    def _observation(self) -> Any:
        """Observation of the present state, [O]."""
        assert self._state is not None
        return self.task.observation(self._state)[0].numpy().astype(self.task.observation_space.dtype)

    def _info(self) -> dict[str, Any]:
        """Info of a step: empty."""
        return {}


class OfficialGoalEnv(OfficialEnv):
    """One copy of a goal task, whose observations are dictionaries, as gymnasium-robotics' environments have them."""

    task: GoalTask

    def compute_reward(self, achieved_goal: np.ndarray, desired_goal: np.ndarray, info: Mapping[str, Any]) -> Any:
        """Reward [...] of a step that reached `achieved_goal` [..., G] when the goal was `desired_goal` [..., G]."""
        return self.task.reward_of_arrays(achieved_goal, desired_goal, info)

    def _spaces(self) -> tuple[gymnasium.Space, gymnasium.Space]:
        return self.task.goal_observation_space, self.task.action_space

    def _observation(self) -> dict[str, np.ndarray]:
        return self.task.split_goals(super()._observation())

    def _info(self) -> dict[str, Any]:
        assert self._state is not None
        return {name: value[0].item() for name, value in self.task.info(self._state).items()}


def _row(values: np.ndarray) -> Tensor:
    """An array [...] as a batch of one, [1, ...], in float64."""
    return torch.from_numpy(np.array(values, dtype=np.float64, ndmin=values.ndim + 1))
