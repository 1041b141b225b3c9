"""Contacts of a plane with the other geoms, at the points that reach deepest along the plane's normal.

The first geom is the plane. It goes through its position, is normal to its third axis, and is infinite.
Source: MuJoCo, `engine_collision_primitive.c`.
"""

import math

import warp as wp

from diffsim.collision.contact_frame import MINVAL, ContactGeometry, Geom, axis_of, contact, direction, no_contact
from diffsim.collision.gradient_call import differentiable
from diffsim.types import HALF, ZERO, mat33, real, vec3

SIN60 = wp.constant(real(math.sqrt(0.75)))


@differentiable
def plane_point(normal: vec3, origin: vec3, point: vec3, radius: real) -> ContactGeometry:
    """Contact of a plane through `origin` with a sphere around a point."""
    distance = wp.dot(point - origin, normal) - radius
    return contact(distance, point - (HALF * distance + radius) * normal, normal)


@differentiable
def plane_sphere(plane: Geom, sphere: Geom, candidate: int, margin: real) -> ContactGeometry:
    """One contact."""
    return plane_point(axis_of(plane.mat, 2), plane.pos, sphere.pos, sphere.size[0])


@differentiable
def plane_capsule(plane: Geom, capsule: Geom, candidate: int, margin: real) -> ContactGeometry:
    """One contact per end, at the end of positive axis first; the first tangent is along the capsule."""
    axis = axis_of(capsule.mat, 2)
    end = capsule.size[1]
    if candidate == 1:
        end = -capsule.size[1]
    g = plane_point(axis_of(plane.mat, 2), plane.pos, capsule.pos + end * axis, capsule.size[0])
    return ContactGeometry(g.distance, g.position, g.normal, axis)


@differentiable
def plane_ellipsoid(plane: Geom, ellipsoid: Geom, candidate: int, margin: real) -> ContactGeometry:
    """One contact, at the ellipsoid's deepest point, which is the image of the unit sphere's deepest point."""
    normal = axis_of(plane.mat, 2)
    radii = ellipsoid.size
    deepest = direction(wp.cw_mul(radii, wp.transpose(ellipsoid.mat) * -normal))
    return plane_point(normal, plane.pos, ellipsoid.pos + ellipsoid.mat * wp.cw_mul(radii, deepest), ZERO)


@differentiable
def signed(size: real, bit: int) -> real:
    """The size, or minus the size where the bit is clear."""
    if bit != 0:
        return size
    return -size


@differentiable
def plane_box(plane: Geom, box: Geom, candidate: int, margin: real) -> ContactGeometry:
    """One contact per corner below the box's centre, x changing fastest; the caller keeps the first four."""
    normal = axis_of(plane.mat, 2)
    corner = box.mat * vec3(
        signed(box.size[0], candidate & 1), signed(box.size[1], candidate & 2), signed(box.size[2], candidate & 4)
    )
    if wp.dot(normal, corner) > ZERO:
        return no_contact()
    return plane_point(normal, plane.pos, box.pos + corner, ZERO)


@differentiable
def rim_direction(normal: vec3, axis: vec3, mat: mat33) -> vec3:
    """Unit vector in a cylinder's disk that points deepest into a plane; its x axis where all are equally deep."""
    downhill = wp.dot(normal, axis) * axis - normal
    length = wp.length(downhill)
    if length < MINVAL:
        return axis_of(mat, 0)
    return downhill / length


@differentiable
def plane_cylinder(plane: Geom, cylinder: Geom, candidate: int, margin: real) -> ContactGeometry:
    """The deepest point of the lower disk, that of the upper disk, then two that form a triangle with the first."""
    radius = cylinder.size[0]
    half_length = cylinder.size[1]
    normal = axis_of(plane.mat, 2)
    down = axis_of(cylinder.mat, 2)
    if wp.dot(normal, down) > ZERO:
        down = -down
    rim = rim_direction(normal, down, cylinder.mat)
    disk = half_length * down
    deepest = plane_point(normal, plane.pos, cylinder.pos + disk + radius * rim, ZERO)
    if candidate == 0:
        return deepest
    if deepest.distance > margin:  # rounding made `rim` point upwards
        return no_contact()
    if candidate == 1:
        return plane_point(normal, plane.pos, cylinder.pos - disk + radius * rim, ZERO)
    side = SIN60 * direction(wp.cross(rim, down))
    if candidate == 3:
        side = -side
    return plane_point(normal, plane.pos, cylinder.pos + disk + radius * (side - HALF * rim), ZERO)
