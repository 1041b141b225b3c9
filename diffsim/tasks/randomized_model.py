"""Domain randomization: every world of a task has physical parameters of its own, drawn at every reset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import NamedTuple

import mujoco
import numpy as np
import torch
from torch import Tensor

from diffsim.checks import did_you_mean, require
from diffsim.tasks.random_model import RandomModelTask
from diffsim.tasks.task import Task
from diffsim.wrappers import AugmentedMDP

ELEMENTS = {
    "body": mujoco.mjtObj.mjOBJ_BODY,
    "geom": mujoco.mjtObj.mjOBJ_GEOM,
    "jnt": mujoco.mjtObj.mjOBJ_JOINT,
    "dof": mujoco.mjtObj.mjOBJ_JOINT,
    "actuator": mujoco.mjtObj.mjOBJ_ACTUATOR,
    "tendon": mujoco.mjtObj.mjOBJ_TENDON,
}
"""Kinds of elements by the prefix of a field's name. The elements of dof fields are joints."""


class Factor(NamedTuple):
    """A factor of a field, or of some of its rows."""

    field: str
    rows: tuple[int, ...] | None  # None for one factor of all rows; else a factor for each
    low: float
    high: float


class RandomizedModel(AugmentedMDP):
    """A task whose worlds have physical parameters of their own, drawn anew at every reset.

    Each is the model's value times a factor, uniform in a range. The factors are the last part of a state, constant
    along an episode, hidden from the policy, and without gradient. Masses have inertias scaled with them, as bodies of
    another density have. Quantities that MuJoCo's compiler derived from the fields do not change.

    Args:
        task: on the simulator.
        ranges: for each key the range of the factor, (low, high), 0 <= low <= high. A key is a field of
            `Simulator.step`'s parameters for one factor of all its values, such as "geom_friction"; with ":name" for
            the values of one element, such as "body_mass:torso"; and with ":*" for a factor of each element.

    Raises: TypeError or ValueError if a key or a range is none, C MuJoCo steps the task, its model is random, or the
        simulator does not take these parameters together with the model.

    Source: Tobin et al. (2017), "Domain Randomization for Transferring Deep Neural Networks from Simulation to the Real
    World"; Peng et al. (2018), "Sim-to-Real Transfer of Robotic Control with Dynamics Randomization", for dynamics.
    """

    def __init__(self, task: Task, ranges: Mapping[str, Sequence[float]]) -> None:
        require(task.simulated, "randomize", "empty for a task that C MuJoCo steps", ranges)
        random = isinstance(task, RandomModelTask) and task.random_model
        require(not random, "randomize", "empty for a task with random_model=True", ranges)
        if not isinstance(ranges, Mapping):
            raise TypeError(f"randomize must be a mapping of fields to ranges, got {ranges!r}")
        model = task.simulator.model
        fields = model.parameters.fields
        self.factors = [_factor(model.mj_model, fields, *item) for item in ranges.items()]
        self.sizes = [1 if factor.rows is None else len(factor.rows) for factor in self.factors]
        super().__init__(task, sum(self.sizes))
        self.task = task
        names = {factor.field for factor in self.factors}
        names |= {"body_inertia"} if "body_mass" in names else set()
        self.fields = {name: torch.tensor(fields[name], dtype=self.dtype, device=self.device) for name in names}
        self.rows = [
            slice(None) if factor.rows is None else torch.tensor(factor.rows, device=self.device)
            for factor in self.factors
        ]
        bounds = [(f.low, f.high) for f, size in zip(self.factors, self.sizes, strict=True) for _ in range(size)]
        self.low, self.high = torch.tensor(bounds, dtype=self.dtype, device=self.device).reshape(-1, 2).T
        own = self._parameters(self.low.expand(self.num_envs, -1))
        model.parameters.check(own, self.num_envs, task.simulator.device)

    def initial(self, generator: torch.Generator) -> Tensor:
        """Draws the factors of every copy, and then its state: [N, S]."""
        unit = torch.rand(self.num_envs, len(self.low), generator=generator, dtype=self.dtype, device=self.device)
        factors = self.low + (self.high - self.low) * unit
        return torch.cat([self._task(factors).initial(generator), factors], dim=1)

    def transition(self, state: Tensor, action: Tensor, noise: Tensor | None = None) -> Tensor:
        """As the task with the fields of `parameters`."""
        factors = self.own(state)
        return torch.cat([self._task(factors).transition(self.inner(state), action, noise), factors], dim=1)

    def hidden(self, state: Tensor) -> Tensor:
        """The factors, and what the task hides."""
        return torch.cat([self.own(state), super().hidden(state)], dim=1)

    def parameters(self, state: Tensor) -> dict[str, Tensor]:
        """Fields of the model in `state` [N, S], each [N, ...]."""
        return self._parameters(self.own(state))

    @torch.no_grad()
    def _parameters(self, factors: Tensor) -> dict[str, Tensor]:
        """Fields of the model for factors [N, K], each [N, ...]."""
        scales = {name: value.new_ones(self.num_envs, _rows_of(value)) for name, value in self.fields.items()}
        parts = factors.split(self.sizes, dim=1)
        for factor, rows, part in zip(self.factors, self.rows, parts, strict=True):
            for name in (factor.field, "body_inertia") if factor.field == "body_mass" else (factor.field,):
                scales[name][:, rows] *= part
        return {
            name: value * scales[name].view(self.num_envs, *value.shape[:1], *[1] * (value.ndim - 1))
            for name, value in self.fields.items()
        }

    def _task(self, factors: Tensor) -> Task:
        """The task with the fields that factors [N, K] imply."""
        return self.task.with_fields(self._parameters(factors))


def _factor(mj_model: mujoco.MjModel, fields: Mapping[str, np.ndarray], key: object, bounds: object) -> Factor:
    """The factor of a key and its range; see `RandomizedModel`."""
    if not isinstance(key, str):
        raise TypeError(f"randomize must have fields of the model as keys, got {key!r}")
    field, colon, name = key.partition(":")
    require(field in fields, "randomize", f"of {', '.join(fields)}", f"{field!r}{did_you_mean(field, fields)}")
    if field == "body_quat":
        raise ValueError("randomize must not have body_quat: a factor does not turn a quaternion")
    valid = isinstance(bounds, Sequence) and len(bounds) == 2 and all(isinstance(b, Real) for b in bounds)
    rule = "a range (low, high) with 0 <= low <= high"
    require(valid, f"randomize[{key!r}]", rule, bounds)
    low, high = (float(b) for b in bounds)  # pyright: ignore[reportGeneralTypeIssues]
    require(0 <= low <= high < np.inf, f"randomize[{key!r}]", rule, bounds)
    return Factor(field, _rows(mj_model, field, _rows_of(fields[field]), name) if colon else None, low, high)


def _rows_of(value: Tensor | np.ndarray) -> int:
    """Number of rows of a field; 1 for a number."""
    return len(value) if value.ndim else 1


def _rows(mj_model: mujoco.MjModel, field: str, count: int, name: str) -> tuple[int, ...]:
    """Rows of a field that belong to the element of a name; all rows for "*"."""
    kind = ELEMENTS.get(field.split("_")[0])
    if kind is None:
        raise ValueError(f"randomize must have {field!r} without an element's name, got {field}:{name}")
    if name == "*":
        return tuple(range(count))
    index = mujoco.mj_name2id(mj_model, kind, name)
    if index < 0:
        names = [mujoco.mj_id2name(mj_model, kind, i) or "" for i in range(count)]
        word = kind.name.removeprefix("mjOBJ_").lower()
        raise ValueError(f"randomize has the {word} {name!r}, which the model does not have{did_you_mean(name, names)}")
    if field.startswith("dof"):
        first = int(mj_model.jnt_dofadr[index])
        return tuple(i for i in range(first, mj_model.nv) if mj_model.dof_jntid[i] == index)
    return (index,)
