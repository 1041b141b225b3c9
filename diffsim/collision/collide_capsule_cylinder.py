"""Contacts of a capsule with a cylinder: one at the closest points, two if the capsule lies on a cap.

A capsule lies on a cap if it is within 5.1 degrees of it. MuJoCo then shifts the capsule's axis to the surface and half
the margin further, and clips it to the cap. For the cap it takes a regular polygon of 16 corners, one of them on the
cylinder's x axis. Each end of the clipped axis gives a contact along the cylinder's axis, unless it is farther above
the cap than half the margin. Clipping goes around the polygon; at each side it walks from one end of the axis to the
other and back. That walk sets the order of the contacts, and may list one twice.
Source: MuJoCo, `mjc_multicontact` and `polygonClip`.
"""

import math

import warp as wp

from diffsim.collision.collide_segment_cylinder import meeting, meeting_contact
from diffsim.collision.contact_frame import ContactGeometry, Geom, axis_of, contact, no_contact
from diffsim.collision.gradient_call import differentiable, no_gradient
from diffsim.types import HALF, TWO, ZERO, real, vec3

LYING = wp.constant(real(math.sin(0.0889)))  # greatest cosine of the angle between the axes
SIDES = wp.constant(16)
TURN = wp.constant(real(2.0 * math.pi / 16.0))
APOTHEM = wp.constant(real(math.cos(math.pi / 16.0)))  # of the polygon with corners at 1
SLACK = wp.constant(real(1.0e-10 / (2.0 * math.sin(math.pi / 16.0))))  # m^2
NEAR = wp.constant(0)
FAR = wp.constant(1)
NONE = wp.constant(-1)


@wp.struct
class Piece:
    """A clipped axis: its ends that touch, in order, and the sides of the polygon that cut them."""

    first: int  # NEAR or FAR; NONE if nothing is left
    second: int
    near_side: int  # NONE if the near end is not cut
    far_side: int


@differentiable
def side_normal(side: int, up: real) -> vec3:
    """Outward normal of a side; the sides are numbered around the cap's inward normal."""
    angle = (real(side) + HALF) * TURN
    return vec3(wp.cos(angle), -up * wp.sin(angle), ZERO)


@differentiable
def cut(start: vec3, step: vec3, side: int, radius: real, up: real) -> real:
    """Where the line start + x step crosses a side."""
    m = side_normal(side, up)
    return (radius * APOTHEM - wp.dot(m, start)) / wp.dot(m, step)


@wp.func
def walk_on(points: int, walk: int, near_out: int, far_out: int) -> int:
    """The walk after a cut: below a leading one, a bit per point says which end it is. A step adds its target."""
    bits = int(0)
    n = int(0)
    for i in range(points):
        here = (walk >> i) & 1
        there = (walk >> ((i + 1) % points)) & 1
        here_out = near_out
        there_out = near_out
        if here == FAR:
            here_out = far_out
        if there == FAR:
            there_out = far_out
        if here_out != there_out:  # a crossing stands for the end that is cut off
            bits = bits | ((here_out * here + there_out * there) << n)
            n += 1
        if there_out == 0:
            bits = bits | (there << n)
            n += 1
    return bits | (1 << n)


@no_gradient
def lying_piece(start: vec3, step: vec3, radius: real, half_length: real, up: real, limit: real) -> Piece:
    """Clips the axis from start to start + step to the polygon, and drops ends above the limit; a discrete choice."""
    low = real(0.0)
    high = real(1.0)
    near_side = int(NONE)
    far_side = int(NONE)
    points = int(2)
    walk = int(2)  # near, far
    for side in range(SIDES):
        m = side_normal(side, up)
        near_out = int(0)
        far_out = int(0)
        beyond = wp.dot(m, start) - radius * APOTHEM
        if beyond + low * wp.dot(m, step) >= SLACK / radius:
            near_out = 1
        if beyond + high * wp.dot(m, step) >= SLACK / radius:
            far_out = 1
        if near_out + far_out == 2:
            return Piece(NONE, NONE, NONE, NONE)
        if near_out == 1:
            low = cut(start, step, side, radius, up)
            near_side = side
        if far_out == 1:
            high = cut(start, step, side, radius, up)
            far_side = side
        walk = walk_on(points, walk, near_out, far_out)
        points = points + 2 * (near_out + far_out)  # at most; the position of the leading one gives the number
        while points > 0 and (walk >> points) == 0:
            points -= 1
        walk = walk & ((1 << points) - 1)
    first = int(NONE)
    second = int(NONE)
    kept = int(0)
    for i in range(points):
        end = (walk >> i) & 1
        place = low
        if end == FAR:
            place = high
        if up * (start[2] + place * step[2]) - half_length <= limit:
            kept += 1
            if first == NONE:
                first = end
            elif second == NONE or second == first:
                second = end
    return Piece(first, second, near_side, far_side)


@differentiable
def end_place(piece: Piece, end: int, start: vec3, step: vec3, radius: real, up: real) -> real:
    """Place of the piece's end on the axis, from 0 to 1."""
    if end == NEAR:
        if piece.near_side == NONE:
            return real(0.0)
        return cut(start, step, piece.near_side, radius, up)
    if piece.far_side == NONE:
        return real(1.0)
    return cut(start, step, piece.far_side, radius, up)


@differentiable
def capsule_cylinder(capsule: Geom, cylinder: Geom, candidate: int, margin: real) -> ContactGeometry:
    """One contact, or two on a cap."""
    capsule_half_length = capsule.size[1]
    radius = cylinder.size[0]
    half_length = cylinder.size[1]
    to_cylinder = wp.transpose(cylinder.mat)
    a = to_cylinder * (capsule.pos - cylinder.pos)
    d = capsule_half_length * (to_cylinder * axis_of(capsule.mat, 2))
    how = meeting(a, d, radius, half_length)
    g = meeting_contact(how, a, d, capsule, cylinder)
    if how.up != 0 and g.distance <= margin and wp.abs(d[2]) < LYING * capsule_half_length:
        up = real(how.up)
        normal = to_cylinder * g.normal
        across = normal - (wp.dot(normal, d) / wp.dot(d, d)) * d
        start = a + (capsule.size[0] + HALF * margin) * across - d
        piece = lying_piece(start, TWO * d, radius, half_length, up, HALF * margin)
        if piece.first != NONE:
            end = piece.first
            if candidate == 1:
                end = piece.second
            if end == NONE:
                return no_contact()
            v = start + end_place(piece, end, start, TWO * d, radius, up) * (TWO * d)
            gap = up * v[2] - half_length + HALF * margin
            middle = vec3(v[0], v[1], up * (half_length + HALF * gap))
            return contact(gap, cylinder.pos + cylinder.mat * middle, -up * axis_of(cylinder.mat, 2))
    if candidate == 1:
        return no_contact()
    return g
