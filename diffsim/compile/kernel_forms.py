"""The kernels' parameters as functions of the model's fields."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import mujoco
import numpy as np
import torch
from torch import Tensor

from diffsim.compile.activations import muscle_biases, muscle_gains, muscles
from diffsim.compile.actuator_additions import actuator_additions, tendon_additions, tendon_dampers
from diffsim.compile.ellipsoids import ellipsoid_bodies
from diffsim.compile.equalities import tendon_pairs
from diffsim.compile.gears import joint_additions, line_gears, moment_entries, moment_values, tendon_gears, turn_periods
from diffsim.compile.lines import actuator_of_lines
from diffsim.compile.pairs import DISABLE, explicit_index, overrides
from diffsim.compile.parameter_forms import bounding_radii, drag_coefficients, free_bodies, rotary_inertia, unit_quats
from diffsim.compile.servos import is_servo
from diffsim.compile.solver_parameters import SolverTable, solver_fields, solver_tables
from diffsim.types import kernel_dtype, mat33, quat, real, vec3, vec6

MIN_FRICTION = 1e-5  # MuJoCo's mjMINMU
UNCHANGED = (
    "body_mass",
    "body_ipos",
    "jnt_range",
    "geom_pos",
    "geom_size",
    "timestep",
    "tendon_lengthspring",
    "tendon_range",
)
"""Fields that the kernels read as they are."""

# Fields of `ModelArrays` that can differ between worlds: their elements, kernel type, and numbers per element.
KERNEL_FIELDS: dict[str, tuple[str, Any, int]] = {
    "body_mass": ("body", real, 1),
    "body_rotary": ("body", mat33, 9),
    "fluid_linear": ("body", vec6, 6),
    "fluid_quadratic": ("body", vec6, 6),
    "dof_damping": ("dof", real, 1),
    "dof_armature": ("dof", real, 1),
    "jnt_stiffness": ("joint", real, 1),
    "actuator_gain": ("actuator", vec3, 3),
    "actuator_bias": ("actuator", vec3, 3),
    "pair_friction": ("pair", real, 5),
    "gravity": ("gravity", vec3, 3),
    "body_pos": ("body", vec3, 3),
    "body_ipos": ("body", vec3, 3),
    "dof_frictionloss": ("dof", real, 1),
    "jnt_range": ("joint", real, 2),
    "geom_pos": ("geom", vec3, 3),
    "geom_size": ("geom", vec3, 3),
    "geom_rbound": ("geom", real, 1),
    "solver_reference": ("solver", real, 2),
    "solver_impedance": ("solver", real, 5),
    "muscle_gain": ("muscle_gain", real, 8),
    "muscle_bias": ("muscle_bias", real, 6),
    "body_quat": ("body", quat, 4),
    "timestep": ("timestep", real, 1),
    "moment_value": ("moment", real, 1),
    "actuator_gear": ("actuator", real, 1),
    "actuator_period": ("actuator", real, 1),
    "line_gear": ("line", real, 6),
    "tendon_stiffness": ("tendon", real, 1),
    "tendon_damping": ("tendon", real, 1),
    "tendon_lengthspring": ("tendon", real, 2),
    "tendon_range": ("tendon", real, 2),
    "tendon_pair_damping": ("tendon_pair", real, 1),
}


class Form(NamedTuple):
    """Fields of the kernels that are functions of fields of the model."""

    names: tuple[str, ...]
    fields: tuple[str, ...]
    function: Callable[[dict[str, Tensor]], tuple[Tensor, ...]]


class KernelForms:
    """The conversions of a model's fields.

    Args:
        mj_model: the compiled model.
        active: indices of the enabled actuators.
        pairs: pairs of geoms that can touch: [npair, 2].
        solver: the solver parameters.
        periods: `ModelArrays.actuator_period` at the model's own gears.

    Attributes:
        counts: number of each kind of elements.
    """

    def __init__(
        self, mj_model: mujoco.MjModel, active: list[int], pairs: np.ndarray, solver: SolverTable, periods: np.ndarray
    ) -> None:
        m = self._m = mj_model
        self._periods = periods
        self._active, self._pairs, self._solver = active, pairs, solver
        # A free joint and a mocap body have their own pose: that of the body in the model has no effect.
        self._placed = torch.as_tensor(free_bodies(m) | (m.body_mocapid >= 0))[:, None]
        tendon_products = list(tendon_pairs(m, tendon_dampers(m)[2]).values())
        self._tendon_products = np.array(tendon_products, float).reshape(len(tendon_products), m.ntendon)
        counts = {
            "body": m.nbody,
            "dof": m.nv,
            "joint": m.njnt,
            "actuator": len(active),
            "pair": len(self._pairs),
            "gravity": 1,
            "geom": m.ngeom,
            "solver": len(solver.solref),
            **dict(zip(("muscle_gain", "muscle_bias"), map(len, muscles(m, active)), strict=True)),
            "timestep": 1,
            "moment": len(moment_entries(m, active)),
            "line": len(actuator_of_lines(m, active)),
            "tendon": m.ntendon,
            "tendon_pair": len(tendon_products),
        }
        self.counts = {element: max(1, count) for element, count in counts.items()}

    def all(self) -> list[Form]:
        """How the kernels' fields follow from the model's."""
        m = self._m
        spring, damper, gravity = (
            not m.opt.disableflags & flag
            for flag in (DISABLE.mjDSBL_SPRING, DISABLE.mjDSBL_DAMPER, DISABLE.mjDSBL_GRAVITY)
        )
        solver = (*solver_fields(m), "timestep")
        return [
            *(Form((name,), (name,), partial(_one, name)) for name in UNCHANGED),
            _form("body_rotary", "body_inertia", lambda x: rotary_inertia(x, self._tensor(m.body_iquat, x))),
            Form(("fluid_linear", "fluid_quadratic"), ("body_mass", "body_inertia"), self._drag),
            Form(("dof_damping",), ("dof_damping", "actuator_gear"), self._dof_damping),
            Form(("dof_armature",), ("dof_armature", "actuator_gear"), self._dof_armature),
            _form("jnt_stiffness", "jnt_stiffness", lambda x: x * spring),
            _form("actuator_gain", "actuator_gainprm", self._gains),
            _form("actuator_bias", "actuator_biasprm", lambda x: self._terms(x, 1)),
            _form("pair_friction", "geom_friction", self._pair_friction),
            _form("gravity", "gravity", lambda x: x * gravity),
            _form("body_pos", "body_pos", self._of_placed),
            _form("body_quat", "body_quat", lambda x: self._of_placed(unit_quats(x))),
            _form("dof_frictionloss", "dof_frictionloss", lambda x: x * self._has_friction(x.device)),
            _form("geom_rbound", "geom_size", lambda x: bounding_radii(m, x)),
            Form(("solver_reference", "solver_impedance"), solver, partial(solver_tables, m, self._solver)),
            _form("muscle_gain", "actuator_gainprm", partial(muscle_gains, m, self._active)),
            _form("muscle_bias", "actuator_biasprm", partial(muscle_biases, m, self._active)),
            _form("moment_value", "actuator_gear", partial(moment_values, m, self._active)),
            _form("actuator_gear", "actuator_gear", partial(tendon_gears, m, self._active)),
            _form("actuator_period", "actuator_gear", partial(turn_periods, m, self._active, self._periods)),
            _form("line_gear", "actuator_gear", partial(line_gears, m, self._active)),
            _form("tendon_stiffness", "tendon_stiffness", lambda x: x * spring),
            _form("tendon_damping", "tendon_damping", lambda x: (x + self._tensor(tendon_additions(m)[0], x)) * damper),
            _form("tendon_pair_damping", "tendon_damping", self._pair_damping),
        ]

    @staticmethod
    def _tensor(value: np.ndarray, like: Tensor) -> Tensor:
        return torch.as_tensor(value, dtype=like.dtype, device=like.device)

    def _dof_damping(self, given: dict[str, Tensor]) -> tuple[Tensor]:
        m, damping = self._m, given["dof_damping"]
        total = damping + self._tensor(actuator_additions(m)[0], damping)
        total = total + joint_additions(m, m.actuator_damping, given["actuator_gear"])
        return (total * (not m.opt.disableflags & DISABLE.mjDSBL_DAMPER),)

    def _dof_armature(self, given: dict[str, Tensor]) -> tuple[Tensor]:
        m, armature = self._m, given["dof_armature"]
        total = armature + self._tensor(actuator_additions(m)[2], armature)
        return (total + joint_additions(m, m.actuator_armature, given["actuator_gear"]),)

    def _drag(self, given: dict[str, Tensor]) -> tuple[Tensor, ...]:
        """Drag on inertia boxes; none for bodies that the medium acts on as ellipsoids."""
        m, mass = self._m, given["body_mass"]
        boxes = torch.as_tensor(~ellipsoid_bodies(m)[:, None]).to(mass.device)
        drag = drag_coefficients(mass, given["body_inertia"], m.opt.density, m.opt.viscosity)
        return tuple(boxes * value for value in drag)

    def _pair_damping(self, damping: Tensor) -> Tensor:
        """Sums of the damping of fixed tendons over pairs of dofs; those with polynomials are in `tendon_damping`."""
        total = damping + self._tensor(tendon_additions(self._m)[0], damping)
        damper = not self._m.opt.disableflags & DISABLE.mjDSBL_DAMPER
        linear = np.where(tendon_dampers(self._m)[1].any(axis=1), 0.0, float(damper))
        by_tendon = total * self._tensor(linear, damping)
        return (by_tendon[..., None] * self._tensor(self._tendon_products.T, damping)).sum(-2)

    def _of_placed(self, value: Tensor) -> Tensor:
        """Poses of bodies, without gradient for those that have their own."""
        return torch.where(self._placed.to(value.device), value.detach(), value)

    def _gains(self, prm: Tensor) -> Tensor:
        return self._terms(prm, 0) + self._tensor(np.outer(self._servos(), [1.0, 0.0, 0.0]), prm)

    def _terms(self, prm: Tensor, which: int) -> Tensor:
        """The first three parameters of gains (0) or biases (1), where they are those of constant and affine terms."""
        return prm[..., self._active, :3] * self._tensor(self._actuator_masks()[which], prm)

    def _has_friction(self, device: torch.device) -> Tensor:
        """Which dofs have friction loss in the model: [nv]."""
        off = self._m.opt.disableflags & (DISABLE.mjDSBL_CONSTRAINT | DISABLE.mjDSBL_FRICTIONLOSS)
        return torch.as_tensor((self._m.dof_frictionloss > 0) & (not off), device=device)

    def _actuator_masks(self) -> tuple[np.ndarray, np.ndarray]:
        """Masks of the existing constant, length and velocity terms of gain and bias: [nactuator, 3] each."""
        affine_gain = self._m.actuator_gaintype[self._active] == int(mujoco.mjtGain.mjGAIN_AFFINE)
        affine_bias = self._m.actuator_biastype[self._active] == int(mujoco.mjtBias.mjBIAS_AFFINE)
        constant = (self._m.actuator_gaintype[self._active] != int(mujoco.mjtGain.mjGAIN_MUSCLE)) & ~self._servos()
        return np.stack([constant, affine_gain, affine_gain], axis=1), np.stack([affine_bias] * 3, axis=1)

    def _servos(self) -> np.ndarray:
        """Which enabled actuators are servos, whose input is a force, so that their gain is 1: [nactuator]."""
        return np.array([is_servo(self._m, i) for i in self._active], bool)

    def _pair_friction(self, friction: Tensor) -> Tensor:
        """Friction of pairs of geoms [..., npair, 5]: a <pair>'s own, else the higher priority's, else the larger.

        With the flag override, that of <option>.

        Source: MuJoCo documentation, Modeling, contact parameters.
        """
        m = self._m
        first, second = self._pairs[:, 0], self._pairs[:, 1]
        priority = torch.as_tensor(np.sign(m.geom_priority[first] - m.geom_priority[second]), device=friction.device)
        one, two = friction[..., first, :], friction[..., second, :]
        mixed = torch.where(
            priority[:, None] > 0, one, torch.where(priority[:, None] < 0, two, torch.maximum(one, two))
        )
        mixed = mixed[..., [0, 0, 1, 2, 2]]
        index = explicit_index(m, self._pairs)
        is_own = (index >= 0) | overrides(m)
        if is_own.any():
            given = np.broadcast_to(m.opt.o_friction, (len(index), 5)) if overrides(m) else m.pair_friction[index]
            own = torch.tensor(given, dtype=kernel_dtype, device=friction.device)
            mixed = torch.where(torch.as_tensor(is_own, device=friction.device)[:, None], own, mixed)
        return mixed.clamp(min=MIN_FRICTION)


def _one(name: str, given: dict[str, Tensor]) -> tuple[Tensor]:
    """A field as it is."""
    return (given[name],)


def _form(name: str, field: str, function: Callable[[Tensor], Tensor]) -> Form:
    """A field of the kernels that is a function of one of the model."""
    return Form((name,), (field,), lambda given: (function(given[field]),))
