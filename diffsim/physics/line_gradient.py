"""Gradient of the virtual power of lines: sum_k c_k J x_k + c_L L + c_R L'', at fixed vectors x_k and fixed c.

All forces along a line add to its cotangents, `line_bar`: c_L of the length, one c_k for each of the vectors x_k, and
c_R of the second derivative L''. With the sum X = sum_k c_k X_k of the bodies' twists, and v and w the linear and
angular velocities by X of an end relative to its base, at the end,

    the end's body gets the force h + g x w,    its base -h and the torque g x v,    h = c_L g + (dg/dx) v

besides the cotangents of its twists X_k, the forces c_k g. `line` defines the symbols.
"""

from functools import partial

import warp as wp

from diffsim.collision.gradient_call import calls_gradient
from diffsim.physics.constraint import TINY
from diffsim.physics.contact import twist_at
from diffsim.physics.equality_gradient import add_moving_cotangents
from diffsim.physics.lanes import lane, lanes, sync
from diffsim.physics.line import (
    ACCELERATION,
    CRANK,
    LENGTH,
    NORMALS,
    POWER,
    RATE,
    REFSITE,
    SITE,
    add_line_bar,
    couples,
    direction,
    force_at,
    line_acceleration,
    line_dot,
    piece_around,
    piece_ends,
    place,
    place_quat,
    point_acceleration,
    point_velocity,
    site_turn,
    site_wrench,
)
from diffsim.physics.line_twists import body_twist, push_body
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.normals import add_normals_cotangents
from diffsim.physics.rotation import inverse_right_jacobian, rotate
from diffsim.physics.scratch import Scratch
from diffsim.physics.spatial import angular, cross_force, linear, twist
from diffsim.physics.tree import gather, spread, zero_twist
from diffsim.physics.world_parameters import line_gear
from diffsim.physics.wrap import wrapped_adjoint
from diffsim.types import ONE, TWO, ZERO, real, vec3, vec6, vec7


@partial(calls_gradient, inline=True)
def add_line_cotangents(m: ModelArrays, s: Scratch, world: int, line: int, c: vec7):
    """Adds what a line's cotangents c give to those of the bodies' twists and poses. For one lane."""
    kind = m.rare[0].line_kind[line]
    if kind == NORMALS:
        add_normals_cotangents(m, s, world, line, c)
    elif kind == SITE or kind == REFSITE:
        add_site_cotangents(m, s, world, line, c)
    else:
        for piece in range(m.rare[0].line_pieceadr[line], m.rare[0].line_pieceadr[line] + m.rare[0].line_pieces[line]):
            add_piece_cotangents(m, s, world, line, piece, c)
            if c[RATE] != ZERO:
                add_rate_cotangents(m, s, world, piece, c[RATE] * m.rare[0].piece_scale[piece])


@partial(calls_gradient, inline=True)
def add_piece_cotangents(m: ModelArrays, s: Scratch, world: int, line: int, piece: int, c: vec7):
    """Adds those of a piece of a spatial tendon or of a slider-crank."""
    scale = m.rare[0].piece_scale[piece]
    ends = piece_ends(m, s, world, line, piece)
    x_base = body_twist(m, s, world, ends.base, c)
    x0 = body_twist(m, s, world, ends.body0, c)
    x1 = body_twist(m, s, world, ends.body1, c)
    by0 = relative(m, s, world, x_base, ends.base, x0, ends.body0, ends.point0)
    by1 = relative(m, s, world, x_base, ends.base, x1, ends.body1, ends.point1)
    h0 = vec3()
    h1 = vec3()
    if ends.count == 2:
        around = piece_around(m, s, world, piece, ends.point0, ends.point1)
        inverse = wp.transpose(around.axes)
        bar = wrapped_adjoint(
            m.rare[0].piece_kind[piece],
            around.end0,
            around.end1,
            m.rare[0].piece_size[piece],
            around.way,
            c[LENGTH],
            inverse * linear(by0),
            inverse * linear(by1),
        )
        h0 = around.axes * bar.end0
        h1 = around.axes * bar.end1
    elif m.rare[0].line_kind[line] == CRANK:
        axis = rotate(place_quat(m, s, world, piece, 1), vec3(ZERO, ZERO, ONE))
        turning = crank_bend(ends.point0 - ends.point1, axis, m.rare[0].piece_size[piece], linear(by0))
        h0 = c[LENGTH] * ends.pull0 + line_gear(m, world, line, 0) * turning
    else:
        v = linear(by0)
        across = v - wp.dot(ends.pull0, v) * ends.pull0
        h0 = c[LENGTH] * ends.pull0 + across / wp.max(TINY, ends.length)
    push_end(m, s, world, c, ends.base, x_base, ends.body0, x0, ends.point0, scale * ends.pull0, by0, scale * h0)
    if ends.count == 2:
        push_end(m, s, world, c, ends.base, x_base, ends.body1, x1, ends.point1, scale * ends.pull1, by1, scale * h1)


@wp.func
def relative(m: ModelArrays, s: Scratch, world: int, x_base: vec6, base: int, x: vec6, body: int, point: vec3) -> vec6:
    """Velocity of a body's point relative to a base."""
    own = twist_at(x, point - s.xpos[world, m.body_root[body]])
    return own - twist_at(x_base, point - s.xpos[world, m.body_root[base]])


@wp.func
def push_end(
    m: ModelArrays,
    s: Scratch,
    world: int,
    c: vec7,
    base: int,
    x_base: vec6,
    body: int,
    x: vec6,
    point: vec3,
    pull: vec3,
    by: vec6,
    h: vec3,
):
    """Adds the cotangents of an end's body and base."""
    moved = force_at(m, s, world, body, point, h + wp.cross(pull, angular(by)))
    push_body(m, s, world, body, c, force_at(m, s, world, body, point, pull), x, moved)
    zero = vec3(ZERO, ZERO, ZERO)
    moved_base = twist(wp.cross(pull, linear(by)), zero) - force_at(m, s, world, base, point, h)
    push_body(m, s, world, base, c, -force_at(m, s, world, base, point, pull), x_base, moved_base)


@wp.func(inline=False)
def crank_bend(arm: vec3, axis: vec3, rod: real, v: vec3) -> vec3:
    """Derivative of the pull of `slider_crank` along a velocity."""
    along = wp.dot(arm, axis)
    det = along * along + rod * rod - wp.dot(arm, arm)
    if det <= ZERO:
        return vec3(ZERO, ZERO, ZERO)
    root = wp.sqrt(det)
    rate = wp.dot(axis, v)
    root_rate = (along * rate - wp.dot(arm, v)) / root
    return ((along * root_rate / root - rate) / root) * axis + v / root - (root_rate / det) * arm


@wp.func(inline=True)
def add_rate_cotangents(m: ModelArrays, s: Scratch, world: int, piece: int, beta: real):
    """Adds beta times the gradient of L'' = u . (a_1 - a_0) + |v'|^2 / |x|, v' the part of v_1 - v_0 normal to u."""
    body0 = m.rare[0].piece_body[piece, 0]
    body1 = m.rare[0].piece_body[piece, 1]
    if body0 != body1:
        point0 = place(m, s, world, piece, 0)
        point1 = place(m, s, world, piece, 1)
        size = wp.max(TINY, wp.length(point1 - point0))
        u = direction(point1 - point0)
        v = point_velocity(m, s, world, body1, point1) - point_velocity(m, s, world, body0, point0)
        a = point_acceleration(m, s, world, body1, point1) - point_acceleration(m, s, world, body0, point0)
        rate = wp.dot(u, v)
        across = v - rate * u
        a_bar = beta * u
        v_bar = (TWO * beta / size) * across
        h = (a - wp.dot(u, a) * u) - (TWO * rate / size) * across - (wp.dot(across, across) / size) * u
        h = (beta / size) * h
        push_point(m, s, world, body1, point1, a_bar, v_bar, h)
        push_point(m, s, world, body0, point0, -a_bar, -v_bar, -h)


@wp.func
def push_point(m: ModelArrays, s: Scratch, world: int, body: int, point: vec3, a_bar: vec3, v_bar: vec3, h: vec3):
    """Adds the cotangents of a point's acceleration, velocity and position. The world's A holds gravity."""
    velocity = twist_at(s.velocity[world, body], point - s.xpos[world, m.body_root[body]])
    w = angular(velocity)
    drag = wp.cross(a_bar, w) + v_bar
    moved = h + wp.cross(a_bar, angular(s.acceleration[world, body])) + wp.cross(drag, w)
    zero = vec3(ZERO, ZERO, ZERO)
    pull = force_at(m, s, world, body, point, a_bar)
    turn = twist(wp.cross(linear(velocity), a_bar), zero)
    if body == 0:
        s.acceleration_bar[world, 0] = s.acceleration_bar[world, 0] + pull
    add_moving_cotangents(
        m,
        s,
        world,
        body,
        zero_twist(),
        pull,
        turn + force_at(m, s, world, body, point, drag),
        force_at(m, s, world, body, point, moved),
    )


@wp.func(inline=True)
def add_site_cotangents(m: ModelArrays, s: Scratch, world: int, line: int, c: vec7):
    """Adds those of a transmission by site.

    A wrench that is fixed in its body has no cotangent of the pose. With a reference site, the wrench turns with that
    site, and the sites' twists count relative to that of the body above both.
    """
    piece = m.rare[0].line_pieceadr[line]
    body = m.rare[0].piece_body[piece, 0]
    base = m.rare[0].piece_body[piece, 1]
    shared = m.rare[0].piece_body[piece, 2]
    zero = vec3(ZERO, ZERO, ZERO)
    w = site_wrench(m, s, world, line)
    wrench = force_at(m, s, world, body, w.point, w.force) + twist(w.torque, zero)
    x = body_twist(m, s, world, body, c)
    if m.rare[0].line_kind[line] == SITE:
        push_body(m, s, world, body, c, wrench, x, -cross_force(x, wrench))
    else:
        base_wrench = force_at(m, s, world, base, w.reference, w.force) + twist(w.torque, zero)
        x_base = body_twist(m, s, world, base, c)
        x_shared = body_twist(m, s, world, shared, c)
        y = x - x_shared
        y_base = x_base - x_shared
        at = twist_at(y, w.point - s.xpos[world, m.body_root[body]])
        at_base = twist_at(y_base, w.reference - s.xpos[world, m.body_root[base]])
        turned = wp.cross(w.force, linear(at) - linear(at_base)) + wp.cross(w.torque, angular(y) - angular(y_base))
        moved = force_at(m, s, world, body, w.point, wp.cross(w.force, angular(y)))
        moved_base = twist(turned, zero) - force_at(m, s, world, base, w.reference, wp.cross(w.force, angular(y_base)))
        if c[LENGTH] != ZERO:
            pull = c[LENGTH] * w.force
            torque = vec3(line_gear(m, world, line, 3), line_gear(m, world, line, 4), line_gear(m, world, line, 5))
            turn = site_turn(m, s, world, piece)
            own = rotate(place_quat(m, s, world, piece, 0), inverse_right_jacobian(-turn, torque))
            other = rotate(place_quat(m, s, world, piece, 1), inverse_right_jacobian(turn, torque))
            moved += force_at(m, s, world, body, w.point, pull) + twist(c[LENGTH] * own, zero)
            moved_base -= force_at(m, s, world, base, w.reference, pull)
            moved_base -= twist(c[LENGTH] * other + wp.cross(w.point - w.reference, pull), zero)
        push_body(m, s, world, body, c, wrench, x, moved)
        push_body(m, s, world, base, c, -base_wrench, x_base, moved_base)
        push_body(m, s, world, shared, c, base_wrench - wrench, x_shared, zero_twist())


# --------------------------------------------------------------------------------- products J'J at the entries of M


@wp.func
def coupled_dot(m: ModelArrays, s: Scratch, world: int, line: int, i: int, x: wp.array(dtype=real)) -> real:
    """sum_j J_j x_j over the dofs j that M couples with that of an entry."""
    total = real(0.0)
    dof = m.rare[0].line_dof[i]
    for j in range(m.rare[0].line_adr[line], m.rare[0].line_adr[line] + m.rare[0].line_num[line]):
        other = m.rare[0].line_dof[j]
        if couples(m, wp.max(dof, other), wp.min(dof, other)):
            total += s.line_moment[world, j] * x[other]
    return total


@wp.func
def coupled_power(
    m: ModelArrays, s: Scratch, world: int, line: int, left: wp.array(dtype=real), right: wp.array(dtype=real)
) -> real:
    """Left' (J'J) right, at the entries that M has."""
    total = real(0.0)
    for i in range(m.rare[0].line_adr[line], m.rare[0].line_adr[line] + m.rare[0].line_num[line]):
        total += s.line_moment[world, i] * left[m.rare[0].line_dof[i]] * coupled_dot(m, s, world, line, i, right)
    return total


@wp.func
def add_coupled(
    m: ModelArrays,
    s: Scratch,
    world: int,
    line: int,
    scale: real,
    left: wp.array(dtype=real),
    right: wp.array(dtype=real),
):
    """Adds to `line_velocity` the z for which the gradient of scale left' (J'J) right is that of J z. For one lane."""
    for i in range(m.rare[0].line_adr[line], m.rare[0].line_adr[line] + m.rare[0].line_num[line]):
        dof = m.rare[0].line_dof[i]
        z = left[dof] * coupled_dot(m, s, world, line, i, right)
        z += right[dof] * coupled_dot(m, s, world, line, i, left)
        s.line_velocity[world, dof] = s.line_velocity[world, dof] + scale * z


@partial(calls_gradient, inline=True)
def push_lines(m: ModelArrays, s: Scratch, world: int, first: int, last: int):
    """Adds what the cotangents of the lines [first, last) give, with `line_velocity` as the vector of PUSH.

    Adds to qpos_bar, and to the cotangents of the bodies' twists and poses; then clears `line_velocity`. All lanes come
    here.
    """
    sync()
    spread(m, s, world, s.line_velocity[world], s.push_twist[world])
    for body in range(lane(), m.nbody, lanes()):
        s.push_twist_bar[world, body] = zero_twist()
    sync()
    if lane() == 0:
        for line in range(first, last):
            add_line_cotangents(m, s, world, line, s.line_bar[world, line])
    sync()
    gather(m, s, world, s.line_velocity[world], s.push_twist[world], s.push_twist_bar[world])
    for dof in range(lane(), m.nv, lanes()):
        s.line_velocity[world, dof] = ZERO
    sync()


@wp.func
def armature_cotangents(m: ModelArrays, s: Scratch, world: int, line: int):
    """Adds to a line's cotangents those of the bias force of its armature, -(J lambda) (L'' - J a). For one lane."""
    armature = m.rare[0].line_armature[line]
    if armature != ZERO:
        beta = -armature * line_dot(m, s, world, line, s.virtual_velocity[world])
        drift = line_acceleration(m, s, world, line) - line_dot(m, s, world, line, s.qacc[world])
        add_line_bar(s, world, line, POWER, -armature * drift)
        add_line_bar(s, world, line, ACCELERATION, -beta)
        add_line_bar(s, world, line, RATE, beta)
