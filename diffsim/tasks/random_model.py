"""Base class of the tasks whose model has lengths that may be drawn anew at every reset."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar

import mujoco
import torch
from torch import Tensor

from diffsim.checks import require
from diffsim.compile.parameter_forms import bounding_radii
from diffsim.engine.simulator import Simulator
from diffsim.options import option
from diffsim.tasks.task import Task


class RandomModelTask(Task):
    """A task with a model that depends on K lengths, which `random_model=True` draws anew at every reset.

    The lengths are then part of the state: [qpos, qvel, extras, lengths]. They are constant along an episode, and
    hidden from a policy unless `observation` shows them. Every step uses the fields of the model that they imply, as
    `Simulator.step(..., parameters=...)` does, and gradients flow through them. Quantities that MuJoCo's compiler
    derived from the fields, such as `dof_invweight0`, stay those of the model's own lengths. Reward, observation and
    terminal states read `lengths(state)`. `extras` must depend on the lengths only through the evaluation.

    Attributes:
        nominal_lengths: lengths of the model as it was compiled, K numbers, m.
        fields_written: True where the fields of `mj_model` itself are those of the lengths, as in `OfficialEnv`.

    Raises: ValueError if C MuJoCo makes the steps (`simulated = False`) with a random model.

    Source: Duan et al. (2016), "Benchmarking Deep Reinforcement Learning for Continuous Control", section 3.3, system
    identification.
    """

    nominal_lengths: ClassVar[tuple[float, ...]]
    fields_written: ClassVar[bool] = False

    random_model: bool = option("draw the lengths of the model anew at every reset, for every copy.", default=False)

    @cached_property
    def _nominal(self) -> Tensor:
        """The nominal lengths on the device: [K]."""
        with torch.inference_mode(False):  # it may be asked for there first, and be differentiated later
            return torch.tensor(self.nominal_lengths, dtype=self.dtype, device=self.device)

    @abstractmethod
    def random_lengths(self, generator: torch.Generator) -> Tensor:
        """Draws lengths for every copy: [N, K] m."""

    @abstractmethod
    def parameters(self, lengths: Tensor) -> dict[str, Tensor]:
        """Fields of the model for lengths [N, K], each [N, ...]: see `Simulator.step`. It is differentiable."""

    @property
    def state_size(self) -> int:
        """Numbers in a state: nq + nv + na + num_extras, and K with a random model."""
        return super().state_size + len(self.nominal_lengths) * self.random_model

    def lengths(self, state: Tensor) -> Tensor:
        """Lengths of the model in `state` [N, S], or the nominal ones: [N, K] m."""
        if self.random_model:
            return state[:, -len(self.nominal_lengths) :]
        return self._nominal.expand(len(state), -1)

    def split(self, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As `Task.split`, without the lengths."""
        return super().split(state[:, : super().state_size])

    def hidden(self, state: Tensor) -> Tensor:
        """The lengths of a random model, in m."""
        return self.lengths(state) if self.random_model else super().hidden(state)

    def rest_state(self) -> Tensor:
        """As `Task.rest_state`, with the nominal lengths."""
        state = super().rest_state()
        if self.random_model:
            state[:, super().state_size :] = self._nominal
        return state

    def initial(self, generator: torch.Generator) -> Tensor:
        """Draws a fresh state for every copy, and then its lengths: [N, S]."""
        qpos, qvel = self.reset_model(generator)
        act = self.reset_act(generator)
        return self.state_at(qpos, qvel, self.random_lengths(generator) if self.random_model else None, act=act)

    def state_at(
        self, qpos: Tensor, qvel: Tensor, lengths: Tensor | None = None, *, act: Tensor | None = None
    ) -> Tensor:
        """As `Task.state_at`, with `lengths` [N, K]; None for the nominal ones."""
        if not self.random_model:
            return super().state_at(qpos, qvel, act=act)
        if lengths is None:
            lengths = self._nominal.expand(len(qpos), -1)
        return torch.cat([super().state_at(qpos, qvel, act=act, **self._arguments(lengths)), lengths], dim=1)

    def transition(self, state: Tensor, action: Tensor, noise: Tensor | None = None) -> Tensor:
        """As `Task.transition`, with the fields that the lengths imply."""
        next_state = super().transition(state, action, noise)
        return torch.cat([next_state, self.lengths(state)], dim=1) if self.random_model else next_state

    def simulator_arguments(self, state: Tensor) -> dict[str, Any]:
        """The fields that the lengths in `state` [N, S] imply."""
        return self._arguments(self.lengths(state)) if self.random_model else {}

    def _arguments(self, lengths: Tensor) -> dict[str, Any]:
        """The fields that lengths [N, K] imply, as arguments of the simulator, unless they are written."""
        return {} if self.fields_written else {"parameters": self.parameters(lengths)}

    def _make_simulator(self, device: str | torch.device) -> Simulator:
        """As `Task._make_simulator`."""
        valid = self.simulated or self.fields_written or not self.random_model
        require(valid, "random_model", "False for a task that C MuJoCo steps", self.random_model)
        return super()._make_simulator(device)


def write_fields(mj_model: mujoco.MjModel, fields: Mapping[str, Tensor]) -> None:
    """Writes fields of one world, each [1, ...], into a compiled model. Derived quantities do not change, but radii.

    MuJoCo's shortcuts for centres of mass and geoms at special places are switched off, if these are written. Of a free
    body whose centre of mass is its origin in the model, MuJoCo cannot move the centre of mass.
    """
    for name, value in fields.items():
        field = mj_model.opt.gravity if name == "gravity" else getattr(mj_model, name)
        field[:] = value[0].detach().cpu().numpy()
    if "geom_size" in fields:
        radii = bounding_radii(mj_model, torch.from_numpy(mj_model.geom_size))
        mj_model.geom_rbound[:] = radii.numpy()
        mj_model.opt.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_MIDPHASE)  # its boxes are of the model's own sizes
    if {"body_ipos", "geom_pos"} & set(fields):
        for shortcut in ("body_sameframe", "geom_sameframe", "body_simple", "dof_simplenum"):
            getattr(mj_model, shortcut)[:] = 0
