"""Contacts of a sphere with a cylinder: with its side, a flat cap, or the rim between them.

Source: MuJoCo, `mjc_SphereCylinder`.
"""

import warp as wp

from diffsim.collision.collide_box import NEAR
from diffsim.collision.collide_plane import plane_point
from diffsim.collision.collide_round import spheres
from diffsim.collision.contact_frame import KINK, ContactGeometry, Geom, axis_of, between, between3, contact
from diffsim.collision.gradient_call import differentiable
from diffsim.types import ONE, ZERO, real, vec3

SIDE = wp.constant(0)
CAP = wp.constant(1)
RIM = wp.constant(2)


@wp.func
def cylinder_feature(radius: real, half_length: real, along: real, across: real) -> int:
    """The part of a cylinder nearest to a point inside or outside, `along` its axis and `across` from it."""
    beside = wp.abs(along) < half_length
    above = across < radius
    if beside and above:
        if half_length - wp.abs(along) < radius - across:
            return CAP
        return SIDE
    if beside:
        return SIDE
    if above:
        return CAP
    return RIM


@differentiable
def between_parts(a: ContactGeometry, b: ContactGeometry) -> ContactGeometry:
    """The first of two contacts that are equal up to rounding, with the mean of their gradients."""
    return contact(
        between(True, a.distance, b.distance),
        between3(True, a.position, b.position),
        between3(True, a.normal, b.normal),
    )


@differentiable
def part_contact(sphere: Geom, cylinder: Geom, feature: int, along: real, radial: vec3) -> ContactGeometry:
    """Contact with a part: the side acts as a sphere around the axis, a cap as a plane, the rim as a point."""
    radius = cylinder.size[0]
    axis = axis_of(cylinder.mat, 2)
    if feature == SIDE:
        return spheres(sphere.pos, sphere.size[0], axis_of(sphere.mat, 2), cylinder.pos + along * axis, radius, axis)
    out = -axis
    if along > ZERO:
        out = axis
    cap = cylinder.pos + cylinder.size[1] * out
    if feature == CAP:
        g = plane_point(out, cap, sphere.pos, sphere.size[0])
        return contact(g.distance, g.position, -g.normal)
    rim = cap + (radius / wp.length(radial)) * radial
    return spheres(sphere.pos, sphere.size[0], axis_of(sphere.mat, 2), rim, ZERO, axis)


@differentiable
def sphere_cylinder(sphere: Geom, cylinder: Geom, candidate: int, margin: real) -> ContactGeometry:
    """One contact, with the nearest part; its gradient is the mean of two parts where the rim begins."""
    radius = cylinder.size[0]
    half_length = cylinder.size[1]
    axis = axis_of(cylinder.mat, 2)
    offset = sphere.pos - cylinder.pos
    along = wp.dot(axis, offset)
    radial = offset - along * axis
    across = wp.length(radial)
    feature = cylinder_feature(radius, half_length, along, across)
    at_end = wp.abs(wp.abs(along) - half_length) <= KINK * half_length and across > (ONE + NEAR) * radius
    at_side = wp.abs(across - radius) <= KINK * radius and wp.abs(along) > (ONE + NEAR) * half_length
    g = part_contact(sphere, cylinder, feature, along, radial)
    if at_end or at_side:
        other = int(RIM)
        if feature == RIM and at_end:
            other = SIDE
        if feature == RIM and at_side:
            other = CAP
        return between_parts(g, part_contact(sphere, cylinder, other, along, radial))
    return g
