"""Contacts of a sphere with a cylinder: with its side, a flat cap, or the rim between them.

Source: MuJoCo, `mjc_SphereCylinder`.
"""

import warp as wp

from diffsim.collision.collide_plane import plane_point
from diffsim.collision.collide_round import spheres
from diffsim.collision.contact_frame import ContactGeometry, Geom, axis_of, contact
from diffsim.collision.gradient_call import differentiable
from diffsim.types import ZERO, real

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
def sphere_cylinder(sphere: Geom, cylinder: Geom, candidate: int, margin: real) -> ContactGeometry:
    """One contact. The side acts as a sphere around the axis, a cap as a plane, the rim as a point."""
    radius = cylinder.size[0]
    half_length = cylinder.size[1]
    axis = axis_of(cylinder.mat, 2)
    offset = sphere.pos - cylinder.pos
    along = wp.dot(axis, offset)
    radial = offset - along * axis
    across = wp.length(radial)
    feature = cylinder_feature(radius, half_length, along, across)
    if feature == SIDE:
        return spheres(sphere.pos, sphere.size[0], axis_of(sphere.mat, 2), cylinder.pos + along * axis, radius, axis)
    out = -axis
    if along > ZERO:
        out = axis
    cap = cylinder.pos + half_length * out
    if feature == CAP:
        g = plane_point(out, cap, sphere.pos, sphere.size[0])
        return contact(g.distance, g.position, -g.normal)
    return spheres(sphere.pos, sphere.size[0], axis_of(sphere.mat, 2), cap + (radius / across) * radial, ZERO, axis)
