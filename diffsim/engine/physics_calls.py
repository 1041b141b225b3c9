"""The kernels' functions and their gradients, in the form that `differentiable.py` brings into torch autograd."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy

import torch
from torch import Tensor

from diffsim.engine.checks import check_finite
from diffsim.engine.differentiable import Differentiable
from diffsim.engine.launch import Launch
from diffsim.physics.derived import body_quantities_kernel
from diffsim.physics.points import points_adjoint_kernel, points_kernel
from diffsim.types import kernel_dtype

VECTOR = 3
"""Index of the parameters among the inputs of `StepCall` and `EvaluateCall`."""


class PhysicsCall(Differentiable):
    """A function that the kernels compute.

    Args:
        launch: launches of the worlds, with the model's own parameters.
    """

    fixed = (VECTOR,)
    fixed_refusal = "second derivatives and forward-mode derivatives with respect to parameters are not supported"
    refusal = (
        None
        if kernel_dtype == torch.float64
        else "second derivatives and forward-mode derivatives need kernels in float64: unset DIFFSIM_KERNELS"
    )

    def __init__(self, launch: Launch) -> None:
        self.launch = launch

    def exact(self) -> PhysicsCall:  # noqa: D102
        exact = copy(self)
        exact.launch = self.launch.in_kernel_precision()
        return exact


class StepCall(PhysicsCall):
    """`Simulator.advance`: state, inputs, force, parameters -> next state, the last evaluation, and the trajectory."""

    num_outputs = 6
    kept = (0, 9)

    def __init__(self, launch: Launch, num_steps: int) -> None:
        super().__init__(launch)
        self.num_steps = num_steps

    def results(self, state: Tensor, ctrl: Tensor, force: Tensor, vector: Tensor | None) -> tuple[Tensor, ...]:  # noqa: D102
        launch = self.launch.with_parameters(vector)
        next_state, trajectory, forces = launch.step(state, ctrl, force, self.num_steps)
        point = (part.to(next_state.dtype, copy=True) for part in launch.model.split_point(trajectory[:, -1]))
        qpos, qvel, act, qacc, _ = point
        return next_state, qpos, qvel, qacc, forces[0], act, *forces[1:], trajectory

    def gradient(  # noqa: D102
        self, inputs: Sequence[Tensor], kept: Sequence[Tensor], bars: Sequence[Tensor | None], wanted: Sequence[bool]
    ) -> tuple[Tensor | None, ...]:
        (state, ctrl, _, vector), (next_state, trajectory) = inputs, kept
        launch = self.launch.with_parameters(vector, wanted[VECTOR])
        next_bar, *evaluation_bars = bars
        if next_bar is None:
            next_bar = state.new_zeros(launch.num_worlds, launch.model.tangent_size)
        else:
            next_bar = launch.to_tangent(next_state, next_bar)
        cotangents = launch.step_adjoint(ctrl, self.num_steps, trajectory, next_bar, evaluation_bars)
        return input_cotangents(launch, state, vector, cotangents, wanted)


class EvaluateCall(PhysicsCall):
    """`Simulator.forward`: state, inputs, force, parameters -> qacc, forces, and accelerations in kernel precision."""

    num_outputs = 2
    kept = (5,)

    def results(self, state: Tensor, ctrl: Tensor, force: Tensor, vector: Tensor | None) -> tuple[Tensor, ...]:  # noqa: D102
        qacc, forces = self.launch.with_parameters(vector).evaluate(state, ctrl, force)
        return qacc[:, : self.launch.model.nv].to(forces.qfrc_constraint.dtype, copy=True), *forces, qacc

    def gradient(  # noqa: D102
        self, inputs: Sequence[Tensor], kept: Sequence[Tensor], bars: Sequence[Tensor | None], wanted: Sequence[bool]
    ) -> tuple[Tensor | None, ...]:
        (state, ctrl, _, vector), (qacc,) = inputs, kept
        launch = self.launch.with_parameters(vector, wanted[VECTOR])
        cotangents = launch.evaluate_adjoint(state, ctrl, qacc, bars)
        return input_cotangents(launch, state, vector, cotangents, wanted)


def input_cotangents(
    launch: Launch, state: Tensor, vector: Tensor | None, cotangents: Sequence[Tensor], wanted: Sequence[bool]
) -> tuple[Tensor | None, ...]:
    """Gradients of state, ctrl, force and parameters."""
    state_bar, ctrl_bar, force_bar, *parameter_bar = cotangents
    vector_bar = of_vector(vector, parameter_bar[0]) if vector is not None and wanted[VECTOR] else None
    return launch.from_tangent(state, state_bar), ctrl_bar, force_bar, vector_bar


def of_vector(vector: Tensor, parameter_bar: Tensor) -> Tensor:
    """Gradient of the parameters, given that of each world."""
    return parameter_bar.sum(0) if vector.dim() == 1 else parameter_bar


class PointsCall(PhysicsCall):
    """`Simulator.xpos`, `xipos` and `site_xpos`: qpos -> positions of points that are fixed to bodies.

    Args:
        launch: as for all.
        bodies: ids of the points' bodies.
        offsets: the points in the bodies' axes, m.
    """

    num_outputs = 1
    fixed = ()

    def __init__(self, launch: Launch, bodies: Sequence[int], offsets: Sequence[tuple[float, ...]]) -> None:
        super().__init__(launch)
        self.body = torch.tensor(bodies, dtype=torch.int32, device=launch.device)
        self.offset = torch.tensor(offsets, dtype=kernel_dtype, device=launch.device)

    def results(self, qpos: Tensor) -> tuple[Tensor, ...]:  # noqa: D102
        check_finite("qpos", qpos, deferrable=True)
        outputs = {"position_out": (len(self.body), 3)}
        return tuple(self.launch.run(points_kernel, [qpos, self.body, self.offset], outputs))

    def gradient(  # noqa: D102
        self, inputs: Sequence[Tensor], kept: Sequence[Tensor], bars: Sequence[Tensor | None], wanted: Sequence[bool]
    ) -> tuple[Tensor | None, ...]:
        arguments = [*inputs, self.body, self.offset, bars[0]]
        return tuple(self.launch.run(points_adjoint_kernel, arguments, {"qpos_bar_out": (self.launch.model.nq,)}))


class BodyQuantitiesCall(PhysicsCall):
    """`Simulator.cinert` and `cvel`: qpos, qvel, inputs, parameters -> both, without gradient."""

    num_outputs = 0
    fixed = ()

    def results(self, qpos: Tensor, qvel: Tensor, inputs: Tensor, vector: Tensor | None) -> tuple[Tensor, ...]:  # noqa: D102
        for name, value in (("qpos", qpos), ("qvel", qvel), ("inputs", inputs)):
            check_finite(name, value, deferrable=True)
        nbody = self.launch.model.mj_model.nbody
        outputs = {"cinert_out": (nbody, 10), "cvel_out": (nbody, 6)}
        return tuple(self.launch.with_parameters(vector).run(body_quantities_kernel, [qpos, qvel, inputs], outputs))

    def gradient(self, *_: object) -> tuple[None, None, None, None]:  # noqa: D102
        return None, None, None, None
