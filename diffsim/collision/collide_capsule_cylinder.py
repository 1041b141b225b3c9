"""Contacts of a capsule with a cylinder: one at the closest points, two if the capsule lies on a cap.

A capsule lies on a cap if it is within 5.1 degrees of it. MuJoCo then cuts the capsule's axis, shifted to the surface
and half the margin further, to the sides of the cap, for which it takes a regular polygon of 16 corners, one on the
cylinder's x axis. What is left has contacts at its ends, along the cylinder's axis, unless they are farther above the
cap than half the margin. The cut goes around the polygon, and each time walks from end to end of the piece and back:
that gives the contacts their order, and may double one.
Source: MuJoCo, `mjc_multicontact` and `polygonClip`.
"""

import math

import warp as wp

from diffsim.collision.collide_segment_cylinder import meeting, meeting_contact
from diffsim.collision.contact_frame import ContactGeometry, axis_of, contact, no_contact
from diffsim.physics.gradient_call import differentiable, no_gradient
from diffsim.types import HALF, TWO, ZERO, mat33, real, vec3

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
    """What is left of an axis: its ends that touch, in order, and the sides of the polygon that cut them."""

    first: int  # NEAR or FAR; NONE if nothing is left
    second: int
    near_side: int  # NONE if the near end is not cut
    far_side: int


@differentiable
def side_normal(side: int, up: real) -> vec3:
    """Outward normal of a side; they follow each other around the cap's inward normal."""
    angle = (real(side) + HALF) * TURN
    return vec3(wp.cos(angle), -up * wp.sin(angle), ZERO)


@differentiable
def cut(start: vec3, step: vec3, side: int, radius: real, up: real) -> real:
    """Where the line start + x step crosses a side."""
    m = side_normal(side, up)
    return (radius * APOTHEM - wp.dot(m, start)) / wp.dot(m, step)


@wp.func
def walk_on(points: int, walk: int, near_out: int, far_out: int) -> int:
    """The walk after a cut: its points' ends as bits, under a leading one. Each step adds what it enters."""
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
    """Cuts the axis from start to start + step to the polygon, and drops what is above the limit; a choice."""
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
        points = points + 2 * (near_out + far_out)  # at most; the leading one tells
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
    """Where the piece's end is on the axis, from 0 to 1."""
    if end == NEAR:
        if piece.near_side == NONE:
            return real(0.0)
        return cut(start, step, piece.near_side, radius, up)
    if piece.far_side == NONE:
        return real(1.0)
    return cut(start, step, piece.far_side, radius, up)


@differentiable
def capsule_cylinder(
    size1: vec3, pos1: vec3, mat1: mat33, size2: vec3, pos2: vec3, mat2: mat33, candidate: int, margin: real
) -> ContactGeometry:
    """One contact, or two on a cap."""
    to_cylinder = wp.transpose(mat2)
    a = to_cylinder * (pos1 - pos2)
    d = size1[1] * (to_cylinder * axis_of(mat1, 2))
    how = meeting(a, d, size2[0], size2[1])
    g = meeting_contact(how, a, d, size1, pos1, mat1, size2, pos2, mat2)
    if how.up != 0 and g.distance <= margin and wp.abs(d[2]) < LYING * size1[1]:
        up = real(how.up)
        normal = to_cylinder * g.normal
        across = normal - (wp.dot(normal, d) / wp.dot(d, d)) * d
        start = a + (size1[0] + HALF * margin) * across - d
        piece = lying_piece(start, TWO * d, size2[0], size2[1], up, HALF * margin)
        if piece.first != NONE:
            end = piece.first
            if candidate == 1:
                end = piece.second
            if end == NONE:
                return no_contact()
            v = start + end_place(piece, end, start, TWO * d, size2[0], up) * (TWO * d)
            gap = up * v[2] - size2[1] + HALF * margin
            middle = vec3(v[0], v[1], up * (size2[1] + HALF * gap))
            return contact(gap, pos2 + mat2 * middle, -up * axis_of(mat2, 2))
    if candidate == 1:
        return no_contact()
    return g
