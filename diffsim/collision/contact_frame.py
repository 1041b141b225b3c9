"""What a contact is made of, and the frame that its forces are written in.

The frame's rows are the normal, from the first geom to the second, and two tangents. Colliders give the
normal and, where the geometry suggests one, the direction of the first tangent.
"""

import warp as wp

from diffsim.physics.gradient_call import differentiable
from diffsim.types import HALF, ONE, X64, ZERO, mat33, real, vec3

NO_CONTACT = wp.constant(real(1.0e10))  # distance of a candidate that the pair does not use, in m

# Below this length a direction is undefined. MuJoCo's 1e-15 would let float32 take rounding for a direction.
MINVAL = wp.constant(real(1.0e-15 if X64 else 1.0e-6))


@wp.struct
class ContactGeometry:
    """One contact between two geoms, in the world's axes."""

    distance: real  # m; negative is penetration
    position: vec3  # m, midway between the two surfaces
    normal: vec3  # from the first geom to the second
    tangent: vec3  # wanted direction of the first tangent; zero where any will do


@differentiable
def contact(distance: real, position: vec3, normal: vec3) -> ContactGeometry:
    """A contact whose first tangent is arbitrary."""
    return ContactGeometry(distance, position, normal, vec3(ZERO, ZERO, ZERO))


@differentiable
def no_contact() -> ContactGeometry:
    """What a candidate that the pair does not use returns."""
    return ContactGeometry(NO_CONTACT, vec3(ZERO, ZERO, ZERO), vec3(ONE, ZERO, ZERO), vec3(ZERO, ZERO, ZERO))


@differentiable
def axis_of(mat: mat33, k: int) -> vec3:
    """The k-th axis of a geom: a column of its rotation matrix."""
    return vec3(mat[0, k], mat[1, k], mat[2, k])


@differentiable
def direction(x: vec3) -> vec3:
    """X / |x|, or the first axis, held fixed, where x is too short (MuJoCo's `mju_normalize3`)."""
    length = wp.length(x)
    if length < MINVAL:
        return vec3(ONE, ZERO, ZERO)
    return x / length


@differentiable
def first_tangent(normal: vec3, tangent: vec3) -> vec3:
    """The wanted tangent if there is one, else the second axis; the third where the normal is near it."""
    if wp.dot(tangent, tangent) >= real(0.25):
        return tangent
    if wp.abs(normal[1]) < HALF:
        return vec3(ZERO, ONE, ZERO)
    return vec3(ZERO, ZERO, ONE)


@differentiable
def contact_frame(normal: vec3, tangent: vec3) -> mat33:
    """Orthonormal rows: the normal, the wanted tangent made orthogonal to it, their cross product.

    Source: MuJoCo, `mju_makeFrame`. Where the wanted tangent is parallel to the normal, the second row is the
    first axis, as it is there, orthogonal to the normal or not.
    """
    n = direction(normal)
    wanted = first_tangent(n, tangent)
    t = direction(wanted - wp.dot(n, wanted) * n)
    b = wp.cross(n, t)
    return mat33(n[0], n[1], n[2], t[0], t[1], t[2], b[0], b[1], b[2])
