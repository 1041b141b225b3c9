"""Contacts of a sphere with a box.

Source: MuJoCo, `mjraw_SphereBox`.
"""

import warp as wp

from diffsim.collision.contact_frame import KINK, MINVAL, ContactGeometry, Geom, between, contact
from diffsim.collision.gradient_call import differentiable, no_gradient
from diffsim.types import HALF, ONE, ZERO, real, vec3

NEAR = wp.constant(real(1.0e-6))  # distance to a box's surface, relative to the box


@differentiable
def clamped(x: real, limit: real) -> real:
    """X clipped to [-limit, limit]. The gradient is that of x inside, that of the limit outside, their mean between."""
    near = wp.abs(wp.abs(x) - limit) <= KINK * limit
    if x > limit:
        return between(near, limit, x)
    if x < -limit:
        return between(near, -limit, x)
    if x < ZERO:
        return between(near, x, -limit)
    return between(near, x, limit)


@differentiable
def beyond(x: real, limit: real) -> real:
    """The part of x outside [-limit, limit]."""
    if x > limit:
        return x - limit
    if x < -limit:
        return x + limit
    return real(0.0)


@no_gradient
def inward_normal(center: vec3, size: vec3) -> vec3:
    """Inward normal of the box's face nearest to a point inside: an axis or its negative, a discrete choice."""
    lower = vec3(wp.abs(size[0] + center[0]), wp.abs(size[1] + center[1]), wp.abs(size[2] + center[2]))
    upper = vec3(wp.abs(size[0] - center[0]), wp.abs(size[1] - center[1]), wp.abs(size[2] - center[2]))
    nearest = wp.min(wp.min(lower), wp.min(upper))
    if lower[0] == nearest:
        return vec3(ONE, ZERO, ZERO)
    if upper[0] == nearest:
        return vec3(-ONE, ZERO, ZERO)
    if lower[1] == nearest:
        return vec3(ZERO, ONE, ZERO)
    if upper[1] == nearest:
        return vec3(ZERO, -ONE, ZERO)
    if lower[2] == nearest:
        return vec3(ZERO, ZERO, ONE)
    return vec3(ZERO, ZERO, -ONE)


@differentiable
def nearest_place(x: real, limit: real, moves_along: int) -> real:
    """Component of a box's nearest point; `moves_along` is 1 if its gradient at the rim of a face is that of x."""
    if moves_along == 1 and wp.abs(x) <= (ONE + KINK) * limit:
        return x
    return clamped(x, limit)


@differentiable
def sphere_in_box_frame(center: vec3, radius: real, box: Geom, moves_along: int) -> ContactGeometry:
    """Contact of a box with a sphere whose centre is given in the box's frame.

    `moves_along` is 1 if a centre at the rim of a face cannot move beyond it, as the places where a capsule leaves it.
    """
    size = box.size
    outside = vec3(beyond(center[0], size[0]), beyond(center[1], size[1]), beyond(center[2], size[2]))
    if wp.length(outside) <= MINVAL:
        inward = inward_normal(center, size)
        depth = wp.dot(size, wp.cw_mul(inward, inward)) + wp.dot(inward, center)
        middle = center + HALF * (radius - depth) * inward
        return contact(-depth - radius, box.pos + box.mat * middle, box.mat * inward)
    surface = center - outside
    if wp.length(outside) > NEAR * wp.length(size):  # else both sides of the surface would be taken for those of a rim
        surface = vec3(
            nearest_place(center[0], size[0], moves_along),
            nearest_place(center[1], size[1], moves_along),
            nearest_place(center[2], size[2], moves_along),
        )
    offset = surface - center
    distance = wp.length(offset)
    normal = offset / distance
    middle = HALF * (surface + center + radius * normal)
    return contact(distance - radius, box.pos + box.mat * middle, box.mat * normal)


@differentiable
def sphere_box(sphere: Geom, box: Geom, candidate: int, margin: real) -> ContactGeometry:
    """One contact: with the box's closest point, or from inside with the closest face."""
    return sphere_in_box_frame(wp.transpose(box.mat) * (sphere.pos - box.pos), sphere.size[0], box, 0)
