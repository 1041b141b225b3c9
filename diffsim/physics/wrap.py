"""Path of a tendon around a sphere or a cylinder: its way, its length, and how the length changes with its two ends.

In the geom's frame the ends are p_0 and p_1. The path lies in a plane through the centre of a sphere, and winds around
a cylinder at a constant slope, so both are paths around a circle in a plane. Around the outside it has a straight part,
an arc and a straight part; without a side site it is the shorter of two, with one it passes that. Inside it touches the
circle in one point. These functions know no model: Warp differentiates them.
Source: MuJoCo documentation, XML reference, tendon/spatial; `mju_wrap` of MuJoCo 4.0.

The functions with many callers are not inlined, which would double the compile time of the kernels on the CPU.
"""

from functools import partial

import mujoco
import numpy as np
import warp as wp

from diffsim.collision.gradient_call import calls_gradient, differentiable, no_gradient
from diffsim.types import ONE, PI, TWO, ZERO, real, vec2, vec3

SPHERE_WRAP = wp.constant(int(mujoco.mjtWrap.mjWRAP_SPHERE))
CYLINDER_WRAP = wp.constant(int(mujoco.mjtWrap.mjWRAP_CYLINDER))

# Ways of a path.
STRAIGHT = wp.constant(0)  # it does not touch the geom
CLOCKWISE = wp.constant(1)  # around the outside, from p_0 to p_1
ANTICLOCKWISE = wp.constant(2)
INSIDE = wp.constant(3)
MIDDLE = wp.constant(4)  # inside, where MuJoCo's iteration finds no point and takes that between the ends

MINVAL = wp.constant(real(mujoco.mjMINVAL))
BLOCKED = wp.constant(real(-10000.0))  # below every merit
SHORTEST_TURN = wp.constant(real(1e-6))  # shorter arcs are never taken for almost a whole turn

# MuJoCo's iteration for the point inside.
ITERATIONS = wp.constant(20)
TOLERANCE = wp.constant(wp.float64(1e-6))
START = wp.constant(wp.float64(np.pi / 2))
TINY = wp.constant(wp.float64(mujoco.mjMINVAL))
double3 = wp.types.vector(3, wp.float64)


@wp.struct
class Way:
    """The choices of a path. For INSIDE, the angle of incidence is linear around `place`."""

    kind: wp.int32
    parallel: wp.int32  # 1 if the ends and the centre of a sphere are on a line
    sign: real  # the arc is sign * (a + turn), a the angle between its ends, anticlockwise, in [-pi, pi]
    turn: real
    place: vec3  # r / |p_0|, r / |p_1|, angle between the ends
    incidence: real
    slope: vec3  # of the incidence by the three


@wp.struct
class Wrapped:
    """Length of a path, and its derivatives by the two ends."""

    length: real
    pull0: vec3
    pull1: vec3


@wp.struct
class Plane:
    """Two axes of the circle's plane, and how much a path climbs along the third."""

    first: vec3
    second: vec3
    up: vec3


@no_gradient
def any_normal(axis: vec3) -> vec3:
    """A normal of a unit vector, MuJoCo's choice."""
    largest = int(0)
    if wp.abs(axis[1]) > wp.abs(axis[0]) and wp.abs(axis[1]) > wp.abs(axis[2]):
        largest = 1
    if wp.abs(axis[2]) > wp.abs(axis[0]) and wp.abs(axis[2]) > wp.abs(axis[1]):
        largest = 2
    other = vec3(ONE, ONE, ONE)
    other[largest] = ZERO
    return wp.normalize(wp.cross(axis, other))


@differentiable
def normal_of(p0: vec3, p1: vec3, parallel: int) -> vec3:
    """Normal of the plane through a sphere's centre and the ends."""
    if parallel == 1:
        return any_normal(wp.normalize(p0))
    return wp.normalize(wp.cross(p0, p1))


@differentiable
def plane_of(kind: int, p0: vec3, p1: vec3, parallel: int) -> Plane:
    """The circle's plane."""
    if kind == CYLINDER_WRAP:
        return Plane(vec3(ONE, ZERO, ZERO), vec3(ZERO, ONE, ZERO), vec3(ZERO, ZERO, ONE))
    first = wp.normalize(p0)
    return Plane(first, wp.normalize(wp.cross(normal_of(p0, p1, parallel), first)), vec3(ZERO, ZERO, ZERO))


@differentiable
def in_plane(plane: Plane, p: vec3) -> vec2:
    """A point's projection."""
    return vec2(wp.dot(p, plane.first), wp.dot(p, plane.second))


@differentiable
def tangent_point(end: vec2, radius: real, sign: real) -> vec2:
    """Where a line from an end touches the circle, which it then follows clockwise if `sign` is 1."""
    square = wp.dot(end, end)
    root = sign * radius * wp.sqrt(square - radius * radius)
    along = radius * radius / square
    across = root / square
    return vec2(end[0] * along + end[1] * across, end[1] * along - end[0] * across)


@differentiable
def turn_between(a: vec2, b: vec2) -> real:
    """Angle from one vector to another, anticlockwise."""
    return wp.atan2(a[0] * b[1] - a[1] * b[0], wp.dot(a, b))


@differentiable
def touching_point(d0: vec2, d1: vec2, radius: real, way: Way) -> vec2:
    """The point of the circle that a path inside touches."""
    if way.kind == MIDDLE:
        return radius * wp.normalize(d0 + d1)
    size0 = wp.length(d0)
    size1 = wp.length(d1)
    gap = d1 - d0
    angle = wp.acos((size0 * size0 + size1 * size1 - wp.dot(gap, gap)) / (TWO * size0 * size1))
    ratio0 = radius / size0
    ratio1 = radius / size1
    incidence = way.incidence + wp.dot(way.slope, vec3(ratio0, ratio1, angle) - way.place)
    z = wp.sin(incidence)
    if d0[0] * d1[1] - d0[1] * d1[0] > ZERO:
        return turned(d0 / size0, incidence - wp.asin(ratio0 * z), radius)
    return turned(d1 / size1, incidence - wp.asin(ratio1 * z), radius)


@differentiable
def turned(x: vec2, angle: real, scale: real) -> vec2:
    """A scaled vector, turned anticlockwise."""
    c = wp.cos(angle)
    s = wp.sin(angle)
    return vec2(scale * (c * x[0] - s * x[1]), scale * (s * x[0] + c * x[1]))


@differentiable
def sign_of(way: Way) -> real:
    """1 for a path clockwise, -1 for one anticlockwise."""
    if way.kind == CLOCKWISE:
        return real(1.0)
    return real(-1.0)


@partial(differentiable, inline=False)
def wrapped(kind: int, p0: vec3, p1: vec3, radius: real, way: Way) -> Wrapped:
    """A path that touches the geom."""
    plane = plane_of(kind, p0, p1, way.parallel)
    d0 = in_plane(plane, p0)
    d1 = in_plane(plane, p1)
    if way.kind == INSIDE or way.kind == MIDDLE:
        t = touching_point(d0, d1, radius, way)
        return joined_path(plane, p0, p1, t - d0, d1 - t, ZERO)
    sign = sign_of(way)
    t0 = tangent_point(d0, radius, sign)
    t1 = tangent_point(d1, radius, -sign)
    return joined_path(plane, p0, p1, t0 - d0, d1 - t1, radius * way.sign * (turn_between(t0, t1) + way.turn))


@differentiable
def joined_path(plane: Plane, p0: vec3, p1: vec3, out: vec2, back: vec2, bent: real) -> Wrapped:
    """A path from its straight parts in the plane and the length of the arc between them."""
    size0 = wp.length(out)
    size1 = wp.length(back)
    flat = size0 + bent + size1
    climb = wp.dot(p1 - p0, plane.up)
    length = wp.sqrt(flat * flat + climb * climb)
    slope = flat / length
    rise = (climb / length) * plane.up
    start = (slope / wp.max(size0, MINVAL)) * (out[0] * plane.first + out[1] * plane.second)
    end = (slope / wp.max(size1, MINVAL)) * (back[0] * plane.first + back[1] * plane.second)
    return Wrapped(length, -start - rise, end + rise)


@differentiable
def contraction(kind: int, p0: vec3, p1: vec3, radius: real, way: Way, length_bar: real, v0: vec3, v1: vec3) -> real:
    """Length times its cotangent, plus the rate of the length at velocities v_0 and v_1 of the ends."""
    path = wrapped(kind, p0, p1, radius, way)
    return path.length * length_bar + wp.dot(path.pull0, v0) + wp.dot(path.pull1, v1)


@wp.struct
class EndCotangents:
    """Cotangents of the two ends."""

    end0: vec3
    end1: vec3


@partial(calls_gradient, inline=False)
def wrapped_adjoint(
    kind: int, p0: vec3, p1: vec3, radius: real, way: Way, length_bar: real, v0: vec3, v1: vec3
) -> EndCotangents:
    """Gradient of `contraction` by the ends, at fixed velocities."""
    bar = wp.grad(contraction)(kind, p0, p1, radius, way, length_bar, v0, v1)
    return EndCotangents(bar[1], bar[2])


# ------------------------------------------------------------------------------------------------------- choices


@wp.func
def crossing(a0: vec2, a1: vec2, b0: vec2, b1: vec2) -> bool:
    """Whether two segments intersect."""
    a = a1 - a0
    b = b1 - b0
    det = b[1] * a[0] - b[0] * a[1]
    if wp.abs(det) < MINVAL:
        return False
    gap = a0 - b0
    on_a = (b[0] * gap[1] - b[1] * gap[0]) / det
    on_b = (a[0] * gap[1] - a[1] * gap[0]) / det
    return on_a >= ZERO and on_a < ONE and on_b >= ZERO and on_b < ONE


@wp.func
def nearest(d0: vec2, d1: vec2) -> real:
    """Place on the line through two points that is nearest to the origin: 0 at the first, 1 at the second."""
    gap = d1 - d0
    return -wp.dot(gap, d0) / wp.dot(gap, gap)


@wp.func
def merit(d0: vec2, d1: vec2, radius: real, sign: real) -> real:
    """How short a way around the outside is."""
    t0 = tangent_point(d0, radius, sign)
    t1 = tangent_point(d1, radius, -sign)
    if crossing(d0, t0, d1, t1):
        return BLOCKED
    return -wp.dot(t0 - t1, t0 - t1)


@wp.func
def outside_way(d0: vec2, d1: vec2, radius: real, has_side: int, side: vec2, parallel: int) -> Way:
    """The way around the outside."""
    way = Way()
    way.parallel = parallel
    way.kind = STRAIGHT
    square = radius * radius
    gap = d1 - d0
    if wp.dot(d0, d0) < square or wp.dot(d1, d1) < square or radius < MINVAL or wp.dot(gap, gap) < MINVAL:
        return way
    point = d0 + wp.clamp(nearest(d0, d1), ZERO, ONE) * gap
    free = wp.dot(point, point) > square
    if has_side == 1:
        return way_past(way, d0, d1, radius, side, free)
    if free:
        return way
    clockwise = merit(d0, d1, radius, ONE)
    anticlockwise = merit(d0, d1, radius, -ONE)
    if wp.max(clockwise, anticlockwise) == BLOCKED:
        return way
    way.kind = ANTICLOCKWISE
    if clockwise > anticlockwise:
        way.kind = CLOCKWISE
    sign = sign_of(way)
    way.sign = -sign
    bent = turn_between(tangent_point(d0, radius, sign), tangent_point(d1, radius, -sign))
    if way.sign * bent < ZERO:
        if wp.abs(bent) > SHORTEST_TURN:
            way.turn = way.sign * TWO * PI
        else:
            way.sign = sign
    return way


@wp.func
def way_past(given: Way, d0: vec2, d1: vec2, radius: real, side: vec2, free: bool) -> Way:
    """The way around the outside past a side site; straight where the free straight path passes the same way."""
    way = given
    turn = turn_between(d0, side) + turn_between(side, d1)
    if free and wp.abs(turn - turn_between(d0, d1)) < PI:
        return way
    kind = CLOCKWISE
    sign = real(1.0)
    if turn > ZERO:
        kind = ANTICLOCKWISE
        sign = real(-1.0)
    t0 = tangent_point(d0, radius, sign)
    t1 = tangent_point(d1, radius, -sign)
    if crossing(d0, t0, d1, t1):
        return way
    way.kind = kind
    bent = turn - turn_between(d0, t0) - turn_between(t1, d1)
    way.sign = real(1.0)
    if bent < ZERO:
        way.sign = real(-1.0)
    way.turn = bent - turn_between(t0, t1)
    return way


@wp.func
def inside_way(d0: vec2, d1: vec2, radius: real, parallel: int) -> Way:
    """The way inside."""
    way = Way()
    way.parallel = parallel
    way.kind = STRAIGHT
    size0 = wp.length(d0)
    size1 = wp.length(d1)
    if size0 <= radius or size1 <= radius or radius < MINVAL or size0 < MINVAL or size1 < MINVAL:
        return way
    gap = d1 - d0
    if wp.dot(gap, gap) > MINVAL:
        place = nearest(d0, d1)
        if place > ZERO and place < ONE and wp.length(d0 + place * gap) <= radius:
            return way
    cosine = (size0 * size0 + size1 * size1 - wp.dot(gap, gap)) / (TWO * size0 * size1)
    if cosine < -ONE + MINVAL:
        return way
    way.kind = MIDDLE
    if cosine > ONE - MINVAL:
        return way
    way.place = vec3(radius / size0, radius / size1, wp.acos(cosine))
    return incidence(way)


@wp.func
def incidence(given: Way) -> Way:
    """Solves asin(A sin x) + asin(B sin x) - 2 x + G = 0 by MuJoCo's iteration, in double precision.

    The iteration stops at a residual of 1e-6. The derivatives of x by A, B and G are those of its result.
    """
    way = given
    a = wp.float64(way.place[0])
    b = wp.float64(way.place[1])
    angle = wp.float64(way.place[2])
    one = wp.float64(1.0)
    two = wp.float64(2.0)
    x = wp.float64(START)
    slope = double3()
    f = wp.asin(a) + wp.asin(b) - two * x + angle
    if f > wp.float64(0.0):
        return way
    left = int(ITERATIONS)
    while left > 0 and wp.abs(f) > TOLERANCE:
        c = wp.cos(x)
        z = wp.sin(x)
        root_a = wp.max(TINY, wp.sqrt(one - z * z * a * a))
        root_b = wp.max(TINY, wp.sqrt(one - z * z * b * b))
        df = c * (a / root_a + b / root_b) - two
        if df > -TINY:
            return way
        following = x - f / df
        if following > x:
            return way
        cube_a = root_a * root_a * root_a
        cube_b = root_b * root_b * root_b
        bend = z * (c * c * (a * a * a / cube_a + b * b * b / cube_b) - a / root_a - b / root_b)
        by_place = double3(z / root_a, z / root_b, one)
        df_by_place = double3(c / cube_a, c / cube_b, wp.float64(0.0))
        slope = -by_place / df + (f / (df * df)) * (bend * slope + df_by_place)
        x = following
        f = wp.asin(a * wp.sin(x)) + wp.asin(b * wp.sin(x)) - two * x + angle
        if f > TOLERANCE:
            return way
        left -= 1
    if left > 0:
        way.kind = INSIDE
        way.incidence = real(x)
        way.slope = vec3(real(slope[0]), real(slope[1]), real(slope[2]))
    return way


@wp.func(inline=False)
def choose_way(kind: int, p0: vec3, p1: vec3, radius: real, has_side: int, side: vec3) -> Way:
    """The way of the path between two ends, with a side site if `has_side` is 1."""
    way = Way()
    way.kind = STRAIGHT
    if wp.length(p0) < MINVAL or wp.length(p1) < MINVAL:
        return way
    if kind == SPHERE_WRAP and wp.length(wp.cross(p0, p1)) < MINVAL:
        way.parallel = 1
    plane = plane_of(kind, p0, p1, way.parallel)
    d0 = in_plane(plane, p0)
    d1 = in_plane(plane, p1)
    if has_side == 1 and wp.length(side) < radius:
        return inside_way(d0, d1, radius, way.parallel)
    beside = radius * wp.normalize(in_plane(plane, side))
    return outside_way(d0, d1, radius, has_side, beside, way.parallel)
