"""Gradient of the virtual power by physical parameters.

P is linear in masses and inertias, so its gradient by them costs a few products per body. `parameter_bar` is one vector
in the order of `diffsim.compile.parameters.KERNEL_FIELDS`; m.at_... are the offsets of the fields.
"""

import warp as wp

from diffsim.physics.fluid import com_arm, inertia_axes, to_box, wind_twist
from diffsim.physics.integrate import load3
from diffsim.physics.lanes import lane, lanes
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.passive import spring_rotation
from diffsim.physics.rotation import quat_conj, rotate
from diffsim.physics.scratch import Scratch
from diffsim.physics.spatial import angular, cross_motion, linear
from diffsim.types import BALL, FREE, TWO, real, vec3, vec6


@wp.func
def add_to(s: Scratch, world: int, index: int, value: real):
    """parameter_bar[index] += value."""
    s.parameter_bar[world, index] = s.parameter_bar[world, index] + value


@wp.func
def add_inertia_product(m: ModelArrays, s: Scratch, world: int, body: int, y: vec6, x: vec6, sign: real):
    """Adds sign times the gradient of y . I x by a body's mass and rotational inertia."""
    arm = com_arm(m, s, world, body)
    y_com = linear(y) + wp.cross(angular(y), arm)
    x_com = linear(x) + wp.cross(angular(x), arm)
    add_to(s, world, m.at_body_mass + body, sign * wp.dot(y_com, x_com))
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
def actuator_parameter_gradient(
    m: ModelArrays, s: Scratch, world: int, actuator: int, force_bar: real, u: real, length: real, velocity: real
):
    """Adds the part of an actuator's gain and bias, given the cotangent of its force."""
    adr = 3 * actuator
    terms = vec3(real(1.0), length, velocity)
    for k in range(3):
        add_to(s, world, m.at_actuator_gain + adr + k, force_bar * u * terms[k])
        add_to(s, world, m.at_actuator_bias + adr + k, force_bar * terms[k])


@wp.func
def friction_gradient(m: ModelArrays, s: Scratch, world: int, pair: int, alpha: vec6, beta: vec6, u_x: vec6, u_a: vec6):
    """Adds the part of a pair's friction, in the notation of `contact_gradient`; D falls as 1 / (mu^2 (1 + mu^2))."""
    adr = m.at_pair_friction + 5 * pair
    for j in range(1, m.pair_condim[pair]):
        mu = m.pair_friction[world, pair, j - 1]
        add_to(s, world, adr + j - 1, (alpha[j] * u_x[j] + beta[j] * u_a[j]) / mu)
    mu = m.pair_friction[world, pair, 0]
    if m.pair_condim[pair] > 1:
        add_to(s, world, adr, -wp.dot(alpha, u_x) * (TWO / mu + TWO * mu / (real(1.0) + mu * mu)))


@wp.func
def implicit_parameter_gradient(m: ModelArrays, s: Scratch, world: int):
    """Adds the parts of mu' M (a - w) - h mu' B w, B the joint damping. Needs the twists of `inertia_gradient`."""
    for body in range(1 + lane(), m.nbody, lanes()):
        y = s.virtual_twist[world, body]
        add_inertia_product(m, s, world, body, y, s.qacc_twist[world, body], real(1.0))
    for dof in range(lane(), m.nv, lanes()):
        mu = s.multiplier[world, dof]
        add_to(s, world, m.at_dof_armature + dof, mu * s.qacc_change[world, dof])
        add_to(s, world, m.at_dof_damping + dof, -m.timestep * mu * s.implicit_qacc[world, dof])


@wp.func
def drag_parameter_gradient(m: ModelArrays, s: Scratch, world: int, body: int, y: vec6, z: vec6):
    """Adds the part of h Y . (d drag / d V) Z."""
    axes = inertia_axes(m, s, world, body)
    arm = com_arm(m, s, world, body)
    x = to_box(axes, arm, s.velocity[world, body] - wind_twist(m))
    product = to_box(axes, arm, y)
    local_z = to_box(axes, arm, z)
    for k in range(6):
        bar = -m.timestep * product[k] * local_z[k]
        add_to(s, world, m.at_fluid_linear + 6 * body + k, bar)
        add_to(s, world, m.at_fluid_quadratic + 6 * body + k, TWO * wp.abs(x[k]) * bar)
