"""A contact at a corner of a face or edge that was clipped to another shape's face, with its features held fixed.

The corner is one of the clipped face, or on one of its lines, or on none: then it is above a corner of the clipping
face.
"""

import warp as wp

from diffsim.collision.contact_frame import Geom, contact_frame
from diffsim.collision.convex_shape import CAPSULE, CYLINDER
from diffsim.collision.features import Place, place_point
from diffsim.collision.gradient_call import differentiable
from diffsim.collision.smooth_contact import Bars
from diffsim.types import HALF, ZERO, real, vec3

ON_CORNER = wp.constant(0)
ON_LINE = wp.constant(1)
ON_PLANE = wp.constant(2)


@wp.struct
class Corner:
    """A corner of the clipped polygon."""

    kind: int
    faces: int  # 1 if a face was clipped, whose normal is then the contact's; 0 for an edge
    sign: real  # of the contact's normal, beside that normal
    rounding: real  # m, how far the edge of a capsule is outside of it
    n: vec3  # the clipping face's normal, in its shape's frame, and a point on it
    base: Place
    m: vec3  # the clipped face's normal, in its shape's frame
    start: Place  # of the clipped shape's line; the corner itself for ON_CORNER, a point of its face for ON_PLANE
    end: Place
    first_start: Place  # sides of the clipping face that cut
    first_end: Place
    second_start: Place
    second_end: Place


@differentiable(inline=False)
def line_point(kind: int, geom: Geom, p: Place, pull: vec3, rounding: real) -> vec3:
    """A point of the clipped shape's line; that of a round shape is on the side of `pull`, a unit vector."""
    point = place_point(kind, geom, p)
    if kind == CYLINDER or kind == CAPSULE:
        local = wp.transpose(geom.mat) * pull
        across = vec3(local[0], local[1], ZERO)
        if kind == CYLINDER:
            point = point + geom.mat * (geom.size[0] * wp.normalize(across))
        else:
            point = point + geom.mat * ((geom.size[0] + rounding) * across)
    return point


@differentiable(inline=False)
def clip_outcome(geom1: Geom, geom2: Geom, pull: vec3, corner: Corner, bars: Bars, kind1: int, kind2: int) -> real:
    """The inner product of the contact and its cotangents; the first geom clips the second."""
    n = geom1.mat * corner.n
    base = place_point(kind1, geom1, corner.base)
    normal = n
    start = place_point(kind2, geom2, corner.start)
    if corner.faces == 1:
        normal = geom2.mat * corner.m
    else:
        start = line_point(kind2, geom2, corner.start, pull, corner.rounding)
    point = start
    if corner.kind != ON_CORNER:
        side = place_point(kind1, geom1, corner.first_start)
        upright = wp.cross(place_point(kind1, geom1, corner.first_end) - side, n)
        if corner.kind == ON_LINE:
            end = place_point(kind2, geom2, corner.end)
            if corner.faces == 0:
                end = line_point(kind2, geom2, corner.end, pull, corner.rounding)
            step = end - start
            point = start + (wp.dot(upright, side - start) / wp.dot(upright, step)) * step
        else:
            other = place_point(kind1, geom1, corner.second_start)
            upright2 = wp.cross(place_point(kind1, geom1, corner.second_end) - other, n)
            volume = wp.dot(normal, wp.cross(upright, upright2))
            point = (
                wp.dot(normal, start) * wp.cross(upright, upright2)
                + wp.dot(upright, side) * wp.cross(upright2, normal)
                + wp.dot(upright2, other) * wp.cross(normal, upright)
            ) / volume
    height = wp.dot(point - base, n)
    witness = point - height * n
    contact_normal = corner.sign * normal
    distance = height + corner.rounding
    middle = witness + HALF * distance * n
    if corner.faces == 1:
        distance = wp.dot(point - witness, contact_normal)
        middle = witness + HALF * distance * contact_normal
    frame = contact_frame(contact_normal, vec3(ZERO, ZERO, ZERO))
    return distance * bars.distance + wp.dot(middle, bars.point) + wp.ddot(frame, bars.frame)


@differentiable(inline=False)
def vertex_outcome(plane: Geom, geom: Geom, p: Place, bars: Bars, kind: int) -> real:
    """The same for a vertex below a plane."""
    n = vec3(plane.mat[0, 2], plane.mat[1, 2], plane.mat[2, 2])
    corner = place_point(kind, geom, p)
    distance = wp.dot(n, corner - plane.pos)
    frame = contact_frame(n, vec3(ZERO, ZERO, ZERO))
    point = corner - HALF * distance * n
    return distance * bars.distance + wp.dot(point, bars.point) + wp.ddot(frame, bars.frame)
