"""Contacts of a plane with the other geoms: where these reach deepest along the plane's normal.

The first geom is the plane, through its position and normal to its third axis; it has no bounds.
Source: MuJoCo, `engine_collision_primitive.c`.
"""

import warp as wp

from diffsim.physics.contact_frame import ContactGeometry, axis_of, contact
from diffsim.physics.gradient_call import differentiable
from diffsim.types import HALF, mat33, real, vec3


@differentiable
def plane_point(normal: vec3, pos1: vec3, point: vec3, radius: real) -> ContactGeometry:
    """Contact of a plane with a sphere around a point."""
    distance = wp.dot(point - pos1, normal) - radius
    return contact(distance, point - (HALF * distance + radius) * normal, normal)


@differentiable
def plane_sphere(
    size1: vec3, pos1: vec3, mat1: mat33, size2: vec3, pos2: vec3, mat2: mat33, candidate: int, margin: real
) -> ContactGeometry:
    """One contact."""
    return plane_point(axis_of(mat1, 2), pos1, pos2, size2[0])


@differentiable
def plane_capsule(
    size1: vec3, pos1: vec3, mat1: mat33, size2: vec3, pos2: vec3, mat2: mat33, candidate: int, margin: real
) -> ContactGeometry:
    """One contact per end, at the end of positive axis first; the first tangent is along the capsule."""
    axis = axis_of(mat2, 2)
    end = size2[1]
    if candidate == 1:
        end = -size2[1]
    g = plane_point(axis_of(mat1, 2), pos1, pos2 + end * axis, size2[0])
    return ContactGeometry(g.distance, g.position, g.normal, axis)
