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
    """`BodyMotion`: qpos, qvel, qacc -> its fields."""

    num_outputs = 4
    fixed = ()
    names = ("qpos", "qvel", "qacc")

    def results(self, qpos: Tensor, qvel: Tensor, qacc: Tensor) -> tuple[Tensor, ...]:  # noqa: D102
        for name, value in zip(self.names, (qpos, qvel, qacc), strict=True):
            check_finite(name, value, deferrable=True)
        shapes = zip(BodyMotion._fields, self._widths(), strict=True)
        outputs = {f"{name}_out": shape for name, shape in shapes}
        return tuple(self.launch.run(body_motion_kernel, [qpos, qvel, qacc], outputs))

    def gradient(  # noqa: D102
        self, inputs: Sequence[Tensor], kept: Sequence[Tensor], bars: Sequence[Tensor | None], wanted: Sequence[bool]
    ) -> tuple[Tensor | None, ...]:
        pairs = zip(bars, self._widths(), strict=True)
        worlds = len(inputs[0])
        full = [inputs[0].new_zeros(worlds, *shape) if bar is None else bar.contiguous() for bar, shape in pairs]
        outputs = {f"{name}_bar_out": tuple(value.shape[1:]) for name, value in zip(self.names, inputs, strict=True)}
        return tuple(self.launch.run(body_motion_adjoint_kernel, [*inputs, *full], outputs))

    def _widths(self) -> list[tuple[int, int]]:
        """Shapes of the results, for one world."""
        return [(self.launch.model.mj_model.nbody, width) for width in (3, 4, 6, 6)]


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


def body_motion(
    call: BodyMotionCall, qpos: Tensor, qvel: Tensor | None = None, qacc: Tensor | None = None
) -> BodyMotion:
    """The motion of the bodies; zeros stand for velocities and accelerations that are not given."""
    zero = torch.zeros_like(qpos[:, :1]).expand(-1, call.launch.model.nv)
    return BodyMotion(*call(qpos, zero if qvel is None else qvel, zero if qacc is None else qacc))
