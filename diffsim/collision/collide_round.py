"""Contacts between spheres and capsules.

A capsule is a sphere moved along a segment, so each contact is one between two spheres, whose centres are the closest
points of the segments. Source: MuJoCo, `mjraw_SphereSphere` and `mjc_segWeights`; Ericson (2005), Real-Time Collision
Detection, section 5.1.9.
"""

import warp as wp

from diffsim.collision.collide_box import clamped
from diffsim.collision.contact_frame import (
    KINK,
    MINVAL,
    ContactGeometry,
    Geom,
    axis_of,
    between,
    contact,
    direction,
    no_contact,
)
from diffsim.collision.gradient_call import differentiable
from diffsim.types import HALF, ONE, TWO, ZERO, real, vec2, vec3

POINT = wp.constant(real(1.0e-15))  # squared length, in m^2, of a segment that is a point
# Squared sine of the angle below which MuJoCo treats two capsules as parallel, with two contacts.
PARALLEL = wp.constant(real(1.0e-8))


@differentiable
def coincident_normal(axis1: vec3, axis2: vec3) -> vec3:
    """Normal of spheres with the same centre: across the third axes of both geoms."""
    return direction(wp.cross(axis1, axis2))


@differentiable
def spheres(center1: vec3, radius1: real, axis1: vec3, center2: vec3, radius2: real, axis2: vec3) -> ContactGeometry:
    """Contact of two spheres. The axes are used only where the centres coincide."""
    offset = center2 - center1
    length = wp.length(offset)
    distance = length - radius1 - radius2
    reach = radius1 + HALF * distance
    if length < MINVAL:
        n = coincident_normal(axis1, axis2)
        return contact(distance, center1 + reach * n, n)
    normal = offset / length
    return contact(distance, center1 + reach * normal, normal)


@differentiable
def sphere_sphere(sphere1: Geom, sphere2: Geom, candidate: int, margin: real) -> ContactGeometry:
    """One contact."""
    axis1 = axis_of(sphere1.mat, 2)
    return spheres(sphere1.pos, sphere1.size[0], axis1, sphere2.pos, sphere2.size[0], axis_of(sphere2.mat, 2))


@differentiable
def sphere_capsule(sphere: Geom, capsule: Geom, candidate: int, margin: real) -> ContactGeometry:
    """One contact, with the point of the segment closest to the sphere's centre."""
    axis1 = axis_of(sphere.mat, 2)
    axis2 = axis_of(capsule.mat, 2)
    along = clamped(wp.dot(axis2, sphere.pos - capsule.pos), capsule.size[1])
    return spheres(sphere.pos, sphere.size[0], axis1, capsule.pos + along * axis2, capsule.size[0], axis2)


@differentiable
def unit_clamp(x: real) -> real:
    """X clipped to [0, 1]. The gradient is that of x inside, zero outside, their mean between."""
    if x < ZERO:
        return between(x >= -KINK, real(0.0), x)
    if x > ONE:
        return between(x <= ONE + KINK, real(1.0), x)
    if x < HALF:
        return between(x <= KINK, x, real(0.0))
    return between(x >= ONE - KINK, x, real(1.0))


@differentiable
def loose_clamp(x: real) -> real:
    """As `unit_clamp`, but with the gradient of x up to the kinks, inclusive."""
    if x < -KINK:
        return real(0.0)
    if x > ONE + KINK:
        return real(1.0)
    return x


@differentiable
def between2(inside: bool, x: vec2, y: vec2) -> vec2:
    """X inside, else y, with the mean of the gradients of both."""
    if inside:
        return vec2(between(True, x[0], y[0]), between(True, x[1], y[1]))
    return vec2(between(True, y[0], x[0]), between(True, y[1], x[1]))


@differentiable
def clamp_second(first: real, second: real, first_at_0: real, first_at_1: real) -> vec2:
    """Weights (first, second) with the second clipped to [0, 1], and the first then optimal for that end.

    Between both choices the gradient is their mean. There the first weight moves inwards if the second is clipped.
    """
    if wp.abs(second) <= KINK:
        return between2(second >= ZERO, vec2(first, second), vec2(loose_clamp(first_at_0), ZERO))
    if wp.abs(second - ONE) <= KINK:
        return between2(second <= ONE, vec2(first, second), vec2(loose_clamp(first_at_1), ONE))
    if second < ZERO:
        return vec2(unit_clamp(first_at_0), ZERO)
    if second > ONE:
        return vec2(unit_clamp(first_at_1), ONE)
    return vec2(first, second)


@differentiable
def segment_weights(ab: vec3, cd: vec3, ca: vec3, candidate: int) -> vec2:
    """Weights (s, t) of closest points a + s ab and c + t cd of two segments, where ca = a - c.

    Parallel segments have two candidates, at both ends of their overlap; other segments have one. Weights of -1 mean
    that there is no such candidate.
    """
    ab2 = wp.dot(ab, ab)
    cd2 = wp.dot(cd, cd)
    ab_ca = wp.dot(ab, ca)
    cd_ca = wp.dot(cd, ca)
    ab_cd = wp.dot(ab, cd)
    cross = wp.cross(ab, cd)
    determinant = wp.dot(cross, cross)
    parallel = ab2 > POINT and cd2 > POINT and determinant <= PARALLEL * ab2 * cd2
    if candidate == 1:
        if not parallel:
            return vec2(-ONE, -ONE)
        return clamp_second(ONE, (ab_cd + cd_ca) / cd2, -ab_ca / ab2, (ab_cd - ab_ca) / ab2)
    if parallel:
        return clamp_second(ZERO, cd_ca / cd2, -ab_ca / ab2, (ab_cd - ab_ca) / ab2)
    if ab2 <= POINT and cd2 <= POINT:
        return vec2(ZERO, ZERO)
    if ab2 <= POINT:
        return vec2(ZERO, unit_clamp(cd_ca / cd2))
    if cd2 <= POINT:
        return vec2(unit_clamp(-ab_ca / ab2), ZERO)
    s = unit_clamp(wp.dot(cross, wp.cross(cd, ca)) / determinant)
    return clamp_second(s, (ab_cd * s + cd_ca) / cd2, -ab_ca / ab2, (ab_cd - ab_ca) / ab2)


@differentiable
def capsule_capsule(capsule1: Geom, capsule2: Geom, candidate: int, margin: real) -> ContactGeometry:
    """One contact, or two where the capsules are parallel."""
    half_length1 = capsule1.size[1]
    half_length2 = capsule2.size[1]
    axis1 = axis_of(capsule1.mat, 2)
    axis2 = axis_of(capsule2.mat, 2)
    start1 = capsule1.pos - half_length1 * axis1
    start2 = capsule2.pos - half_length2 * axis2
    segment1 = TWO * half_length1 * axis1
    segment2 = TWO * half_length2 * axis2
    weights = segment_weights(segment1, segment2, start1 - start2, candidate)
    if weights[0] < -HALF:
        return no_contact()
    center1 = start1 + weights[0] * segment1
    center2 = start2 + weights[1] * segment2
    return spheres(center1, capsule1.size[0], axis1, center2, capsule2.size[0], axis2)
