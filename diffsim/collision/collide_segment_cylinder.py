"""Where a capsule meets a cylinder: the exact closest points of a segment and a solid cylinder.

The distance to a convex body is convex along the segment, so its minimum is the root of a monotone function. Where the
segment enters the cylinder, the contact is along the direction of least translation that separates them: through a cap,
through the side, or slanted (perpendicular to the segment, over a rim). In the cylinder's frame, a segment a + t d,
t in [-1, 1], must move along n by

    phi(n) = R |n_xy| + H |n_z| - n . a + |n . d|

MuJoCo finds the same contact iteratively (`mjc_ccd`), within its tolerance `ccd_tolerance`.
"""

import warp as wp

from diffsim.collision.collide_box import clamped
from diffsim.collision.collide_cylinder import sphere_cylinder
from diffsim.collision.collide_plane import plane_point
from diffsim.collision.collide_round import spheres
from diffsim.collision.contact_frame import ContactGeometry, Geom, axis_of, contact
from diffsim.collision.gradient_call import differentiable, no_gradient
from diffsim.types import HALF, ONE, PI, X64, ZERO, real, vec3

OUTSIDE = wp.constant(0)
CAP = wp.constant(1)
SIDE = wp.constant(2)
SLANTED = wp.constant(3)
INSIDE = wp.constant(real(1.0e-9 if X64 else 1.0e-6))  # distance, in m, of a segment that enters the cylinder
TINY = wp.constant(real(1.0e-20))
LARGE = wp.constant(real(1.0e20))


@wp.struct
class Meeting:
    """The way in which a segment meets a cylinder."""

    kind: int  # OUTSIDE, or the direction of separation: CAP, SIDE, SLANTED
    up: int  # 1 at the upper cap or its rim, -1 at the lower, 0 between them
    place: real  # of the closest point on the segment; for SLANTED: the angle of the direction around the segment


@differentiable
def outward(p: vec3, radius: real, half_length: real) -> vec3:
    """Vector from the cylinder's closest point to p, in the cylinder's frame; zero inside."""
    across = wp.sqrt(p[0] * p[0] + p[1] * p[1])
    z = real(0.0)
    if p[2] > half_length:
        z = p[2] - half_length
    if p[2] < -half_length:
        z = p[2] + half_length
    if across > radius:
        s = ONE - radius / across
        return vec3(s * p[0], s * p[1], z)
    return vec3(ZERO, ZERO, z)


@differentiable
def outward_slope(p: vec3, d: vec3, radius: real, half_length: real) -> real:
    """Derivative of outward(p) . d as p moves along d; >= 0."""
    across2 = p[0] * p[0] + p[1] * p[1]
    slope = real(0.0)
    if wp.abs(p[2]) > half_length:
        slope = d[2] * d[2]
    if across2 > radius * radius:
        along = p[0] * d[0] + p[1] * d[1]
        turn = (p[0] * d[1] - p[1] * d[0]) * (p[0] * d[1] - p[1] * d[0]) / across2
        slope = slope + along * along / across2 + (ONE - radius / wp.sqrt(across2)) * turn
    return slope


@wp.func
def closest_place(a: vec3, d: vec3, radius: real, half_length: real) -> real:
    """Place in [-1, 1] of the segment's point closest to a cylinder: Newton's method, safeguarded by bisection."""
    if wp.dot(outward(a - d, radius, half_length), d) >= ZERO:
        return -ONE
    if wp.dot(outward(a + d, radius, half_length), d) <= ZERO:
        return ONE
    low = -ONE
    high = real(1.0)
    t = real(0.0)
    for _i in range(100):
        p = a + t * d
        f = wp.dot(outward(p, radius, half_length), d)
        if f == ZERO:
            return t
        if f > ZERO:
            high = t
        else:
            low = t
        step = LARGE
        slope = outward_slope(p, d, radius, half_length)
        if slope > TINY:
            step = -f / slope
        following = t + step
        if following <= low or following >= high:
            following = HALF * (low + high)
        if following == t:
            return t
        t = following
    return t


@differentiable
def slanted(d: vec3, angle: real) -> vec3:
    """Unit vector perpendicular to the segment; horizontal at angles 0 and pi, upwards in between."""
    e1 = vec3(d[1], -d[0], ZERO) / wp.sqrt(d[0] * d[0] + d[1] * d[1])
    e2 = wp.cross(e1, d) / wp.length(d)  # upwards: its third component is |d_xy| / |d|
    return wp.cos(angle) * e1 + wp.sin(angle) * e2


@differentiable
def depth_along(n: vec3, a: vec3, radius: real, half_length: real) -> real:
    """Phi of a direction perpendicular to the segment."""
    return radius * wp.sqrt(n[0] * n[0] + n[1] * n[1]) + half_length * wp.abs(n[2]) - wp.dot(n, a)


@wp.func
def slanted_angle(a: vec3, d: vec3, radius: real, half_length: real, side: real) -> real:
    """The angle of least phi over the upper (side = 1) or lower (-1) rim: samples, then golden-section search."""
    best = real(0.0)
    least = real(1.0) * LARGE
    for k in range(16):
        angle = side * (real(k) + HALF) * PI / real(16.0)
        depth = depth_along(slanted(d, angle), a, radius, half_length)
        if depth < least:
            least = depth
            best = angle
    ratio = wp.static(real(0.5 * (5.0**0.5 - 1.0)))
    low = best - PI / real(16.0)
    high = best + PI / real(16.0)
    for _i in range(40):
        span = ratio * (high - low)
        below = depth_along(slanted(d, high - span), a, radius, half_length)
        above = depth_along(slanted(d, low + span), a, radius, half_length)
        if below < above:
            high = low + span
        else:
            low = high - span
    return HALF * (low + high)


@differentiable
def axis_place(a: vec3, d: vec3) -> real:
    """Place in [-1, 1] of the segment's point closest to the cylinder's axis."""
    flat2 = d[0] * d[0] + d[1] * d[1]
    if flat2 < TINY:
        return real(0.0)
    return clamped(-(a[0] * d[0] + a[1] * d[1]) / flat2, ONE)


@wp.func
def sign_of(x: real) -> int:
    """-1, 0 or 1."""
    if x > ZERO:
        return 1
    if x < ZERO:
        return -1
    return 0


@no_gradient
def meeting(a: vec3, d: vec3, radius: real, half_length: real) -> Meeting:
    """Searches for the closest point or, from inside, for the direction of separation.

    The result has no gradient; `following_place` and `following_angle` give its place one.
    """
    t = closest_place(a, d, radius, half_length)
    away = outward(a + t * d, radius, half_length)
    if wp.length(away) > INSIDE:
        return Meeting(OUTSIDE, sign_of(away[2]), t)
    best = Meeting(CAP, 1, -ONE)
    if a[2] < ZERO:
        best = Meeting(CAP, -1, ONE)
    if d[2] < ZERO:
        best = Meeting(CAP, best.up, -best.place)
    least = half_length - wp.abs(a[2]) + wp.abs(d[2])
    p = a + axis_place(a, d) * d
    depth = radius - wp.sqrt(p[0] * p[0] + p[1] * p[1])
    if depth < least:
        least = depth
        best = Meeting(SIDE, 0, ZERO)
    if d[0] * d[0] + d[1] * d[1] > TINY:
        for i in range(2):
            angle = slanted_angle(a, d, radius, half_length, real(2 * i - 1))
            depth = depth_along(slanted(d, angle), a, radius, half_length)
            if depth < least - INSIDE:  # prefer the side in a tie, so that rounding does not select a slanted direction
                least = depth
                best = Meeting(SLANTED, 2 * i - 1, angle)
    return best


@differentiable
def following_place(t: real, a: vec3, d: vec3, radius: real, half_length: real) -> real:
    """Newton's step at the closest place: keeps the value, and adds the derivative."""
    p = a + t * d
    slope = outward_slope(p, d, radius, half_length)
    if wp.abs(t) >= ONE or slope <= real(1.0e-6) * wp.dot(d, d):  # at an end, or all places equally close
        return t
    return t - wp.dot(outward(p, radius, half_length), d) / slope


@differentiable
def following_angle(angle: real, a: vec3, d: vec3, radius: real, half_length: real) -> real:
    """Newton's step at the minimum of phi: keeps the value, and adds the derivative."""
    s = wp.sin(angle)
    c = wp.cos(angle)
    n = slanted(d, angle)
    rate = slanted(d, angle + HALF * PI)
    steep2 = (d[0] * d[0] + d[1] * d[1]) / wp.dot(d, d)
    flat = wp.sqrt(n[0] * n[0] + n[1] * n[1])
    if flat < real(1.0e-3):
        return angle
    turn = steep2 * s * c / flat  # minus the derivative of `flat`
    slope = -radius * turn + half_length * wp.sign(n[2]) * rate[2] - wp.dot(rate, a)
    bend = wp.dot(n, a) - half_length * wp.abs(n[2]) - radius * (steep2 * (c * c - s * s) + turn * turn) / flat
    if bend <= real(1.0e-6) * radius:
        return angle
    return angle - slope / bend


@differentiable
def meeting_contact(how: Meeting, a: vec3, d: vec3, capsule: Geom, cylinder: Geom) -> ContactGeometry:
    """The contact at the closest points, or along the direction of separation."""
    capsule_radius = capsule.size[0]
    capsule_half_length = capsule.size[1]
    radius = cylinder.size[0]
    half_length = cylinder.size[1]
    axis1 = axis_of(capsule.mat, 2)
    axis2 = axis_of(cylinder.mat, 2)
    if how.kind == OUTSIDE:
        t = following_place(how.place, a, d, radius, half_length)
        sphere = Geom(capsule.size, capsule.pos + (t * capsule_half_length) * axis1, capsule.mat)
        return sphere_cylinder(sphere, cylinder, 0, ZERO)
    if how.kind == CAP:
        out = real(how.up) * axis2
        end = capsule.pos + (how.place * capsule_half_length) * axis1
        g = plane_point(out, cylinder.pos + half_length * out, end, capsule_radius)
        return contact(g.distance, g.position, -g.normal)
    if how.kind == SIDE:
        p = a + axis_place(a, d) * d
        center = cylinder.pos + cylinder.mat * p
        return spheres(center, capsule_radius, axis1, cylinder.pos + p[2] * axis2, radius, axis2)
    n = slanted(d, following_angle(how.place, a, d, radius, half_length))
    depth = depth_along(n, a, radius, half_length)
    scale = radius / wp.sqrt(n[0] * n[0] + n[1] * n[1])
    rim = vec3(scale * n[0], scale * n[1], half_length * wp.sign(n[2]))
    middle = rim - (HALF * (depth + capsule_radius)) * n
    return contact(-depth - capsule_radius, cylinder.pos + cylinder.mat * middle, -(cylinder.mat * n))
