"""Motion of bodies and of dofs, in the form that `differentiable.py` brings into torch autograd."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from diffsim.engine.checks import check_finite
from diffsim.engine.physics_calls import PhysicsCall
from diffsim.physics.body_motion import (
    body_motion_adjoint_kernel,
    body_motion_kernel,
    dof_motion_adjoint_kernel,
    dof_motion_kernel,
)
from diffsim.physics.elements import elements_adjoint_kernel, elements_kernel


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


class BodyMotionCall(PhysicsCall):
    """`BodyMotion`: qpos, qvel, qacc, inputs (see `WorldInputs`) -> its fields."""

    num_outputs = 4
    fixed = ()
    names = ("qpos", "qvel", "qacc", "inputs")

    def results(self, *inputs: Tensor) -> tuple[Tensor, ...]:  # noqa: D102
        for name, value in zip(self.names, inputs, strict=True):
            check_finite(name, value, deferrable=True)
        shapes = zip(BodyMotion._fields, self._widths(), strict=True)
        outputs = {f"{name}_out": shape for name, shape in shapes}
        return tuple(self.launch.run(body_motion_kernel, list(inputs), outputs))

    def gradient(  # noqa: D102
        self, inputs: Sequence[Tensor], kept: Sequence[Tensor], bars: Sequence[Tensor | None], wanted: Sequence[bool]
    ) -> tuple[Tensor | None, ...]:
        full = _full(bars, self._widths(), inputs)
        outputs = {f"{name}_bar_out": tuple(value.shape[1:]) for name, value in zip(self.names, inputs, strict=True)}
        return tuple(self.launch.run(body_motion_adjoint_kernel, [*inputs, *full], outputs))

    def _widths(self) -> list[tuple[int, ...]]:
        """Shapes of the results, for one world."""
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


class ElementsCall(PhysicsCall):
    """`Elements`: state, inputs (see `WorldInputs`) -> its fields."""

    num_outputs = 3
    fixed = ()
    names = ("state", "inputs")

    def results(self, *inputs: Tensor) -> tuple[Tensor, ...]:  # noqa: D102
        for name, value in zip(self.names, inputs, strict=True):
            check_finite(name, value, deferrable=True)
        shapes = zip(Elements._fields, self._shapes(), strict=True)
        outputs = {f"{name}_out": shape for name, shape in shapes}
        return tuple(self.launch.run(elements_kernel, list(inputs), outputs))

    def gradient(  # noqa: D102
        self, inputs: Sequence[Tensor], kept: Sequence[Tensor], bars: Sequence[Tensor | None], wanted: Sequence[bool]
    ) -> tuple[Tensor | None, ...]:
        outputs = {f"{name}_bar_out": tuple(value.shape[1:]) for name, value in zip(self.names, inputs, strict=True)}
        return tuple(self.launch.run(elements_adjoint_kernel, [*inputs, *_full(bars, self._shapes(), inputs)], outputs))

    def _shapes(self) -> list[tuple[int, ...]]:
        """Shapes of the results, for one world."""
        model = self.launch.model
        return [(model.field("ntendon"), 2), (model.field("nactuator"), 3), (model.nv,)]


class DofMotionCall(PhysicsCall):
    """Qpos -> [N, nv, 6]: the twist, about the world's origin, that a unit velocity of each dof gives to its body."""

    num_outputs = 1
    fixed = ()

    def results(self, qpos: Tensor) -> tuple[Tensor, ...]:  # noqa: D102
        check_finite("qpos", qpos, deferrable=True)
        return tuple(self.launch.run(dof_motion_kernel, [qpos], {"motion_out": (self.launch.model.nv, 6)}))

    def gradient(  # noqa: D102
        self, inputs: Sequence[Tensor], kept: Sequence[Tensor], bars: Sequence[Tensor | None], wanted: Sequence[bool]
    ) -> tuple[Tensor | None, ...]:
        (bar,) = bars
        assert bar is not None
        outputs = {"qpos_bar_out": (self.launch.model.nq,)}
        return tuple(self.launch.run(dof_motion_adjoint_kernel, [*inputs, bar.contiguous()], outputs))


def _full(bars: Sequence[Tensor | None], shapes: Sequence[tuple[int, ...]], inputs: Sequence[Tensor]) -> list[Tensor]:
    """Cotangents as the kernels read them, with zeros for None."""
    like = inputs[0]
    pairs = zip(bars, shapes, strict=True)
    return [like.new_zeros(len(like), *shape) if bar is None else bar.contiguous() for bar, shape in pairs]


def body_motion(
    call: BodyMotionCall,
    qpos: Tensor,
    qvel: Tensor | None = None,
    qacc: Tensor | None = None,
    inputs: Tensor | None = None,
) -> BodyMotion:
    """The motion of the bodies; zeros stand for velocities and accelerations that are not given.

    Without inputs, mocap bodies are where the model has them.
    """
    model = call.launch.model
    zero = torch.zeros_like(qpos[:, :1]).expand(-1, max(model.nv, model.nu))
    if inputs is None:
        inputs = call.launch.inputs.join(zero[:, : model.nu], {})
    still = zero[:, : model.nv]
    return BodyMotion(*call(qpos, still if qvel is None else qvel, still if qacc is None else qacc, inputs))
