"""Drag of a medium with density and viscosity on each body's equivalent inertia box, and its derivatives.

In the axes of the body's inertia, at its centre of mass, with the velocity relative to the wind,

    drag_k = -(linear_k + quadratic_k |x_k|) x_k

Source: MuJoCo documentation, Computation, passive forces, inertia-based model.
"""

import warp as wp

from diffsim.physics.constraint import TINY
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.rotation import quat_conj, quat_mul, rotate
from diffsim.physics.scratch import Scratch
from diffsim.physics.spatial import angular, linear, twist
from diffsim.types import TWO, ZERO, quat, vec3, vec6


@wp.func
def inertia_axes(m: ModelArrays, s: Scratch, world: int, body: int) -> quat:
    """Orientation of the body's principal axes of inertia."""
    return quat_mul(s.xquat[world, body], m.body_iquat[body])


@wp.func
def com_arm(m: ModelArrays, s: Scratch, world: int, body: int) -> vec3:
    """From the reference point to the body's centre of mass."""
    com = s.xpos[world, body] + rotate(s.xquat[world, body], m.body_ipos[world * m.body_stride + body])
    return com - s.xpos[world, m.body_root[body]]


@wp.func
def to_box(axes: quat, arm: vec3, v: vec6) -> vec6:
    """Converts a twist about the reference point to one at the box's centre in the box's axes."""
    inverse = quat_conj(axes)
    return twist(rotate(inverse, angular(v)), rotate(inverse, linear(v) + wp.cross(angular(v), arm)))


@wp.func
def from_box(axes: quat, arm: vec3, f: vec6) -> vec6:
    """Converts a wrench at the box's centre to one about the reference point: the transpose of `to_box`."""
    force = rotate(axes, linear(f))
    return twist(rotate(axes, angular(f)) + wp.cross(arm, force), force)


@wp.func
def wind_twist(m: ModelArrays) -> vec6:
    """Velocity of the medium, as a twist."""
    return twist(vec3(ZERO, ZERO, ZERO), m.wind)


@wp.func
def drag_at(m: ModelArrays, world: int, body: int, x: vec6) -> vec6:
    """Drag in the axes of the body's inertia, at its centre of mass, at the relative velocity x there."""
    box = vec6()
    for k in range(6):
        box[k] = (
            -(
                m.fluid_linear[world * m.body_stride + body][k]
                + m.fluid_quadratic[world * m.body_stride + body][k] * wp.abs(x[k])
            )
            * x[k]
        )
    return box


@wp.func
def drag_slope_at(m: ModelArrays, world: int, body: int, x: vec6, z: vec6) -> vec6:
    """Derivative of `drag_at` along z."""
    box = vec6()
    for k in range(6):
        box[k] = (
            -(
                m.fluid_linear[world * m.body_stride + body][k]
                + TWO * m.fluid_quadratic[world * m.body_stride + body][k] * wp.abs(x[k])
            )
            * z[k]
        )
    return box


@wp.func
def drag_bend_at(m: ModelArrays, world: int, body: int, x: vec6, y: vec6, z: vec6) -> vec6:
    """Gradient by x of y . `drag_slope_at` along z; where a component of x is zero, the mean of the two sides."""
    box = vec6()
    for k in range(6):
        sign = x[k] / wp.max(TINY, wp.abs(x[k]))
        box[k] = -TWO * m.fluid_quadratic[world * m.body_stride + body][k] * sign * y[k] * z[k]
    return box


@wp.func
def drag(m: ModelArrays, s: Scratch, world: int, body: int, velocity: vec6) -> vec6:
    """Wrench of the medium on the body about the reference point."""
    axes = inertia_axes(m, s, world, body)
    arm = com_arm(m, s, world, body)
    x = to_box(axes, arm, velocity - wind_twist(m))
    return from_box(axes, arm, drag_at(m, world, body, x))


@wp.func
def drag_derivative(m: ModelArrays, s: Scratch, world: int, body: int, velocity: vec6, y: vec6) -> vec6:
    """(d drag / d V) y, a symmetric map."""
    axes = inertia_axes(m, s, world, body)
    arm = com_arm(m, s, world, body)
    x = to_box(axes, arm, velocity - wind_twist(m))
    z = to_box(axes, arm, y)
    return from_box(axes, arm, drag_slope_at(m, world, body, x, z))


@wp.func
def drag_second_derivative(m: ModelArrays, s: Scratch, world: int, body: int, velocity: vec6, y: vec6, z: vec6) -> vec6:
    """Gradient of y . (d drag / d V) z by V; where a component of V is zero, the mean of the two sides."""
    axes = inertia_axes(m, s, world, body)
    arm = com_arm(m, s, world, body)
    x = to_box(axes, arm, velocity - wind_twist(m))
    local_y = to_box(axes, arm, y)
    local_z = to_box(axes, arm, z)
    return from_box(axes, arm, drag_bend_at(m, world, body, x, local_y, local_z))
