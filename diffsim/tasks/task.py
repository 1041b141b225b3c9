"""What Gymnasium's MuJoCo environments have in common, as an abstract MDP over the simulator."""

from __future__ import annotations

import importlib.util
from abc import abstractmethod
from collections.abc import Sequence
from numbers import Real
from os import PathLike, fspath
from pathlib import Path

import mujoco
import numpy as np
import torch
from gymnasium.spaces import Box
from torch import Tensor

from diffsim.compile.model import Model
from diffsim.engine.simulator import DynamicsPoint, Simulator
from diffsim.mdp import MDP
from diffsim.types import dtype
from diffsim.wrappers import check_std


class Task(MDP):
    """N copies of a MuJoCo model, each action held for `frame_skip` physics steps.

    The state is [qpos, qvel, extras]. MuJoCo leaves positions of bodies and sites, and forces, as they were
    where it last evaluated the dynamics (before the final Euler update, or in the fourth stage of RK4), and
    Gymnasium's observations and rewards read them there. They are therefore no function of [qpos, qvel], and
    a task that needs them carries them as extras. Gradients flow through them.

    A task gives `reset_model`, `observation`, `reward` and `terminal`, and if it has extras, `extras`.

    Attributes:
        official_module: where a task that Gymnasium does not have keeps its environment in C MuJoCo, a class with the
            task's name and "Env"; None for Gymnasium's tasks.
        simulated: False for a model that the simulator does not support; `FiniteDifferenceMDP` can still run the task.
        process_noise: [nv] standard deviation of the random force on each dof, N or N m; None if there is none.
    """

    official_module: str | None = None
    simulated = True
    process_noise: Tensor | None = None

    max_episode_steps = 1000
    num_extras = 0

    def __init__(
        self, xml_file: str | PathLike[str], frame_skip: int, num_envs: int, device: str | torch.device
    ) -> None:
        """Loads the model.

        Args:
            xml_file: MJCF file: a name among the files Gymnasium ships, or a path that starts with ".", "/"
                or "~".
            frame_skip: physics steps per action, >= 1.
            num_envs: number of copies, N >= 1.
            device: where to simulate.
        """
        for name, count in (("num_envs", num_envs), ("frame_skip", frame_skip)):
            if not isinstance(count, int) or isinstance(count, bool):
                raise TypeError(f"{name} must be an int, got {count!r}")
            if count < 1:
                raise ValueError(f"{name} must be >= 1, got {count}")
        self.mj_model = mujoco.MjModel.from_xml_path(str(_mjcf_path(xml_file)))
        if self.simulated:
            self.simulator = Simulator(Model(self.mj_model), num_envs, device=device)
        self.num_envs = num_envs
        self.device = torch.device(device)
        self.dtype = dtype
        self.frame_skip = frame_skip
        self.action_space = Box(*self.mj_model.actuator_ctrlrange.T.astype(np.float32), dtype=np.float32)
        self.init_qpos = torch.as_tensor(self.mj_model.qpos0, dtype=dtype, device=self.device)

    def set_process_noise(self, std: float | Sequence[float]) -> None:
        """Lets a random generalized force push each dof, `qfrc_applied = std * w` with w ~ N(0, I).

        A force is drawn per transition, and held for its `frame_skip` physics steps (dt seconds). It changes a
        momentum by `std * dt * w`; at another `dt`, `std` proportional to 1 / sqrt(dt) makes motion as rough.

        Args:
            std: one number for all dofs, or one for each [nv], N for slides and N m for hinges (of a free joint:
                three N along the world's axes, then three N m about the body's); >= 0. Zero takes the noise away.

        Raises: TypeError or ValueError if it is not such numbers.
        """
        if not isinstance(std, Real | Sequence | np.ndarray) or isinstance(std, str):
            raise TypeError(f"process_noise must be a number or a sequence of numbers, got {std!r}")
        values = [std] * self.mj_model.nv if isinstance(std, Real) else list(std)
        if len(values) != self.mj_model.nv:
            raise ValueError(f"process_noise must be one number or nv = {self.mj_model.nv} numbers, got {len(values)}")
        for value in values:
            check_std("process_noise", value)
        noisy = any(values)
        self.process_noise = torch.tensor(values, dtype=dtype, device=self.device) if noisy else None
        self.noise_size = self.mj_model.nv if noisy else 0

    @property
    def state_size(self) -> int:
        """Numbers in a state: nq + nv + num_extras."""
        return self.mj_model.nq + self.mj_model.nv + self.num_extras

    @property
    def dt(self) -> float:
        """Time per action, s."""
        return self.mj_model.opt.timestep * self.frame_skip

    @abstractmethod
    def reset_model(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draws fresh qpos [N, nq] and qvel [N, nv]."""

    def extras(self, evaluation: DynamicsPoint) -> Tensor:
        """Quantities of the last evaluation that observation or reward read: [N, num_extras]."""
        return evaluation.qpos[:, :0]

    def initial(self, generator: torch.Generator) -> Tensor:
        """Draws a fresh state for every copy, [N, S], as Gymnasium's reset does."""
        return self.state_at(*self.reset_model(generator))

    def state_at(self, qpos: Tensor, qvel: Tensor) -> Tensor:
        """A full state from qpos [N, nq] and qvel [N, nv], with the extras that follow a reset there: [N, S].

        The dynamics are evaluated there with zero controls. Contact forces on bodies are zero: Gymnasium has
        MuJoCo compute them after steps alone.
        """
        physics = torch.cat([qpos, qvel], dim=1)
        if not self.num_extras:
            return physics
        ctrl = torch.zeros(self.num_envs, self.mj_model.nu, dtype=self.dtype, device=self.device)
        evaluation = self.simulator.forward(physics, ctrl)
        if "cfrc_ext" in evaluation._fields:
            evaluation = evaluation._replace(cfrc_ext=torch.zeros_like(evaluation.cfrc_ext))
        return torch.cat([physics, self.extras(evaluation)], dim=1)

    def transition(self, state: Tensor, action: Tensor, noise: Tensor | None = None) -> Tensor:
        """Holds `action` [N, A] for `frame_skip` physics steps from `state` [N, S]: next state, [N, S].

        Args:
            state: [N, S].
            action: [N, A], in the units of `action_space`.
            noise: [N, nv] standard normal with process noise, else None.

        Raises: ValueError if a shape differs, an entry is not finite, or noise is given to a task without.
        """
        physics, force = self.checked(state, action, noise)
        if not self.num_extras:
            return self.simulator.step(physics, action, self.frame_skip, qfrc_applied=force)
        next_physics, evaluation = self.simulator.advance(physics, action, self.frame_skip, qfrc_applied=force)
        return torch.cat([next_physics, self.extras(evaluation)], dim=1)

    def checked(self, state: Tensor, action: Tensor, noise: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Of checked arguments of `transition`: [qpos, qvel] [N, nq + nv], and the random force [N, nv] or None."""
        if noise is not None and self.process_noise is None:
            raise ValueError("noise must be None for a task without process noise (noise_size is 0)")
        sizes = {"state": (state, self.state_size), "action": (action, self.mj_model.nu)}
        if self.process_noise is not None:
            sizes["noise"] = (noise, self.noise_size)
        for name, (value, size) in sizes.items():
            shape = None if value is None else tuple(value.shape)
            if shape != (self.num_envs, size):
                raise ValueError(f"{name} must have shape ({self.num_envs}, {size}), got {shape}")
        force = None if self.process_noise is None or noise is None else self.process_noise * noise
        return state[:, : self.mj_model.nq + self.mj_model.nv], force

    def split(self, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Parts of `state` [N, S]: qpos [N, nq], qvel [N, nv], extras [N, num_extras]."""
        qpos, qvel, extras = state.split([self.mj_model.nq, self.mj_model.nv, self.num_extras], dim=1)
        return qpos, qvel, extras

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


def _mjcf_path(xml_file: str | PathLike[str]) -> Path:
    """Finds an MJCF file as Gymnasium does: beside its own, unless the name starts with ".", "/" or "~"."""
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
