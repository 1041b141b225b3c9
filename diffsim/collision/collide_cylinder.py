"""Contacts of a sphere with a cylinder: with its side, one of its flat caps, or the rim between them.

Source: MuJoCo, `mjc_SphereCylinder`.
"""

import warp as wp

from diffsim.collision.collide_plane import plane_point
from diffsim.collision.collide_round import spheres
from diffsim.collision.contact_frame import ContactGeometry, axis_of, contact
from diffsim.physics.gradient_call import differentiable
from diffsim.types import ZERO, mat33, real, vec3

SIDE = wp.constant(0)
CAP = wp.constant(1)
RIM = wp.constant(2)


@wp.func
def cylinder_feature(radius: real, half_length: real, along: real, across: real) -> int:
    """The part of a cylinder nearest to a point `along` its axis and `across` from it, from inside too."""
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
def sphere_cylinder(
    size1: vec3, pos1: vec3, mat1: mat33, size2: vec3, pos2: vec3, mat2: mat33, candidate: int, margin: real
) -> ContactGeometry:
    """One contact. The side is a sphere around the axis, a cap a plane, the rim a point."""
    axis = axis_of(mat2, 2)
    offset = pos1 - pos2
    along = wp.dot(axis, offset)
    radial = offset - along * axis
    across = wp.length(radial)
    feature = cylinder_feature(size2[0], size2[1], along, across)
    if feature == SIDE:
        return spheres(pos1, size1[0], axis_of(mat1, 2), pos2 + along * axis, size2[0], axis)
    out = -axis
    if along > ZERO:
        out = axis
    cap = pos2 + size2[1] * out
    if feature == CAP:
        g = plane_point(out, cap, pos1, size1[0])
        return contact(g.distance, g.position, -g.normal)
    return spheres(pos1, size1[0], axis_of(mat1, 2), cap + (size2[0] / across) * radial, ZERO, axis)
