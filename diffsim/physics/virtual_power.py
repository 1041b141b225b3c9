"""Exact gradient of an evaluation: one linear solve, then the gradient of one scalar, in one sweep over the tree.

With H = M + sum over active rows of D_i J_i' J_i, and cotangents abar of qacc and kappa of qfrc_constraint,

    lambda = H^-1 (abar - sum_active D_i J_i' (J_i kappa))
    P(q, v, u) = lambda' (tau - M a - c) + sum_active (J_i (lambda + kappa)) f_i,    a, lambda, kappa held fixed

and the gradients of P are the cotangents of q, v and u. In the bodies' twists Y (of lambda), V and A,

    lambda' (M a + c) = sum_b Y_b . W_b,    W_b = I_b A_b + V_b x* I_b V_b - drag_b

Moving a subtree rigidly by S_d changes nothing but how the twists it is carried by look from it. So with the
cotangents F_Y, F_A, F_V of those twists, summed over the subtree, and G, the pose cotangent of what stays behind,

    dP/dq_d = -S_d . (V x* F_V + A x* F_A + Y x* F_Y - G),    dP/dv_d = S_d . (F_V - V x* F_A)

where V, A and Y are those of the frame before the joint.
"""

import warp as wp

from diffsim.collision.gradient_call import calls_gradient
from diffsim.physics.actuation import (
    actuator_length,
    clamped_ctrl,
    inside,
    moment_dot,
    quat_moment,
    sum_actuator_forces,
    tracked_ctrl,
    unclamped_force,
)
from diffsim.physics.bias import block_twist, body_wrench
from diffsim.physics.constraint import (
    BALL_LIMIT,
    DOF_FRICTION,
    JOINT_EQUALITY,
    JOINT_LIMIT,
    QUADRATIC,
    TENDON_FRICTION,
    TENDON_LIMIT,
    row_dot,
)
from diffsim.physics.contact_gradient import contact_gradient
from diffsim.physics.equality_gradient import equality_gradient
from diffsim.physics.fluid import drag_derivative, wind_twist
from diffsim.physics.inertia import factor_solve
from diffsim.physics.joint_equality import joint_equality_gradient
from diffsim.physics.kinematics import joint_quat
from diffsim.physics.limit import joint_row_gradient
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.newton import factor_hessian
from diffsim.physics.parameter_gradient import (
    actuator_parameter_gradient,
    add_to,
    body_parameter_gradient,
    joint_parameter_gradient,
)
from diffsim.physics.passive import spring_rotation
from diffsim.physics.rotation import inverse_right_jacobian, quat_log
from diffsim.physics.scratch import Scratch
from diffsim.physics.spatial import apply_inertia, cross_force, cross_motion
from diffsim.physics.tendon import tendon_passive_gradient, tendon_row_gradient
from diffsim.types import BALL, FREE, ZERO, vec3, vec6


@wp.func
def solve_virtual_velocity(m: ModelArrays, s: Scratch, world: int):
    """Fills `virtual_velocity`, lambda, from qacc_bar and constraint_bar; then adds lambda to constraint_bar.

    Needs the mass matrix and the rows with their activity; leaves the factor of H in `hessian`.
    """
    for dof in range(m.nv):
        s.virtual_velocity[world, dof] = s.qacc_bar[world, dof]
    for row in range(s.row_count[world]):
        if s.row_state[world, row] == QUADRATIC:
            pull = s.row_stiffness[world, row] * row_dot(m, s, world, row, s.constraint_bar[world])
            for dof in range(m.nv):
                s.virtual_velocity[world, dof] = s.virtual_velocity[world, dof] - pull * s.row_jacobian[world, row, dof]
    factor_hessian(m, s, world)
    factor_solve(m.nv, s.hessian[world], s.virtual_velocity[world])
    for dof in range(m.nv):
        s.constraint_bar[world, dof] = s.constraint_bar[world, dof] + s.virtual_velocity[world, dof]


@calls_gradient
def virtual_power_gradient(m: ModelArrays, s: Scratch, world: int):
    """Adds the gradient of P to qpos_bar, qvel_bar and ctrl_bar. Needs the moving frames with qacc, and lambda."""
    zero = vec6(ZERO, ZERO, ZERO, ZERO, ZERO, ZERO)
    s.virtual_twist[world, 0] = zero
    for body in range(1, m.nbody):
        y = s.virtual_twist[world, m.body_parent[body]]
        for block in range(m.body_blockadr[body], m.body_blockadr[body] + m.body_blocknum[body]):
            y += block_twist(s, world, m.block_dofadr[block], m.block_dofnum[block], s.virtual_velocity[world])
        s.virtual_twist[world, body] = y
        body_twist_cotangents(m, s, world, body)
    if m.spatial_constraints == 1:
        constraint_twists(m, s, world)
        contact_gradient(m, s, world, s.constraint_bar[world])
        equality_gradient(m, s, world, s.constraint_bar[world])
    for r in range(m.nbody - 1):
        body = m.nbody - 1 - r
        if m.spatial_constraints == 1:
            constraint_cotangents(m, s, world, body)
        joint_cotangents(m, s, world, body)
    if m.parameter_gradient == 1:
        for body in range(1, m.nbody):
            body_parameter_gradient(m, s, world, body)
        joint_parameter_gradient(m, s, world)
    passive_gradient(m, s, world)
    tendon_passive_gradient(m, s, world)
    actuation_gradient(m, s, world)
    for row in range(s.row_count[world]):
        if s.row_state[world, row] == QUADRATIC:
            source = s.row_source[world, row]
            if source == JOINT_LIMIT or source == BALL_LIMIT or source == DOF_FRICTION:
                joint_row_gradient(m, s, world, row, s.constraint_bar[world])
            elif source == JOINT_EQUALITY:
                joint_equality_gradient(m, s, world, row, s.constraint_bar[world])
            elif source == TENDON_LIMIT or source == TENDON_FRICTION:
                tendon_row_gradient(m, s, world, row, s.constraint_bar[world])


@wp.func
def constraint_twists(m: ModelArrays, s: Scratch, world: int):
    """Fills the bodies' twists of lambda + kappa and of a (without velocity terms), and clears their cotangents."""
    zero = vec6(ZERO, ZERO, ZERO, ZERO, ZERO, ZERO)
    s.constraint_twist[world, 0] = zero
    s.qacc_twist[world, 0] = zero
    for body in range(1, m.nbody):
        x = s.constraint_twist[world, m.body_parent[body]]
        a = s.qacc_twist[world, m.body_parent[body]]
        for block in range(m.body_blockadr[body], m.body_blockadr[body] + m.body_blocknum[body]):
            x += block_twist(s, world, m.block_dofadr[block], m.block_dofnum[block], s.constraint_bar[world])
            a += block_twist(s, world, m.block_dofadr[block], m.block_dofnum[block], s.qacc[world])
        s.constraint_twist[world, body] = x
        s.qacc_twist[world, body] = a
        s.constraint_twist_bar[world, body] = zero
        s.qacc_twist_bar[world, body] = zero


@wp.func
def constraint_cotangents(m: ModelArrays, s: Scratch, world: int, body: int):
    """The part of `joint_cotangents` that belongs to the twists of lambda + kappa and of a."""
    x = s.constraint_twist[world, body]
    a = s.qacc_twist[world, body]
    x_bar = s.constraint_twist_bar[world, body]
    a_bar = s.qacc_twist_bar[world, body]
    blocks = m.body_blocknum[body]
    for b in range(blocks):
        block = m.body_blockadr[body] + blocks - 1 - b
        dofadr = m.block_dofadr[block]
        dofnum = m.block_dofnum[block]
        x = x - block_twist(s, world, dofadr, dofnum, s.constraint_bar[world])
        a = a - block_twist(s, world, dofadr, dofnum, s.qacc[world])
        turn_bar = cross_force(x, x_bar) + cross_force(a, a_bar)
        for dof in range(dofadr, dofadr + dofnum):
            s.qpos_bar[world, dof] = s.qpos_bar[world, dof] - wp.dot(s.motion[world, dof], turn_bar)
    parent = m.body_parent[body]
    if parent > 0:
        s.constraint_twist_bar[world, parent] = s.constraint_twist_bar[world, parent] + x_bar
        s.qacc_twist_bar[world, parent] = s.qacc_twist_bar[world, parent] + a_bar


@wp.func
def body_twist_cotangents(m: ModelArrays, s: Scratch, world: int, body: int):
    """Fills a body's own cotangents of its twists: those of -Y . W."""
    mass = m.body_mass[world, body]
    moment = s.body_moment[world, body]
    rotary = s.body_rotary[world, body]
    v = s.velocity[world, body]
    y = s.virtual_twist[world, body]
    momentum = apply_inertia(mass, moment, rotary, v)
    v_bar = cross_force(y, momentum) - apply_inertia(mass, moment, rotary, cross_motion(y, v))
    pose_bar = vec6(ZERO, ZERO, ZERO, ZERO, ZERO, ZERO)
    if m.fluid == 1:
        drag_bar = drag_derivative(m, s, world, body, v, y)
        v_bar += drag_bar
        pose_bar = cross_force(wind_twist(m), drag_bar)
    s.twist_bar[world, body] = -body_wrench(m, s, world, body)
    s.acceleration_bar[world, body] = -apply_inertia(mass, moment, rotary, y)
    s.velocity_bar[world, body] = v_bar
    s.pose_bar[world, body] = pose_bar


@wp.func
def joint_cotangents(m: ModelArrays, s: Scratch, world: int, body: int):
    """Adds to qpos_bar and qvel_bar of a body's dofs from its subtree's cotangents, and hands these to its parent."""
    v = s.velocity[world, body]
    a = s.acceleration[world, body]
    y = s.virtual_twist[world, body]
    v_bar = s.velocity_bar[world, body]
    a_bar = s.acceleration_bar[world, body]
    y_bar = s.twist_bar[world, body]
    pose_bar = s.pose_bar[world, body]
    blocks = m.body_blocknum[body]
    for b in range(blocks):
        block = m.body_blockadr[body] + blocks - 1 - b
        dofadr = m.block_dofadr[block]
        dofnum = m.block_dofnum[block]
        joint_twist = block_twist(s, world, dofadr, dofnum, s.qvel[world])
        v = v - joint_twist
        a = a - block_twist(s, world, dofadr, dofnum, s.qacc[world]) - cross_motion(v, joint_twist)
        y = y - block_twist(s, world, dofadr, dofnum, s.virtual_velocity[world])
        rate_bar = v_bar - cross_force(v, a_bar)
        v_bar = v_bar + cross_force(joint_twist, a_bar)
        turn_bar = pose_bar - cross_force(v, v_bar) - cross_force(a, a_bar) - cross_force(y, y_bar)
        for dof in range(dofadr, dofadr + dofnum):
            s.qvel_bar[world, dof] = s.qvel_bar[world, dof] + wp.dot(s.motion[world, dof], rate_bar)
            s.qpos_bar[world, dof] = s.qpos_bar[world, dof] + wp.dot(s.motion[world, dof], turn_bar)
    parent = m.body_parent[body]
    if parent == 0 and m.parameter_gradient == 1:
        for i in range(3):
            add_to(s, world, m.at_gravity + i, -a_bar[3 + i])
    if parent > 0:
        s.velocity_bar[world, parent] = s.velocity_bar[world, parent] + v_bar
        s.acceleration_bar[world, parent] = s.acceleration_bar[world, parent] + a_bar
        s.twist_bar[world, parent] = s.twist_bar[world, parent] + y_bar
        s.pose_bar[world, parent] = s.pose_bar[world, parent] + pose_bar


@wp.func
def passive_gradient(m: ModelArrays, s: Scratch, world: int):
    """Adds the gradient of the virtual power of joint springs and dampers."""
    for dof in range(m.nv):
        s.qvel_bar[world, dof] = s.qvel_bar[world, dof] - m.dof_damping[world, dof] * s.virtual_velocity[world, dof]
    for joint in range(m.njnt):
        stiffness = m.jnt_stiffness[world, joint]
        if stiffness != ZERO:
            adr = m.jnt_qposadr[joint]
            dof = m.jnt_dofadr[joint]
            kind = m.jnt_type[joint]
            if kind == FREE or kind == BALL:
                if kind == FREE:
                    for i in range(3):
                        s.qpos_bar[world, dof + i] = (
                            s.qpos_bar[world, dof + i] - stiffness * s.virtual_velocity[world, dof + i]
                        )
                    adr = adr + 3
                    dof = dof + 3
                theta = spring_rotation(m, s, world, adr)
                pull = vec3(
                    s.virtual_velocity[world, dof],
                    s.virtual_velocity[world, dof + 1],
                    s.virtual_velocity[world, dof + 2],
                )
                turn_bar = -stiffness * inverse_right_jacobian(-theta, pull)
                for i in range(3):
                    s.qpos_bar[world, dof + i] = s.qpos_bar[world, dof + i] + turn_bar[i]
            else:
                s.qpos_bar[world, dof] = s.qpos_bar[world, dof] - stiffness * s.virtual_velocity[world, dof]


@wp.func
def joint_clamp_gradient(m: ModelArrays, s: Scratch, world: int):
    """Fills `work` with lambda, zero where a joint's actuator force is clamped."""
    for dof in range(m.nv):
        s.work[world, dof] = s.virtual_velocity[world, dof]
    if m.has_actfrcrange == 0:
        return
    sum_actuator_forces(m, s, world)
    for joint in range(m.njnt):
        if m.jnt_actfrclimited[joint] == 1:
            dof = m.jnt_dofadr[joint]
            s.work[world, dof] = s.work[world, dof] * inside(
                s.qfrc_actuator[world, dof], m.jnt_actfrcrange[joint, 0], m.jnt_actfrcrange[joint, 1]
            )


@wp.func
def actuation_gradient(m: ModelArrays, s: Scratch, world: int):
    """Adds the gradient of the virtual power of actuators and applied forces."""
    joint_clamp_gradient(m, s, world)
    for dof in range(m.nv):
        s.applied_bar[world, dof] = s.applied_bar[world, dof] + s.virtual_velocity[world, dof]
    for actuator in range(m.nactuator):
        length = actuator_length(m, s, world, actuator)
        velocity = moment_dot(m, actuator, s.qvel[world])
        u = clamped_ctrl(m, s, world, actuator)
        force_bar = moment_dot(m, actuator, s.work[world])
        if m.actuator_forcelimited[actuator] == 1:
            force = unclamped_force(m, world, actuator, u, length, velocity)
            force_bar *= inside(force, m.actuator_forcerange[actuator, 0], m.actuator_forcerange[actuator, 1])
        gain = m.actuator_gain[world, actuator]
        bias = m.actuator_bias[world, actuator]
        u_bar = force_bar * (gain[0] + gain[1] * length + gain[2] * velocity)
        length_bar = force_bar * (gain[1] * u + bias[1])
        velocity_bar = force_bar * (gain[2] * u + bias[2])
        ctrl = m.actuator_ctrl[actuator]
        if m.actuator_ctrllimited[actuator] == 1:
            u_bar *= inside(s.ctrl[world, ctrl], m.actuator_ctrlrange[actuator, 0], m.actuator_ctrlrange[actuator, 1])
        s.ctrl_bar[world, ctrl] = s.ctrl_bar[world, ctrl] + u_bar
        if m.parameter_gradient == 1:
            tracked = tracked_ctrl(m, actuator, u, length)
            actuator_parameter_gradient(m, s, world, actuator, force_bar, tracked, length, velocity)
        for entry in range(m.moment_adr[actuator], m.moment_adr[actuator] + m.moment_num[actuator]):
            dof = m.moment_dof[entry]
            s.qvel_bar[world, dof] = s.qvel_bar[world, dof] + velocity_bar * m.moment_value[entry]
            if m.moment_qpos[entry] >= 0:
                s.qpos_bar[world, dof] = s.qpos_bar[world, dof] + length_bar * m.moment_value[entry]
        if m.actuator_quat[actuator] >= 0:
            theta = quat_log(joint_quat(s, world, m.actuator_quat[actuator]))
            turn_bar = length_bar * inverse_right_jacobian(-theta, quat_moment(m, actuator))
            for i in range(3):
                dof = m.moment_dof[m.moment_adr[actuator]] + i
                s.qpos_bar[world, dof] = s.qpos_bar[world, dof] + turn_bar[i]
