"""Gradient of the virtual power by physical parameters, from what the gradient by states left in the working memory.

P is linear in masses and inertias, so its gradient by them costs a few products per body. `parameter_bar` is one vector
in the order of `diffsim.compile.kernel_forms.KERNEL_FIELDS`; m.at_... are the offsets of the fields.
"""

import warp as wp

from diffsim.physics.activation import actuator_input
from diffsim.physics.actuation import (
    actuator_length,
    drive_input,
    is_muscle,
    moment_dot,
    setpoint_turns,
    tracked_ctrl,
)
from diffsim.physics.adhesion import adhesion_power
from diffsim.physics.cone import cone_mu, cone_product, cone_slope_gradient, load_products, load_rows
from diffsim.physics.constraint import SLIDING, row_dot
from diffsim.physics.constraint_parameters import add_to, row_parameter_gradient, solver_gradient
from diffsim.physics.contact import components
from diffsim.physics.contact_gradient import contact_forces, relative_twists
from diffsim.physics.contact_list import contact_dim, contact_total
from diffsim.physics.equality_gradient import row_cotangents
from diffsim.physics.fluid import com_arm, drag_at, drag_bend_at, drag_slope_at, inertia_axes, to_box, wind_twist
from diffsim.physics.gear_gradient import gear_gradient, implicit_gear_gradient
from diffsim.physics.gravcomp import compensated
from diffsim.physics.implicit import actuator_slope_cotangent, velocity_gain
from diffsim.physics.integrate import load3, quat_cotangent
from diffsim.physics.lanes import lane, lanes, sync
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.muscle_gradient import muscle_bias_gradient, muscle_gain_gradient
from diffsim.physics.passive import spring_rotation
from diffsim.physics.rotation import quat_conj, quat_mul, rotate
from diffsim.physics.scratch import Scratch
from diffsim.physics.spatial import angular, cross_force, cross_motion, linear
from diffsim.physics.surface_velocity import surface_components
from diffsim.physics.tendon_gradient import implicit_tendon_gradient, tendon_parameter_gradient
from diffsim.physics.timestep_gradient import early_timestep_gradient, implicit_timestep_gradient
from diffsim.physics.virtual_power import force_cotangent, joint_clamp_gradient, no_kappa
from diffsim.physics.world_parameters import timestep
from diffsim.types import BALL, FREE, TWO, ZERO, quat, real, vec3, vec6


@wp.func
def add_vector(s: Scratch, world: int, index: int, axes: quat, value: vec3):
    """parameter_bar[index : index + 3] += value, given in world axes, in `axes`."""
    local = rotate(quat_conj(axes), value)
    for i in range(3):
        add_to(s, world, index + i, local[i])


@wp.func
def add_com(m: ModelArrays, s: Scratch, world: int, body: int, value: vec3):
    """Adds a gradient by the position of a body's centre of mass, in world axes."""
    add_vector(s, world, m.at_body_ipos + 3 * body, s.xquat[world, body], value)


@wp.func
def add_position(m: ModelArrays, s: Scratch, world: int, body: int, value: vec6):
    """Adds a gradient by a motion of a body's subtree, in world axes: that by the body's position and orientation.

    The orientation turns the subtree about the body's origin before its joints.
    """
    parent = m.body_parent[body]
    parent_quat = s.xquat[world, parent]
    add_vector(s, world, m.at_body_pos + 3 * body, parent_quat, linear(value))
    own = m.body_quat[world * m.body_stride + body]
    origin = s.xpos[world, parent] + rotate(parent_quat, m.body_pos[world * m.body_stride + body])
    torque = angular(value) - wp.cross(origin - s.xpos[world, m.body_root[body]], linear(value))
    bar = quat_cotangent(own, rotate(quat_conj(quat_mul(parent_quat, own)), torque))
    for i in range(4):
        add_to(s, world, m.at_body_quat + 4 * body + i, bar[i])


@wp.func
def position_gradient(
    m: ModelArrays, s: Scratch, world: int, twist: wp.array(dtype=vec6), twist_bar: wp.array(dtype=vec6)
):
    """Adds the gradient of twists by the bodies' poses. Needs the sums over subtrees of `tree.gather`.

    A body's pose in the model moves its subtree as a slide and a ball joint before its joints would.
    """
    for body in range(1 + lane(), m.nbody, lanes()):
        add_position(m, s, world, body, -cross_force(twist[m.body_parent[body]], twist_bar[body]))


@wp.func
def motion_position_gradient(m: ModelArrays, s: Scratch, world: int):
    """Adds the gradient of V, A and poses by the bodies' poses in the model. Needs the sums of `tree.gather_motion`."""
    for body in range(1 + lane(), m.nbody, lanes()):
        add_position(m, s, world, body, s.pose_bar[world, body])
    position_gradient(m, s, world, s.velocity[world], s.velocity_bar[world])
    position_gradient(m, s, world, s.acceleration[world], s.acceleration_bar[world])


@wp.func
def add_inertia_product(m: ModelArrays, s: Scratch, world: int, body: int, y: vec6, x: vec6, sign: real):
    """Adds sign times the gradient of y . I x by a body's mass, centre of mass and rotational inertia."""
    arm = com_arm(m, s, world, body)
    y_com = linear(y) + wp.cross(angular(y), arm)
    x_com = linear(x) + wp.cross(angular(x), arm)
    add_to(s, world, m.at_body_mass + body, sign * wp.dot(y_com, x_com))
    turn = wp.cross(x_com, angular(y)) + wp.cross(y_com, angular(x))
    add_com(m, s, world, body, sign * m.body_mass[world * m.body_stride + body] * turn)
    inverse = quat_conj(s.xquat[world, body])
    y_local = rotate(inverse, angular(y))
    x_local = rotate(inverse, angular(x))
    for i in range(3):
        for j in range(3):
            add_to(s, world, m.at_body_rotary + 9 * body + 3 * i + j, sign * y_local[i] * x_local[j])


@wp.func
def body_parameter_gradient(m: ModelArrays, s: Scratch, world: int, body: int):
    """Adds a body's part of P = -sum Y . (I A + V x* I V - drag); Y . (V x* I V) = -(V x Y) . I V."""
    v = s.velocity[world, body]
    y = s.virtual_twist[world, body]
    add_inertia_product(m, s, world, body, y, s.acceleration[world, body], real(-1.0))
    add_inertia_product(m, s, world, body, cross_motion(v, y), v, real(1.0))
    if m.fluid == 1:
        axes = inertia_axes(m, s, world, body)
        arm = com_arm(m, s, world, body)
        x = to_box(axes, arm, v - wind_twist(m))
        z = to_box(axes, arm, y)
        for k in range(6):
            add_to(s, world, m.at_fluid_linear + 6 * body + k, -z[k] * x[k])
            add_to(s, world, m.at_fluid_quadratic + 6 * body + k, -z[k] * wp.abs(x[k]) * x[k])
        turn = wp.cross(pull(axes, drag_at(m, world, body, x)), angular(y))
        turn += wp.cross(pull(axes, drag_slope_at(m, world, body, x, z)), angular(v))
        add_com(m, s, world, body, turn)


@wp.func
def pull(axes: quat, box: vec6) -> vec3:
    """The force of a wrench in the axes of a body's inertia, in world axes."""
    return rotate(axes, linear(box))


@wp.func
def power_parameter_gradient(m: ModelArrays, s: Scratch, world: int):
    """Adds the gradient of P. Needs `virtual_power.virtual_power_gradient`."""
    for body in range(1 + lane(), m.nbody, lanes()):
        body_parameter_gradient(m, s, world, body)
    joint_parameter_gradient(m, s, world)
    position_gradient(m, s, world, s.virtual_twist[world], s.virtual_twist_bar[world])
    if contact_total(m, s, world) + m.neq + m.nline > 0:
        if not no_kappa(m, s, world):
            position_gradient(m, s, world, s.constraint_twist[world], s.constraint_twist_bar[world])
        position_gradient(m, s, world, s.qacc_twist[world], s.qacc_twist_bar[world])
    if m.nline > 0:
        position_gradient(m, s, world, s.push_twist[world], s.push_twist_bar[world])
    motion_position_gradient(m, s, world)
    if m.ngravcomp > 0:
        position_gradient(m, s, world, s.gravcomp_twist[world], s.gravcomp_twist_bar[world])
        for body in range(1 + lane(), m.nbody, lanes()):
            up = m.rare[0].body_gravcomp[body] * s.acceleration[world, 0]
            add_inertia_product(m, s, world, body, s.gravcomp_twist[world, body], up, real(1.0))
    joint_clamp_gradient(m, s, world)
    sync()
    for actuator in range(lane(), m.nactuator, lanes()):
        actuator_parameter_gradient(m, s, world, actuator)
    if lane() == 0:
        contact_parameter_gradient(m, s, world, s.constraint_velocity[world])
        for row in range(s.row_count[world]):
            power = row_dot(s, world, row, s.constraint_velocity[world]) + s.row_force_bar[world, row]
            row_parameter_gradient(m, s, world, row, power)
        gravity_gradient(m, s, world, s.constraint_velocity[world])
        tendon_parameter_gradient(m, s, world)
        for actuator in range(m.nactuator):
            early_timestep_gradient(m, s, world, actuator, s.actuator_bar[world, actuator][0])
    sync()
    gear_gradient(m, s, world)
    sync()


@wp.func
def gravity_gradient(m: ModelArrays, s: Scratch, world: int, x: wp.array(dtype=real)):
    """Adds the part of gravity, for one lane. A includes gravity; the acceleration in a connect or weld does not."""
    for c in range(m.body_childadr[0], m.body_childadr[1]):
        a_bar = s.acceleration_bar[world, m.body_child[c]]
        for i in range(3):
            add_to(s, world, m.at_gravity + i, -a_bar[3 + i])
    if m.ngravcomp > 0:
        for body in range(1, m.nbody):
            up_bar = compensated(m, s, world, body, s.gravcomp_twist[world, body])
            for i in range(3):
                add_to(s, world, m.at_gravity + i, -up_bar[3 + i])
    if m.nline > 0:
        for i in range(3):
            add_to(s, world, m.at_gravity + i, -s.acceleration_bar[world, 0][3 + i])
    for eq in range(m.neq):
        if s.eq_row[world, eq] >= 0:
            pull = row_cotangents(m, s, world, eq, s.eq_row[world, eq], ZERO, x).beta
            for i in range(3):
                if m.rare[0].eq_body[eq, 0] > 0:
                    add_to(s, world, m.at_gravity + i, pull[i])
                if m.rare[0].eq_body[eq, 1] > 0:
                    add_to(s, world, m.at_gravity + i, -pull[i])


@wp.func
def joint_parameter_gradient(m: ModelArrays, s: Scratch, world: int):
    """Adds the parts of armature, damping and stiffness."""
    for dof in range(lane(), m.nv, lanes()):
        push = s.virtual_velocity[world, dof]
        add_to(s, world, m.at_dof_armature + dof, -push * s.qacc[world, dof])
        add_to(s, world, m.at_dof_damping + dof, -push * s.qvel[world, dof])
    for joint in range(lane(), m.njnt, lanes()):
        adr = m.jnt_qposadr[joint]
        dof = m.jnt_dofadr[joint]
        kind = m.jnt_type[joint]
        stretched = real(0.0)
        if kind == FREE or kind == BALL:
            if kind == FREE:
                for i in range(3):
                    stretch = s.qpos[world, adr + i] - m.qpos_spring[adr + i]
                    stretched += s.virtual_velocity[world, dof + i] * stretch
                adr = adr + 3
                dof = dof + 3
            stretched += wp.dot(spring_rotation(m, s, world, adr), load3(s.virtual_velocity[world], dof))
        else:
            stretched = s.virtual_velocity[world, dof] * (s.qpos[world, adr] - m.qpos_spring[adr])
        add_to(s, world, m.at_jnt_stiffness + joint, -stretched)


@wp.func
def actuator_parameter_gradient(m: ModelArrays, s: Scratch, world: int, actuator: int):
    """Adds the part of an actuator's gain and bias. Needs `joint_clamp_gradient`."""
    length = actuator_length(m, s, world, actuator)
    velocity = moment_dot(m, s, world, actuator, s.qvel[world])
    u = drive_input(m, s, world, actuator)
    force_bar = force_cotangent(m, s, world, actuator, u, length, velocity)
    tracked = tracked_ctrl(m, world, actuator, u, length)
    gain_bar = force_bar * m.actuator_gain[world * m.actuator_stride + actuator][0]
    add_to(s, world, m.at_actuator_period + actuator, -gain_bar * setpoint_turns(m, world, actuator, u, length))
    terms = vec3(real(1.0), length, velocity)
    for k in range(3):
        add_to(s, world, m.at_actuator_gain + 3 * actuator + k, force_bar * tracked * terms[k])
        add_to(s, world, m.at_actuator_bias + 3 * actuator + k, force_bar * terms[k])
    muscle_parameter_gradient(m, s, world, actuator, force_bar * u, ZERO, force_bar)


@wp.func
def muscle_parameter_gradient(
    m: ModelArrays, s: Scratch, world: int, actuator: int, gain_bar: real, slope_bar: real, bias_bar: real
):
    """Adds the part of a muscle, given the cotangents of its gain, of the gain's slope by velocity, and of its bias."""
    if is_muscle(m, actuator):
        length = actuator_length(m, s, world, actuator)
        row = m.rare[0].actuator_gain_row[actuator]
        if row >= 0:
            velocity = moment_dot(m, s, world, actuator, s.qvel[world])
            prm = m.muscle_gain[world * m.muscle_gain_stride + row]
            gain = muscle_gain_gradient(prm, length, velocity, gain_bar, slope_bar)
            for k in range(8):
                add_to(s, world, m.at_muscle_gain + 8 * row + k, gain[k])
        row = m.rare[0].actuator_bias_row[actuator]
        if row >= 0:
            bias = muscle_bias_gradient(m.muscle_bias[world * m.muscle_bias_stride + row], length, bias_bar)
            for k in range(6):
                add_to(s, world, m.at_muscle_bias + 6 * row + k, bias[k])


@wp.func
def contact_parameter_gradient(m: ModelArrays, s: Scratch, world: int, x: wp.array(dtype=real)):
    """Adds the gradient by friction, and by positions and sizes of geoms. For one lane, since contacts share pairs."""
    for contact in range(contact_total(m, s, world)):
        if contact_forces(m, s, world, contact, x):
            pair = s.contact_pair[world, contact]
            body1 = m.geom_body[m.pair_geom1[pair]]
            body2 = m.geom_body[m.pair_geom2[pair]]
            by_x, by_a = relative_twists(m, s, world, contact, body1, body2)
            frame = s.contact_frame[world, contact]
            alpha = s.contact_alpha[world, contact]
            beta = s.contact_beta[world, contact]
            u_a = components(frame, by_a)
            if m.surfacevel == 1:
                u_a += s.contact_damping[world, contact] * surface_components(m, s, world, contact)
            if contact < s.contact_count[world]:
                friction_gradient(m, s, world, contact, alpha, beta, components(frame, by_x), u_a)
                if s.contact_sensed[world, contact] == 1:
                    sensed_friction_gradient(m, s, world, contact)
            for side in range(2):
                geom = m.pair_geom1[pair]
                if side == 1:
                    geom = m.pair_geom2[pair]
                axes = s.xquat[world, m.geom_body[geom]]
                size_bar = s.contact_geom_bar[world, contact, 2 * side + 1]
                add_vector(s, world, m.at_geom_pos + 3 * geom, axes, s.contact_geom_bar[world, contact, 2 * side])
                for i in range(3):
                    add_to(s, world, m.at_geom_size + 3 * geom + i, size_bar[i])
            if m.elliptic == 1 and contact < s.contact_count[world]:
                sliding_gradient(m, s, world, contact, x)


@wp.func
def friction_gradient(
    m: ModelArrays, s: Scratch, world: int, contact: int, alpha: vec6, beta: vec6, u_x: vec6, u_a: vec6
):
    """Adds the part of the friction of a contact's pair, in the notation of `contact_gradient`.

    A pyramid's D falls as 1 / (mu^2 (1 + mu^2)). In an elliptic cone friction scales the rows; it also sets the slope.
    """
    pair = s.contact_pair[world, contact]
    condim = contact_dim(m, s, world, contact)
    adr = m.at_pair_friction + 5 * pair
    if m.elliptic == 1:
        for j in range(2, condim):
            by_scale = alpha[j] * u_x[j] + beta[j] * u_a[j]
            add_to(s, world, adr + j - 1, by_scale / m.pair_friction[world * m.pair_stride + pair, j - 1])
            add_to(s, world, adr, -by_scale / m.pair_friction[world * m.pair_stride + pair, 0])
        return
    for j in range(1, condim):
        mu = m.pair_friction[world * m.pair_stride + pair, j - 1]
        add_to(s, world, adr + j - 1, (alpha[j] * u_x[j] + beta[j] * u_a[j]) / mu)
    mu = m.pair_friction[world * m.pair_stride + pair, 0]
    if condim > 1:
        power = wp.dot(alpha, u_x)
        if m.adhesion == 1:
            power += adhesion_power(m, s, world, contact, beta[0])
        add_to(s, world, adr, -power * (TWO / mu + TWO * mu / (real(1.0) + mu * mu)))


@wp.func
def sensed_friction_gradient(m: ModelArrays, s: Scratch, world: int, contact: int):
    """Adds the part of friction through a contact's force itself, and in pyramids of sensed forces through D."""
    pair = s.contact_pair[world, contact]
    first = s.contact_row[world, contact]
    condim = contact_dim(m, s, world, contact)
    adr = m.at_pair_friction + 5 * pair
    product = real(0.0)
    for j in range(1, condim):
        mu = m.pair_friction[world * m.pair_stride + pair, j - 1]
        if m.elliptic == 1:
            by_scale = s.row_force_bar[world, first + j] * s.row_force[world, first + j]
            if j > 1:
                add_to(s, world, adr + j - 1, by_scale / mu)
                add_to(s, world, adr, -by_scale / m.pair_friction[world * m.pair_stride + pair, 0])
        else:
            row = first + 2 * j - 2
            product += s.row_force_bar[world, row] * s.row_force[world, row]
            product += s.row_force_bar[world, row + 1] * s.row_force[world, row + 1]
            bar = s.row_force_bar[world, row] - s.row_force_bar[world, row + 1]
            force = s.row_force[world, row] - s.row_force[world, row + 1]
            add_to(s, world, adr + j - 1, bar * force / (TWO * mu))
    if m.elliptic == 0 and condim > 1:
        mu = m.pair_friction[world * m.pair_stride + pair, 0]
        add_to(s, world, adr, -product * (TWO / mu + TWO * mu / (real(1.0) + mu * mu)))


@wp.func
def sliding_gradient(m: ModelArrays, s: Scratch, world: int, contact: int, x: wp.array(dtype=real)):
    """Adds the part of friction through the slope of an elliptic cone, and of solref and solimp, where it slides."""
    first = s.contact_row[world, contact]
    if s.row_state[world, first] == SLIDING:
        pair = s.contact_pair[world, contact]
        dim = contact_dim(m, s, world, contact)
        u = load_rows(s.row_residual[world], first, dim)
        push = load_products(s, world, first, dim, x) + load_rows(s.row_force_bar[world], first, dim)
        stiffness = s.row_stiffness[world, first]
        mu = cone_mu(m, world, pair)
        by_mu = cone_slope_gradient(stiffness, mu, u, push)
        add_to(s, world, m.at_pair_friction + 5 * pair, by_mu / wp.sqrt(m.impratio))
        pull = cone_product(SLIDING, stiffness, mu, u, push)
        for j in range(dim):
            solver_gradient(m, s, world, first + j, push[j], pull[j])


@wp.func
def implicit_parameter_gradient(m: ModelArrays, s: Scratch, world: int):
    """Adds the parts of mu' M (a - w) - h mu' B w, B the joint damping. Needs `implicit_inertia_adjoint`."""
    position_gradient(m, s, world, s.virtual_twist[world], s.virtual_twist_bar[world])
    position_gradient(m, s, world, s.qacc_twist[world], s.qacc_twist_bar[world])
    for body in range(1 + lane(), m.nbody, lanes()):
        y = s.virtual_twist[world, body]
        add_inertia_product(m, s, world, body, y, s.qacc_twist[world, body], real(1.0))
    for dof in range(lane(), m.nv, lanes()):
        mu = s.multiplier[world, dof]
        add_to(s, world, m.at_dof_armature + dof, mu * s.qacc_change[world, dof])
        add_to(s, world, m.at_dof_damping + dof, -timestep(m, world) * mu * s.implicit_qacc[world, dof])
    implicit_timestep_gradient(m, s, world)


@wp.func
def implicitfast_parameter_gradient(m: ModelArrays, s: Scratch, world: int):
    """Adds the parts of h mu' D w of actuators, and of drag, h sum_b Y . (d drag / d V) Z.

    Needs the stages of `diffsim.stages.implicit_adjoint`.
    """
    implicit_gear_gradient(m, s, world)
    implicit_tendon_gradient(m, s, world)
    for actuator in range(lane(), m.nactuator, lanes()):
        slope_bar = actuator_slope_cotangent(m, s, world, actuator)
        adr = 3 * actuator + 2
        u = actuator_input(m, s, world, actuator)
        add_to(s, world, m.at_actuator_gain + adr, slope_bar * u)
        add_to(s, world, m.at_actuator_bias + adr, slope_bar)
        muscle_parameter_gradient(m, s, world, actuator, ZERO, slope_bar * u, ZERO)
    if lane() == 0 and m.na > 0:
        for actuator in range(m.nactuator):
            gain = velocity_gain(m, s, world, actuator)
            input_bar = gain * actuator_slope_cotangent(m, s, world, actuator)
            early_timestep_gradient(m, s, world, actuator, input_bar)
    sync()
    if m.fluid == 0:
        return
    position_gradient(m, s, world, s.virtual_twist[world], s.virtual_twist_bar[world])
    position_gradient(m, s, world, s.qacc_twist[world], s.qacc_twist_bar[world])
    motion_position_gradient(m, s, world)
    for body in range(1 + lane(), m.nbody, lanes()):
        body_drag_gradient(m, s, world, body, s.virtual_twist[world, body], s.qacc_twist[world, body])


@wp.func
def body_drag_gradient(m: ModelArrays, s: Scratch, world: int, body: int, y: vec6, z: vec6):
    """Adds a body's part of h Y . (d drag / d V) Z by its drag and its centre of mass."""
    axes = inertia_axes(m, s, world, body)
    arm = com_arm(m, s, world, body)
    x = to_box(axes, arm, s.velocity[world, body] - wind_twist(m))
    product = to_box(axes, arm, y)
    local_z = to_box(axes, arm, z)
    for k in range(6):
        bar = -timestep(m, world) * product[k] * local_z[k]
        add_to(s, world, m.at_fluid_linear + 6 * body + k, bar)
        add_to(s, world, m.at_fluid_quadratic + 6 * body + k, TWO * wp.abs(x[k]) * bar)
    turn = wp.cross(pull(axes, drag_slope_at(m, world, body, x, local_z)), angular(y))
    turn += wp.cross(pull(axes, drag_slope_at(m, world, body, x, product)), angular(z))
    turn += wp.cross(pull(axes, drag_bend_at(m, world, body, x, product, local_z)), angular(s.velocity[world, body]))
    add_com(m, s, world, body, timestep(m, world) * turn)
