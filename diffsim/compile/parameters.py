"""Converts `Simulator.step(..., parameters=...)` to one differentiable vector for the kernels.

Users give fields of `mujoco.MjModel`. The kernels need some of them in another form: inertias as matrices in the body's
axes, drag as coefficients of the equivalent inertia box, friction per pair of geoms. The conversions are torch
functions, so that autograd continues the kernels' gradient. As in MuJoCo when a field is written after compilation, no
other quantity that the compiler derived from it (for example `dof_invweight0`) changes.
"""

from collections.abc import Mapping
from typing import Any

import mujoco
import numpy as np
import torch
from torch import Tensor

from diffsim.compile.activations import muscle_biases, muscle_gains, muscles
from diffsim.compile.actuator_additions import actuator_additions
from diffsim.compile.ellipsoids import ellipsoid_bodies
from diffsim.compile.lines import fixed_by_lines
from diffsim.compile.pairs import DISABLE, explicit_index, overrides
from diffsim.compile.servos import fixed_by_servos, is_servo
from diffsim.compile.solver_parameters import SolverTable, solver_fields, solver_tables
from diffsim.types import dtype, kernel_dtype, mat33, real, vec3, vec6

GEOM = mujoco.mjtGeom
MIN_FRICTION = 1e-5  # MuJoCo's mjMINMU

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
}


class Parameters:
    """The physical parameters of a model.

    Args:
        mj_model: the compiled model.
        active: indices of the enabled actuators.
        pairs: pairs of geoms that can touch: [npair, 2].
        gyroscopic: whether gyroscopic or centripetal forces of some bodies are integrated implicitly.
        solver: the solver parameters.
    """

    def __init__(
        self, mj_model: mujoco.MjModel, active: list[int], pairs: np.ndarray, gyroscopic: bool, solver: SolverTable
    ) -> None:
        self._m = mj_model
        self._gyroscopic = gyroscopic
        self._active = active
        self._pairs = pairs.reshape(-1, 2)
        self._solver = solver
        m = mj_model
        # A free joint and a mocap body have their own position: that of the body in the model has no effect.
        self._placed = torch.as_tensor(free_bodies(m) | (m.body_mocapid >= 0))[:, None]
        self.fields: dict[str, np.ndarray] = {
            "body_mass": m.body_mass,
            "body_inertia": m.body_inertia,
            "geom_friction": m.geom_friction,
            "dof_damping": m.dof_damping,
            "dof_armature": m.dof_armature,
            "jnt_stiffness": m.jnt_stiffness,
            "actuator_gainprm": m.actuator_gainprm,
            "actuator_biasprm": m.actuator_biasprm,
            "gravity": m.opt.gravity,
            "body_pos": m.body_pos,
            "body_ipos": m.body_ipos,
            "dof_frictionloss": m.dof_frictionloss,
            "jnt_range": m.jnt_range,
            "geom_pos": m.geom_pos,
            "geom_size": m.geom_size,
            **solver_fields(m),
        }
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
        }
        self.counts = {element: max(1, count) for element, count in counts.items()}
        self.offsets: dict[str, int] = {}
        size = 0
        for name, (element, _, width) in KERNEL_FIELDS.items():
            self.offsets[name] = size
            size += self.counts[element] * width
        self.size = size

    def check(self, parameters: Mapping[str, Tensor], num_worlds: int, device: torch.device) -> None:
        """Raises ValueError or TypeError if a parameter is unknown, or has a wrong shape, dtype, device or value."""
        for name, value in parameters.items():
            if name not in self.fields:
                raise ValueError(f"parameters must be among {', '.join(self.fields)}; got {name!r}")
            if not isinstance(value, Tensor):
                raise TypeError(f"parameters[{name!r}] must be a torch.Tensor, got {type(value).__name__}")
            shape = self.fields[name].shape
            if tuple(value.shape) not in (shape, (num_worlds, *shape)):
                raise ValueError(
                    f"parameters[{name!r}] must have shape {shape} or {(num_worlds, *shape)}, got {tuple(value.shape)}"
                )
            if value.dtype != dtype or value.device != device:
                raise ValueError(
                    f"parameters[{name!r}] must have dtype {dtype} on device {device}, "
                    f"got {value.dtype} on {value.device}"
                )
            # A GPU would have to wait; there the step's own check finds the numbers that follow.
            if device.type == "cpu" and not bool(torch.isfinite(value.detach()).all()):
                raise ValueError(f"parameters[{name!r}] must be finite")
            without = self._without_friction(name, value)
            if without is not None:
                raise ValueError(
                    f"parameters['dof_frictionloss'] must be 0 for dof {without}, which has none in the model"
                )
        if self._gyroscopic and {"body_mass", "body_inertia", "body_pos", "body_ipos"} & set(parameters):
            raise ValueError(
                "parameters must not contain body_mass, body_inertia, body_pos or body_ipos with integrator=implicit, "
                "or with integrator=implicitfast and free bodies without jointed descendants"
            )
        for name, reason in (fixed_by_lines(self._m, self._active) | fixed_by_servos(self._m, self._active)).items():
            if name in parameters:
                raise ValueError(f"parameters must not contain {name} with {reason}")
        if {"geom_pos", "geom_size"} & set(parameters) and self._m.opt.density + self._m.opt.viscosity > 0:
            if ellipsoid_bodies(self._m).any():
                raise ValueError('parameters must not contain geom_pos or geom_size with fluidshape="ellipsoid"')

    def _without_friction(self, name: str, value: Tensor) -> int | None:
        """A dof with friction loss in the parameters, but not in the model. A GPU, which would wait, ignores it."""
        if name != "dof_frictionloss" or value.device.type != "cpu":
            return None
        added = (value.detach().reshape(-1, self._m.nv) != 0).any(0).numpy() & (self._m.dof_frictionloss == 0)
        return int(added.argmax()) if added.any() else None

    def vector(self, parameters: Mapping[str, Tensor], device: torch.device) -> Tensor:
        """The kernels' vector, differentiable in the given parameters, in `kernel_dtype`.

        Its shape is [size], or [N, size] if any parameter is per world.
        """
        given = {n: torch.as_tensor(value, dtype=kernel_dtype, device=device) for n, value in self.fields.items()}
        given.update({name: value.to(kernel_dtype) for name, value in parameters.items()})
        batch = max((v.shape[: v.dim() - self.fields[n].ndim] for n, v in parameters.items()), key=len, default=())
        given = {n: v.expand(*batch, *self.fields[n].shape) for n, v in given.items()}
        parts = self._kernel_form(given)
        flat = []
        for name, (element, _, width) in KERNEL_FIELDS.items():
            part = parts[name].reshape(*batch, -1)
            missing = self.counts[element] * width - part.shape[-1]
            flat.append(torch.cat([part, part.new_zeros(*batch, missing)], dim=-1) if missing else part)
        return torch.cat(flat, dim=-1)

    def _kernel_form(self, given: dict[str, Tensor]) -> dict[str, Tensor]:
        m, disabled = self._m, self._m.opt.disableflags
        mass, inertia = given["body_mass"], given["body_inertia"]
        damping, _, armature = (torch.as_tensor(x).to(mass) for x in actuator_additions(m))
        boxes = torch.as_tensor(~ellipsoid_bodies(m)[:, None]).to(mass.device)
        linear, quadratic = (
            boxes * value for value in drag_coefficients(mass, inertia, m.opt.density, m.opt.viscosity)
        )
        reference, impedance = solver_tables(m, self._solver, given)
        gain_mask, bias_mask, unit_gain = (
            torch.as_tensor(mask, dtype=kernel_dtype, device=mass.device) for mask in self._actuator_masks()
        )
        return {
            "body_mass": mass,
            "body_rotary": rotary_inertia(
                inertia, torch.as_tensor(m.body_iquat, dtype=kernel_dtype, device=mass.device)
            ),
            "fluid_linear": linear,
            "fluid_quadratic": quadratic,
            "dof_damping": (given["dof_damping"] + damping) * (not disabled & DISABLE.mjDSBL_DAMPER),
            "dof_armature": given["dof_armature"] + armature,
            "jnt_stiffness": given["jnt_stiffness"] * (not disabled & DISABLE.mjDSBL_SPRING),
            "actuator_gain": given["actuator_gainprm"][..., self._active, :3] * gain_mask + unit_gain,
            "actuator_bias": given["actuator_biasprm"][..., self._active, :3] * bias_mask,
            "pair_friction": self._pair_friction(given["geom_friction"]),
            "gravity": given["gravity"] * (not disabled & DISABLE.mjDSBL_GRAVITY),
            "body_pos": torch.where(self._placed.to(mass.device), given["body_pos"].detach(), given["body_pos"]),
            "body_ipos": given["body_ipos"],
            "dof_frictionloss": given["dof_frictionloss"] * self._has_friction(mass.device),
            "jnt_range": given["jnt_range"],
            "geom_pos": given["geom_pos"],
            "geom_size": given["geom_size"],
            "geom_rbound": bounding_radii(m, given["geom_size"]),
            "solver_reference": reference,
            "solver_impedance": impedance,
            "muscle_gain": muscle_gains(m, self._active, given["actuator_gainprm"]),
            "muscle_bias": muscle_biases(m, self._active, given["actuator_biasprm"]),
        }

    def _has_friction(self, device: torch.device) -> Tensor:
        """Which dofs have friction loss in the model: [nv]."""
        off = self._m.opt.disableflags & (DISABLE.mjDSBL_CONSTRAINT | DISABLE.mjDSBL_FRICTIONLOSS)
        return torch.as_tensor((self._m.dof_frictionloss > 0) & (not off), device=device)

    def _actuator_masks(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Masks of the existing constant, length and velocity terms of gain and bias: [nactuator, 3] each.

        Also the gains of servos, whose input is a force.
        """
        affine_gain = self._m.actuator_gaintype[self._active] == int(mujoco.mjtGain.mjGAIN_AFFINE)
        affine_bias = self._m.actuator_biastype[self._active] == int(mujoco.mjtBias.mjBIAS_AFFINE)
        servo = np.array([is_servo(self._m, i) for i in self._active], bool)
        constant = (self._m.actuator_gaintype[self._active] != int(mujoco.mjtGain.mjGAIN_MUSCLE)) & ~servo
        gain = np.stack([constant, affine_gain, affine_gain], axis=1)
        return gain, np.stack([affine_bias] * 3, axis=1), np.outer(servo, [1.0, 0.0, 0.0])

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


def free_bodies(m: mujoco.MjModel) -> np.ndarray:
    """Which bodies have a free joint: [nbody]."""
    free = np.zeros(m.nbody, bool)
    free[m.jnt_bodyid[m.jnt_type == mujoco.mjtJoint.mjJNT_FREE]] = True
    return free


def bounding_radii(m: mujoco.MjModel, size: Tensor) -> Tensor:
    """Radii of the geoms' bounding spheres for sizes [..., ngeom, 3]: [..., ngeom] m, without gradient."""
    kind = torch.as_tensor(m.geom_type, device=size.device)
    x, y, z = size.detach().unbind(-1)
    radius = torch.as_tensor(m.geom_rbound, dtype=size.dtype, device=size.device).expand(x.shape)
    for of_kind, value in (
        (GEOM.mjGEOM_SPHERE, x),
        (GEOM.mjGEOM_CAPSULE, x + y),
        (GEOM.mjGEOM_CYLINDER, torch.hypot(x, y)),
        (GEOM.mjGEOM_ELLIPSOID, torch.maximum(torch.maximum(x, y), z)),
        (GEOM.mjGEOM_BOX, (x * x + y * y + z * z).sqrt()),
    ):
        radius = torch.where(kind == int(of_kind), value, radius)
    return radius


def rotary_inertia(inertia: Tensor, iquat: Tensor) -> Tensor:
    """Rotational inertia about the centre of mass in the body's axes.

    Args:
        inertia: [..., nbody, 3] principal moments, kg m^2.
        iquat: [nbody, 4] orientation of the principal axes.

    Returns: [..., nbody, 3, 3].
    """
    w, x, y, z = iquat.unbind(-1)
    rows = [
        torch.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)], -1),
        torch.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)], -1),
        torch.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], -1),
    ]
    axes = torch.stack(rows, -2)
    return (axes * inertia[..., None, :]) @ axes.transpose(-1, -2)


def drag_coefficients(mass: Tensor, inertia: Tensor, density: float, viscosity: float) -> tuple[Tensor, Tensor]:
    """Drag coefficients of each body's equivalent inertia box, per velocity and per velocity squared, angular first.

    Args:
        mass: [..., nbody] kg.
        inertia: [..., nbody, 3] principal moments, kg m^2.
        density: of the medium, kg/m^3.
        viscosity: of the medium, Pa s.

    Returns: two of [..., nbody, 6]; zero for bodies without mass.
    Source: MuJoCo documentation, Computation, passive forces, inertia-based model.
    """
    has_mass = mass >= mujoco.mjMINVAL
    safe_mass = torch.where(has_mass, mass, 1.0)[..., None]
    moments = (inertia.sum(-1, keepdim=True) - 2 * inertia).clamp(min=mujoco.mjMINVAL)
    x, y, z = (moments / safe_mass * 6.0).sqrt().unbind(-1)
    diameter = (x + y + z) / 3
    angular, linear = viscosity * torch.pi * diameter**3, viscosity * 3 * torch.pi * diameter
    per_velocity = torch.stack([angular] * 3 + [linear] * 3, -1)
    turning = torch.stack([x * (y**4 + z**4), y * (x**4 + z**4), z * (x**4 + y**4)], -1) * (density / 64)
    pushing = torch.stack([y * z, x * z, x * y], -1) * (density / 2)
    per_square = torch.cat([turning, pushing], -1)
    return per_velocity * has_mass[..., None], per_square * has_mass[..., None]
