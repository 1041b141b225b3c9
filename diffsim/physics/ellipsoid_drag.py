"""Forces of a medium on geoms with fluidshape="ellipsoid", their derivatives by velocity, and gradients."""

from functools import partial

import warp as wp

from diffsim.collision.gradient_call import calls_gradient
from diffsim.physics.ellipsoid import (
    Ellipsoid,
    ellipsoid_derivative,
    ellipsoid_force,
    ellipsoid_form,
    ellipsoid_power,
)
from diffsim.physics.fluid import from_box, to_box, wind_twist
from diffsim.physics.lanes import lane, lanes, sync
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.points import point_position
from diffsim.physics.rotation import quat_mul
from diffsim.physics.scratch import Scratch
from diffsim.physics.spatial import cross_force
from diffsim.physics.tree import zero_twist
from diffsim.physics.world_parameters import timestep
from diffsim.types import HALF, quat, real, vec3, vec6


@wp.func(inline=True)
def load_ellipsoid(m: ModelArrays, i: int) -> Ellipsoid:
    """The constants of an ellipsoid."""
    v = m.rare[0].ellipsoid_vectors[i]
    c = m.rare[0].ellipsoid_numbers[i]
    return Ellipsoid(v[0], v[1], v[2], v[3], c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7])


@wp.func(inline=True)
def ellipsoid_axes(m: ModelArrays, s: Scratch, world: int, i: int) -> quat:
    """Orientation of an ellipsoid."""
    geom = m.rare[0].ellipsoid_geom[i]
    return quat_mul(s.xquat[world, m.geom_body[geom]], m.geom_quat[geom])


@wp.func(inline=True)
def ellipsoid_arm(m: ModelArrays, s: Scratch, world: int, i: int) -> vec3:
    """From the reference point to the centre of an ellipsoid."""
    geom = m.rare[0].ellipsoid_geom[i]
    body = m.geom_body[geom]
    return point_position(s, world, body, m.geom_pos[world * m.geom_stride + geom]) - s.xpos[world, m.body_root[body]]


@wp.func(inline=True)
def ellipsoid_drag(m: ModelArrays, s: Scratch, world: int, body: int, velocity: vec6) -> vec6:
    """Wrench of the medium on a body's ellipsoids about the reference point."""
    total = zero_twist()
    for i in range(m.rare[0].body_ellipsoidadr[body], m.rare[0].body_ellipsoidadr[body + 1]):
        axes = ellipsoid_axes(m, s, world, i)
        arm = ellipsoid_arm(m, s, world, i)
        x = to_box(axes, arm, velocity - wind_twist(m))
        total += from_box(axes, arm, ellipsoid_force(load_ellipsoid(m, i), x))
    return total


@partial(calls_gradient, inline=True)
def ellipsoid_cotangents(m: ModelArrays, s: Scratch, world: int):
    """Adds the gradient of the power along Y to the bodies' velocity_bar and pose_bar. Needs `twist_cotangents`."""
    for body in range(1 + lane(), m.nbody, lanes()):
        for i in range(m.rare[0].body_ellipsoidadr[body], m.rare[0].body_ellipsoidadr[body + 1]):
            axes = ellipsoid_axes(m, s, world, i)
            arm = ellipsoid_arm(m, s, world, i)
            x = to_box(axes, arm, s.velocity[world, body] - wind_twist(m))
            y = to_box(axes, arm, s.virtual_twist[world, body])
            bar = wp.grad(ellipsoid_power)(load_ellipsoid(m, i), x, y)
            v_bar = from_box(axes, arm, bar[1])
            s.velocity_bar[world, body] = s.velocity_bar[world, body] + v_bar
            s.pose_bar[world, body] = s.pose_bar[world, body] + cross_force(wind_twist(m), v_bar)
    sync()


@wp.func(inline=True)
def subtract_ellipsoid_derivative(m: ModelArrays, s: Scratch, world: int):
    """Subtracts h S' B S from the matrix of the velocity step. One lane does it; needs a `sync` around.

    It is `unsymmetric`, or the lower triangle `hessian`. Of an ellipsoid that is not whole, B counts as symmetric.
    """
    if lane() > 0:
        return
    for e in range(m.nellipsoid):
        body = m.geom_body[m.rare[0].ellipsoid_geom[e]]
        axes = ellipsoid_axes(m, s, world, e)
        arm = ellipsoid_arm(m, s, world, e)
        x = to_box(axes, arm, s.velocity[world, body] - wind_twist(m))
        col = m.body_lastdof[body]
        while col >= 0:
            z = to_box(axes, arm, s.motion[world, col])
            change = timestep(m, world) * from_box(axes, arm, ellipsoid_derivative(load_ellipsoid(m, e), x, z))
            row = m.body_lastdof[body]
            while row >= 0:
                value = wp.dot(s.motion[world, row], change)
                subtract_entry(m, s, world, row, col, value, m.rare[0].ellipsoid_whole[e])
                row = m.dof_parent[row]
            col = m.dof_parent[col]


@wp.func(inline=True)
def subtract_entry(m: ModelArrays, s: Scratch, world: int, row: int, col: int, value: real, whole: int):
    """Subtracts an entry from the matrix of the velocity step."""
    if whole == 1:
        s.unsymmetric[world, row, col] = s.unsymmetric[world, row, col] - value
    elif m.unsymmetric == 1:
        s.unsymmetric[world, row, col] = s.unsymmetric[world, row, col] - HALF * value
        s.unsymmetric[world, col, row] = s.unsymmetric[world, col, row] - HALF * value
    elif row == col:
        s.hessian[world, row, col] = s.hessian[world, row, col] - value
    else:
        i = wp.max(row, col)
        j = wp.min(row, col)
        s.hessian[world, i, j] = s.hessian[world, i, j] - HALF * value


@partial(calls_gradient, inline=True)
def ellipsoid_derivative_cotangents(m: ModelArrays, s: Scratch, world: int, body: int):
    """Adds the gradient of h Y . B Z to a body's cotangents, as `implicit.drag_derivative_gradient` fills them."""
    for e in range(m.rare[0].body_ellipsoidadr[body], m.rare[0].body_ellipsoidadr[body + 1]):
        axes = ellipsoid_axes(m, s, world, e)
        arm = ellipsoid_arm(m, s, world, e)
        x = to_box(axes, arm, s.velocity[world, body] - wind_twist(m))
        y = to_box(axes, arm, s.virtual_twist[world, body])
        z = to_box(axes, arm, s.qacc_twist[world, body])
        bar = wp.grad(ellipsoid_form)(load_ellipsoid(m, e), x, y, z)
        x_bar = bar[1]
        y_bar = bar[2]
        z_bar = bar[3]
        if m.rare[0].ellipsoid_whole[e] == 0:
            swapped = wp.grad(ellipsoid_form)(load_ellipsoid(m, e), x, z, y)
            x_bar = HALF * (x_bar + swapped[1])
            y_bar = HALF * (y_bar + swapped[3])
            z_bar = HALF * (z_bar + swapped[2])
        v_bar = timestep(m, world) * from_box(axes, arm, x_bar)
        virtual_bar = timestep(m, world) * from_box(axes, arm, y_bar)
        qacc_bar = timestep(m, world) * from_box(axes, arm, z_bar)
        s.virtual_twist_bar[world, body] = s.virtual_twist_bar[world, body] + virtual_bar
        s.qacc_twist_bar[world, body] = s.qacc_twist_bar[world, body] + qacc_bar
        s.velocity_bar[world, body] = s.velocity_bar[world, body] + v_bar
        s.pose_bar[world, body] = s.pose_bar[world, body] + cross_force(wind_twist(m), v_bar)
