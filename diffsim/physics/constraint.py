"""Constraint rows: Jacobian J, stiffness D and reference acceleration aref of each soft constraint, and their gradient.

    f_i = -D_i (J_i a - aref_i) where that pushes, else 0
    aref_i = -b J_i v - k d_i r_i,    D_i = d_i / ((1 - d_i) A_i),    r_i = distance - margin,    d_i = d(|r_i|)

Joint limits of slide and hinge joints (J = -+1 at one dof) and of ball joints (J = minus the rotation's axis).
Source: MuJoCo documentation, Computation, constraint model; Modeling, solver parameters.
"""

import warp as wp

from diffsim.model import ModelArrays
from diffsim.physics.kinematics import joint_quat
from diffsim.physics.rotation import inverse_right_jacobian, quat_log
from diffsim.physics.scratch import Scratch
from diffsim.types import BALL, HALF, ONE, ZERO, real, vec2, vec3

TINY = wp.constant(real(1.0e-15))


@wp.func
def impedance(m: ModelArrays, joint: int, position: real) -> vec2:
    """d(|r|) and its derivative with respect to r, from solimp."""
    low = m.jnt_solimp[joint, 0]
    high = m.jnt_solimp[joint, 1]
    width = m.jnt_solimp[joint, 2]
    middle = m.jnt_solimp[joint, 3]
    power = m.jnt_solimp[joint, 4]
    if low == high or width <= TINY:
        return vec2(HALF * (low + high), ZERO)
    x = wp.abs(position) / width
    slope = wp.sign(position) / width
    y = real(0.0)
    dy = real(0.0)
    if x >= ONE:
        return vec2(high, ZERO)
    if power == ONE:
        y = real(1.0) * x
        dy = real(1.0)
    elif x <= middle:
        scale = ONE / wp.pow(middle, power - ONE)
        y = scale * wp.pow(x, power)
        dy = scale * power * wp.pow(x, power - ONE)
    else:
        scale = ONE / wp.pow(ONE - middle, power - ONE)
        y = ONE - scale * wp.pow(ONE - x, power)
        dy = scale * power * wp.pow(ONE - x, power - ONE)
    return vec2(low + y * (high - low), dy * slope * (high - low))


@wp.func
def add_row(m: ModelArrays, s: Scratch, world: int, joint: int, position: real) -> int:
    """Appends a row with a Jacobian of zeros; returns its index."""
    row = s.row_count[world]
    s.row_count[world] = row + 1
    d = impedance(m, joint, position)[0]
    s.row_joint[world, row] = joint
    s.row_position[world, row] = position
    regularizer = wp.max(TINY, (ONE - d) / d * m.dof_invweight[m.jnt_dofadr[joint]])
    s.row_stiffness[world, row] = ONE / regularizer
    s.row_aref[world, row] = -m.jnt_reference[joint, 0] * d * position
    for dof in range(m.nv):
        s.row_jacobian[world, row, dof] = ZERO
    return row


@wp.func
def constraint_rows(m: ModelArrays, s: Scratch, world: int):
    """Fills the rows of all constraints whose distance is below their margin."""
    s.row_count[world] = 0
    if m.has_limits == 0:
        return
    for joint in range(m.njnt):
        if m.jnt_limited[joint] == 1:
            margin = m.jnt_margin[joint]
            dof = m.jnt_dofadr[joint]
            adr = m.jnt_qposadr[joint]
            if m.jnt_type[joint] == BALL:
                theta = quat_log(joint_quat(s, world, adr))
                angle = wp.length(theta)
                distance = wp.max(m.jnt_range[joint, 0], m.jnt_range[joint, 1]) - angle
                if distance < margin:
                    row = add_row(m, s, world, joint, distance - margin)
                    for i in range(3):
                        s.row_jacobian[world, row, dof + i] = -theta[i] / wp.max(TINY, angle)
            else:
                for side in range(2):
                    sign = ONE - real(2 * side)
                    distance = sign * (s.qpos[world, adr] - m.jnt_range[joint, side])
                    if distance < margin:
                        row = add_row(m, s, world, joint, distance - margin)
                        s.row_jacobian[world, row, dof] = sign
    for row in range(s.row_count[world]):
        rate = row_dot(m, s, world, row, s.qvel[world])
        s.row_aref[world, row] = s.row_aref[world, row] - m.jnt_reference[s.row_joint[world, row], 1] * rate


@wp.func
def row_dot(m: ModelArrays, s: Scratch, world: int, row: int, x: wp.array(dtype=real)) -> real:
    """J_i x."""
    total = real(0.0)
    for dof in range(m.nv):
        total += s.row_jacobian[world, row, dof] * x[dof]
    return total


@wp.func
def row_forces(m: ModelArrays, s: Scratch, world: int, qacc: wp.array(dtype=real)) -> int:
    """Fills each row's force and whether it is active at an acceleration; returns how many became or ceased to be."""
    changed = int(0)
    for row in range(s.row_count[world]):
        residual = row_dot(m, s, world, row, qacc) - s.row_aref[world, row]
        active = int(0)
        force = real(0.0)
        if residual < ZERO:
            active = int(1)
            force = -s.row_stiffness[world, row] * residual
        if active != s.row_active[world, row]:
            changed += 1
        s.row_active[world, row] = active
        s.row_force[world, row] = force
    return changed


@wp.func
def constraint_force(m: ModelArrays, s: Scratch, world: int):
    """Fills qfrc_constraint = J' f from the rows' forces."""
    for dof in range(m.nv):
        s.qfrc_constraint[world, dof] = ZERO
    for row in range(s.row_count[world]):
        for dof in range(m.nv):
            s.qfrc_constraint[world, dof] = (
                s.qfrc_constraint[world, dof] + s.row_jacobian[world, row, dof] * s.row_force[world, row]
            )


@wp.func
def constraint_gradient(m: ModelArrays, s: Scratch, world: int, x: wp.array(dtype=real)):
    """Adds the gradient of sum_i (J_i x) f_i(q, v; a), a and x held fixed, to qpos_bar and qvel_bar."""
    for row in range(s.row_count[world]):
        if s.row_active[world, row] == 1:
            joint = s.row_joint[world, row]
            dof = m.jnt_dofadr[joint]
            stiffness = s.row_stiffness[world, row]
            force = s.row_force[world, row]
            r = s.row_position[world, row]
            k = m.jnt_reference[joint, 0]
            b = m.jnt_reference[joint, 1]
            power = row_dot(m, s, world, row, x)
            # f = -D (J a + b J v + k d r): its derivative with respect to r, through D, d and r
            d = impedance(m, joint, r)
            force_r = d[1] / (d[0] * (ONE - d[0])) * force - stiffness * k * (d[0] + r * d[1])
            if m.jnt_type[joint] == BALL:
                axis = -vec3(
                    s.row_jacobian[world, row, dof],
                    s.row_jacobian[world, row, dof + 1],
                    s.row_jacobian[world, row, dof + 2],
                )
                theta = quat_log(joint_quat(s, world, m.jnt_qposadr[joint]))
                # cotangent of J = -axis through J x, J a and J v, turned into one of the rotation vector
                x3 = vec3(x[dof], x[dof + 1], x[dof + 2])
                a3 = vec3(s.qacc[world, dof], s.qacc[world, dof + 1], s.qacc[world, dof + 2])
                v3 = vec3(s.qvel[world, dof], s.qvel[world, dof + 1], s.qvel[world, dof + 2])
                axis_bar = -(force * x3 - (power * stiffness) * (a3 + b * v3))
                theta_bar = (axis_bar - wp.dot(axis, axis_bar) * axis) / wp.max(TINY, wp.length(theta))
                theta_bar = theta_bar - (power * force_r) * axis
                delta_bar = inverse_right_jacobian(-theta, theta_bar)
                for i in range(3):
                    s.qpos_bar[world, dof + i] = s.qpos_bar[world, dof + i] + delta_bar[i]
                    s.qvel_bar[world, dof + i] = s.qvel_bar[world, dof + i] + power * stiffness * b * axis[i]
            else:
                sign = s.row_jacobian[world, row, dof]
                s.qpos_bar[world, dof] = s.qpos_bar[world, dof] + power * force_r * sign
                s.qvel_bar[world, dof] = s.qvel_bar[world, dof] - power * stiffness * b * sign
