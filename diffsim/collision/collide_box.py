"""Contacts of a sphere with a box.

Source: MuJoCo, `mjraw_SphereBox`.
"""

import warp as wp

from diffsim.collision.contact_frame import MINVAL, ContactGeometry, Geom, contact
from diffsim.collision.gradient_call import differentiable, no_gradient
from diffsim.types import HALF, ONE, ZERO, real, vec3


@differentiable
def clamped(x: real, limit: real) -> real:
    """X clipped to [-limit, limit]; the gradient outside is that of the limit."""
    if x > limit:
        return limit
    if x < -limit:
        return -limit
    return x


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
def sphere_in_box_frame(center: vec3, radius: real, box: Geom) -> ContactGeometry:
    """Contact of a box with a sphere whose centre is given in the box's frame."""
    size = box.size
    surface = vec3(clamped(center[0], size[0]), clamped(center[1], size[1]), clamped(center[2], size[2]))
    offset = surface - center
    distance = wp.length(offset)
    if distance <= MINVAL:
        inward = inward_normal(center, size)
        depth = wp.dot(size, wp.cw_mul(inward, inward)) + wp.dot(inward, center)
        middle = center + HALF * (radius - depth) * inward
        return contact(-depth - radius, box.pos + box.mat * middle, box.mat * inward)
    normal = offset / distance
    middle = HALF * (surface + center + radius * normal)
    return contact(distance - radius, box.pos + box.mat * middle, box.mat * normal)


@differentiable
def sphere_box(sphere: Geom, box: Geom, candidate: int, margin: real) -> ContactGeometry:
    """One contact: with the box's closest point, or from inside with the closest face."""
    return sphere_in_box_frame(wp.transpose(box.mat) * (sphere.pos - box.pos), sphere.size[0], box)
