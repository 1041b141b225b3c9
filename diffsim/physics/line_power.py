"""Gradient of the virtual power of all forces along lines: of tendons, of constraint rows and of actuators."""

from functools import partial

import warp as wp

from diffsim.collision.gradient_call import calls_gradient
from diffsim.physics.actuation import actuator_force
from diffsim.physics.constraint import (
    QUADRATIC,
    SATISFIED,
    TENDON_FRICTION,
    TENDON_LIMIT,
    position_slope,
    row_damping,
    row_dot,
)
from diffsim.physics.lanes import lane, lanes
from diffsim.physics.line import LENGTH, POWER, PUSH, VELOCITY, add_line_bar, line_dot
from diffsim.physics.line_gradient import (
    add_coupled,
    armature_cotangents,
    push_lines,
)
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.scratch import Scratch
from diffsim.physics.tendon import damper_force, damper_slope, spring_force, spring_slope
from diffsim.physics.tendon_equality import add_tendon_bar, tendon_equalities_gradient
from diffsim.physics.tree import gather_motion, zero_twist
from diffsim.physics.world_parameters import gear_of
from diffsim.types import ONE, ZERO, real, vec7


@partial(calls_gradient, inline=True)
def line_power_gradient(m: ModelArrays, s: Scratch, world: int):
    """Adds the gradient to the cotangents of the bodies' twists and poses, and to qpos_bar.

    Needs `actuation_gradient`, which adds to the lines' cotangents, and leaves lambda without clamped joints in
    `work`. First all forces along all lines, then for each line that of -lambda' M a through its armature.
    """
    if lane() == 0:
        s.acceleration_bar[world, 0] = zero_twist()
    for step in range(m.nline + 1):
        first = wp.max(step - 1, 0)
        last = step
        armature = real(1.0)
        if step == 0:
            last = m.nline
            force_cotangents(m, s, world)
        else:
            armature = m.rare[0].line_armature[first]
            if armature != ZERO and lane() == 0:
                s.line_bar[world, first] = vec7()
                add_line_bar(s, world, first, PUSH, ONE)
                add_coupled(m, s, world, first, -armature, s.virtual_velocity[world], s.qacc[world])
        if armature != ZERO:
            push_lines(m, s, world, first, last)


@partial(calls_gradient, inline=True)
def sensed_lines_gradient(m: ModelArrays, s: Scratch, world: int):
    """Adds the gradient of lambda' qfrc_actuator and of sensed lengths and velocities to qpos_bar and qvel_bar.

    Needs `actuation_gradient`.
    """
    for body in range(lane(), m.nbody, lanes()):
        s.velocity_bar[world, body] = zero_twist()
        s.acceleration_bar[world, body] = zero_twist()
        s.pose_bar[world, body] = zero_twist()
    for dof in range(lane(), m.nv, lanes()):
        s.line_velocity[world, dof] = s.work[world, dof]
        s.qacc[world, dof] = ZERO
    if lane() == 0:
        for actuator in range(m.nactuator):
            actuator_cotangents(m, s, world, actuator)
    push_lines(m, s, world, 0, m.nline)
    gather_motion(m, s, world)


@wp.func
def force_cotangents(m: ModelArrays, s: Scratch, world: int):
    """Adds to the lines' cotangents, and sets `line_velocity` to lambda without clamped joints."""
    for dof in range(lane(), m.nv, lanes()):
        s.line_velocity[world, dof] = s.work[world, dof]
    if lane() == 0:
        for tendon in range(m.ntendon):
            tendon_cotangents(m, s, world, tendon)
        for row in range(s.row_count[world]):
            row_cotangents(m, s, world, row)
        tendon_equalities_gradient(m, s, world)
        for actuator in range(m.nactuator):
            actuator_cotangents(m, s, world, actuator)
        if m.adhesion_line >= 0:
            add_line_bar(s, world, m.adhesion_line, POWER, ONE)


@wp.func
def tendon_cotangents(m: ModelArrays, s: Scratch, world: int, tendon: int):
    """Adds the spring, the damper and the armature's bias force of a spatial tendon."""
    line = m.rare[0].tendon_line[tendon]
    if line >= 0:
        power = line_dot(m, s, world, line, s.virtual_velocity[world])
        velocity = line_dot(m, s, world, line, s.qvel[world])
        force = damper_force(m, world, tendon, velocity) + spring_force(m, s, world, tendon)
        add_line_bar(s, world, line, LENGTH, -spring_slope(m, s, world, tendon) * power)
        add_line_bar(s, world, line, POWER, force)
        add_line_bar(s, world, line, VELOCITY, -damper_slope(m, world, tendon, velocity) * power)
        armature_cotangents(m, s, world, line)


@wp.func
def row_cotangents(m: ModelArrays, s: Scratch, world: int, row: int):
    """Adds a limit or dry friction of a spatial tendon. Dry friction turns with J also at its limit."""
    source = s.row_source[world, row]
    state = s.row_state[world, row]
    if (source == TENDON_LIMIT or source == TENDON_FRICTION) and state != SATISFIED:
        tendon = s.row_index[world, row]
        if m.rare[0].tendon_line[tendon] >= 0:
            sign = row_sign(m, s, world, row, m.rare[0].tendon_line[tendon])
            pull = real(0.0)
            length_bar = real(0.0)
            if state == QUADRATIC:
                power = row_dot(s, world, row, s.constraint_velocity[world]) + s.row_force_bar[world, row]
                pull = -sign * power * s.row_stiffness[world, row]
                if source == TENDON_LIMIT:
                    length_bar = sign * power * position_slope(m, s, world, row)
            rate = row_damping(m, s, world, row) * pull
            add_tendon_bar(m, s, world, tendon, length_bar, sign * s.row_force[world, row], rate, pull)


@wp.func
def row_sign(m: ModelArrays, s: Scratch, world: int, row: int, line: int) -> real:
    """Whether the row's Jacobian is that of the line, 1, or its opposite, -1."""
    total = real(0.0)
    for entry in range(m.rare[0].line_adr[line], m.rare[0].line_adr[line] + m.rare[0].line_num[line]):
        total += s.line_moment[world, entry] * s.row_jacobian[world, row, m.rare[0].line_dof[entry]]
    if total < ZERO:
        return real(-1.0)
    return real(1.0)


@wp.func
def actuator_cotangents(m: ModelArrays, s: Scratch, world: int, actuator: int):
    """Adds an actuator's force."""
    line = m.actuator_line[actuator]
    if line >= 0:
        gear = gear_of(m, world, actuator)
        add_line_bar(s, world, line, PUSH, gear * actuator_force(m, s, world, actuator))
