"""The narrow phase: contacts of two geoms, as C MuJoCo makes them, and their gradient under rigid motion.

A pair of kinds has a fixed list of candidates, each one contact at most. Those no farther than the detection
distance, `margin + gap`, are the pair's contacts, in this order and up to a limit. Which features touch, and
which candidates are used, are discrete choices, held fixed by the gradient.
"""

from collections.abc import Callable

import mujoco
import warp as wp

from diffsim.physics.collide_box import sphere_box
from diffsim.physics.collide_capsule_box import capsule_box
from diffsim.physics.collide_cylinder import sphere_cylinder
from diffsim.physics.collide_plane import (
    plane_box,
    plane_capsule,
    plane_cylinder,
    plane_ellipsoid,
    plane_sphere,
)
from diffsim.physics.collide_round import capsule_capsule, sphere_capsule, sphere_sphere
from diffsim.physics.contact_frame import NO_CONTACT, ContactGeometry, axis_of, contact_frame, no_contact
from diffsim.physics.gradient_call import calls_gradient, differentiable
from diffsim.types import ZERO, mat33, real, vec3

__all__ = [
    "CANDIDATES",
    "NO_CONTACT",
    "ContactGeometry",
    "GeometryCotangents",
    "contact_frame",
    "contact_geometry",
    "contact_geometry_adjoint",
]

PLANE = int(mujoco.mjtGeom.mjGEOM_PLANE)
SPHERE = int(mujoco.mjtGeom.mjGEOM_SPHERE)
CAPSULE = int(mujoco.mjtGeom.mjGEOM_CAPSULE)
ELLIPSOID = int(mujoco.mjtGeom.mjGEOM_ELLIPSOID)
CYLINDER = int(mujoco.mjtGeom.mjGEOM_CYLINDER)
BOX = int(mujoco.mjtGeom.mjGEOM_BOX)

# Kinds of the two geoms, in MuJoCo's order: candidates to try, most contacts to keep, and the collider.
_TABLE: dict[tuple[int, int], tuple[int, int, wp.Function]] = {
    (PLANE, SPHERE): (1, 1, plane_sphere),
    (PLANE, CAPSULE): (2, 2, plane_capsule),
    (PLANE, ELLIPSOID): (1, 1, plane_ellipsoid),
    (PLANE, CYLINDER): (4, 4, plane_cylinder),
    (PLANE, BOX): (8, 4, plane_box),
    (SPHERE, SPHERE): (1, 1, sphere_sphere),
    (SPHERE, CAPSULE): (1, 1, sphere_capsule),
    (SPHERE, CYLINDER): (1, 1, sphere_cylinder),
    (SPHERE, BOX): (1, 1, sphere_box),
    (CAPSULE, CAPSULE): (2, 2, capsule_capsule),
    (CAPSULE, BOX): (2, 2, capsule_box),
}
CANDIDATES: dict[tuple[int, int], tuple[int, int]] = {kinds: row[:2] for kinds, row in _TABLE.items()}
COLLIDERS = tuple(row[2] for row in _TABLE.values())
PAIRS = tuple(CANDIDATES)


@wp.struct
class GeometryCotangents:
    """Gradient under rigid motion of each geom: a force, and a torque about its centre, in world axes."""

    force1: vec3
    torque1: vec3
    force2: vec3
    torque2: vec3


@wp.func
def contact_geometry(
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
    """One candidate of a pair: a contact if its distance is at most `margin`, the detection distance."""
    for i in range(wp.static(len(PAIRS))):
        if kind1 == wp.static(PAIRS[i][0]) and kind2 == wp.static(PAIRS[i][1]):
            return wp.static(COLLIDERS[i])(size1, pos1, mat1, size2, pos2, mat2, candidate, margin)
    return no_contact()


@wp.func
def turning(mat: mat33, mat_bar: mat33) -> vec3:
    """Torque of the cotangent of a rotation matrix."""
    return (
        wp.cross(axis_of(mat, 0), axis_of(mat_bar, 0))
        + wp.cross(axis_of(mat, 1), axis_of(mat_bar, 1))
        + wp.cross(axis_of(mat, 2), axis_of(mat_bar, 2))
    )


def _adjoint(collide: Callable) -> Callable:
    """Gradient of phi, a pair's contact contracted with its cotangents."""

    @differentiable
    def phi(
        size1: vec3,
        pos1: vec3,
        mat1: mat33,
        size2: vec3,
        pos2: vec3,
        mat2: mat33,
        candidate: int,
        margin: real,
        distance_bar: real,
        position_bar: vec3,
        frame_bar: mat33,
    ) -> real:
        g = collide(size1, pos1, mat1, size2, pos2, mat2, candidate, margin)
        frame = contact_frame(g.normal, g.tangent)
        return g.distance * distance_bar + wp.dot(g.position, position_bar) + wp.ddot(frame, frame_bar)

    @calls_gradient
    def adjoint(
        size1: vec3,
        pos1: vec3,
        mat1: mat33,
        size2: vec3,
        pos2: vec3,
        mat2: mat33,
        candidate: int,
        margin: real,
        distance_bar: real,
        position_bar: vec3,
        frame_bar: mat33,
    ) -> GeometryCotangents:
        bar = wp.grad(phi)(
            size1, pos1, mat1, size2, pos2, mat2, candidate, margin, distance_bar, position_bar, frame_bar
        )
        mat1_bar = bar[2]
        mat2_bar = bar[5]
        return GeometryCotangents(bar[1], turning(mat1, mat1_bar), bar[4], turning(mat2, mat2_bar))

    return adjoint


ADJOINTS = tuple(_adjoint(collider) for collider in COLLIDERS)


@calls_gradient
def contact_geometry_adjoint(
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
    distance_bar: real,
    position_bar: vec3,
    frame_bar: mat33,
) -> GeometryCotangents:
    """Gradient of distance * distance_bar + position . position_bar + sum(frame * frame_bar)."""
    for i in range(wp.static(len(PAIRS))):
        if kind1 == wp.static(PAIRS[i][0]) and kind2 == wp.static(PAIRS[i][1]):
            return wp.static(ADJOINTS[i])(
                size1, pos1, mat1, size2, pos2, mat2, candidate, margin, distance_bar, position_bar, frame_bar
            )
    zero = vec3(ZERO, ZERO, ZERO)
    return GeometryCotangents(zero, zero, zero, zero)
