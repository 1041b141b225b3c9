"""Gradient by the gears of actuators: by the entries of constant moments, and by the gears of lines.

A length, and the products J x of its moment, are linear in the gear. With the cotangents of an actuator's length and
velocity and its force p, the gradient is what multiplies the gear in

    l_bar l + l'_bar J v + p J lambda,    lambda without clamped joints
"""

import warp as wp

from diffsim.physics.activation import actuator_input
from diffsim.physics.actuation import actuator_force, is_muscle
from diffsim.physics.constraint_parameters import add_to
from diffsim.physics.contact import twist_at
from diffsim.physics.implicit import actuator_slope_cotangent, muscle_terms, velocity_slope
from diffsim.physics.kinematics import joint_quat
from diffsim.physics.lanes import lane, lanes, sync
from diffsim.physics.line import (
    CRANK,
    LENGTH,
    NORMALS,
    PUSH,
    REFSITE,
    VELOCITY,
    line_dot,
    place,
    place_quat,
    site_turn,
    slider_crank,
)
from diffsim.physics.line_gradient import body_twist, coupled_power, relative
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.rotation import quat_conj, quat_log, rotate
from diffsim.physics.scratch import Scratch
from diffsim.physics.spatial import angular, linear
from diffsim.physics.structure import is_ancestor
from diffsim.physics.tree import spread
from diffsim.physics.world_parameters import gear_of, moment_value, timestep
from diffsim.types import ONE, TWO, ZERO, real, vec3, vec7


@wp.func
def gear_gradient(m: ModelArrays, s: Scratch, world: int):
    """Adds the part of gears to the gradient of P. Needs lambda without clamped joints in `work`, and `actuator_bar`.

    All lanes come here.
    """
    if m.nline > 0:
        spread(m, s, world, s.work[world], s.push_twist[world])
        sync()
    for actuator in range(lane(), m.nactuator, lanes()):
        bar = s.actuator_bar[world, actuator]
        force = actuator_force(m, s, world, actuator)
        moment_gradient(m, s, world, actuator, bar[1], bar[2], force)
        line = m.actuator_line[actuator]
        if line >= 0:
            if m.rare[0].line_tendon[line] >= 0:
                by_gear = bar[1] * s.line_length[world, line] + bar[2] * line_dot(m, s, world, line, s.qvel[world])
                by_gear += force * line_dot(m, s, world, line, s.work[world])
                add_to(s, world, m.at_actuator_gear + actuator, by_gear)
            else:
                c = vec7()
                c[LENGTH] = bar[1]
                c[VELOCITY] = bar[2]
                c[PUSH] = force
                if m.rare[0].line_kind[line] == CRANK:
                    crank_gear_gradient(m, s, world, line, c)
                elif m.rare[0].line_kind[line] != NORMALS:  # where MuJoCo has no gear
                    site_gear_gradient(m, s, world, line, c)
    sync()


@wp.func
def moment_gradient(
    m: ModelArrays, s: Scratch, world: int, actuator: int, length_bar: real, velocity_bar: real, force: real
):
    """Adds the part of the entries of a constant moment."""
    first = m.moment_adr[actuator]
    for entry in range(first, first + m.moment_num[actuator]):
        dof = m.moment_dof[entry]
        bar = velocity_bar * s.qvel[world, dof] + force * s.work[world, dof]
        if m.moment_qpos[entry] >= 0:
            bar += length_bar * s.qpos[world, m.moment_qpos[entry]]
        add_to(s, world, m.at_moment_value + entry, bar)
    if m.actuator_quat[actuator] >= 0:
        theta = quat_log(joint_quat(s, world, m.actuator_quat[actuator]))
        for i in range(3):
            add_to(s, world, m.at_moment_value + first + i, length_bar * theta[i])


@wp.func
def crank_gear_gradient(m: ModelArrays, s: Scratch, world: int, line: int, c: vec7):
    """Adds the part of a slider-crank."""
    piece = m.rare[0].line_pieceadr[line]
    body = m.rare[0].piece_body[piece, 0]
    base = m.rare[0].piece_body[piece, 1]
    point = place(m, s, world, piece, 0)
    axis = rotate(place_quat(m, s, world, piece, 1), vec3(ZERO, ZERO, ONE))
    crank = slider_crank(point - place(m, s, world, piece, 1), axis, m.rare[0].piece_size[piece])
    x_base = body_twist(m, s, world, base, c)
    x = body_twist(m, s, world, body, c)
    rate = linear(relative(m, s, world, x_base, base, x, body, point))
    by_gear = c[LENGTH] * crank[0] + wp.dot(vec3(crank[1], crank[2], crank[3]), rate)
    add_to(s, world, m.rare[0].at_line_gear + 6 * line, by_gear)


@wp.func
def site_gear_gradient(m: ModelArrays, s: Scratch, world: int, line: int, c: vec7):
    """Adds the part of a transmission by site: its velocity and turn, in the axes of the gear."""
    piece = m.rare[0].line_pieceadr[line]
    body = m.rare[0].piece_body[piece, 0]
    point = place(m, s, world, piece, 0)
    x = body_twist(m, s, world, body, c)
    frame = int(0)
    push = vec3(ZERO, ZERO, ZERO)
    turn = vec3(ZERO, ZERO, ZERO)
    if m.rare[0].line_kind[line] == REFSITE:
        frame = 1
        base = m.rare[0].piece_body[piece, 1]
        reference = place(m, s, world, piece, 1)
        shared = body_twist(m, s, world, m.rare[0].piece_body[piece, 2], c)
        x = x - shared
        y = body_twist(m, s, world, base, c) - shared
        push = c[LENGTH] * (point - reference)
        push -= linear(twist_at(y, reference - s.xpos[world, m.body_root[base]]))
        turn = -angular(y)
    push += linear(twist_at(x, point - s.xpos[world, m.body_root[body]]))
    turn += angular(x)
    axes = quat_conj(place_quat(m, s, world, piece, frame))
    local_push = rotate(axes, push)
    local_turn = rotate(axes, turn)
    if frame == 1:
        local_turn += c[LENGTH] * site_turn(m, s, world, piece)
    for i in range(3):
        add_to(s, world, m.rare[0].at_line_gear + 6 * line + i, local_push[i])
        add_to(s, world, m.rare[0].at_line_gear + 6 * line + 3 + i, local_turn[i])


@wp.func
def implicit_gear_gradient(m: ModelArrays, s: Scratch, world: int):
    """Adds the part of h mu' D w, D = sum of slope J'J, of constant moments and spatial tendons.

    Needs qfrc_actuator before the clamp.
    """
    for actuator in range(lane(), m.nactuator, lanes()):
        slope = timestep(m, world) * velocity_slope(m, s, world, actuator)
        length_bar = real(0.0)
        velocity_bar = real(0.0)
        if is_muscle(m, actuator):
            terms = muscle_terms(m, s, world, actuator)
            slope_bar = actuator_slope_cotangent(m, s, world, actuator) * actuator_input(m, s, world, actuator)
            length_bar = slope_bar * terms[3]
            velocity_bar = slope_bar * terms[4]
        moment_gradient(m, s, world, actuator, length_bar, velocity_bar, ZERO)
        line = m.actuator_line[actuator]
        if line >= 0:
            by_gear = TWO * gear_of(m, world, actuator) * slope
            by_gear *= coupled_power(m, s, world, line, s.multiplier[world], s.implicit_qacc[world])
            by_gear += length_bar * s.line_length[world, line]
            by_gear += velocity_bar * line_dot(m, s, world, line, s.qvel[world])
            add_to(s, world, m.at_actuator_gear + actuator, by_gear)
        if slope != ZERO:
            implicit_moment_gradient(m, s, world, actuator, slope)
    sync()


@wp.func
def implicit_moment_gradient(m: ModelArrays, s: Scratch, world: int, actuator: int, slope: real):
    """Adds the part of slope (mu' J') (J w), at the entries that M has, of a constant moment J."""
    first = m.moment_adr[actuator]
    last = first + m.moment_num[actuator]
    for entry in range(first, last):
        i = m.moment_dof[entry]
        bar = real(0.0)
        for other in range(first, last):
            j = m.moment_dof[other]
            if is_ancestor(m.dof_parent, wp.min(i, j), wp.max(i, j)) == 1:
                pair = s.multiplier[world, i] * s.implicit_qacc[world, j]
                pair += s.multiplier[world, j] * s.implicit_qacc[world, i]
                bar += moment_value(m, world, other) * pair
        add_to(s, world, m.at_moment_value + entry, slope * bar)
