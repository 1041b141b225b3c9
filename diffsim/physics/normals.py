"""Lines of contact normals: body transmissions, and the pull of adhesive contacts.

    J x = sum_c w_c n_c . (v_2(x) - v_1(x)),    the velocities at the contact's point

A body transmission has the contacts of its body, those in the gap too, with w = -1 / (their number), so that it pulls
them together. The line of adhesion has all adhesive contacts, with w = -A. Such a line has no length. Its entries are
those of all dofs that may move one of the bodies against the other.

The gradient by a contact's point and normal is added to `contact_point_bar` and `contact_frame_bar`, which the narrow
phase's gradient, a later stage, brings to the poses of the geoms.
Source: MuJoCo documentation, XML reference, actuator/adhesion; `mj_transmission` and `mj_adhesion` of MuJoCo.
"""

import warp as wp

from diffsim.physics.contact import twist_at
from diffsim.physics.contact_list import contact_total
from diffsim.physics.lanes import lane, lanes
from diffsim.physics.line import NORMALS, add_moment, force_at
from diffsim.physics.line_twists import body_twist, push_body
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.scratch import Scratch
from diffsim.physics.spatial import angular, linear
from diffsim.physics.tree import zero_twist
from diffsim.types import ONE, ZERO, real, vec3, vec7


@wp.func
def contact_body(m: ModelArrays, s: Scratch, world: int, contact: int, side: int) -> int:
    """One of a contact's two bodies."""
    if side == 0:
        return m.geom_body[m.pair_geom1[s.contact_pair[world, contact]]]
    return m.geom_body[m.pair_geom2[s.contact_pair[world, contact]]]


@wp.func
def touches(m: ModelArrays, s: Scratch, world: int, contact: int, body: int) -> bool:
    """Whether a contact is one of a body's."""
    return contact_body(m, s, world, contact, 0) == body or contact_body(m, s, world, contact, 1) == body


@wp.func
def share_of_contacts(m: ModelArrays, s: Scratch, world: int, line: int) -> real:
    """1 / (number of contacts) of a body transmission; 1 for the line of adhesion."""
    body = m.rare[0].line_body[line]
    if body < 0:
        return ONE
    count = int(0)
    for contact in range(contact_total(m, s, world)):
        if touches(m, s, world, contact, body):
            count += 1
    return ONE / real(wp.max(count, 1))


@wp.func
def normal_weight(m: ModelArrays, s: Scratch, world: int, line: int, contact: int, share: real) -> real:
    """W of a contact; zero for those that are not in the line."""
    body = m.rare[0].line_body[line]
    if body < 0:
        return -m.rare[0].pair_adhesion[s.contact_pair[world, contact]]
    if touches(m, s, world, contact, body):
        return -share
    return ZERO


@wp.func
def weighted_normal(s: Scratch, world: int, contact: int, weight: real) -> vec3:
    """W n."""
    frame = s.contact_frame[world, contact]
    return vec3(weight * frame[0, 0], weight * frame[0, 1], weight * frame[0, 2])


@wp.func
def fill_normals(m: ModelArrays, s: Scratch, world: int):
    """Fills the moments of all lines of normals. Needs the contacts and the motion subspaces."""
    for line in range(lane(), m.nline, lanes()):
        if m.rare[0].line_kind[line] == NORMALS:
            share = share_of_contacts(m, s, world, line)
            for entry in range(m.rare[0].line_adr[line], m.rare[0].line_adr[line] + m.rare[0].line_num[line]):
                s.line_moment[world, entry] = ZERO
            for contact in range(contact_total(m, s, world)):
                weight = normal_weight(m, s, world, line, contact, share)
                if weight != ZERO:
                    add_normal(m, s, world, line, contact, weighted_normal(s, world, contact, weight))


@wp.func
def add_normal(m: ModelArrays, s: Scratch, world: int, line: int, contact: int, force: vec3):
    """Adds a contact to a line's moment."""
    body1 = contact_body(m, s, world, contact, 0)
    body2 = contact_body(m, s, world, contact, 1)
    point = s.contact_point[world, contact]
    add_moment(
        m.dof_parent,
        m.rare[0].line_dof,
        m.rare[0].line_adr[line],
        s.motion[world],
        m.body_lastdof[body1],
        force_at(m, s, world, body1, point, force),
        m.body_lastdof[body2],
        force_at(m, s, world, body2, point, force),
        s.line_moment[world],
    )


@wp.func(inline=False)
def add_normals_cotangents(m: ModelArrays, s: Scratch, world: int, line: int, c: vec7):
    """Adds what a line's cotangents c give to those of the bodies' twists and poses and of the contacts' shapes.

    For one lane.
    """
    share = share_of_contacts(m, s, world, line)
    for contact in range(contact_total(m, s, world)):
        weight = normal_weight(m, s, world, line, contact, share)
        if weight != ZERO:
            body1 = contact_body(m, s, world, contact, 0)
            body2 = contact_body(m, s, world, contact, 1)
            x1 = body_twist(m, s, world, body1, c)
            x2 = body_twist(m, s, world, body2, c)
            point = s.contact_point[world, contact]
            force = weighted_normal(s, world, contact, weight)
            push_body(m, s, world, body1, c, -force_at(m, s, world, body1, point, force), x1, zero_twist())
            push_body(m, s, world, body2, c, force_at(m, s, world, body2, point, force), x2, zero_twist())
            by = twist_at(x2, point - s.xpos[world, m.body_root[body2]])
            by -= twist_at(x1, point - s.xpos[world, m.body_root[body1]])
            frame_bar = s.contact_frame_bar[world, contact]
            for i in range(3):
                frame_bar[0, i] += weight * linear(by)[i]
            s.contact_frame_bar[world, contact] = frame_bar
            s.contact_point_bar[world, contact] = s.contact_point_bar[world, contact] + wp.cross(force, angular(by))
            s.contact_sensed[world, contact] = 1
