"""Velocities integrated implicitly: (M - h D) w = M a, with D the derivative of forces by velocities, and its adjoint.

Euler takes only joint damping into D; implicitfast also tendons, actuators and drag, where M has an entry, and the
gyroscopic forces of standalone free bodies (see `gyroscopic`).
Source: MuJoCo documentation, Computation, numerical integration.
"""

import warp as wp

from diffsim.physics.actuation import (
    actuator_length,
    clamped_ctrl,
    inside,
    moment_dot,
    sum_actuator_forces,
    unclamped_force,
)
from diffsim.physics.bias import block_twist
from diffsim.physics.fluid import drag_derivative, drag_second_derivative, wind_twist
from diffsim.physics.gyroscopic import gyroscopic_gradient, gyroscopic_solve, gyroscopic_solve_transposed
from diffsim.physics.inertia import factor, factor_solve, multiply_mass
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.parameter_gradient import add_to, drag_parameter_gradient, implicit_parameter_gradient
from diffsim.physics.scratch import Scratch
from diffsim.physics.spatial import apply_inertia, cross_force
from diffsim.physics.tendon import add_tendon_damping
from diffsim.types import IMPLICITFAST, ZERO, real, vec6


@wp.func
def factor_implicit(m: ModelArrays, s: Scratch, world: int):
    """Factor of M - h D, into `hessian`. Needs the mass matrix and the moving frames."""
    for i in range(m.nv):
        for j in range(i):
            s.hessian[world, i, j] = s.mass_matrix[world, i, j]
        s.hessian[world, i, i] = s.mass_matrix[world, i, i] + m.timestep * m.dof_damping[world, i]
    if m.integrator == IMPLICITFAST:
        if m.has_actfrcrange == 1:
            sum_actuator_forces(m, s, world)
        subtract_actuator_derivative(m, s, world)
        add_tendon_damping(m, s, world)
        if m.fluid == 1:
            for body in range(1, m.nbody):
                subtract_drag_derivative(m, s, world, body)
    factor(m.nv, s.hessian[world])


@wp.func
def velocity_slope(m: ModelArrays, s: Scratch, world: int, actuator: int) -> real:
    """dp_i / dl'_i of an actuator; zero where its force is clamped, or its joint's. Needs qfrc_actuator unclamped."""
    u = clamped_ctrl(m, s, world, actuator)
    slope = m.actuator_gain[world, actuator][2] * u + m.actuator_bias[world, actuator][2]
    if slope != ZERO and m.actuator_forcelimited[actuator] == 1:
        length = actuator_length(m, s, world, actuator)
        force = unclamped_force(m, world, actuator, u, length, moment_dot(m, actuator, s.qvel[world]))
        slope *= inside(force, m.actuator_forcerange[actuator, 0], m.actuator_forcerange[actuator, 1])
    joint = m.actuator_joint[actuator]
    if joint >= 0:
        total = s.qfrc_actuator[world, m.jnt_dofadr[joint]]
        slope *= inside(total, m.jnt_actfrcrange[joint, 0], m.jnt_actfrcrange[joint, 1])
    return slope


@wp.func
def subtract_actuator_derivative(m: ModelArrays, s: Scratch, world: int):
    """Hessian -= h sum_i moment_i (dp_i / dl'_i) moment_i', where M has an entry."""
    for actuator in range(m.nactuator):
        slope = m.timestep * velocity_slope(m, s, world, actuator)
        if slope != ZERO:
            first = m.moment_adr[actuator]
            last = first + m.moment_num[actuator]
            for row in range(first, last):
                i = m.moment_dof[row]
                for col in range(first, last):
                    j = m.moment_dof[col]
                    if is_ancestor(m, j, i) == 1:
                        s.hessian[world, i, j] = (
                            s.hessian[world, i, j] - slope * m.moment_value[row] * m.moment_value[col]
                        )


@wp.func
def is_ancestor(m: ModelArrays, ancestor: int, dof: int) -> int:
    """1 if M has an entry at (dof, ancestor), in its lower triangle."""
    d = dof
    while d > ancestor:
        d = m.dof_parent[d]
    if d == ancestor:
        return 1
    return 0


@wp.func
def subtract_drag_derivative(m: ModelArrays, s: Scratch, world: int, body: int):
    """Hessian -= h S' (d drag / d V) S over the dofs that move a body."""
    i = m.body_lastdof[body]
    while i >= 0:
        slope = m.timestep * drag_derivative(m, s, world, body, s.velocity[world, body], s.motion[world, i])
        j = i
        while j >= 0:
            s.hessian[world, i, j] = s.hessian[world, i, j] - wp.dot(s.motion[world, j], slope)
            j = m.dof_parent[j]
        i = m.dof_parent[i]


@wp.func
def implicit_acceleration(m: ModelArrays, s: Scratch, world: int):
    """Fills `search` with w: the acceleration that the velocity step takes. Needs qacc and the mass matrix."""
    factor_implicit(m, s, world)
    multiply_mass(m, s, world, s.qacc[world], s.search[world])
    factor_solve(m.nv, s.hessian[world], s.search[world])
    gyroscopic_solve(m, s, world, s.search[world])


@wp.func
def implicit_adjoint(m: ModelArrays, s: Scratch, world: int):
    """From `rate`, the cotangent of w, adds to qacc_bar, qpos_bar, qvel_bar and ctrl_bar.

    Needs the moving frames, and w with its factor, as `implicit_acceleration` leaves them.

    mu = (M - h D)^-1 w_bar,    a_bar = M mu,    and the gradient of mu' M(q) (a - w) + h mu' D(q, v, u) w.
    """
    gyroscopic_solve_transposed(m, s, world, s.rate[world])
    factor_solve(m.nv, s.hessian[world], s.rate[world])
    multiply_mass(m, s, world, s.rate[world], s.work[world])
    for dof in range(m.nv):
        s.qacc_bar[world, dof] = s.qacc_bar[world, dof] + s.work[world, dof]
    for dof in range(m.nv):
        s.work[world, dof] = s.qacc[world, dof] - s.search[world, dof]
    inertia_gradient(m, s, world)
    if m.parameter_gradient == 1:
        implicit_parameter_gradient(m, s, world)
    if m.integrator == IMPLICITFAST:
        gyroscopic_gradient(m, s, world, s.rate[world], s.search[world])
        actuator_derivative_gradient(m, s, world)
        if m.fluid == 1:
            drag_derivative_gradient(m, s, world)


@wp.func
def zero_twist() -> vec6:
    """A twist or wrench of zeros."""
    return vec6(ZERO, ZERO, ZERO, ZERO, ZERO, ZERO)


@wp.func
def inertia_gradient(m: ModelArrays, s: Scratch, world: int):
    """Adds the gradient of mu' M(q) x to qpos_bar; mu in `rate`, x in `work`.

    The twists Y of mu and X of x are kept in virtual_twist and wrench, their cotangents I X and I Y in twist_bar and
    acceleration_bar; S_d . (Y x* I X + X x* I Y) as in `virtual_power`.
    """
    s.virtual_twist[world, 0] = zero_twist()
    s.wrench[world, 0] = zero_twist()
    for body in range(1, m.nbody):
        y = s.virtual_twist[world, m.body_parent[body]]
        x = s.wrench[world, m.body_parent[body]]
        for block in range(m.body_blockadr[body], m.body_blockadr[body] + m.body_blocknum[body]):
            y += block_twist(s, world, m.block_dofadr[block], m.block_dofnum[block], s.rate[world])
            x += block_twist(s, world, m.block_dofadr[block], m.block_dofnum[block], s.work[world])
        s.virtual_twist[world, body] = y
        s.wrench[world, body] = x
        mass = m.body_mass[world, body]
        s.twist_bar[world, body] = apply_inertia(mass, s.body_moment[world, body], s.body_rotary[world, body], x)
        s.acceleration_bar[world, body] = apply_inertia(mass, s.body_moment[world, body], s.body_rotary[world, body], y)
    for r in range(m.nbody - 1):
        body = m.nbody - 1 - r
        y = s.virtual_twist[world, body]
        x = s.wrench[world, body]
        y_bar = s.twist_bar[world, body]
        x_bar = s.acceleration_bar[world, body]
        blocks = m.body_blocknum[body]
        for b in range(blocks):
            block = m.body_blockadr[body] + blocks - 1 - b
            dofadr = m.block_dofadr[block]
            dofnum = m.block_dofnum[block]
            y = y - block_twist(s, world, dofadr, dofnum, s.rate[world])
            x = x - block_twist(s, world, dofadr, dofnum, s.work[world])
            turn_bar = cross_force(y, y_bar) + cross_force(x, x_bar)
            for dof in range(dofadr, dofadr + dofnum):
                s.qpos_bar[world, dof] = s.qpos_bar[world, dof] - wp.dot(s.motion[world, dof], turn_bar)
        parent = m.body_parent[body]
        if parent > 0:
            s.twist_bar[world, parent] = s.twist_bar[world, parent] + y_bar
            s.acceleration_bar[world, parent] = s.acceleration_bar[world, parent] + x_bar


@wp.func
def actuator_derivative_gradient(m: ModelArrays, s: Scratch, world: int):
    """Adds the gradient of h mu' D w to ctrl_bar and the actuators' parameters; mu in `rate`, w in `search`."""
    for actuator in range(m.nactuator):
        gain = m.actuator_gain[world, actuator][2]
        if velocity_slope(m, s, world, actuator) != ZERO:
            first = m.moment_adr[actuator]
            last = first + m.moment_num[actuator]
            power = real(0.0)
            for row in range(first, last):
                i = m.moment_dof[row]
                for col in range(first, last):
                    j = m.moment_dof[col]
                    if is_ancestor(m, wp.min(i, j), wp.max(i, j)) == 1:
                        power += m.moment_value[row] * s.rate[world, i] * m.moment_value[col] * s.search[world, j]
            ctrl = m.actuator_ctrl[actuator]
            u_bar = m.timestep * gain * power
            if m.actuator_ctrllimited[actuator] == 1:
                u_bar *= inside(
                    s.ctrl[world, ctrl], m.actuator_ctrlrange[actuator, 0], m.actuator_ctrlrange[actuator, 1]
                )
            s.ctrl_bar[world, ctrl] = s.ctrl_bar[world, ctrl] + u_bar
            if m.parameter_gradient == 1:
                slope_bar = m.timestep * power
                add_to(s, world, m.at_actuator_gain + 3 * actuator + 2, slope_bar * clamped_ctrl(m, s, world, actuator))
                add_to(s, world, m.at_actuator_bias + 3 * actuator + 2, slope_bar)


@wp.func
def drag_derivative_gradient(m: ModelArrays, s: Scratch, world: int):
    """Adds the gradient of h sum_b Y . (d drag / d V) Z to qpos_bar and qvel_bar; mu in `rate`, w in `search`.

    As in `virtual_power`, with the cotangents of Y, Z and V in twist_bar, acceleration_bar and velocity_bar.
    """
    s.virtual_twist[world, 0] = zero_twist()
    s.wrench[world, 0] = zero_twist()
    for body in range(1, m.nbody):
        y = s.virtual_twist[world, m.body_parent[body]]
        z = s.wrench[world, m.body_parent[body]]
        for block in range(m.body_blockadr[body], m.body_blockadr[body] + m.body_blocknum[body]):
            y += block_twist(s, world, m.block_dofadr[block], m.block_dofnum[block], s.rate[world])
            z += block_twist(s, world, m.block_dofadr[block], m.block_dofnum[block], s.search[world])
        v = s.velocity[world, body]
        s.virtual_twist[world, body] = y
        s.wrench[world, body] = z
        v_bar = m.timestep * drag_second_derivative(m, s, world, body, v, y, z)
        s.twist_bar[world, body] = m.timestep * drag_derivative(m, s, world, body, v, z)
        s.acceleration_bar[world, body] = m.timestep * drag_derivative(m, s, world, body, v, y)
        s.velocity_bar[world, body] = v_bar
        s.pose_bar[world, body] = cross_force(wind_twist(m), v_bar)
        if m.parameter_gradient == 1:
            drag_parameter_gradient(m, s, world, body, y, z)
    for r in range(m.nbody - 1):
        body = m.nbody - 1 - r
        drag_joint_cotangents(m, s, world, body)


@wp.func
def drag_joint_cotangents(m: ModelArrays, s: Scratch, world: int, body: int):
    """Adds to qpos_bar and qvel_bar of a body's dofs from its subtree's cotangents, and hands these to its parent."""
    y = s.virtual_twist[world, body]
    z = s.wrench[world, body]
    v = s.velocity[world, body]
    y_bar = s.twist_bar[world, body]
    z_bar = s.acceleration_bar[world, body]
    v_bar = s.velocity_bar[world, body]
    pose_bar = s.pose_bar[world, body]
    blocks = m.body_blocknum[body]
    for b in range(blocks):
        block = m.body_blockadr[body] + blocks - 1 - b
        dofadr = m.block_dofadr[block]
        dofnum = m.block_dofnum[block]
        y = y - block_twist(s, world, dofadr, dofnum, s.rate[world])
        z = z - block_twist(s, world, dofadr, dofnum, s.search[world])
        v = v - block_twist(s, world, dofadr, dofnum, s.qvel[world])
        turn_bar = pose_bar - cross_force(y, y_bar) - cross_force(z, z_bar) - cross_force(v, v_bar)
        for dof in range(dofadr, dofadr + dofnum):
            s.qpos_bar[world, dof] = s.qpos_bar[world, dof] + wp.dot(s.motion[world, dof], turn_bar)
            s.qvel_bar[world, dof] = s.qvel_bar[world, dof] + wp.dot(s.motion[world, dof], v_bar)
    parent = m.body_parent[body]
    if parent > 0:
        s.twist_bar[world, parent] = s.twist_bar[world, parent] + y_bar
        s.acceleration_bar[world, parent] = s.acceleration_bar[world, parent] + z_bar
        s.velocity_bar[world, parent] = s.velocity_bar[world, parent] + v_bar
        s.pose_bar[world, parent] = s.pose_bar[world, parent] + pose_bar
