"""Converts `Simulator.step(..., parameters=...)` to one differentiable vector for the kernels.

Users give fields of `mujoco.MjModel`. The kernels need some of them in another form: inertias as matrices in the body's
axes, drag as coefficients of the equivalent inertia box, friction per pair of geoms. The conversions are torch
functions, so that autograd continues the kernels' gradient. As in MuJoCo when a field is written after compilation, no
other quantity that the compiler derived from it (for example `dof_invweight0`) changes.
"""

from collections.abc import Iterator, Mapping

import mujoco
import numpy as np
import torch
from torch import Tensor

from diffsim.compile.ellipsoids import ellipsoid_bodies
from diffsim.compile.gears import fixed_gears
from diffsim.compile.height_fields import HFIELD
from diffsim.compile.kernel_forms import KERNEL_FIELDS, Form, KernelForms
from diffsim.compile.lines import fixed_by_lines
from diffsim.compile.servos import fixed_by_servos
from diffsim.compile.solver_parameters import SolverTable, solver_fields
from diffsim.types import dtype, kernel_dtype

FIELDS = (
    "body_mass",
    "body_inertia",
    "geom_friction",
    "dof_damping",
    "dof_armature",
    "jnt_stiffness",
    "actuator_gainprm",
    "actuator_biasprm",
    "actuator_gear",
    "body_pos",
    "body_quat",
    "body_ipos",
    "dof_frictionloss",
    "jnt_range",
    "geom_pos",
    "geom_size",
    "tendon_stiffness",
    "tendon_damping",
    "tendon_lengthspring",
    "tendon_range",
)
"""Fields that can be given, but those of `opt` and the solver parameters."""
POSITIVE = ("timestep",)
"""Fields whose values must be positive."""
BEFORE_NOSLIP = (
    "dof_damping",
    "jnt_stiffness",
    "actuator_gainprm",
    "actuator_biasprm",
    "actuator_gear",
    "jnt_range",
    "tendon_stiffness",
    "tendon_damping",
    "tendon_lengthspring",
    "tendon_range",
    "gravity",
)
"""Fields by which there are gradients where the noslip solver acts: they change the accelerations from which it starts,
but neither inertia nor friction, whose products it has in its own equations."""
INERTIAL = ("body_mass", "body_inertia", "body_pos", "body_quat", "body_ipos")


class Parameters:
    """The physical parameters of a model.

    Args:
        mj_model: the compiled model.
        active: indices of the enabled actuators.
        pairs: pairs of geoms that can touch: [npair, 2].
        gyroscopic: whether gyroscopic or centripetal forces of some bodies are integrated implicitly.
        solver: the solver parameters.
        periods: `ModelArrays.actuator_period`.

    Attributes:
        fields: the model's values.
        fixed: fields that the model's features exclude, and which these are.
        counts: number of each kind of elements.
        offsets: of the kernels' fields in the vector.
        size: of the vector.
    """

    def __init__(
        self,
        mj_model: mujoco.MjModel,
        active: list[int],
        pairs: np.ndarray,
        gyroscopic: bool,
        solver: SolverTable,
        periods: np.ndarray,
    ) -> None:
        m = self._m = mj_model
        self._gyroscopic = gyroscopic
        self._forms = KernelForms(m, active, pairs.reshape(-1, 2), solver, periods)
        self.counts = self._forms.counts
        self.fields: dict[str, np.ndarray] = {name: getattr(m, name) for name in FIELDS} | {
            "gravity": m.opt.gravity,
            "timestep": np.array(m.opt.timestep),
            **solver_fields(m),
        }
        self.offsets: dict[str, int] = {}
        size = 0
        for name, (element, _, width) in KERNEL_FIELDS.items():
            self.offsets[name] = size
            size += self.counts[element] * width
        self.size = size
        self.fixed = fixed_by_lines(m, active)
        reason = fixed_gears(m, active)
        if reason:
            self.fixed["actuator_gear"] = reason
        if m.opt.density + m.opt.viscosity > 0 and ellipsoid_bodies(m).any():
            self.fixed["geom_pos"] = self.fixed["geom_size"] = 'fluidshape="ellipsoid"'
        self.fixed |= fixed_by_servos(m, active)
        if (m.geom_type[pairs] == HFIELD).any():
            self.fixed["geom_size"] = "contacts with height fields"
        self._own: dict[torch.device, dict[str, Tensor]] = {}

    def check_gradients(self, parameters: Mapping[str, Tensor]) -> None:
        """Raises NotImplementedError if a parameter requires a gradient, and the noslip solver's lacks a part of it."""
        for name, value in parameters.items():
            armature = name == "actuator_gear" and self._m.actuator_armature.any()
            if value.requires_grad and (name not in BEFORE_NOSLIP or armature):
                raise NotImplementedError(
                    f"parameters must not require gradients where the noslip solver acts, but {name} does; those that "
                    f"may are {', '.join(BEFORE_NOSLIP)}, actuator_gear without armature of actuators"
                )

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
            if device.type == "cpu" and name in POSITIVE and not bool((value > 0).all()):
                raise ValueError(f"parameters[{name!r}] must be positive, got {value.min().item():g}")
            if device.type == "cpu" and name == "body_quat" and bool((value.square().sum(-1) == 0).any()):
                raise ValueError("parameters['body_quat'] must not have a quaternion of zeros")
            without = self._without_friction(name, value)
            if without is not None:
                raise ValueError(
                    f"parameters['dof_frictionloss'] must be 0 for dof {without}, which has none in the model"
                )
        if self._gyroscopic and set(INERTIAL) & set(parameters):
            raise ValueError(
                f"parameters must not contain {', '.join(INERTIAL[:-1])} or {INERTIAL[-1]} with integrator=implicit, "
                "or with integrator=implicitfast and free bodies without jointed descendants"
            )
        for name, reason in self.fixed.items():
            if name in parameters:
                raise ValueError(f"parameters must not contain {name} with {reason}")

    def _without_friction(self, name: str, value: Tensor) -> int | None:
        """A dof with friction loss in the parameters, but not in the model. A GPU, which would wait, ignores it."""
        if name != "dof_frictionloss" or value.device.type != "cpu":
            return None
        added = (value.detach().reshape(-1, self._m.nv) != 0).any(0).numpy() & (self._m.dof_frictionloss == 0)
        return int(added.argmax()) if added.any() else None

    def vector(self, parameters: Mapping[str, Tensor], device: torch.device) -> Tensor:
        """The kernels' vector, differentiable in the given parameters, in `kernel_dtype`.

        Its shape is [size], or [N, size] if any parameter is per world. What does not depend on the given parameters is
        computed once.
        """
        if device not in self._own:
            with torch.inference_mode(False), torch.no_grad():
                own = {n: torch.as_tensor(v, dtype=kernel_dtype, device=device) for n, v in self.fields.items()}
                self._own[device] = {
                    name: part for form in self._forms.all() for name, part in self._flat(form, own, ())
                }
        given = {name: value.to(kernel_dtype) for name, value in parameters.items()}
        batch = max((v.shape[: v.dim() - self.fields[n].ndim] for n, v in parameters.items()), key=len, default=())
        parts = {name: part.expand(*batch, -1) for name, part in self._own[device].items()}
        for form in self._forms.all():
            if not given.keys().isdisjoint(form.fields):
                fields = {
                    n: given[n] if n in given else torch.as_tensor(self.fields[n], dtype=kernel_dtype, device=device)
                    for n in form.fields
                }
                parts.update(self._flat(form, fields, batch))
        return torch.cat([parts[name] for name in KERNEL_FIELDS], dim=-1)

    def _flat(self, form: Form, given: Mapping[str, Tensor], batch: tuple[int, ...]) -> Iterator[tuple[str, Tensor]]:
        """The kernels' fields of a form, each [*batch, size] with as many numbers as the kernels have."""
        fields = {n: given[n].expand((*batch, *self.fields[n].shape)) for n in form.fields}
        for name, part in zip(form.names, form.function(fields), strict=True):
            element, _, width = KERNEL_FIELDS[name]
            flat = part.reshape(*batch, -1)
            yield name, torch.nn.functional.pad(flat, (0, self.counts[element] * width - flat.shape[-1]))
