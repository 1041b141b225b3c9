"""Lines: lengths whose Jacobian depends on the configuration. Spatial tendons, and moving transmissions of actuators.

A line has a length L(q) and a row J(q) over its dofs, its moment. It is a sum of pieces. Most pieces measure one or two
ends against a base: with the derivative g_i of the length by the end x_i, as seen from the base,

    J x = sum_i g_i . (v_i(x) - v_base(x)),    both velocities at x_i

A spatial tendon's piece is straight between two sites, with the second one's body as base, or goes around a geom,
whose body is the base. The base of a slider-crank is the slider. A transmission by site is a wrench on the site's body;
with a reference site, the opposite one acts on that site's body. Dofs that move both bodies are not in J.
Source: MuJoCo documentation, XML reference, tendon/spatial and actuator transmissions; `mj_tendon`, `mj_transmission`.
"""

import warp as wp

from diffsim.physics.constraint import TINY
from diffsim.physics.contact import twist_at
from diffsim.physics.lanes import lane, lanes, sync
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.points import point_position
from diffsim.physics.rotation import quat_conj, quat_log, quat_mul, quat_to_mat, rotate
from diffsim.physics.scratch import Scratch
from diffsim.physics.spatial import angular, linear, twist
from diffsim.physics.structure import is_ancestor
from diffsim.physics.world_parameters import line_gear
from diffsim.physics.wrap import STRAIGHT, Way, choose_way, wrapped
from diffsim.types import ONE, ZERO, mat33, quat, real, vec3, vec6, vec7

# Kinds of lines.
SPATIAL = wp.constant(0)
SITE = wp.constant(1)  # a wrench fixed in a site
REFSITE = wp.constant(2)  # a site's pose relative to another site
CRANK = wp.constant(3)
NORMALS = wp.constant(4)  # contact normals: see `normals`

# Entries of a line's cotangents: of L, of J x for five vectors x, and of L''.
LENGTH = wp.constant(0)
POWER = wp.constant(1)  # x = lambda
CONSTRAINT = wp.constant(2)  # x = lambda + kappa
VELOCITY = wp.constant(3)  # x = v
ACCELERATION = wp.constant(4)  # x = a
PUSH = wp.constant(5)  # x = lambda without clamped joints, or `line_velocity`
RATE = wp.constant(6)


@wp.struct
class Ends:
    """Length of a piece, and its one or two ends with their derivatives, in world axes."""

    length: real
    count: wp.int32
    base: wp.int32
    body0: wp.int32
    body1: wp.int32
    point0: vec3
    point1: vec3
    pull0: vec3
    pull1: vec3


@wp.struct
class Around:
    """A piece around a geom: the geom's axes, the ends in them, and the way."""

    axes: mat33
    end0: vec3
    end1: vec3
    way: Way


@wp.func
def line_dot(m: ModelArrays, s: Scratch, world: int, line: int, x: wp.array(dtype=real)) -> real:
    """J x."""
    total = real(0.0)
    for entry in range(m.rare[0].line_adr[line], m.rare[0].line_adr[line] + m.rare[0].line_num[line]):
        total += s.line_moment[world, entry] * x[m.rare[0].line_dof[entry]]
    return total


@wp.func
def add_along_line(m: ModelArrays, s: Scratch, world: int, line: int, force: real, x: wp.array(dtype=real)):
    """X += J' force."""
    for entry in range(m.rare[0].line_adr[line], m.rare[0].line_adr[line] + m.rare[0].line_num[line]):
        dof = m.rare[0].line_dof[entry]
        x[dof] = x[dof] + s.line_moment[world, entry] * force


@wp.func
def line_runs(m: ModelArrays, s: Scratch, world: int, line: int):
    """Appends the runs of a line's dofs."""
    for run in range(m.rare[0].line_runadr[line], m.rare[0].line_runadr[line] + m.rare[0].line_runs[line]):
        last = s.run_count[world]
        s.run[world, last, 0] = m.rare[0].line_run[run, 0]
        s.run[world, last, 1] = m.rare[0].line_run[run, 1]
        s.run_count[world] = last + 1
    if m.rare[0].line_branched[line] == 1:
        s.coupled[world] = 1


@wp.func
def couples(m: ModelArrays, row: int, col: int) -> bool:
    """Whether MuJoCo's M has an entry for two dofs of a line, row >= col. A simple body's has a diagonal only."""
    if row == col:
        return True
    return m.dof_simple[row] == 0 and is_ancestor(m.dof_parent, col, row) == 1


@wp.func
def add_line_outer(m: ModelArrays, s: Scratch, world: int, line: int, scale: real, a: wp.array2d(dtype=real)):
    """A += scale J'J in the lower triangle, at the entries that M has. Lanes share the rows."""
    first = m.rare[0].line_adr[line]
    last = first + m.rare[0].line_num[line]
    for i in range(first + lane(), last, lanes()):
        row = m.rare[0].line_dof[i]
        for j in range(i, last):
            col = m.rare[0].line_dof[j]
            if couples(m, row, col):
                a[row, col] = a[row, col] + scale * s.line_moment[world, i] * s.line_moment[world, j]


@wp.func
def add_line_armature(m: ModelArrays, s: Scratch, world: int):
    """Adds the lines' armature to the mass matrix."""
    for line in range(m.nline):
        if m.rare[0].line_armature[line] != ZERO:
            add_line_outer(m, s, world, line, m.rare[0].line_armature[line], s.mass_matrix[world])
            sync()


@wp.func(inline=True)
def fill_lines(m: ModelArrays, s: Scratch, world: int):
    """Fills the lines' lengths and moments. Needs the motion subspaces."""
    for line in range(lane(), m.nline, lanes()):
        for entry in range(m.rare[0].line_adr[line], m.rare[0].line_adr[line] + m.rare[0].line_num[line]):
            s.line_moment[world, entry] = ZERO
        kind = m.rare[0].line_kind[line]
        if kind == NORMALS:  # `normals` fills it later
            s.line_length[world, line] = ZERO
        elif kind == SITE or kind == REFSITE:
            fill_site_line(m, s, world, line)
        else:
            fill_ends_line(m, s, world, line)
    sync()


@wp.func(inline=True)
def fill_ends_line(m: ModelArrays, s: Scratch, world: int, line: int):
    """Fills a spatial tendon or a slider-crank."""
    length = real(0.0)
    for piece in range(m.rare[0].line_pieceadr[line], m.rare[0].line_pieceadr[line] + m.rare[0].line_pieces[line]):
        scale = m.rare[0].piece_scale[piece]
        ends = piece_ends(m, s, world, line, piece)
        length += scale * ends.length
        for i in range(ends.count):
            body = ends.body0
            point = ends.point0
            pull = scale * ends.pull0
            if i == 1:
                body = ends.body1
                point = ends.point1
                pull = scale * ends.pull1
            add_moment(
                m.dof_parent,
                m.rare[0].line_dof,
                m.rare[0].line_adr[line],
                s.motion[world],
                m.body_lastdof[ends.base],
                force_at(m, s, world, ends.base, point, pull),
                m.body_lastdof[body],
                force_at(m, s, world, body, point, pull),
                s.line_moment[world],
            )
    s.line_length[world, line] = length


@wp.func(inline=False)
def add_moment(
    parent: wp.array(dtype=wp.int32),
    dofs: wp.array(dtype=wp.int32),
    first_entry: int,
    motion: wp.array(dtype=vec6),
    base_dof: int,
    base_wrench: vec6,
    body_dof: int,
    wrench: vec6,
    moment: wp.array(dtype=real),
):
    """Adds the work of a wrench on a body and of minus a wrench on a base; the dofs are the bodies' last ones."""
    entry = int(first_entry)
    dof1 = int(base_dof)
    dof2 = int(body_dof)
    while dof1 != dof2:
        dof = wp.max(dof1, dof2)
        while dofs[entry] != dof:
            entry += 1
        if dof1 > dof2:
            moment[entry] = moment[entry] - wp.dot(motion[dof], base_wrench)
            dof1 = parent[dof1]
        else:
            moment[entry] = moment[entry] + wp.dot(motion[dof], wrench)
            dof2 = parent[dof2]


@wp.func
def force_at(m: ModelArrays, s: Scratch, world: int, body: int, point: vec3, force: vec3) -> vec6:
    """A force at a point, as a wrench about the body's reference point."""
    return twist(wp.cross(point - s.xpos[world, m.body_root[body]], force), force)


@wp.func
def place(m: ModelArrays, s: Scratch, world: int, piece: int, i: int) -> vec3:
    """World position of one of a piece's places."""
    return point_position(s, world, m.rare[0].piece_body[piece, i], m.rare[0].piece_point[piece, i])


@wp.func
def place_quat(m: ModelArrays, s: Scratch, world: int, piece: int, i: int) -> quat:
    """World orientation of one of a piece's places."""
    return quat_mul(s.xquat[world, m.rare[0].piece_body[piece, i]], m.rare[0].piece_quat[piece, i])


@wp.func
def direction(gap: vec3) -> vec3:
    """A vector's direction; MuJoCo's choice for a vector without length."""
    size = wp.length(gap)
    if size < TINY:
        return vec3(ONE, ZERO, ZERO)
    return gap / size


@wp.func(inline=True)
def piece_ends(m: ModelArrays, s: Scratch, world: int, line: int, piece: int) -> Ends:
    """The ends of a piece of a spatial tendon or of a slider-crank."""
    ends = Ends()
    ends.count = 1
    ends.body0 = m.rare[0].piece_body[piece, 0]
    ends.point0 = place(m, s, world, piece, 0)
    ends.base = m.rare[0].piece_body[piece, 1]
    if m.rare[0].line_kind[line] == CRANK:
        ends.point1 = place(m, s, world, piece, 1)
        axis = rotate(place_quat(m, s, world, piece, 1), vec3(ZERO, ZERO, ONE))
        crank = slider_crank(ends.point0 - ends.point1, axis, m.rare[0].piece_size[piece])
        ends.length = line_gear(m, world, line, 0) * crank[0]
        ends.pull0 = line_gear(m, world, line, 0) * vec3(crank[1], crank[2], crank[3])
    else:
        ends.body1 = ends.base
        ends.point1 = place(m, s, world, piece, 1)
        straight = bool(True)
        if m.rare[0].piece_kind[piece] > 0:
            around = piece_around(m, s, world, piece, ends.point0, ends.point1)
            if around.way.kind != STRAIGHT:
                straight = False
                path = wrapped(
                    m.rare[0].piece_kind[piece], around.end0, around.end1, m.rare[0].piece_size[piece], around.way
                )
                ends.count = 2
                ends.base = m.rare[0].piece_body[piece, 2]
                ends.length = path.length
                ends.pull0 = around.axes * path.pull0
                ends.pull1 = around.axes * path.pull1
        if straight:
            ends.length = wp.length(ends.point0 - ends.point1)
            ends.pull0 = -direction(ends.point1 - ends.point0)
    return ends


@wp.func(inline=True)
def piece_around(m: ModelArrays, s: Scratch, world: int, piece: int, point0: vec3, point1: vec3) -> Around:
    """The ends of a piece in the frame of its geom, and the way around it."""
    a = Around()
    a.axes = quat_to_mat(place_quat(m, s, world, piece, 2))
    centre = place(m, s, world, piece, 2)
    inverse = wp.transpose(a.axes)
    a.end0 = inverse * (point0 - centre)
    a.end1 = inverse * (point1 - centre)
    side = inverse * (place(m, s, world, piece, 3) - centre)
    a.way = choose_way(
        m.rare[0].piece_kind[piece], a.end0, a.end1, m.rare[0].piece_size[piece], m.rare[0].piece_side[piece], side
    )
    return a


@wp.func(inline=False)
def slider_crank(arm: vec3, axis: vec3, rod: real) -> quat:
    """Length of a slider-crank, and its derivative by the crank's position relative to the slider."""
    along = wp.dot(arm, axis)
    det = along * along + rod * rod - wp.dot(arm, arm)
    if det <= ZERO:
        return quat(along, axis[0], axis[1], axis[2])
    root = wp.sqrt(det)
    pull = (ONE - along / root) * axis + arm / root
    return quat(along - root, pull[0], pull[1], pull[2])


@wp.func
def add_line_bar(s: Scratch, world: int, line: int, i: int, value: real):
    """Adds to an entry of a line's cotangents."""
    bar = s.line_bar[world, line]
    bar[i] = bar[i] + value
    s.line_bar[world, line] = bar


@wp.func
def clear_line_bars(m: ModelArrays, s: Scratch, world: int):
    """Sets the lines' cotangents to zero."""
    for line in range(lane(), m.nline, lanes()):
        s.line_bar[world, line] = vec7()
    sync()


# ------------------------------------------------------------------------------------------------ transmission by site


@wp.struct
class SiteWrench:
    """Force and torque of a transmission by site, and the two sites' positions."""

    force: vec3
    torque: vec3
    point: vec3
    reference: vec3


@wp.func
def site_wrench(m: ModelArrays, s: Scratch, world: int, line: int) -> SiteWrench:
    """The gear in the site's axes, or in the reference site's."""
    piece = m.rare[0].line_pieceadr[line]
    w = SiteWrench()
    frame = int(0)
    if m.rare[0].line_kind[line] == REFSITE:
        frame = 1
    axes = place_quat(m, s, world, piece, frame)
    w.force = rotate(
        axes, vec3(line_gear(m, world, line, 0), line_gear(m, world, line, 1), line_gear(m, world, line, 2))
    )
    w.torque = rotate(
        axes, vec3(line_gear(m, world, line, 3), line_gear(m, world, line, 4), line_gear(m, world, line, 5))
    )
    w.point = place(m, s, world, piece, 0)
    w.reference = place(m, s, world, piece, 1)
    return w


@wp.func
def site_turn(m: ModelArrays, s: Scratch, world: int, piece: int) -> vec3:
    """Rotation vector from the reference site to the site."""
    reference = quat_conj(place_quat(m, s, world, piece, 1))
    return quat_log(quat_mul(reference, place_quat(m, s, world, piece, 0)))


@wp.func(inline=True)
def fill_site_line(m: ModelArrays, s: Scratch, world: int, line: int):
    """Fills a transmission by site. Without a reference site it has no length."""
    piece = m.rare[0].line_pieceadr[line]
    body = m.rare[0].piece_body[piece, 0]
    base = m.rare[0].piece_body[piece, 1]
    w = site_wrench(m, s, world, line)
    length = real(0.0)
    if m.rare[0].line_kind[line] == REFSITE:
        turn = site_turn(m, s, world, piece)
        length = wp.dot(w.force, w.point - w.reference)
        for i in range(3):
            length += line_gear(m, world, line, 3 + i) * turn[i]
    s.line_length[world, line] = length
    zero = vec3(ZERO, ZERO, ZERO)
    add_moment(
        m.dof_parent,
        m.rare[0].line_dof,
        m.rare[0].line_adr[line],
        s.motion[world],
        m.body_lastdof[base],
        force_at(m, s, world, base, w.reference, w.force) + twist(w.torque, zero),
        m.body_lastdof[body],
        force_at(m, s, world, body, w.point, w.force) + twist(w.torque, zero),
        s.line_moment[world],
    )


# ------------------------------------------------------------------------------------------------ second derivative


@wp.func
def point_acceleration(m: ModelArrays, s: Scratch, world: int, body: int, point: vec3) -> vec3:
    """Acceleration of a body's point, by the bodies' accelerations A."""
    arm = point - s.xpos[world, m.body_root[body]]
    velocity = twist_at(s.velocity[world, body], arm)
    return linear(twist_at(s.acceleration[world, body], arm)) + wp.cross(angular(velocity), linear(velocity))


@wp.func
def point_velocity(m: ModelArrays, s: Scratch, world: int, body: int, point: vec3) -> vec3:
    """Velocity of a body's point."""
    return linear(twist_at(s.velocity[world, body], point - s.xpos[world, m.body_root[body]]))


@wp.func
def line_acceleration(m: ModelArrays, s: Scratch, world: int, line: int) -> real:
    """L'' of a spatial tendon without geoms: J a + dJ/dt v, where A includes the part of a. Gravity in A cancels."""
    total = real(0.0)
    for piece in range(m.rare[0].line_pieceadr[line], m.rare[0].line_pieceadr[line] + m.rare[0].line_pieces[line]):
        body0 = m.rare[0].piece_body[piece, 0]
        body1 = m.rare[0].piece_body[piece, 1]
        point0 = place(m, s, world, piece, 0)
        point1 = place(m, s, world, piece, 1)
        if body0 != body1:
            along = direction(point1 - point0)
            v = point_velocity(m, s, world, body1, point1) - point_velocity(m, s, world, body0, point0)
            a = point_acceleration(m, s, world, body1, point1) - point_acceleration(m, s, world, body0, point0)
            across = v - wp.dot(along, v) * along
            bend = wp.dot(across, across) / wp.max(TINY, wp.length(point1 - point0))
            total += m.rare[0].piece_scale[piece] * (wp.dot(along, a) + bend)
    return total


@wp.func
def add_line_bias(m: ModelArrays, s: Scratch, world: int):
    """Subtracts the bias force of the lines' armature, J' dJ/dt v, from qfrc_smooth. For one lane.

    Needs A without qacc.
    """
    for line in range(m.nline):
        if m.rare[0].line_armature[line] != ZERO:
            force = -m.rare[0].line_armature[line] * line_acceleration(m, s, world, line)
            add_along_line(m, s, world, line, force, s.qfrc_smooth[world])
