"""A contact of two polytopes, or of points and segments, from up to three pairs of vertices that are held fixed.

The differences of the pairs are a point, a segment or a triangle of the Minkowski difference; its point closest to the
origin gives the witness points. This is what the search computes from its last simplex, so the gradient holds where
faces or edges are parallel too.
"""

import warp as wp

from diffsim.collision.contact_frame import Geom, contact_frame
from diffsim.collision.features import Place, place_point
from diffsim.collision.gradient_call import differentiable
from diffsim.collision.smooth_contact import Bars
from diffsim.types import HALF, ONE, ZERO, real, vec3


@wp.struct
class Pairs:
    """Pairs of vertices of two shapes."""

    count: int
    side: real  # -1 if the normal is that of a triangle turned around, or points from the second vertex to the first
    round1: real  # 1 if the shape's surface is its size's first number away from its vertices, else 0
    round2: real
    a1: Place
    b1: Place
    c1: Place
    a2: Place
    b2: Place
    c2: Place


@differentiable
def line_share(x: vec3, y: vec3) -> real:
    """How far from x to y the point is that is closest to the origin."""
    step = y - x
    return -wp.dot(x, step) / wp.dot(step, step)


@differentiable(inline=False)
def simplex_outcome(geom1: Geom, geom2: Geom, p: Pairs, bars: Bars, kind1: int, kind2: int) -> real:
    """The inner product of the contact and its cotangents."""
    c1 = place_point(kind1, geom1, p.a1)
    c2 = place_point(kind2, geom2, p.a2)
    gap = c2 - c1
    n = vec3(ONE, ZERO, ZERO)
    if p.count == 3:
        along1 = place_point(kind1, geom1, p.b1) - c1
        along2 = place_point(kind2, geom2, p.b2) - c2
        other1 = place_point(kind1, geom1, p.c1) - c1
        other2 = place_point(kind2, geom2, p.c2) - c2
        step = along2 - along1
        other = other2 - other1
        across = wp.cross(step, other)
        square = wp.dot(across, across)
        share = -wp.dot(across, wp.cross(gap, other)) / square
        other_share = -wp.dot(across, wp.cross(step, gap)) / square
        c1 = c1 + share * along1 + other_share * other1
        c2 = c2 + share * along2 + other_share * other2
        n = (p.side / wp.sqrt(square)) * across
    if p.count == 2:
        along1 = place_point(kind1, geom1, p.b1) - c1
        along2 = place_point(kind2, geom2, p.b2) - c2
        share = line_share(gap, gap + along2 - along1)
        c1 = c1 + share * along1
        c2 = c2 + share * along2
    if p.count < 3:
        n = p.side * wp.normalize(c2 - c1)
    r1 = p.round1 * geom1.size[0]
    r2 = p.round2 * geom2.size[0]
    distance = wp.dot(n, c2 - c1) - r1 - r2
    point = HALF * (c1 + c2 + (r1 - r2) * n)
    frame = contact_frame(n, vec3(ZERO, ZERO, ZERO))
    value = distance * bars.distance + wp.dot(point, bars.point) + wp.ddot(frame, bars.frame)
    return value + wp.dot(n, bars.normal)
