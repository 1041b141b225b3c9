"""Rows of joint limits and of dry friction in joints, and their gradients.

Slide and hinge joints have J = +-1 at one dof; ball joints have J = minus the axis of the rotation.
Source: MuJoCo documentation, Computation, constraint model.
"""

import warp as wp

from diffsim.physics.constraint import (
    BALL_LIMIT,
    DOF_FRICTION,
    FRICTION,
    JOINT_LIMIT,
    TINY,
    UNILATERAL,
    add_row,
    add_row_scaled,
    position_slope,
    row_damping,
    row_dot,
    single_run,
)
from diffsim.physics.integrate import load3
from diffsim.physics.kinematics import joint_quat
from diffsim.physics.lanes import owns
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.rotation import inverse_right_jacobian, quat_log
from diffsim.physics.scratch import Scratch
from diffsim.types import BALL, ONE, ZERO, real


@wp.func
def friction_rows(m: ModelArrays, s: Scratch, world: int):
    """Appends a row for each dof with friction loss."""
    for dof in range(m.nv):
        loss = m.dof_frictionloss[world * m.dof_stride + dof]
        if loss > ZERO:
            params = m.params_dof + dof
            run = single_run(s.run[world], s.run_count, world, dof, 1)
            row = add_row(s, world, run, FRICTION, DOF_FRICTION, dof, params, ZERO, ZERO, m.dof_invweight[dof])
            s.row_limit[world, row] = loss
            s.row_jacobian[world, row, dof] = ONE


@wp.func
def limit_rows(m: ModelArrays, s: Scratch, world: int):
    """Appends a row for each joint limit that is closer than its margin."""
    for joint in range(m.njnt):
        if m.jnt_limited[joint] == 1:
            dof = m.jnt_dofadr[joint]
            adr = m.jnt_qposadr[joint]
            limits = m.jnt_range[world * m.joint_stride + joint]
            margin = m.jnt_margin[joint]
            weight = m.dof_invweight[dof]
            if m.jnt_type[joint] == BALL:
                theta = quat_log(joint_quat(s, world, adr))
                angle = wp.length(theta)
                r = wp.max(limits[0], limits[1]) - angle - margin
                if r < ZERO:
                    run = single_run(s.run[world], s.run_count, world, dof, 3)
                    row = add_row(s, world, run, UNILATERAL, BALL_LIMIT, joint, joint, r, wp.abs(r), weight)
                    for i in range(3):
                        s.row_jacobian[world, row, dof + i] = -theta[i] / wp.max(TINY, angle)
            else:
                for side in range(2):
                    sign = ONE - real(2 * side)
                    r = sign * (s.qpos[world, adr] - limits[side]) - margin
                    if r < ZERO:
                        run = single_run(s.run[world], s.run_count, world, dof, 1)
                        row = add_row(s, world, run, UNILATERAL, JOINT_LIMIT, joint, joint, r, wp.abs(r), weight)
                        s.row_jacobian[world, row, dof] = sign


@wp.func
def constant_row_gradient(m: ModelArrays, s: Scratch, world: int, row: int, power: real):
    """Adds the gradient of power * f_i to qvel_bar, for a row with constant Jacobian; `power` is J_i x."""
    pull = power * s.row_stiffness[world, row] * row_damping(m, s, world, row)
    add_row_scaled(s, world, row, -pull, s.qvel_bar[world])


@wp.func
def joint_row_gradient(m: ModelArrays, s: Scratch, world: int, row: int, x: wp.array(dtype=real)):
    """Adds the gradient of (J_i x) f_i at fixed a and x, of a limit or dry friction, to qpos_bar and qvel_bar."""
    power = row_dot(s, world, row, x) + s.row_force_bar[world, row]
    constant_row_gradient(m, s, world, row, power)
    source = s.row_source[world, row]
    joint = s.row_index[world, row]
    if source == JOINT_LIMIT:
        dof = m.jnt_dofadr[joint]
        r_bar = power * position_slope(m, s, world, row)
        if owns(dof):
            s.qpos_bar[world, dof] = s.qpos_bar[world, dof] + r_bar * s.row_jacobian[world, row, dof]
    if source == BALL_LIMIT:
        dof = m.jnt_dofadr[joint]
        axis = -load3(s.row_jacobian[world, row], dof)
        theta = quat_log(joint_quat(s, world, m.jnt_qposadr[joint]))
        # the cotangent of J = -axis, through J x, J a and J v, and that of |theta|, as a cotangent of theta
        swept = load3(s.qacc[world], dof) + row_damping(m, s, world, row) * load3(s.qvel[world], dof)
        axis_bar = (power * s.row_stiffness[world, row]) * swept - s.row_force[world, row] * load3(x, dof)
        theta_bar = (axis_bar - wp.dot(axis, axis_bar) * axis) / wp.max(TINY, wp.length(theta))
        theta_bar = theta_bar - (power * position_slope(m, s, world, row)) * axis
        turn_bar = inverse_right_jacobian(-theta, theta_bar)
        for i in range(3):
            if owns(dof + i):
                s.qpos_bar[world, dof + i] = s.qpos_bar[world, dof + i] + turn_bar[i]
