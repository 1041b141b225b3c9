"""Where a capsule meets a cylinder: the exact closest points of a segment and a solid cylinder.

Distance to a convex body is convex along the segment, so its minimum is one root of a monotone function. Where the
segment enters the cylinder, the contact is along the direction in which it comes out soonest: through a cap, through
the side, or slanted, across the segment and over a rim. In the cylinder's frame, a segment a + t d, t in [-1, 1], comes
out along n after

    phi(n) = R |n_xy| + H |n_z| - n . a + |n . d|

MuJoCo finds the same contact iteratively (`mjc_ccd`), to its tolerance `ccd_tolerance`.
"""

import warp as wp

from diffsim.collision.collide_box import clamped
from diffsim.collision.collide_cylinder import sphere_cylinder
from diffsim.collision.collide_plane import plane_point
from diffsim.collision.collide_round import spheres
from diffsim.collision.contact_frame import ContactGeometry, axis_of, contact
from diffsim.physics.gradient_call import differentiable, no_gradient
from diffsim.types import HALF, ONE, PI, X64, ZERO, mat33, real, vec3

OUTSIDE = wp.constant(0)
CAP = wp.constant(1)
SIDE = wp.constant(2)
SLANTED = wp.constant(3)
INSIDE = wp.constant(real(1.0e-9 if X64 else 1.0e-6))  # distance, in m, of a segment that enters the cylinder
TINY = wp.constant(real(1.0e-20))
LARGE = wp.constant(real(1.0e20))


@wp.struct
class Meeting:
    """How a segment meets a cylinder."""

    kind: int  # OUTSIDE, or the way out: CAP, SIDE, SLANTED
    up: int  # 1 at the upper cap or its rim, -1 at the lower, 0 between them
    place: real  # of the closest point on the segment; for SLANTED: the angle of the direction around the segment


@differentiable
def outward(p: vec3, radius: real, half_length: real) -> vec3:
    """From a cylinder's closest point to p; zero inside. In the cylinder's frame."""
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
    """Derivative of outward(p) . d as p moves along d; not negative."""
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
    """Place in [-1, 1] on a segment closest to a cylinder: Newton's method, safeguarded by bisection."""
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
    """Unit vector across the segment; horizontal at 0 and pi, pointing up in between."""
    e1 = vec3(d[1], -d[0], ZERO) / wp.sqrt(d[0] * d[0] + d[1] * d[1])
    e2 = wp.cross(e1, d) / wp.length(d)  # upwards: its third component is |d_xy| / |d|
    return wp.cos(angle) * e1 + wp.sin(angle) * e2


@differentiable
def depth_along(n: vec3, a: vec3, radius: real, half_length: real) -> real:
    """The function phi of a direction across the segment."""
    return radius * wp.sqrt(n[0] * n[0] + n[1] * n[1]) + half_length * wp.abs(n[2]) - wp.dot(n, a)


@wp.func
def slanted_angle(a: vec3, d: vec3, radius: real, half_length: real, side: real) -> real:
    """The angle of least phi over the upper (side = 1) or lower (-1) rim: samples, then golden sections."""
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
    """Place in [-1, 1] on a segment closest to the cylinder's axis."""
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
    """The search; from inside, the shortest way out. Held fixed: `following_place` then moves the place."""
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
            if depth < least - INSIDE:  # a tie goes to the side: rounding must not choose a slanted direction
                least = depth
                best = Meeting(SLANTED, 2 * i - 1, angle)
    return best


@differentiable
def following_place(t: real, a: vec3, d: vec3, radius: real, half_length: real) -> real:
    """Newton's step at the closest place: leaves its value, and adds its derivative."""
    p = a + t * d
    slope = outward_slope(p, d, radius, half_length)
    if wp.abs(t) >= ONE or slope <= real(1.0e-6) * wp.dot(d, d):  # at an end, or all along equally close
        return t
    return t - wp.dot(outward(p, radius, half_length), d) / slope


@differentiable
def following_angle(angle: real, a: vec3, d: vec3, radius: real, half_length: real) -> real:
    """Newton's step at the least of phi."""
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
def meeting_contact(
    how: Meeting, a: vec3, d: vec3, size1: vec3, pos1: vec3, mat1: mat33, size2: vec3, pos2: vec3, mat2: mat33
) -> ContactGeometry:
    """The contact at the closest points, or along the shortest way out."""
    axis1 = axis_of(mat1, 2)
    axis2 = axis_of(mat2, 2)
    if how.kind == OUTSIDE:
        t = following_place(how.place, a, d, size2[0], size2[1])
        return sphere_cylinder(size1, pos1 + (t * size1[1]) * axis1, mat1, size2, pos2, mat2, 0, ZERO)
    if how.kind == CAP:
        out = real(how.up) * axis2
        end = pos1 + (how.place * size1[1]) * axis1
        g = plane_point(out, pos2 + size2[1] * out, end, size1[0])
        return contact(g.distance, g.position, -g.normal)
    if how.kind == SIDE:
        p = a + axis_place(a, d) * d
        center = pos2 + mat2 * p
        return spheres(center, size1[0], axis1, pos2 + p[2] * axis2, size2[0], axis2)
    n = slanted(d, following_angle(how.place, a, d, size2[0], size2[1]))
    depth = depth_along(n, a, size2[0], size2[1])
    scale = size2[0] / wp.sqrt(n[0] * n[0] + n[1] * n[1])
    rim = vec3(scale * n[0], scale * n[1], size2[1] * wp.sign(n[2]))
    middle = rim - (HALF * (depth + size1[0])) * n
    return contact(-depth - size1[0], pos2 + mat2 * middle, -(mat2 * n))
