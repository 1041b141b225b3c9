"""Contacts of a plane with the other geoms: where these reach deepest along the plane's normal.

The first geom is the plane, through its position and normal to its third axis; it has no bounds.
Source: MuJoCo, `engine_collision_primitive.c`.
"""

import math

import warp as wp

from diffsim.collision.contact_frame import MINVAL, ContactGeometry, axis_of, contact, direction, no_contact
from diffsim.physics.gradient_call import differentiable
from diffsim.types import HALF, ZERO, mat33, real, vec3

SIN60 = wp.constant(real(math.sqrt(0.75)))


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


@differentiable
def plane_ellipsoid(
    size1: vec3, pos1: vec3, mat1: mat33, size2: vec3, pos2: vec3, mat2: mat33, candidate: int, margin: real
) -> ContactGeometry:
    """One contact, at the ellipsoid's deepest point: the image of the unit sphere's."""
    normal = axis_of(mat1, 2)
    deepest = direction(wp.cw_mul(size2, wp.transpose(mat2) * -normal))
    return plane_point(normal, pos1, pos2 + mat2 * wp.cw_mul(size2, deepest), ZERO)


@differentiable
def signed(size: real, bit: int) -> real:
    """The size, or its negative where the bit is clear."""
    if bit != 0:
        return size
    return -size


@differentiable
def plane_box(
    size1: vec3, pos1: vec3, mat1: mat33, size2: vec3, pos2: vec3, mat2: mat33, candidate: int, margin: real
) -> ContactGeometry:
    """One contact per corner below the box's centre; the first four count, x changing fastest."""
    normal = axis_of(mat1, 2)
    corner = mat2 * vec3(
        signed(size2[0], candidate & 1), signed(size2[1], candidate & 2), signed(size2[2], candidate & 4)
    )
    if wp.dot(normal, corner) > ZERO:
        return no_contact()
    return plane_point(normal, pos1, pos2 + corner, ZERO)


@differentiable
def rim_direction(normal: vec3, axis: vec3, mat2: mat33) -> vec3:
    """Unit vector in a cylinder's disk that points deepest into a plane; its x axis where all do alike."""
    downhill = wp.dot(normal, axis) * axis - normal
    length = wp.length(downhill)
    if length < MINVAL:
        return axis_of(mat2, 0)
    return downhill / length


@differentiable
def plane_cylinder(
    size1: vec3, pos1: vec3, mat1: mat33, size2: vec3, pos2: vec3, mat2: mat33, candidate: int, margin: real
) -> ContactGeometry:
    """The deepest points of the lower and of the upper disk, then two that make the first one a triangle."""
    normal = axis_of(mat1, 2)
    down = axis_of(mat2, 2)
    if wp.dot(normal, down) > ZERO:
        down = -down
    rim = rim_direction(normal, down, mat2)
    disk = size2[1] * down
    deepest = plane_point(normal, pos1, pos2 + disk + size2[0] * rim, ZERO)
    if candidate == 0:
        return deepest
    if deepest.distance > margin:  # rounding made `rim` point upwards
        return no_contact()
    if candidate == 1:
        return plane_point(normal, pos1, pos2 - disk + size2[0] * rim, ZERO)
    side = SIN60 * direction(wp.cross(rim, down))
    if candidate == 3:
        side = -side
    return plane_point(normal, pos1, pos2 + disk + size2[0] * (side - HALF * rim), ZERO)
