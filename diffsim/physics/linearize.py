"""The Jacobian of steps on the CPU: the adjoint of every component of the next state, in one pass over the steps.

The rows of an evaluation's Jacobian share frames, mass matrix, contacts, constraint rows and the factor of H. So each
evaluation of a step is loaded once, and differentiated for the nv components of the acceleration w that the velocity
step uses. The adjoint of the step, for each component of the next state, multiplies by these Jacobians.
"""

import warp as wp

from diffsim.physics.activation import euler_activation_adjoint
from diffsim.physics.adjoint import (
    clear,
    load_stage_adjoint,
    load_stage_cotangents,
    runge_kutta_step_adjoint,
)
from diffsim.physics.integrate import integrate_position_adjoint
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.scratch import Scratch
from diffsim.physics.step import EvaluationPoints, copy, stage_count
from diffsim.physics.world_parameters import timestep
from diffsim.types import RK4, ZERO, real

GROUP = wp.constant(8)  # columns summed together
group_vector = wp.types.vector(GROUP, real)


def jacobian_shape(stages: int, nv: int, nu: int, na: int) -> tuple[int, int, int]:
    """Shape of the Jacobians of a step's evaluations: a row per dof and one more, and a whole number of groups."""
    return stages, nv + 1, -(-(3 * nv + nu + na) // GROUP) * GROUP


@wp.func
def clear_cotangents(m: ModelArrays, s: Scratch, world: int):
    """Clears the cotangents of an evaluation's point, controls and acceleration."""
    for dof in range(m.nv):
        s.qpos_bar[world, dof] = ZERO
        s.qvel_bar[world, dof] = ZERO
        s.qacc_bar[world, dof] = ZERO
        s.implicit_qacc_bar[world, dof] = ZERO
    for i in range(m.nu):
        s.ctrl_bar[world, i] = ZERO
    for i in range(m.na):
        s.act_bar[world, i] = ZERO


@wp.func
def store_row(m: ModelArrays, s: Scratch, world: int, row: wp.array(dtype=real)):
    """Writes the cotangents of q, v, u, act and a to a row of an evaluation's Jacobian."""
    for dof in range(m.nv):
        row[dof] = s.qpos_bar[world, dof]
        row[m.nv + dof] = s.qvel_bar[world, dof]
        row[2 * m.nv + m.nu + m.na + dof] = s.qacc_bar[world, dof]
    for i in range(m.nu):
        row[2 * m.nv + i] = s.ctrl_bar[world, i]
    for i in range(m.na):
        row[2 * m.nv + m.nu + i] = s.act_bar[world, i]


@wp.func
def load_row(m: ModelArrays, s: Scratch, world: int, row: wp.array(dtype=real)):
    """Reads the cotangents of q, v, u, act and a from a row of an evaluation's Jacobian."""
    for dof in range(m.nv):
        s.qpos_bar[world, dof] = row[dof]
        s.qvel_bar[world, dof] = row[m.nv + dof]
        s.qacc_bar[world, dof] = row[2 * m.nv + m.nu + m.na + dof]
    for i in range(m.nu):
        s.ctrl_bar[world, i] = row[2 * m.nv + i]
    for i in range(m.na):
        s.act_bar[world, i] = row[2 * m.nv + m.nu + i]


@wp.func
def combine_rows(rows: int, cols: int, x: wp.array(dtype=real), a: wp.array2d(dtype=real), total: wp.array(dtype=real)):
    """Total = a' x, of the first columns: `cols`, rounded up to whole groups.

    The sums of a group stay in registers, which takes a sixth of the time of a loop over rows that adds to memory.
    """
    for group in range((cols + GROUP - 1) / GROUP):
        first = GROUP * group
        sums = group_vector()
        for row in range(rows):
            value = x[row]
            if value != ZERO:
                for i in range(GROUP):
                    sums[i] += value * a[row, first + i]
        for i in range(GROUP):
            total[first + i] = sums[i]


@wp.func
def multiply_jacobian(m: ModelArrays, s: Scratch, world: int, jacobian: wp.array2d(dtype=real)):
    """Adjoint of an evaluation: from the cotangent of w, qacc_bar, adds to the others."""
    total = jacobian[m.nv]
    combine_rows(m.nv, 2 * m.nv + m.nu + m.na, s.qacc_bar[world], jacobian, total)
    for dof in range(m.nv):
        s.qpos_bar[world, dof] = s.qpos_bar[world, dof] + total[dof]
        s.qvel_bar[world, dof] = s.qvel_bar[world, dof] + total[m.nv + dof]
    for i in range(m.nu):
        s.ctrl_bar[world, i] = s.ctrl_bar[world, i] + total[2 * m.nv + i]
    for i in range(m.na):
        s.act_bar[world, i] = s.act_bar[world, i] + total[2 * m.nv + m.nu + i]


@wp.func
def euler_row(m: ModelArrays, s: Scratch, world: int, jacobian: wp.array3d(dtype=real)):
    """Adjoint of an Euler step: from next_*_bar to state_*_bar, adds to ctrl_bar. Needs the evaluation's Jacobian."""
    next_qvel = s.work[world]
    clear(m.nv, s.qpos_bar[world])
    clear(m.na, s.act_bar[world])
    euler_activation_adjoint(m, s, world)
    for dof in range(m.nv):
        next_qvel[dof] = s.qvel[world, dof] + timestep(m, world) * s.implicit_qacc[world, dof]
    integrate_position_adjoint(
        m, next_qvel, timestep(m, world), s.next_qpos_bar[world], s.qpos_bar[world], s.step_bar[world]
    )
    for dof in range(m.nv):
        s.qvel_bar[world, dof] = s.next_qvel_bar[world, dof] + s.step_bar[world, dof]
        s.qacc_bar[world, dof] = timestep(m, world) * s.qvel_bar[world, dof]
    multiply_jacobian(m, s, world, jacobian[0])
    copy(m.nv, s.qpos_bar[world], s.state_qpos_bar[world])
    copy(m.nv, s.qvel_bar[world], s.state_qvel_bar[world])
    copy(m.na, s.act_bar[world], s.state_act_bar[world])


@wp.func
def runge_kutta_row(
    m: ModelArrays, s: Scratch, t: EvaluationPoints, world: int, slot: int, jacobian: wp.array3d(dtype=real)
):
    """As `euler_row`, of the Runge-Kutta step that starts at `slot`."""
    runge_kutta_step_adjoint(m, s, t, world, slot)
    for r in range(stage_count(m)):
        stage = stage_count(m) - 1 - r
        clear(m.nv, s.qpos_bar[world])
        clear(m.nv, s.qvel_bar[world])
        clear(m.nv, s.qacc_bar[world])
        clear(m.na, s.act_bar[world])
        copy(m.nv, t.qvel[world, slot + stage], s.qvel[world])
        copy(m.na, t.act[world, slot + stage], s.act[world])
        load_stage_cotangents(m, s, world, stage)
        multiply_jacobian(m, s, world, jacobian[stage])
        load_stage_adjoint(m, s, world, stage)


@wp.func
def step_row(
    m: ModelArrays,
    s: Scratch,
    t: EvaluationPoints,
    world: int,
    slot: int,
    jacobian: wp.array3d(dtype=real),
    by_state: wp.array(dtype=real),
    by_ctrl: wp.array(dtype=real),
):
    """Continues a row of the result through the step that starts at `slot`."""
    for dof in range(m.nv):
        s.next_qpos_bar[world, dof] = by_state[dof]
        s.next_qvel_bar[world, dof] = by_state[m.nv + dof]
    for i in range(m.na):
        s.next_act_bar[world, i] = by_state[2 * m.nv + i]
    copy(m.nu, by_ctrl, s.ctrl_bar[world])
    if m.integrator == RK4:
        runge_kutta_row(m, s, t, world, slot, jacobian)
    else:
        euler_row(m, s, world, jacobian)
    for dof in range(m.nv):
        by_state[dof] = s.state_qpos_bar[world, dof]
        by_state[m.nv + dof] = s.state_qvel_bar[world, dof]
    for i in range(m.na):
        by_state[2 * m.nv + i] = s.state_act_bar[world, i]
    copy(m.nu, s.ctrl_bar[world], by_ctrl)
