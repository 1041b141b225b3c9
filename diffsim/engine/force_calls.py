"""Contacts and constraint forces, in the form that `differentiable.py` brings into torch autograd."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from diffsim.compile.model import Model
from diffsim.engine.launch import padded
from diffsim.engine.physics_calls import VECTOR, PhysicsCall, input_cotangents, of_vector


class ConstraintForces(NamedTuple):
    """The accelerations of an evaluation, its contacts, and forces of its constraints.

    The first eight are differentiable.

    Attributes:
        qacc: [N, nv] m/s^2, rad/s^2.
        point: [N, C, 3] m, positions of the contacts; zero, as all else, beyond the last one.
        frame: [N, C, 3, 3], rows are the normal from the first geom to the second, and two tangents.
        distance: [N, C] m, negative where geoms overlap.
        force: [N, C, 6] N, N m, force and torque on the second geom, in the contact's frame.
        equality: [N, neq, 6] N, N m, of active connect and weld constraints: translation, rotation.
        joint_limit: [N, njnt] N, N m, of the first limit that each joint passes.
        tendon_limit: [N, ntendon] N.
        count: [N, 1] int32, number of contacts.
        pair: [N, C] int32, index of each contact's pair of geoms; -1 beyond the last one.
    """

    qacc: Tensor
    point: Tensor
    frame: Tensor
    distance: Tensor
    force: Tensor
    equality: Tensor
    joint_limit: Tensor
    tendon_limit: Tensor
    count: Tensor
    pair: Tensor


def contact_geoms(model: Model, pair: Tensor) -> Tensor:
    """Ids of the two geoms of pairs [N, C], as in `data.contact.geom`: [N, C, 2]; -1 where the pair is -1."""
    pairs = np.stack([model.field("pair_geom1"), model.field("pair_geom2")], axis=1)
    geoms = torch.as_tensor(np.concatenate([pairs, [[-1, -1]]]), dtype=torch.int64, device=pair.device)
    return geoms[torch.where(pair < 0, len(pairs), pair).long()]


class ForcesCall(PhysicsCall):
    """`ConstraintForces`: state, inputs, applied forces, parameters -> its fields, and exact accelerations.

    The forces are functions of the state and of the accelerations, which are functions of state, controls and applied
    forces; the gradient is that of both, one after the other. With the noslip solver, the accelerations are those
    before it.
    """

    num_outputs = 8
    kept = (10,)

    def results(self, state: Tensor, inputs: Tensor, force: Tensor, vector: Tensor | None) -> tuple[Tensor, ...]:  # noqa: D102
        launch = self.launch.with_parameters(vector)
        qacc, forces = launch.evaluate(state, inputs, force)
        count, pair, *rest = launch.constraint_forces(state, inputs, qacc)
        return qacc[:, : launch.model.nv].to(forces.qfrc_constraint.dtype, copy=True), *rest, count, pair, qacc

    def gradient(  # noqa: D102
        self, inputs: Sequence[Any], kept: Sequence[Tensor], bars: Sequence[Tensor | None], wanted: Sequence[bool]
    ) -> tuple[Tensor | None, ...]:
        (state, row, _, vector), (qacc,) = inputs, kept
        launch = self.launch.with_parameters(vector, vector is not None and wanted[VECTOR])
        qacc_bar, direct = bars[0], []
        if any(bar is not None for bar in bars[1:]):
            direct = launch.constraint_forces_adjoint(state, row, qacc, bars[1:])
            by_force = direct[2]
            before = qacc.shape[1] - by_force.shape[1]  # columns of qacc that the forces do not depend on
            by_force = torch.cat([by_force.new_zeros(len(state), before), by_force], dim=1)
            qacc_bar = by_force if qacc_bar is None else padded(qacc_bar, qacc.shape[1]) + by_force
        cotangents = launch.evaluate_adjoint(state, row, qacc, [qacc_bar, None])
        bars_ = input_cotangents(launch, state, vector, cotangents, wanted)
        if not direct:
            return bars_
        state_bar, inputs_bar, force_bar, vector_bar = bars_
        qpos_bar, qvel_bar, _, of_inputs, *of_parameters = direct
        assert state_bar is not None and inputs_bar is not None
        nothing = state_bar.new_zeros(len(state), state_bar.shape[1] - qpos_bar.shape[1] - qvel_bar.shape[1])
        if vector_bar is not None and vector is not None:
            vector_bar = vector_bar + of_vector(vector, of_parameters[0])
        return (
            state_bar + torch.cat([qpos_bar, qvel_bar, nothing], dim=1),
            inputs_bar + of_inputs,
            force_bar,
            vector_bar,
        )
