"""Base class of tasks: a MuJoCo model with observation, reward, termination and reset, on the simulator."""

from __future__ import annotations

import importlib.util
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from copy import copy
from functools import cached_property
from numbers import Real
from os import PathLike, fspath
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import mujoco
import numpy as np
import torch
from gymnasium.spaces import Box
from torch import Tensor

import diffsim.types
from diffsim.checks import check_count, check_shape, check_std, require
from diffsim.compile.model import Model
from diffsim.compile.unsupported import UnsupportedModelError
from diffsim.engine.black_box_simulator import BlackBoxSimulator
from diffsim.engine.simulator import DynamicsPoint, Simulator
from diffsim.options import given, option
from diffsim.quiet import official_model
from diffsim.tasks.configurable import ConfigurableMDP


class Task(ConfigurableMDP):
    """N copies of a MuJoCo model, each action held for `frame_skip` physics steps.

    A task of your own is a subclass with `xml_file`, `reset_model`, `observation` and `reward`, and where they are
    needed `terminal` and `extras`, all of them torch functions of a batch of N worlds. `diffsim.check_task` checks it.
    It can declare further options as attributes, `push: float = option("force, N.", "> 0", default=1.0)` (see
    `diffsim.options`), and set an inherited option's default: `frame_skip = 2`.

    The state is [qpos, qvel, act, extras], with the activations `act` of actuators that have some, such as muscles;
    they begin at `reset_act`. Extras are what observation or reward read of the last evaluation of the
    dynamics: positions of bodies and sites, and forces. After a step MuJoCo leaves those as they were where it last
    evaluated the dynamics (before the final Euler update, or in the fourth stage of RK4), and Gymnasium's environments
    read them there, so they are no function of [qpos, qvel, act]. Gradients flow through extras.

    Attributes:
        max_episode_steps: time limit of an episode, in actions.
        num_extras: numbers in `extras`.
        extras_after_step: extras are of an evaluation at the state that a step reaches (`mj_forward` after the steps),
            not of the last one within the step. They are then a function of qpos, qvel, act and the action.
        simulated: False for a model that the simulator does not support. C MuJoCo then makes the steps, and central
            differences their gradients (see `FiniteDifferenceMDP`).
        process_noise: [nv] standard deviation of the random force on each dof, N or N m; None if there is none.
        fields: physical parameters of the worlds, as for `Simulator.step`, where they are not the model's own.

    Raises: UnsupportedModelError if the simulator does not support the model; TypeError or ValueError if an option is
    unknown or out of range.
    """

    max_episode_steps = 1000
    num_extras = 0
    extras_after_step = False
    simulated = True
    process_noise: Tensor | None = None
    fields: Mapping[str, Tensor] = MappingProxyType({})
    dtype = diffsim.types.dtype

    num_envs: int = given("number of copies, N >= 1.", default=1)
    device: torch.device = given("where to simulate, by name or as a torch.device.", default="cpu")
    xml_file: str | PathLike[str] | None = option(
        'MJCF file: a path, absolute or starting with "." or "~", or a name among the files that Gymnasium ships; or '
        'MJCF text, which starts with "<".',
        default=None,
    )
    frame_skip: int = option("physics steps per action, >= 1.", check_count, default=1)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Takes the declared options, loads the model, and calls `setup`."""
        super().__init__(*args, **kwargs)
        self.mj_model = self.load_model()
        self.simulator = self._make_simulator(self.device)
        self.action_space = Box(*self.mj_model.actuator_ctrlrange.T.astype(np.float32), dtype=np.float32)
        self.init_qpos = torch.as_tensor(self.mj_model.qpos0, dtype=self.dtype, device=self.device)
        self.setup()

    def setup(self) -> None:
        """Called last by the constructor; a task sets here what depends on the model, such as `num_extras`."""

    def load_model(self) -> mujoco.MjModel:
        """The model of `xml_file`; a task may load it in another way."""
        source = find_mjcf(self.xml_file)
        with official_model():
            if isinstance(source, Path):
                return mujoco.MjModel.from_xml_path(str(source))
            return mujoco.MjModel.from_xml_string(source)

    def _make_simulator(self, device: str | torch.device) -> Simulator:
        """The simulator of the model, or C MuJoCo with the same methods."""
        if not self.simulated:
            return BlackBoxSimulator(self.mj_model)  # pyright: ignore[reportReturnType]
        try:
            return Simulator(Model(self.mj_model), self.num_envs, device=device)
        except UnsupportedModelError as error:
            error.add_note(
                f"`simulated = False` in {type(self).__name__} makes C MuJoCo step it; gradients are slower."
            )
            raise

    @cached_property
    def observation_space(self) -> Box:  # pyright: ignore[reportIncompatibleVariableOverride]
        """As many unbounded numbers as `observation` returns; a task may set another space."""
        with torch.no_grad():
            obs = self.observation(self.rest_state())
        if obs.ndim != 2 or len(obs) != self.num_envs:
            name = type(self).__name__
            raise ValueError(f"{name}.observation must return [N, O] with N = {self.num_envs}, got {list(obs.shape)}")
        return unbounded(obs.shape[1])

    def rest_state(self) -> Tensor:
        """The model's reference positions, zero velocities and zero extras: [N, S]."""
        zeros = self.init_qpos.new_zeros(self.num_envs, self.state_size - self.mj_model.nq)
        return torch.cat([self.init_qpos.expand(self.num_envs, -1), zeros], dim=1)

    def set_process_noise(self, std: float | Sequence[float]) -> None:
        """Applies a random generalized force to each dof, `qfrc_applied = std * w` with w ~ N(0, I).

        A force is drawn per transition, and held for its `frame_skip` physics steps (dt seconds). It changes a
        momentum by `std * dt * w`. For equally rough motion at another `dt`, `std` is proportional to 1 / sqrt(dt).

        Args:
            std: one number for all dofs, or one for each [nv], N for slides and N m for hinges (of a free joint:
                three N along the world's axes, then three N m about the body's); >= 0. Zero removes the noise.

        Raises: TypeError or ValueError if `std` is anything else.
        """
        if not isinstance(std, Real | Sequence | np.ndarray) or isinstance(std, str):
            raise TypeError(f"process_noise must be a number or a sequence of numbers, got {std!r}")
        nv = self.mj_model.nv
        values = [std] * nv if isinstance(std, Real) else list(std)
        require(len(values) == nv, "process_noise", f"one number or nv = {nv} numbers", len(values))
        for value in values:
            check_std("process_noise", value)
        noisy = any(values)
        self.process_noise = torch.tensor(values, dtype=self.dtype, device=self.device) if noisy else None
        self.noise_size = nv if noisy else 0

    @property
    def state_size(self) -> int:
        """Numbers in a state: nq + nv + na + num_extras."""
        return self.physics_size + self.num_extras

    @property
    def physics_size(self) -> int:
        """Numbers in a state of the simulator, [qpos, qvel, act]: nq + nv + na."""
        return self.mj_model.nq + self.mj_model.nv + self.mj_model.na

    @property
    def dt(self) -> float:
        """Time per action, s."""
        return self.mj_model.opt.timestep * self.frame_skip

    @abstractmethod
    def reset_model(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draws fresh qpos [N, nq] and qvel [N, nv]."""

    def reset_act(self, generator: torch.Generator) -> Tensor:
        """Draws fresh activations, [N, na], after `reset_model`: zeros."""
        return torch.zeros(self.num_envs, self.mj_model.na, dtype=self.dtype, device=self.device)

    def extras(self, evaluation: DynamicsPoint) -> Tensor:
        """Quantities of the last evaluation of the dynamics that observation or reward read: [N, num_extras]."""
        return evaluation.qpos[:, :0]

    def initial(self, generator: torch.Generator) -> Tensor:
        """Draws a fresh state for every copy, [N, S], as Gymnasium's reset does."""
        qpos, qvel = self.reset_model(generator)
        return self.state_at(qpos, qvel, act=self.reset_act(generator))

    def state_at(self, qpos: Tensor, qvel: Tensor, *, act: Tensor | None = None, **arguments: Any) -> Tensor:
        """A full state from qpos [N, nq], qvel [N, nv] and act [N, na], with the extras of a reset to them: [N, S].

        Without `act`, the activations are zero.
        Extras come from an evaluation of the dynamics with zero controls. Contact forces on bodies are zero, because
        Gymnasium computes them after steps only; with `extras_after_step` they are those of the evaluation. `arguments`
        are further ones of `Simulator.forward`.
        """
        act = qpos.new_zeros(len(qpos), self.mj_model.na) if act is None else act
        physics = torch.cat([qpos, qvel, act], dim=1)
        if not self.num_extras:
            return physics
        ctrl = torch.zeros(self.num_envs, self.mj_model.nu, dtype=self.dtype, device=self.device)
        evaluation = self.simulator.forward(physics, ctrl, **self._with_fields(arguments))
        if "cfrc_ext" in evaluation._fields and not self.extras_after_step:
            evaluation = evaluation._replace(cfrc_ext=torch.zeros_like(evaluation.cfrc_ext))
        return torch.cat([physics, self.extras(evaluation)], dim=1)

    def transition(self, state: Tensor, action: Tensor, noise: Tensor | None = None) -> Tensor:
        """Holds `action` [N, A] for `frame_skip` physics steps from `state` [N, S]: next state, [N, S].

        Args:
            state: [N, S].
            action: [N, A], in the units of `action_space`.
            noise: [N, nv] standard normal with process noise, else None.

        Raises: ValueError if a shape is wrong, an entry is not finite, or a task without process noise gets noise.
        """
        physics, force = self.checked(state, action, noise)
        arguments = {"qfrc_applied": force, **self._with_fields(self.simulator_arguments(state))}
        if not self.num_extras:
            return self.simulator.step(physics, action, self.frame_skip, **arguments)
        next_physics, evaluation = self.simulator.advance(physics, action, self.frame_skip, **arguments)
        if self.extras_after_step:
            evaluation = self.simulator.forward(
                next_physics, action, **self._with_fields(self.simulator_arguments(state))
            )
        return torch.cat([next_physics, self.extras(evaluation)], dim=1)

    def simulator_arguments(self, state: Tensor) -> dict[str, Any]:
        """Further arguments of the simulator's steps from `state` [N, S], by name: none.

        A task can give `mocap_pos`, `mocap_quat` and `eq_active` (see `Simulator.step`) as functions of the state.
        """
        return {}

    def with_fields(self, fields: Mapping[str, Tensor]) -> Self:
        """The same task with other physical parameters, as for `Simulator.step`."""
        task = copy(self)
        task.fields = fields
        return task

    def _with_fields(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Arguments of the simulator, and `fields`."""
        return {"parameters": self.fields, **arguments} if self.fields else arguments

    def checked(self, state: Tensor, action: Tensor, noise: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Checks the arguments of `transition`; returns [qpos, qvel, act], and the force [N, nv] or None."""
        if noise is not None and self.process_noise is None:
            raise ValueError("noise must be None for a task without process noise (noise_size is 0)")
        sizes = {"state": (state, self.state_size), "action": (action, self.mj_model.nu)}
        if self.process_noise is not None:
            sizes["noise"] = (noise, self.noise_size)
        for name, (value, size) in sizes.items():
            check_shape(name, value, (self.num_envs, size))
        force = None if self.process_noise is None or noise is None else self.process_noise * noise
        return state[:, : self.physics_size], force

    def split(self, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Parts of `state` [N, S] but activations: qpos [N, nq], qvel [N, nv], extras [N, num_extras]."""
        m = self.mj_model
        qpos, qvel, _, extras = state.split([m.nq, m.nv, m.na, self.num_extras], dim=1)
        return qpos, qvel, extras

    def act(self, state: Tensor) -> Tensor:
        """Activations in `state` [N, S]: [N, na]."""
        return state[:, self.physics_size - self.mj_model.na : self.physics_size]

    def terminal(self, state: Tensor) -> Tensor:
        """Never; a task with terminal states overrides it."""
        return torch.zeros(len(state), dtype=torch.bool, device=state.device)

    def uniform(self, size: int, bound: float, generator: torch.Generator) -> Tensor:
        """Uniform numbers in [-bound, bound): [N, size]."""
        unit = torch.rand(self.num_envs, size, generator=generator, dtype=self.dtype, device=self.device)
        return bound * (2 * unit - 1)

    def normal(self, size: int, std: float, generator: torch.Generator) -> Tensor:
        """Normal numbers of standard deviation `std`: [N, size]."""
        shape = (self.num_envs, size)
        return std * torch.randn(shape, generator=generator, dtype=self.dtype, device=self.device)


def unbounded(size: int) -> Box:
    """Gymnasium's observation space of `size` unbounded numbers."""
    return Box(-np.inf, np.inf, (size,), np.float64)


def within(value: Tensor, interval: tuple[float, float]) -> Tensor:
    """Whether each entry lies in an open interval: bool, in the shape of `value`."""
    low, high = interval
    return (low < value) & (value < high)


def find_mjcf(xml_file: str | PathLike[str] | None) -> Path | str:
    """The path of an MJCF file, or MJCF text."""
    if xml_file is None:
        raise TypeError("xml_file must be given, as an attribute of the task's class or as an argument")
    text = fspath(xml_file)
    return text if text.lstrip().startswith("<") else _mjcf_path(xml_file)


def _mjcf_path(xml_file: str | PathLike[str]) -> Path:
    """Finds an MJCF file as Gymnasium does: among its own files, unless the name starts with ".", "/" or "~"."""
    name = fspath(xml_file)
    if name.startswith((".", "/", "~")):
        path = Path(name).expanduser()
    else:
        spec = importlib.util.find_spec("gymnasium")
        assert spec is not None and spec.origin is not None
        path = Path(spec.origin).parent / "envs" / "mujoco" / "assets" / name
    if not path.is_file():
        raise FileNotFoundError(f"xml_file must name an existing MJCF file, got {name!r} ({path})")
    return path
