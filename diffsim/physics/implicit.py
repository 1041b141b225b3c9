"""Velocities integrated implicitly: (M - h D) w = M a, with D the derivative of forces by velocities, and its adjoint.

For Euler, D contains joint damping only. For implicitfast it also contains tendons, actuators and drag, at the entries
that M has, and the gyroscopic forces of standalone free bodies (see `gyroscopic`). For implicit it contains Coriolis
and centripetal forces instead of these (see `bias_derivative`), and is not symmetric. Nor is it for implicitfast if a
medium acts on ellipsoids of standalone free bodies.
Source: MuJoCo documentation, Computation, numerical integration.
"""

from functools import partial

import warp as wp

from diffsim.collision.gradient_call import calls_gradient
from diffsim.physics.activation import actuator_input, add_input_cotangent
from diffsim.physics.actuation import (
    actuator_length,
    add_actuator_cotangents,
    driving_force,
    gain_terms,
    is_muscle,
    moment_dot,
    sum_actuator_forces,
    tendon_scale,
)
from diffsim.physics.bias_derivative import bias_derivative_matrix
from diffsim.physics.clamp import strictly_inside
from diffsim.physics.ellipsoid_drag import ellipsoid_derivative_cotangents, subtract_ellipsoid_derivative
from diffsim.physics.fluid import drag_derivative, drag_second_derivative, wind_twist
from diffsim.physics.gyroscopic import (
    add_gyroscopic,
    gyroscopic_gradient,
    gyroscopic_solve,
    gyroscopic_solve_transposed,
)
from diffsim.physics.inertia import multiply_mass
from diffsim.physics.lanes import lane, lanes, sync
from diffsim.physics.line import PUSH, add_line_bar, add_line_outer, clear_line_bars
from diffsim.physics.line_gradient import add_coupled, coupled_power, push_lines
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.muscle import vec5
from diffsim.physics.polynomial import coefficient_slope, damper_bend, damper_polynomial
from diffsim.physics.scratch import Scratch
from diffsim.physics.servo import add_point_cotangent, servo_forces
from diffsim.physics.sparse import copy_lower, factor, factor_solve
from diffsim.physics.spatial import apply_inertia, cross_force
from diffsim.physics.structure import is_ancestor
from diffsim.physics.tendon import add_tendon_damping, damper_slope, tendon_dot
from diffsim.physics.tendon_damping import add_polynomial_damping, polynomial_damping_gradient
from diffsim.physics.tree import gather, gather_motion, spread, zero_twist
from diffsim.physics.unsymmetric import factor_unsymmetric, solve_transposed, solve_unsymmetric
from diffsim.physics.world_parameters import gear_of, moment_value, timestep
from diffsim.types import EULER, IMPLICIT, ONE, X64, ZERO, real, vec3

ROUNDING = wp.constant(real(1e-10 if X64 else 1e-5))  # of a sum of forces that are scaled to a range; 1e-10 in MuJoCo


@wp.func(inline=True)
def factor_implicit(m: ModelArrays, s: Scratch, world: int):
    """Fills `hessian` with the factor of M - h D, or `unsymmetric` if that is not symmetric.

    Needs the mass matrix and the moving frames.
    """
    copy_lower(m.nv, m.dof_address, m.dof_run, s.mass_matrix[world], s.hessian[world])
    sync()
    for i in range(lane(), m.nv, lanes()):
        slope = m.dof_damping[world * m.dof_stride + i]
        slope = coefficient_slope(slope, damper_polynomial(m, i), wp.abs(s.qvel[world, i]))
        s.hessian[world, i, i] = s.hessian[world, i, i] + timestep(m, world) * slope
    if m.integrator != EULER:
        if m.has_actfrcrange == 1 or m.has_tendon_frcrange == 1:
            sum_actuator_forces(m, s, world)
        sync()
        if lane() == 0:
            subtract_actuator_derivative(m, s, world)
            if m.has_polynomials == 1:
                add_polynomial_damping(m, s, world)
        sync()
        add_tendon_damping(m, s, world)
        sync()
        if m.nline > 0:
            add_line_damping(m, s, world)
        if m.fluid == 1 and lane() == 0:
            for body in range(1, m.nbody):
                subtract_drag_derivative(m, s, world, body)
    sync()
    if m.unsymmetric == 1:
        fill_unsymmetric(m, s, world)
    if m.nellipsoid > 0 and m.integrator != EULER:
        subtract_ellipsoid_derivative(m, s, world)
        sync()
    if m.unsymmetric == 1:
        factor_unsymmetric(m.nv, m.dof_parent, s.unsymmetric[world])
        sync()
    else:
        factor(m.nv, m.dof_address, m.dof_run, s.hessian[world])


@wp.func(inline=True)
def fill_unsymmetric(m: ModelArrays, s: Scratch, world: int):
    """Fills `unsymmetric` with M - h D, from the symmetric part in `hessian` and the derivative of the bias.

    For implicitfast, the latter is that of the gyroscopic forces of standalone free bodies.
    """
    if m.integrator == IMPLICIT:
        bias_derivative_matrix(m, s, world, timestep(m, world), s.unsymmetric[world])
    else:
        for row in range(lane(), m.nv, lanes()):
            for col in range(m.nv):
                s.unsymmetric[world, row, col] = ZERO
        sync()
    if lane() == 0:
        if m.integrator != IMPLICIT:
            add_gyroscopic(m, s, world, s.unsymmetric[world])
        for i in range(m.nv):
            s.unsymmetric[world, i, i] = s.unsymmetric[world, i, i] + s.hessian[world, i, i]
            j = m.dof_parent[i]
            while j >= 0:
                s.unsymmetric[world, i, j] = s.unsymmetric[world, i, j] + s.hessian[world, i, j]
                s.unsymmetric[world, j, i] = s.unsymmetric[world, j, i] + s.hessian[world, i, j]
                j = m.dof_parent[j]
    sync()


@wp.func
def velocity_slope(m: ModelArrays, s: Scratch, world: int, actuator: int) -> real:
    """dp_i / dl'_i of an actuator. Needs `sum_actuator_forces`."""
    u = actuator_input(m, s, world, actuator)
    slope = velocity_gain(m, s, world, actuator) * u + m.actuator_bias[world * m.actuator_stride + actuator][2]
    if m.nservo > 0:
        slope += servo_forces(m, s, world, actuator)[2]
    if slope != ZERO:
        slope *= velocity_factor(m, s, world, actuator)
    if m.nservo > 0:
        row = m.rare[0].actuator_servo[actuator]
        if row >= 0:
            slope -= joint_factor(m, s, world, actuator) * m.rare[0].servo_rubbing[row]
    return slope


@wp.func
def velocity_gain(m: ModelArrays, s: Scratch, world: int, actuator: int) -> real:
    """Derivative of an actuator's gain by its velocity."""
    if is_muscle(m, actuator):
        return muscle_terms(m, s, world, actuator)[2]
    return m.actuator_gain[world * m.actuator_stride + actuator][2]


@wp.func
def muscle_terms(m: ModelArrays, s: Scratch, world: int, actuator: int) -> vec5:
    """`gain_terms` at the evaluation point."""
    length = actuator_length(m, s, world, actuator)
    return gain_terms(m, world, actuator, length, moment_dot(m, s, world, actuator, s.qvel[world]))


@wp.func
def velocity_factor(m: ModelArrays, s: Scratch, world: int, actuator: int) -> real:
    """0 where the force of an actuator, its joint or tendon is outside its range or at an end, as in MuJoCo; else 1."""
    factor = real(1.0)
    if m.actuator_forcelimited[actuator] == 1:
        force = tendon_scale(m, s, world, actuator) * driving_force(m, s, world, actuator)
        factor *= strictly_inside(force, m.actuator_forcerange[actuator, 0], m.actuator_forcerange[actuator, 1])
    factor *= joint_factor(m, s, world, actuator)
    if m.has_tendon_frcrange == 1:
        if m.rare[0].actuator_tendon[actuator] >= 0:
            factor *= tendon_factor(m, s, world, m.rare[0].actuator_tendon[actuator])
    return factor


@wp.func
def joint_factor(m: ModelArrays, s: Scratch, world: int, actuator: int) -> real:
    """0 where the force on the actuator's joint is outside its range or at an end; else 1."""
    joint = m.actuator_joint[actuator]
    if joint < 0:
        return real(1.0)
    total = s.qfrc_actuator[world, m.jnt_dofadr[joint]]
    return strictly_inside(total, m.rare[0].jnt_actfrcrange[joint, 0], m.rare[0].jnt_actfrcrange[joint, 1])


@wp.func
def tendon_factor(m: ModelArrays, s: Scratch, world: int, tendon: int) -> real:
    """0 where the sum of a tendon's actuator forces, after their clamps, is at an end of its range; else 1."""
    total = real(0.0)
    for actuator in range(m.nactuator):
        if m.rare[0].actuator_tendon[actuator] == tendon:
            total += s.actuator_force[world, actuator]
            if m.nservo > 0:
                total -= servo_forces(m, s, world, actuator)[1]
    low = m.rare[0].tendon_actfrcrange[tendon, 0]
    high = m.rare[0].tendon_actfrcrange[tendon, 1]
    return strictly_inside(total, low + ROUNDING * wp.abs(low), high - ROUNDING * wp.abs(high))


@wp.func
def subtract_actuator_derivative(m: ModelArrays, s: Scratch, world: int):
    """Hessian -= h sum_i moment_i (dp_i / dl'_i) moment_i', at the entries that M has."""
    for actuator in range(m.nactuator):
        slope = timestep(m, world) * velocity_slope(m, s, world, actuator)
        if slope != ZERO:
            first = m.moment_adr[actuator]
            last = first + m.moment_num[actuator]
            for row in range(first, last):
                i = m.moment_dof[row]
                for col in range(first, last):
                    j = m.moment_dof[col]
                    if is_ancestor(m.dof_parent, j, i) == 1:
                        product = slope * moment_value(m, world, row) * moment_value(m, world, col)
                        s.hessian[world, i, j] = s.hessian[world, i, j] - product


@wp.func
def line_damping(m: ModelArrays, s: Scratch, world: int, line: int) -> real:
    """B of the force -B L' of the damper and the actuators of a line. Needs `sum_actuator_forces`."""
    damping = real(0.0)
    tendon = m.rare[0].line_tendon[line]
    if tendon >= 0:
        damping = damper_slope(m, world, tendon, tendon_dot(m, s, world, tendon, s.qvel[world]))
    for actuator in range(m.nactuator):
        if m.actuator_line[actuator] == line:
            gear = gear_of(m, world, actuator)
            damping -= gear * gear * velocity_slope(m, s, world, actuator)
    return damping


@wp.func
def add_line_damping(m: ModelArrays, s: Scratch, world: int):
    """Hessian += h J' B J of all lines, at the entries that M has."""
    for line in range(m.nline):
        add_line_outer(m, s, world, line, timestep(m, world) * line_damping(m, s, world, line), s.hessian[world])
        sync()


@wp.func
def subtract_drag_derivative(m: ModelArrays, s: Scratch, world: int, body: int):
    """Hessian -= h S' (d drag / d V) S over the dofs that move a body."""
    i = m.body_lastdof[body]
    while i >= 0:
        slope = timestep(m, world) * drag_derivative(m, s, world, body, s.velocity[world, body], s.motion[world, i])
        j = i
        while j >= 0:
            s.hessian[world, i, j] = s.hessian[world, i, j] - wp.dot(s.motion[world, j], slope)
            j = m.dof_parent[j]
        i = m.dof_parent[i]


@wp.func(inline=True)
def implicit_acceleration(m: ModelArrays, s: Scratch, world: int):
    """Fills implicit_qacc, w: the acceleration for the velocity step. Needs qacc and the mass matrix."""
    factor_implicit(m, s, world)
    multiply_mass(m, s, world, s.qacc[world], s.implicit_qacc[world])
    sync()
    if m.unsymmetric == 1:
        solve_unsymmetric(m.nv, m.dof_parent, s.unsymmetric[world], s.implicit_qacc[world])
        sync()
    else:
        factor_solve(m.nv, m.dof_address, m.dof_run, s.hessian[world], s.implicit_qacc[world])
        gyroscopic_solve(m, s, world, s.implicit_qacc[world])


@wp.func(inline=True)
def implicit_inertia_adjoint(m: ModelArrays, s: Scratch, world: int):
    """First part of the adjoint: given implicit_qacc_bar, fills mu, and adds a_bar and the gradient of mu' M (a - w).

    Needs the moving frames, and w and the factor from `implicit_acceleration`. With the multiplier mu,

        mu = (M - h D)'^-1 w_bar,    a_bar = M mu

    and the other cotangents are the gradient of mu' M(q) (a - w) + h mu' D(q, v, u) w at fixed mu, a and w. Its parts
    are stages, of which a model launches those that it needs: see `diffsim.stages.implicit_adjoint`.
    """
    for dof in range(lane(), m.nv, lanes()):
        s.multiplier[world, dof] = s.implicit_qacc_bar[world, dof]
        s.qacc_change[world, dof] = s.qacc[world, dof] - s.implicit_qacc[world, dof]
    sync()
    if m.unsymmetric == 1:
        solve_transposed(m.nv, m.dof_parent, s.unsymmetric[world], s.multiplier[world])
        sync()
    else:
        gyroscopic_solve_transposed(m, s, world, s.multiplier[world])
        factor_solve(m.nv, m.dof_address, m.dof_run, s.hessian[world], s.multiplier[world])
    multiply_mass(m, s, world, s.multiplier[world], s.work[world])
    for dof in range(lane(), m.nv, lanes()):
        s.qacc_bar[world, dof] = s.qacc_bar[world, dof] + s.work[world, dof]
    inertia_gradient(m, s, world)


@wp.func(inline=True)
def damper_bend_gradient(m: ModelArrays, s: Scratch, world: int):
    """Adds the gradient of h mu' D(v) w by the velocities of dampers with polynomials; clears the lines' cotangents."""
    if m.nline > 0:
        clear_line_bars(m, s, world)
    if m.has_polynomials == 1:
        for dof in range(lane(), m.nv, lanes()):
            bend = damper_bend(damper_polynomial(m, dof), s.qvel[world, dof])
            bar = -timestep(m, world) * bend * s.multiplier[world, dof] * s.implicit_qacc[world, dof]
            s.qvel_bar[world, dof] = s.qvel_bar[world, dof] + bar
        sync()


@wp.func(inline=True)
def implicit_force_gradient(m: ModelArrays, s: Scratch, world: int):
    """Adds the gradient of h mu' D w of gyroscopic forces and actuators."""
    if lane() == 0:
        gyroscopic_gradient(m, s, world, s.multiplier[world], s.implicit_qacc[world])
        actuator_derivative_gradient(m, s, world)
        if m.has_polynomials == 1:
            polynomial_damping_gradient(m, s, world)
    sync()


@partial(calls_gradient, inline=True)
def implicit_line_gradient(m: ModelArrays, s: Scratch, world: int):
    """Adds the gradient of h mu' D w through the lines' moments, and that of mu' M (a - w) through their armature.

    Also that of the lines' cotangents so far.
    """
    for body in range(lane(), m.nbody, lanes()):
        s.velocity_bar[world, body] = zero_twist()
        s.acceleration_bar[world, body] = zero_twist()
        s.pose_bar[world, body] = zero_twist()
    sync()
    for line in range(m.nline):
        damping = real(0.0)
        if m.integrator != EULER:
            damping = timestep(m, world) * line_damping(m, s, world, line)
        armature = m.rare[0].line_armature[line]
        if damping != ZERO or armature != ZERO or wp.length_sq(s.line_bar[world, line]) != ZERO:
            if lane() == 0:
                add_line_bar(s, world, line, PUSH, ONE)
                add_coupled(m, s, world, line, -damping, s.multiplier[world], s.implicit_qacc[world])
                add_coupled(m, s, world, line, armature, s.multiplier[world], s.qacc_change[world])
            push_lines(m, s, world, line, line + 1)
    gather_motion(m, s, world)


@wp.func(inline=True)
def inertia_gradient(m: ModelArrays, s: Scratch, world: int):
    """Adds the gradient of mu' M(q) (a - w) = sum_b Y . I X to qpos_bar, with the twists Y of mu and X of a - w."""
    spread(m, s, world, s.multiplier[world], s.virtual_twist[world])
    spread(m, s, world, s.qacc_change[world], s.qacc_twist[world])
    for body in range(1 + lane(), m.nbody, lanes()):
        mass = m.body_mass[world * m.body_stride + body]
        moment = s.body_moment[world, body]
        rotary = s.body_rotary[world, body]
        s.virtual_twist_bar[world, body] = apply_inertia(mass, moment, rotary, s.qacc_twist[world, body])
        s.qacc_twist_bar[world, body] = apply_inertia(mass, moment, rotary, s.virtual_twist[world, body])
    sync()
    gather(m, s, world, s.multiplier[world], s.virtual_twist[world], s.virtual_twist_bar[world])
    gather(m, s, world, s.qacc_change[world], s.qacc_twist[world], s.qacc_twist_bar[world])


@wp.func
def actuator_slope_cotangent(m: ModelArrays, s: Scratch, world: int, actuator: int) -> real:
    """Cotangent of the derivative of an actuator's force by its velocity; zero where the force is at its limit."""
    power = real(0.0)
    factor = velocity_factor(m, s, world, actuator)
    line = m.actuator_line[actuator]
    if factor != ZERO and line >= 0:
        gear = gear_of(m, world, actuator)
        power = gear * gear * coupled_power(m, s, world, line, s.multiplier[world], s.implicit_qacc[world])
    elif factor != ZERO:
        first = m.moment_adr[actuator]
        last = first + m.moment_num[actuator]
        for row in range(first, last):
            i = m.moment_dof[row]
            for col in range(first, last):
                j = m.moment_dof[col]
                if is_ancestor(m.dof_parent, wp.min(i, j), wp.max(i, j)) == 1:
                    by_mu = moment_value(m, world, row) * s.multiplier[world, i]
                    power += by_mu * moment_value(m, world, col) * s.implicit_qacc[world, j]
    return timestep(m, world) * factor * power


@wp.func
def actuator_derivative_gradient(m: ModelArrays, s: Scratch, world: int):
    """Adds the gradient of h mu' D w by the actuators' inputs, and by the lengths and velocities of muscles."""
    for actuator in range(m.nactuator):
        gain = m.actuator_gain[world * m.actuator_stride + actuator][2]
        if is_muscle(m, actuator):
            slope_bar = actuator_slope_cotangent(m, s, world, actuator)
            terms = muscle_terms(m, s, world, actuator)
            u = actuator_input(m, s, world, actuator)
            bar = slope_bar * vec3(terms[2], terms[3] * u, terms[4] * u)
            add_actuator_cotangents(m, s, world, actuator, bar)
        elif gain != ZERO:
            add_input_cotangent(m, s, world, actuator, gain * actuator_slope_cotangent(m, s, world, actuator))
        if m.nservo > 0:
            row = m.rare[0].actuator_servo[actuator]
            if row >= 0:  # the slope depends on the temperature only
                slope_bar = actuator_slope_cotangent(m, s, world, actuator)
                add_point_cotangent(m, s, world, row, slope_bar * s.rare[0].servo_slope[world, row, 2])


@partial(calls_gradient, inline=True)
def drag_derivative_gradient(m: ModelArrays, s: Scratch, world: int):
    """Adds the gradient of h sum_b Y . (d drag / d V) Z to qpos_bar and qvel_bar, with the twist Z of w.

    Needs the twists Y of mu from `inertia_gradient`.
    """
    spread(m, s, world, s.implicit_qacc[world], s.qacc_twist[world])
    for body in range(1 + lane(), m.nbody, lanes()):
        v = s.velocity[world, body]
        y = s.virtual_twist[world, body]
        z = s.qacc_twist[world, body]
        v_bar = timestep(m, world) * drag_second_derivative(m, s, world, body, v, y, z)
        s.virtual_twist_bar[world, body] = timestep(m, world) * drag_derivative(m, s, world, body, v, z)
        s.qacc_twist_bar[world, body] = timestep(m, world) * drag_derivative(m, s, world, body, v, y)
        s.velocity_bar[world, body] = v_bar
        s.acceleration_bar[world, body] = zero_twist()
        s.pose_bar[world, body] = cross_force(wind_twist(m), v_bar)
        if m.nellipsoid > 0:
            ellipsoid_derivative_cotangents(m, s, world, body)
    sync()
    gather(m, s, world, s.multiplier[world], s.virtual_twist[world], s.virtual_twist_bar[world])
    gather(m, s, world, s.implicit_qacc[world], s.qacc_twist[world], s.qacc_twist_bar[world])
    gather_motion(m, s, world)
