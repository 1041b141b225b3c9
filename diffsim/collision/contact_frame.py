"""Inputs and outputs of the colliders: a geom, a contact, and the frame in which contact forces are written.

The rows of the frame are the normal, from the first geom to the second, and two tangents. A collider returns the normal
and, where the geometry suggests one, the direction of the first tangent.
"""

import torch
import warp as wp

from diffsim.collision.gradient_call import differentiable, no_gradient
from diffsim.types import HALF, ONE, X64, ZERO, dtype, mat33, real, vec3

NO_CONTACT = wp.constant(real(1.0e10))  # distance of an unused candidate, in m

# Below this length a direction is undefined. With MuJoCo's 1e-15, float32 would use rounding errors as a direction.
MINVAL = wp.constant(real(1.0e-15 if X64 else 1.0e-6))
# Distance from a kink, relative to the geometry, below which the gradient is the mean of both sides. Rounding errors
# of the state would select a side for each contact on its own, even where the sum over contacts has a derivative.
KINK = wp.constant(real(1.0e-13 if dtype == torch.float64 else 1.0e-6))


@no_gradient
def held(x: real) -> real:
    """X without its gradient."""
    return x


@no_gradient
def held3(x: vec3) -> vec3:
    """X without its gradient."""
    return x


@differentiable
def between(near: bool, x: real, y: real) -> real:
    """X; near a kink, where x and y are equal up to rounding, with the mean of their gradients."""
    if near:
        return x + HALF * ((y - held(y)) - (x - held(x)))
    return x


@differentiable
def between3(near: bool, x: vec3, y: vec3) -> vec3:
    """As `between`, for each component."""
    return vec3(between(near, x[0], y[0]), between(near, x[1], y[1]), between(near, x[2], y[2]))


@wp.struct
class Geom:
    """A geom in the world. Its kind gives `size` a meaning, as in MuJoCo's `geom_size`."""

    size: vec3  # m
    pos: vec3  # m
    mat: mat33  # columns are the geom's axes


@wp.struct
class ContactGeometry:
    """A contact between two geoms, in world axes."""

    distance: real  # m; negative is penetration
    position: vec3  # m, midway between the two surfaces
    normal: vec3  # from the first geom to the second
    tangent: vec3  # preferred direction of the first tangent; zero for no preference


@differentiable
def contact(distance: real, position: vec3, normal: vec3) -> ContactGeometry:
    """A contact without a preferred tangent."""
    return ContactGeometry(distance, position, normal, vec3(ZERO, ZERO, ZERO))


@differentiable
def no_contact() -> ContactGeometry:
    """The result for an unused candidate."""
    return ContactGeometry(NO_CONTACT, vec3(ZERO, ZERO, ZERO), vec3(ONE, ZERO, ZERO), vec3(ZERO, ZERO, ZERO))


@differentiable
def axis_of(mat: mat33, k: int) -> vec3:
    """The k-th axis of a geom: a column of its rotation matrix."""
    return vec3(mat[0, k], mat[1, k], mat[2, k])


@differentiable
def direction(x: vec3) -> vec3:
    """X / |x|; the first axis, with zero gradient, where |x| is below MINVAL (MuJoCo's `mju_normalize3`)."""
    length = wp.length(x)
    if length < MINVAL:
        return vec3(ONE, ZERO, ZERO)
    return x / length


@differentiable
def first_tangent(normal: vec3, tangent: vec3) -> vec3:
    """The preferred tangent if there is one, else the second axis; the third where the normal is near the second."""
    if wp.dot(tangent, tangent) >= real(0.25):
        return tangent
    if wp.abs(normal[1]) < HALF:
        return vec3(ZERO, ONE, ZERO)
    return vec3(ZERO, ZERO, ONE)


@differentiable
def contact_frame(normal: vec3, tangent: vec3) -> mat33:
    """Orthonormal rows: the normal, the preferred tangent made orthogonal to it, their cross product.

    Where the preferred tangent is parallel to the normal, the second row is the first axis, even if that is not
    orthogonal to the normal. MuJoCo does the same. Source: MuJoCo, `mju_makeFrame`.
    """
    n = direction(normal)
    preferred = first_tangent(n, tangent)
    t = direction(preferred - wp.dot(n, preferred) * n)
    b = wp.cross(n, t)
    return mat33(n[0], n[1], n[2], t[0], t[1], t[2], b[0], b[1], b[2])
