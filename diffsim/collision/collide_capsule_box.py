"""Contacts of a capsule with a box: spheres at one or two points of the capsule's segment.

The first contact is at the point of the segment nearest to the box: the search compares the segment's ends with the
faces, and the whole segment with the twelve edges. If the segment runs along the box, a second contact lies towards its
other end, where the segment leaves the same face or edge. Places on the segment and on an edge go from -1 to 1.
Everything is in the box's frame.
Source: MuJoCo, `mjraw_CapsuleBox`.
"""

import warp as wp

from diffsim.collision.capsule_box_features import NONE, EdgePoints, Nearest, edge_points, nearest_features
from diffsim.collision.collide_box import NEAR, sphere_in_box_frame
from diffsim.collision.contact_frame import KINK, ContactGeometry, Geom, axis_of, between, no_contact
from diffsim.collision.gradient_call import differentiable
from diffsim.types import ONE, TWO, ZERO, real, vec3


@differentiable
def at_most(x: real, numerator: real, denominator: real) -> real:
    """The smaller of x and |numerator / denominator|, or their mean where they are equal; divides only if needed."""
    room = x * wp.abs(denominator) - wp.abs(numerator)
    near = wp.abs(room) <= KINK * wp.abs(numerator)
    if room > ZERO:
        return between(near, wp.abs(numerator / denominator), x)
    if near and numerator != ZERO:
        return between(near, x, wp.abs(numerator / denominator))
    return x


@differentiable
def until_side(x: real, tip: real, step: real, limit: real) -> real:
    """The smaller of x and the place where tip + place * step leaves [-limit, limit], if there is such a place."""
    leaves = at_most(x, limit - tip, step)
    if (limit - tip) * step <= ZERO:
        leaves = x
    if (-limit - tip) * step <= ZERO:
        return leaves
    return at_most(leaves, -limit - tip, step)


@differentiable
def at_rim(place: real, pos: real, half: real, limit: real) -> real:
    """The place of an end; where the end is about to leave [-limit, limit], the mean with the place that is on it."""
    tip = pos + place * half
    if wp.abs(wp.abs(tip) - limit) > KINK * limit or tip * place * half <= NEAR * limit * limit:
        return place
    if tip > ZERO:
        return between(True, place, (limit - pos) / half)
    return between(True, place, (-limit - pos) / half)


@differentiable
def end_place(pos: vec3, half: vec3, size: vec3, nearest: Nearest) -> real:
    """Place of the nearest end. An end above a face touches it up to its rim, where the contact then stays."""
    place = real(nearest.end)
    if nearest.face == NONE:
        return place
    for k in range(3):
        if k != nearest.face:
            place = at_rim(place, pos[k], half[k], size[k])
    return place


@wp.func
def upper_bits(x: vec3) -> int:
    """Bit k is set if component k is positive."""
    bits = int(0)
    for k in range(3):
        if x[k] > ZERO:
            bits += 1 << k
    return bits


@differentiable
def along_face(pos: vec3, half: vec3, size: vec3, nearest: Nearest) -> real:
    """Step from an end above a face to where the segment leaves the face, or to the other end."""
    back = -real(nearest.end)
    x = real(2.0)
    for k in range(3):
        if k != nearest.face:
            x = until_side(x, pos[k] - back * half[k], back * half[k], size[k])
    return back * x


@differentiable
def along_corner(half: vec3, size: vec3, place: real, differs: int) -> real:
    """Step from a corner along an edge, or along the face that the segment runs over.

    Bit k of `differs` is set if the segment's direction and the corner are on different sides of axis k.
    """
    sign = real(1.0)
    axis = differs >> 1  # 1, 2, 4 to 0, 1, 2
    if differs == 3 or differs == 5 or differs == 6:
        sign = real(-1.0)
        axis = (7 - differs) >> 1
    if half[axis] * half[axis] > real(0.5) * wp.dot(half, half):
        return sign * at_most(ONE - sign * place, TWO * size[axis], half[axis])
    next1 = (axis + 1) % 3
    next2 = (axis + 2) % 3
    x = at_most(ONE + sign * place, TWO * size[next1], half[next1])
    return -sign * at_most(x, TWO * size[next2], half[next2])


@differentiable
def along_edge(half: vec3, size: vec3, p: EdgePoints, edge: int, differs: int) -> real:
    """Step from the middle of an edge over the face to which the segment is less inclined."""
    across = (edge + 2) % 3
    if wp.abs(half[(edge + 1) % 3]) > wp.abs(half[across]):
        across = (edge + 1) % 3
    sign = real(-1.0)
    if (differs & (1 << across)) != 0:
        sign = real(1.0)
    x = at_most(ONE - sign * p.on_segment, TWO * size[across], half[across])
    room = ONE - p.on_edge
    if half[edge] * sign <= ZERO:
        room = ONE + p.on_edge
    return sign * at_most(x, size[edge] * room, half[edge])


@differentiable
def capsule_box(capsule: Geom, box: Geom, candidate: int, margin: real) -> ContactGeometry:
    """One contact at the nearest point of the segment, and sometimes one at a second point."""
    radius = capsule.size[0]
    capsule_half_length = capsule.size[1]
    size = box.size
    to_box = wp.transpose(box.mat)
    pos = to_box * (capsule.pos - box.pos)
    half = capsule_half_length * (to_box * axis_of(capsule.mat, 2))
    nearest = nearest_features(pos, half, size)
    if nearest.edge == NONE:
        return no_contact()
    if nearest.end != 0:
        place = real(nearest.end)
        if candidate == 0:
            return sphere_in_box_frame(pos + end_place(pos, half, size, nearest) * half, radius, box, 1)
        if nearest.face == NONE:
            return no_contact()
        step = along_face(pos, half, size, nearest)
        return sphere_in_box_frame(pos + (place + step) * half, radius, box, 1)
    p = edge_points(pos, half, size, nearest.corner, nearest.edge)
    if candidate == 0:
        return sphere_in_box_frame(pos + p.on_segment * half, radius, box, 0)
    corner = nearest.corner
    if p.side == 1:
        corner = corner + (1 << nearest.edge)
    differs = upper_bits(half) ^ corner
    if p.side != 0:
        if differs == 0 or differs == 7:
            return no_contact()
        step = along_corner(half, size, p.on_segment, differs)
        return sphere_in_box_frame(pos + (p.on_segment + step) * half, radius, box, 0)
    differs = differs & (7 - (1 << nearest.edge))
    if differs != 1 and differs != 2 and differs != 4:
        return no_contact()
    step = along_edge(half, size, p, nearest.edge, differs)
    return sphere_in_box_frame(pos + (p.on_segment + step) * half, radius, box, 0)
