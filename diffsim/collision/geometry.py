"""The narrow phase: contacts of two geoms, as in C MuJoCo, and their gradient under rigid motion.

A pair of kinds has a fixed list of candidates, each of which is at most one contact. The candidates within the
detection distance, `margin + gap`, are the pair's contacts, in this order and up to a maximum number. Which features
touch, and which candidates are used, are discrete choices; the gradient holds them fixed.
"""

from functools import cache

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
from diffsim.collision.contact_frame import ContactGeometry, Geom, axis_of, contact_frame
from diffsim.collision.gradient_call import differentiable
from diffsim.types import mat33, real, vec3

__all__ = ["CANDIDATES", "COLLIDERS", "CONVEX", "ContactGeometry", "Geom", "contact_frame", "contraction_of", "turning"]

PLANE = wp.constant(int(mujoco.mjtGeom.mjGEOM_PLANE))
HFIELD = wp.constant(int(mujoco.mjtGeom.mjGEOM_HFIELD))
SPHERE = wp.constant(int(mujoco.mjtGeom.mjGEOM_SPHERE))
CAPSULE = wp.constant(int(mujoco.mjtGeom.mjGEOM_CAPSULE))
ELLIPSOID = wp.constant(int(mujoco.mjtGeom.mjGEOM_ELLIPSOID))
CYLINDER = wp.constant(int(mujoco.mjtGeom.mjGEOM_CYLINDER))
BOX = wp.constant(int(mujoco.mjtGeom.mjGEOM_BOX))
MESH = wp.constant(int(mujoco.mjtGeom.mjGEOM_MESH))

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

MAX_PAIR_CONTACTS = int(mujoco.mjMAXCONPAIR)

CONVEX: dict[tuple[int, int], int] = {
    (PLANE, MESH): 4,
    (HFIELD, SPHERE): MAX_PAIR_CONTACTS,
    (HFIELD, CAPSULE): MAX_PAIR_CONTACTS,
    (HFIELD, ELLIPSOID): MAX_PAIR_CONTACTS,
    (HFIELD, CYLINDER): MAX_PAIR_CONTACTS,
    (HFIELD, BOX): MAX_PAIR_CONTACTS,
    (HFIELD, MESH): MAX_PAIR_CONTACTS,
    (SPHERE, ELLIPSOID): 1,
    (SPHERE, MESH): 1,
    (CAPSULE, ELLIPSOID): 1,
    (CAPSULE, MESH): 4,
    (ELLIPSOID, ELLIPSOID): 1,
    (ELLIPSOID, CYLINDER): 1,
    (ELLIPSOID, BOX): 1,
    (ELLIPSOID, MESH): 1,
    (CYLINDER, CYLINDER): 4,
    (CYLINDER, BOX): 4,
    (CYLINDER, MESH): 4,
    (BOX, MESH): 4,
    (MESH, MESH): 4,
}
"""Pairs of the general convex collision (`convex`): number of candidates, each of which can be a contact.

Pairs with a height field have fewer where the geom is small: see `diffsim.compile.height_fields`.
"""

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


@cache
def contraction_of(kind1: int, kind2: int, module: wp.Module) -> wp.Function:
    """The inner product of a candidate of two kinds of geoms and its cotangents; for `wp.grad`, in a Warp module.

    It is distance * distance_bar + position . position_bar + sum(frame * frame_bar).
    """
    collide = COLLIDERS[kind1, kind2]

    @differentiable(module=module)
    def contraction(
        geom1: Geom,
        geom2: Geom,
        candidate: int,
        margin: real,
        distance_bar: real,
        position_bar: vec3,
        frame_bar: mat33,
    ) -> real:
        g = collide(geom1, geom2, candidate, margin)
        frame = contact_frame(g.normal, g.tangent)
        return g.distance * distance_bar + wp.dot(g.position, position_bar) + wp.ddot(frame, frame_bar)

    return contraction


@wp.func
def turning(mat: mat33, mat_bar: mat33) -> vec3:
    """The cotangent of a rotation matrix as a torque."""
    return (
        wp.cross(axis_of(mat, 0), axis_of(mat_bar, 0))
        + wp.cross(axis_of(mat, 1), axis_of(mat_bar, 1))
        + wp.cross(axis_of(mat, 2), axis_of(mat_bar, 2))
    )
