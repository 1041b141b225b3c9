"""The narrow phase: contacts of two geoms, as in C MuJoCo, and their gradient under rigid motion.

A pair of kinds has a fixed list of candidates, each of which is at most one contact. The candidates within the
detection distance, `margin + gap`, are the pair's contacts, in this order and up to a maximum number. Which features
touch, and which candidates are used, are discrete choices; the gradient holds them fixed.
"""

import mujoco
import warp as wp

from diffsim.collision.collide_box import sphere_box
from diffsim.collision.collide_box_box import box_box
from diffsim.collision.collide_capsule_box import capsule_box
from diffsim.collision.collide_capsule_cylinder import capsule_cylinder
from diffsim.collision.collide_cylinder import sphere_cylinder
from diffsim.collision.collide_plane import (
    plane_box,
    plane_capsule,
    plane_cylinder,
    plane_ellipsoid,
    plane_sphere,
)
from diffsim.collision.collide_round import capsule_capsule, sphere_capsule, sphere_sphere
from diffsim.collision.contact_frame import NO_CONTACT, ContactGeometry, Geom, axis_of, contact_frame, no_contact
from diffsim.collision.gradient_call import calls_gradient, differentiable
from diffsim.types import mat33, real, vec3

__all__ = [
    "CANDIDATES",
    "COLLIDERS",
    "NO_CONTACT",
    "ContactGeometry",
    "Geom",
    "GeometryCotangents",
    "contact_frame",
    "contact_geometry",
    "contact_geometry_adjoint",
]

PLANE = wp.constant(int(mujoco.mjtGeom.mjGEOM_PLANE))
SPHERE = wp.constant(int(mujoco.mjtGeom.mjGEOM_SPHERE))
CAPSULE = wp.constant(int(mujoco.mjtGeom.mjGEOM_CAPSULE))
ELLIPSOID = wp.constant(int(mujoco.mjtGeom.mjGEOM_ELLIPSOID))
CYLINDER = wp.constant(int(mujoco.mjtGeom.mjGEOM_CYLINDER))
BOX = wp.constant(int(mujoco.mjtGeom.mjGEOM_BOX))

# By the kinds of the two geoms, in MuJoCo's order: number of candidates, maximum number of contacts.
CANDIDATES: dict[tuple[int, int], tuple[int, int]] = {
    (PLANE, SPHERE): (1, 1),
    (PLANE, CAPSULE): (2, 2),
    (PLANE, ELLIPSOID): (1, 1),
    (PLANE, CYLINDER): (4, 4),
    (PLANE, BOX): (8, 4),
    (SPHERE, SPHERE): (1, 1),
    (SPHERE, CAPSULE): (1, 1),
    (SPHERE, CYLINDER): (1, 1),
    (SPHERE, BOX): (1, 1),
    (CAPSULE, CAPSULE): (2, 2),
    (CAPSULE, CYLINDER): (2, 2),
    (CAPSULE, BOX): (2, 2),
    (BOX, BOX): (8, 8),
}


COLLIDERS: dict[tuple[int, int], wp.Function] = {
    (PLANE, SPHERE): plane_sphere,
    (PLANE, CAPSULE): plane_capsule,
    (PLANE, ELLIPSOID): plane_ellipsoid,
    (PLANE, CYLINDER): plane_cylinder,
    (PLANE, BOX): plane_box,
    (SPHERE, SPHERE): sphere_sphere,
    (SPHERE, CAPSULE): sphere_capsule,
    (SPHERE, CYLINDER): sphere_cylinder,
    (SPHERE, BOX): sphere_box,
    (CAPSULE, CAPSULE): capsule_capsule,
    (CAPSULE, CYLINDER): capsule_cylinder,
    (CAPSULE, BOX): capsule_box,
    (BOX, BOX): box_box,
}
"""By the kinds of the two geoms: the function (geom1, geom2, candidate, margin) of a candidate."""


@wp.struct
class GeometryCotangents:
    """Gradient by each geom's motion, a force and a torque about its centre, in world axes, and by its size."""

    force1: vec3
    torque1: vec3
    force2: vec3
    torque2: vec3
    size1: vec3
    size2: vec3


@differentiable
def dispatch(
    kind1: int,
    kind2: int,
    size1: vec3,
    pos1: vec3,
    mat1: mat33,
    size2: vec3,
    pos2: vec3,
    mat2: mat33,
    candidate: int,
    margin: real,
) -> ContactGeometry:
    """Calls the collider of two kinds of geoms.

    It takes the fields of the geoms, because with structs LLVM inlines it into the kernels, which makes those slower.
    """
    geom1 = Geom(size1, pos1, mat1)
    geom2 = Geom(size2, pos2, mat2)
    if kind1 == PLANE:
        if kind2 == SPHERE:
            return plane_sphere(geom1, geom2, candidate, margin)
        if kind2 == CAPSULE:
            return plane_capsule(geom1, geom2, candidate, margin)
        if kind2 == ELLIPSOID:
            return plane_ellipsoid(geom1, geom2, candidate, margin)
        if kind2 == CYLINDER:
            return plane_cylinder(geom1, geom2, candidate, margin)
        if kind2 == BOX:
            return plane_box(geom1, geom2, candidate, margin)
    if kind1 == SPHERE:
        if kind2 == SPHERE:
            return sphere_sphere(geom1, geom2, candidate, margin)
        if kind2 == CAPSULE:
            return sphere_capsule(geom1, geom2, candidate, margin)
        if kind2 == CYLINDER:
            return sphere_cylinder(geom1, geom2, candidate, margin)
        if kind2 == BOX:
            return sphere_box(geom1, geom2, candidate, margin)
    if kind1 == CAPSULE:
        if kind2 == CAPSULE:
            return capsule_capsule(geom1, geom2, candidate, margin)
        if kind2 == CYLINDER:
            return capsule_cylinder(geom1, geom2, candidate, margin)
        if kind2 == BOX:
            return capsule_box(geom1, geom2, candidate, margin)
    if kind1 == BOX and kind2 == BOX:
        return box_box(geom1, geom2, candidate, margin)
    return no_contact()


@differentiable
def contact_geometry(kind1: int, kind2: int, geom1: Geom, geom2: Geom, candidate: int, margin: real) -> ContactGeometry:
    """One candidate of a pair. It is a contact if its distance is at most `margin`, the detection distance."""
    return dispatch(kind1, kind2, geom1.size, geom1.pos, geom1.mat, geom2.size, geom2.pos, geom2.mat, candidate, margin)


@differentiable
def contraction(
    kind1: int,
    kind2: int,
    geom1: Geom,
    geom2: Geom,
    candidate: int,
    margin: real,
    distance_bar: real,
    position_bar: vec3,
    frame_bar: mat33,
) -> real:
    """The inner product of a contact and its cotangents."""
    g = contact_geometry(kind1, kind2, geom1, geom2, candidate, margin)
    frame = contact_frame(g.normal, g.tangent)
    return g.distance * distance_bar + wp.dot(g.position, position_bar) + wp.ddot(frame, frame_bar)


@wp.func
def turning(mat: mat33, mat_bar: mat33) -> vec3:
    """The cotangent of a rotation matrix as a torque."""
    return (
        wp.cross(axis_of(mat, 0), axis_of(mat_bar, 0))
        + wp.cross(axis_of(mat, 1), axis_of(mat_bar, 1))
        + wp.cross(axis_of(mat, 2), axis_of(mat_bar, 2))
    )


@calls_gradient
def contact_geometry_adjoint(
    kind1: int,
    kind2: int,
    geom1: Geom,
    geom2: Geom,
    candidate: int,
    margin: real,
    distance_bar: real,
    position_bar: vec3,
    frame_bar: mat33,
) -> GeometryCotangents:
    """Gradient of distance * distance_bar + position . position_bar + sum(frame * frame_bar)."""
    bar = wp.grad(contraction)(kind1, kind2, geom1, geom2, candidate, margin, distance_bar, position_bar, frame_bar)
    geom1_bar = bar[2]
    geom2_bar = bar[3]
    return GeometryCotangents(
        geom1_bar.pos,
        turning(geom1.mat, geom1_bar.mat),
        geom2_bar.pos,
        turning(geom2.mat, geom2_bar.mat),
        geom1_bar.size,
        geom2_bar.size,
    )
