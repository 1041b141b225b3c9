"""Motion of bodies and of dofs, in the form that `differentiable.py` brings into torch autograd."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import warp as wp
from torch import Tensor

from diffsim.engine.checks import check_finite
from diffsim.engine.physics_calls import PhysicsCall, of_vector
from diffsim.engine.programs import Kernels, arguments_of
from diffsim.physics.body_motion import (
    body_motion_adjoint_kernel,
    body_motion_kernel,
    dof_motion_adjoint_kernel,
    dof_motion_kernel,
)
from diffsim.physics.body_motion_parameters import body_motion_parameters_kernel
from diffsim.physics.dof_motion_parameters import dof_motion_parameters_kernel
from diffsim.physics.element_cotangents import element_cotangents_kernel
from diffsim.physics.element_lines import element_lines_kernel
from diffsim.physics.element_parameters import element_parameters_kernel
from diffsim.physics.elements import elements_kernel, load_elements_kernel, store_element_cotangents_kernel


class BodyMotion(NamedTuple):
    """Poses, velocities and accelerations of all bodies, in world axes; differentiable.

    Attributes:
        xpos: [N, nbody, 3] m, positions of the bodies' origins (`data.xpos`).
        xquat: [N, nbody, 4], orientations (`data.xquat`).
        velocity: [N, nbody, 6] rad/s, m/s: angular velocity, velocity of the origin.
        acceleration: [N, nbody, 6] rad/s^2, m/s^2: angular acceleration, acceleration of the origin minus gravity.
    """

    xpos: Tensor
    xquat: Tensor
    velocity: Tensor
    acceleration: Tensor


class ReadingCall(PhysicsCall):
    """A function of tensors with rows, named `names`, and at last of the parameters, None for the model's own.

    Attributes:
        names: of the inputs.
        fields: names of the results.
        kernels: of the function, of its adjoint, and of that with the gradient of the parameters.
    """

    names: tuple[str, ...]
    fields: tuple[str, ...]
    kernels: tuple[wp.Kernel | Kernels, wp.Kernel | Kernels, wp.Kernel | Kernels]

    def results(self, *inputs: Any) -> tuple[Tensor, ...]:  # noqa: ANN401, D102
        *tensors, vector = inputs
        for name, value in zip(self.names, tensors, strict=True):
            check_finite(name, value, deferrable=True)
        outputs = {f"{name}_out": shape for name, shape in zip(self.fields, self._shapes(), strict=True)}
        return tuple(self.launch.with_parameters(vector).run(self.kernels[0], tensors, outputs))

    def gradient(  # noqa: D102
        self, inputs: Sequence[Any], kept: Sequence[Tensor], bars: Sequence[Tensor | None], wanted: Sequence[bool]
    ) -> tuple[Tensor | None, ...]:
        *tensors, vector = inputs
        by_vector = vector is not None and bool(wanted[-1])
        given = {f"{name}_in": value for name, value in zip(self.names, tensors, strict=True)}
        bars = _full(bars, self._shapes(), tensors)
        given |= {f"{name}_bar_in": bar for name, bar in zip(self.fields, bars, strict=True)}
        shapes = {f"{name}_bar_out": tuple(value.shape[1:]) for name, value in zip(self.names, tensors, strict=True)}
        shapes |= {"parameter_bar_out": (self.launch.model.parameters.size,)} if by_vector else {}
        kernels = self.kernels[1 + by_vector]
        order = arguments_of(kernels)
        outputs = {name: shapes[name] for name in order if name in shapes}
        launch = self.launch.with_parameters(vector, by_vector)
        results = launch.run(kernels, [given[name] for name in order if name in given], outputs)
        found = dict(zip(outputs, results, strict=True))
        by_parameters = of_vector(vector, found["parameter_bar_out"]) if vector is not None and by_vector else None
        return *(found[f"{name}_bar_out"] for name in self.names), by_parameters

    @abstractmethod
    def _shapes(self) -> list[tuple[int, ...]]:
        """Shapes of the results, for one world."""


class BodyMotionCall(ReadingCall):
    """`BodyMotion`: qpos, qvel, qacc, inputs (see `WorldInputs`), parameters -> its fields."""

    num_outputs = 4
    names = ("qpos", "qvel", "qacc", "inputs")
    fields = BodyMotion._fields
    kernels = (body_motion_kernel, body_motion_adjoint_kernel, body_motion_parameters_kernel)
    fixed = (4,)

    def _shapes(self) -> list[tuple[int, ...]]:
        return [(self.launch.model.mj_model.nbody, width) for width in (3, 4, 6, 6)]


class Elements(NamedTuple):
    """Tendons and enabled actuators; differentiable.

    Attributes:
        tendon: [N, ntendon, 2] lengths and velocities (`ten_length`, `ten_velocity`).
        actuator: [N, nactuator, 3] forces, lengths and velocities (`actuator_force`, ...).
        qfrc_actuator: [N, nv] N, N m, the actuators' joint forces.
    """

    tendon: Tensor
    actuator: Tensor
    qfrc_actuator: Tensor


COTANGENTS = (load_elements_kernel, element_cotangents_kernel, element_lines_kernel)


class ElementsCall(ReadingCall):
    """`Elements`: state, inputs (see `WorldInputs`), parameters -> its fields."""

    num_outputs = 3
    names = ("state", "inputs")
    fields = Elements._fields
    kernels = (
        Kernels((load_elements_kernel, elements_kernel)),
        Kernels((*COTANGENTS, store_element_cotangents_kernel)),
        Kernels((*COTANGENTS, element_parameters_kernel, store_element_cotangents_kernel)),
    )
    fixed = (2,)

    def _shapes(self) -> list[tuple[int, ...]]:
        model = self.launch.model
        return [(model.field("ntendon"), 2), (model.field("nactuator"), 3), (model.nv,)]


class DofMotionCall(ReadingCall):
    """Qpos, inputs, parameters -> [N, nv, 6]: the twist, about the world's origin, by a unit velocity of each dof."""

    num_outputs = 1
    names = ("qpos", "inputs")
    fields = ("motion",)
    kernels = (dof_motion_kernel, dof_motion_adjoint_kernel, dof_motion_parameters_kernel)
    fixed = (2,)

    def _shapes(self) -> list[tuple[int, ...]]:
        return [(self.launch.model.nv, 6)]


def _full(bars: Sequence[Tensor | None], shapes: Sequence[tuple[int, ...]], inputs: Sequence[Tensor]) -> list[Tensor]:
    """Cotangents as the kernels read them, with zeros for None."""
    like = inputs[0]
    pairs = zip(bars, shapes, strict=True)
    return [like.new_zeros(len(like), *shape) if bar is None else bar.contiguous() for bar, shape in pairs]
