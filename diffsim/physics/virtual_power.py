"""Exact gradient of an evaluation: one linear solve, then the gradient of one scalar.

With H = M + C, where C is the Hessian of the rows' cost, the sum over active rows of D_i J_i' J_i unless a contact with
an elliptic cone slides, and cotangents abar of qacc and kappa of qfrc_constraint,

    lambda = H^-1 (abar - C kappa)
    P(q, v, u) = lambda' (tau - M a - c) + sum_active (J_i (lambda + kappa)) f_i,    a, lambda, kappa held fixed

and the gradients of P are the cotangents of q, v and u. In the bodies' twists Y (of lambda), V and A,

    lambda' (M a + c) = sum_b Y_b . W_b,    W_b = I_b A_b + V_b x* I_b V_b - drag_b

`tree` turns the cotangents of these twists into gradients by q and v.
"""

from functools import partial

import warp as wp

from diffsim.collision.gradient_call import calls_gradient
from diffsim.physics.actuation import (
    actuator_length,
    add_actuator_cotangents,
    bias_terms,
    drive_input,
    driving_force,
    gain_terms,
    moment_dot,
    sum_actuator_forces,
    tendon_scale,
    tendon_total,
    unclamped_force,
)
from diffsim.physics.applied import applied_pose_cotangent
from diffsim.physics.bias import body_wrench
from diffsim.physics.clamp import force_slope
from diffsim.physics.cone import subtract_sliding
from diffsim.physics.constraint import (
    BALL_LIMIT,
    DOF_FRICTION,
    JOINT_EQUALITY,
    JOINT_LIMIT,
    QUADRATIC,
    TENDON_FRICTION,
    TENDON_LIMIT,
    add_row_scaled,
    row_dot,
)
from diffsim.physics.contact_list import contact_total
from diffsim.physics.equality_gradient import equality_gradient
from diffsim.physics.fluid import drag_derivative, wind_twist
from diffsim.physics.gravcomp import gravcomp_cotangents
from diffsim.physics.integrate import load3
from diffsim.physics.joint_equality import joint_equality_gradient
from diffsim.physics.lanes import all_lanes, lane, lanes, sync
from diffsim.physics.limit import joint_row_gradient
from diffsim.physics.line import clear_line_bars
from diffsim.physics.line_power import line_power_gradient
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.newton import factor_hessian, solve_hessian
from diffsim.physics.passive import spring_rotation
from diffsim.physics.polynomial import coefficient_slope, damper_polynomial, spring_polynomial, stretch_gradient
from diffsim.physics.rotation import inverse_right_jacobian
from diffsim.physics.scratch import Scratch
from diffsim.physics.servo import add_servo_cotangents
from diffsim.physics.spatial import apply_inertia, cross_force, cross_motion
from diffsim.physics.tendon import tendon_passive_gradient, tendon_row_gradient
from diffsim.physics.tendon_equality import tendon_equalities_gradient
from diffsim.physics.tree import gather, gather_motion, spread, zero_twist
from diffsim.types import BALL, FREE, ZERO, real, vec3


@wp.func
def solve_virtual_velocity(m: ModelArrays, s: Scratch, world: int):
    """Fills virtual_velocity, lambda, and constraint_velocity, lambda + kappa, from qacc_bar and constraint_bar.

    Needs the mass matrix and the rows with their states. Fills `hessian` with the factor of H.
    """
    for dof in range(lane(), m.nv, lanes()):
        s.virtual_velocity[world, dof] = s.qacc_bar[world, dof]
    if s.row_count[world] > 0 and not no_kappa(m, s, world):
        for row in range(s.row_count[world]):
            if s.row_state[world, row] == QUADRATIC:
                pull = s.row_stiffness[world, row] * row_dot(s, world, row, s.constraint_bar[world])
                add_row_scaled(s, world, row, -pull, s.virtual_velocity[world])
        if m.elliptic == 1:
            subtract_sliding(m, s, world, s.constraint_bar[world], s.virtual_velocity[world])
    sync()
    factor_hessian(m, s, world)
    solve_hessian(m, s, world, s.virtual_velocity[world])
    for dof in range(lane(), m.nv, lanes()):
        s.constraint_velocity[world, dof] = s.constraint_bar[world, dof] + s.virtual_velocity[world, dof]
    sync()


@wp.func(inline=True)
def twist_cotangents(m: ModelArrays, s: Scratch, world: int):
    """Fills the twists of lambda, of lambda + kappa and of a, and the bodies' cotangents without constraints."""
    spread(m, s, world, s.virtual_velocity[world], s.virtual_twist[world])
    for body in range(1 + lane(), m.nbody, lanes()):
        body_twist_cotangents(m, s, world, body)
    if contact_total(m, s, world) + m.neq + m.nline > 0:
        if no_kappa(m, s, world):
            for body in range(lane(), m.nbody, lanes()):
                s.constraint_twist[world, body] = s.virtual_twist[world, body]
        else:
            spread(m, s, world, s.constraint_velocity[world], s.constraint_twist[world])
        spread(m, s, world, s.qacc[world], s.qacc_twist[world])
        for body in range(1 + lane(), m.nbody, lanes()):
            s.constraint_twist_bar[world, body] = zero_twist()
            s.qacc_twist_bar[world, body] = zero_twist()
    sync()
    if m.ngravcomp > 0:
        joint_clamp_gradient(m, s, world)
        sync()
        gravcomp_cotangents(m, s, world)


@wp.func
def no_kappa(m: ModelArrays, s: Scratch, world: int) -> bool:
    """Whether kappa is zero, as in all evaluations but the last. Then the twists of lambda + kappa are those of lambda.

    This saves two of seven walks over the tree.
    """
    zero = bool(True)
    for dof in range(lane(), m.nv, lanes()):
        if s.constraint_bar[world, dof] != ZERO:
            zero = False
    return all_lanes(zero)


@wp.func(inline=True)
def joined_gradient(m: ModelArrays, s: Scratch, world: int):
    """Adds what connect and weld constraints give."""
    if m.neq > 0:
        sync()
        if lane() == 0:
            equality_gradient(m, s, world, s.constraint_velocity[world])
    sync()


@partial(calls_gradient, inline=True)
def lines_gradient(m: ModelArrays, s: Scratch, world: int):
    """Adds the gradients of actuators, and of all forces along lines."""
    clear_line_bars(m, s, world)
    actuation_gradient(m, s, world)
    line_power_gradient(m, s, world)


@wp.func(inline=True)
def gather_cotangents(m: ModelArrays, s: Scratch, world: int):
    """Adds the gradients of the bodies' twists and poses."""
    if contact_total(m, s, world) + m.neq + m.nline > 0:
        if no_kappa(m, s, world):
            for body in range(1 + lane(), m.nbody, lanes()):
                bar = s.virtual_twist_bar[world, body] + s.constraint_twist_bar[world, body]
                s.virtual_twist_bar[world, body] = bar
            sync()
        else:
            gather(m, s, world, s.constraint_velocity[world], s.constraint_twist[world], s.constraint_twist_bar[world])
        gather(m, s, world, s.qacc[world], s.qacc_twist[world], s.qacc_twist_bar[world])
    gather(m, s, world, s.virtual_velocity[world], s.virtual_twist[world], s.virtual_twist_bar[world])
    if m.ngravcomp > 0:
        gather(m, s, world, s.gravcomp_velocity[world], s.gravcomp_twist[world], s.gravcomp_twist_bar[world])
    gather_motion(m, s, world)


@wp.func(inline=True)
def element_gradients(m: ModelArrays, s: Scratch, world: int):
    """Adds the gradients of springs, dampers, actuators, and of the rows of joints and tendons."""
    passive_gradient(m, s, world)
    if m.ntendon > 0:
        tendon_passive_gradient(m, s, world)
        if m.nline == 0 and m.ntendon_eq > 0 and lane() == 0:
            tendon_equalities_gradient(m, s, world)
        sync()
    if m.nline == 0:
        actuation_gradient(m, s, world)
    for row in range(s.row_count[world]):
        if s.row_state[world, row] == QUADRATIC:
            source = s.row_source[world, row]
            if source == JOINT_LIMIT or source == BALL_LIMIT or source == DOF_FRICTION:
                joint_row_gradient(m, s, world, row, s.constraint_velocity[world])
            elif source == JOINT_EQUALITY:
                joint_equality_gradient(m, s, world, row, s.constraint_velocity[world])
            elif source == TENDON_LIMIT or source == TENDON_FRICTION:
                tendon_row_gradient(m, s, world, row, s.constraint_velocity[world])
    sync()


@wp.func
def body_twist_cotangents(m: ModelArrays, s: Scratch, world: int, body: int):
    """Fills the cotangents of a body's twists: those of -Y . W."""
    mass = m.body_mass[world * m.body_stride + body]
    moment = s.body_moment[world, body]
    rotary = s.body_rotary[world, body]
    v = s.velocity[world, body]
    y = s.virtual_twist[world, body]
    momentum = apply_inertia(mass, moment, rotary, v)
    v_bar = cross_force(y, momentum) - apply_inertia(mass, moment, rotary, cross_motion(y, v))
    pose_bar = zero_twist()
    if m.fluid == 1:
        drag_bar = drag_derivative(m, s, world, body, v, y)
        v_bar += drag_bar
        pose_bar = cross_force(wind_twist(m), drag_bar)
    if s.has_xfrc[world] == 1:
        pose_bar += applied_pose_cotangent(m, s, world, body, y)
    s.virtual_twist_bar[world, body] = -body_wrench(m, s, world, body)
    s.acceleration_bar[world, body] = -apply_inertia(mass, moment, rotary, y)
    s.velocity_bar[world, body] = v_bar
    s.pose_bar[world, body] = pose_bar


@wp.func
def passive_gradient(m: ModelArrays, s: Scratch, world: int):
    """Adds the gradient of the virtual power of joint springs and dampers."""
    for dof in range(lane(), m.nv, lanes()):
        slope = m.dof_damping[world * m.dof_stride + dof]
        slope = coefficient_slope(slope, damper_polynomial(m, dof), wp.abs(s.qvel[world, dof]))
        s.qvel_bar[world, dof] = s.qvel_bar[world, dof] - slope * s.virtual_velocity[world, dof]
    for joint in range(lane(), m.njnt, lanes()):
        stiffness = m.jnt_stiffness[world * m.joint_stride + joint]
        c = spring_polynomial(m, joint)
        bent = c[0] != ZERO or c[1] != ZERO
        if stiffness != ZERO or bent:
            adr = m.jnt_qposadr[joint]
            dof = m.jnt_dofadr[joint]
            kind = m.jnt_type[joint]
            if kind == FREE or kind == BALL:
                if kind == FREE:
                    push = load3(s.virtual_velocity[world], dof)
                    stretch = load3(s.qpos[world], adr) - load3(m.qpos_spring, adr)
                    stretch_bar = stiffness * push + stretch_gradient(c, stretch, push)
                    for i in range(3):
                        s.qpos_bar[world, dof + i] = s.qpos_bar[world, dof + i] - stretch_bar[i]
                    adr = adr + 3
                    dof = dof + 3
                theta = spring_rotation(m, s, world, adr)
                pull = load3(s.virtual_velocity[world], dof)
                turn_bar = -stiffness * inverse_right_jacobian(-theta, pull)
                if bent:
                    turn_bar = turn_bar - inverse_right_jacobian(-theta, stretch_gradient(c, theta, pull))
                for i in range(3):
                    s.qpos_bar[world, dof + i] = s.qpos_bar[world, dof + i] + turn_bar[i]
            else:
                slope = coefficient_slope(stiffness, c, s.qpos[world, adr] - m.qpos_spring[adr])
                s.qpos_bar[world, dof] = s.qpos_bar[world, dof] - slope * s.virtual_velocity[world, dof]
    sync()


@wp.func
def joint_clamp_gradient(m: ModelArrays, s: Scratch, world: int):
    """Fills `work` with lambda, but zero where the clamp of a joint's actuator force is active."""
    for dof in range(lane(), m.nv, lanes()):
        s.work[world, dof] = s.virtual_velocity[world, dof]
    if m.has_actfrcrange == 0:
        return
    sum_actuator_forces(m, s, world)
    for joint in range(lane(), m.njnt, lanes()):
        if m.rare[0].jnt_actfrclimited[joint] == 1:
            dof = m.jnt_dofadr[joint]
            s.work[world, dof] = s.work[world, dof] * force_slope(
                s.qfrc_actuator[world, dof], m.rare[0].jnt_actfrcrange[joint, 0], m.rare[0].jnt_actfrcrange[joint, 1]
            )


@wp.func
def force_cotangent(
    m: ModelArrays, s: Scratch, world: int, actuator: int, u: real, length: real, velocity: real
) -> real:
    """Cotangent of an actuator's force before all clamps. Needs `joint_clamp_gradient`."""
    bar = range_cotangent(m, s, world, actuator, unclamped_force(m, world, actuator, u, length, velocity))
    if m.has_tendon_frcrange == 1:
        if m.rare[0].actuator_tendon[actuator] >= 0:
            bar = tendon_range_cotangent(m, s, world, m.rare[0].actuator_tendon[actuator], bar)
    return bar


@wp.func
def range_cotangent(m: ModelArrays, s: Scratch, world: int, actuator: int, force: real) -> real:
    """Cotangent of an actuator's force before its clamp to forcerange, and after the scaling to its tendon's range."""
    force_bar = moment_dot(m, s, world, actuator, s.work[world]) + s.actuator_sensed_bar[world, actuator][0]
    if m.actuator_forcelimited[actuator] == 1:
        force *= tendon_scale(m, s, world, actuator)
        force_bar *= force_slope(force, m.actuator_forcerange[actuator, 0], m.actuator_forcerange[actuator, 1])
    return force_bar


@wp.func
def tendon_range_cotangent(m: ModelArrays, s: Scratch, world: int, tendon: int, bar: real) -> real:
    """Cotangent of a force F_j before the scaling p_i = F_i r / T to a tendon's range, given that of p_j.

    With T = sum_i F_i it is (bar_j - sum_i bar_i F_i / T) r / T; where T is at an end of the range, the mean of both
    sides.
    """
    total = tendon_total(m, s, world, tendon)
    low = m.rare[0].tendon_actfrcrange[tendon, 0]
    high = m.rare[0].tendon_actfrcrange[tendon, 1]
    outside = real(1.0) - force_slope(total, low, high)
    if outside == ZERO:
        return bar
    if total == ZERO:
        return (real(1.0) - outside) * bar
    along = real(0.0)
    for other in range(m.nactuator):
        if m.rare[0].actuator_tendon[other] == tendon:
            force = driving_force(m, s, world, other)
            along += range_cotangent(m, s, world, other, force) * force
    return (bar - outside * along / total) * wp.clamp(total, low, high) / total


@wp.func(inline=True)
def actuation_gradient(m: ModelArrays, s: Scratch, world: int):
    """Adds the gradient of the virtual power of actuators and applied forces."""
    joint_clamp_gradient(m, s, world)
    for dof in range(lane(), m.nv, lanes()):
        s.applied_bar[world, dof] = s.applied_bar[world, dof] + s.virtual_velocity[world, dof]
    sync()
    for actuator in range(lane(), m.nactuator, lanes()):
        length = actuator_length(m, s, world, actuator)
        velocity = moment_dot(m, s, world, actuator, s.qvel[world])
        u = drive_input(m, s, world, actuator)
        force_bar = force_cotangent(m, s, world, actuator, u, length, velocity)
        sensed = s.actuator_sensed_bar[world, actuator]
        gain = gain_terms(m, world, actuator, length, velocity)
        bias = bias_terms(m, world, actuator, length, velocity)
        u_bar = force_bar * gain[0]
        length_bar = force_bar * (gain[1] * u + bias[1]) + sensed[1]
        velocity_bar = force_bar * (gain[2] * u + bias[2]) + sensed[2]
        if m.nservo > 0:
            row = m.rare[0].actuator_servo[actuator]
            if row >= 0:
                drag_bar = moment_dot(m, s, world, actuator, s.work[world]) + sensed[0]
                through = add_servo_cotangents(m, s, world, row, u_bar, drag_bar)
                u_bar = ZERO
                length_bar += through[0]
                velocity_bar += through[1]
        s.actuator_bar[world, actuator] = vec3(u_bar, length_bar, velocity_bar)
    sync()
    for row in range(lane(), m.nservo, lanes()):
        s.actuator_sensed_bar[world, m.rare[0].servo_actuator[row]] = vec3(ZERO, ZERO, ZERO)
    if lane() == 0:
        spread_actuator_cotangents(m, s, world)
    sync()


@wp.func(inline=True)
def spread_actuator_cotangents(m: ModelArrays, s: Scratch, world: int):
    """Adds the cotangents of the actuators' inputs, lengths and velocities to those of control and state."""
    for actuator in range(m.nactuator):
        add_actuator_cotangents(m, s, world, actuator, s.actuator_bar[world, actuator])
