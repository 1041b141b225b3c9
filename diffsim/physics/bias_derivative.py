"""Derivative of Coriolis and centripetal forces by velocities, for the integrator "implicit", and its gradient.

c(q, v) = g(q) + Q(q; v, v) with a symmetric bilinear Q, so that (dc/dv) w = 2 Q(v, w), and for a multiplier mu

    mu' (dc/dv) w = (mu' c(q, v + w) - mu' c(q, v - w)) / 2

The gradient by q and v is half the difference of those of mu' c, which the bodies' twists give as in `virtual_power`.
"""

import warp as wp

from diffsim.physics.bias import body_velocities
from diffsim.physics.lanes import lane, lanes, sync
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.scratch import Scratch
from diffsim.physics.spatial import apply_inertia, cross_force, cross_motion
from diffsim.physics.tree import block_twist, gather, gather_motion, sum_subtrees, zero_twist
from diffsim.types import HALF, ONE, ZERO, real


@wp.func(inline=True)
def bias_derivative(m: ModelArrays, s: Scratch, world: int, x: wp.array(dtype=real), result: wp.array(dtype=real)):
    """Result = (dc/dv) x. Needs the moving frames; uses the memory of virtual_twist, qacc_twist and wrench."""
    if lane() == 0:
        s.virtual_twist[world, 0] = zero_twist()
        s.qacc_twist[world, 0] = zero_twist()
    sync()
    for level in range(m.nlevel):
        for i in range(m.level_adr[level] + lane(), m.level_adr[level + 1], lanes()):
            node = m.tree[i]
            body = node[0]
            body_bias_derivative(m, s, world, body, node[1], x)
        sync()
    sum_subtrees(m, s.wrench[world])
    for dof in range(lane(), m.nv, lanes()):
        result[dof] = wp.dot(s.motion[world, dof], s.wrench[world, m.dof_body[dof]])
    sync()


@wp.func(inline=True)
def body_bias_derivative(m: ModelArrays, s: Scratch, world: int, body: int, parent: int, x: wp.array(dtype=real)):
    """Fills the changes of a body's velocity, acceleration and wrench."""
    v = s.velocity[world, parent]
    change = s.virtual_twist[world, parent]
    bend = s.qacc_twist[world, parent]
    for block in range(m.body_blockadr[body], m.body_blockadr[body] + m.body_blocknum[body]):
        joint_twist = block_twist(s, world, m.block_dofadr[block], m.block_dofnum[block], s.qvel[world])
        joint_change = block_twist(s, world, m.block_dofadr[block], m.block_dofnum[block], x)
        bend += cross_motion(change, joint_twist) + cross_motion(v, joint_change)
        v += joint_twist
        change += joint_change
    mass = m.body_mass[world * m.body_stride + body]
    moment = s.body_moment[world, body]
    rotary = s.body_rotary[world, body]
    s.virtual_twist[world, body] = change
    s.qacc_twist[world, body] = bend
    s.wrench[world, body] = (
        apply_inertia(mass, moment, rotary, bend)
        + cross_force(change, apply_inertia(mass, moment, rotary, v))
        + cross_force(v, apply_inertia(mass, moment, rotary, change))
    )


@wp.func(inline=True)
def bias_derivative_matrix(m: ModelArrays, s: Scratch, world: int, scale: real, a: wp.array2d(dtype=real)):
    """A = scale dc/dv."""
    for col in range(m.nv):
        for dof in range(lane(), m.nv, lanes()):
            s.search[world, dof] = wp.where(dof == col, ONE, ZERO)
        sync()
        bias_derivative(m, s, world, s.search[world], s.search_momentum[world])
        for dof in range(lane(), m.nv, lanes()):
            a[dof, col] = scale * s.search_momentum[world, dof]
        sync()


@wp.func(inline=True)
def bias_derivative_gradient(m: ModelArrays, s: Scratch, world: int, scale: real):
    """Adds the gradient of scale mu' (dc/dv) w to qpos_bar and qvel_bar. Needs the twists Y of mu in virtual_twist."""
    for dof in range(lane(), m.nv, lanes()):
        s.search[world, dof] = s.qvel[world, dof]
        s.search_momentum[world, dof] = s.qacc[world, dof]
        s.qacc[world, dof] = ZERO
    sides = int(2)
    for side in range(sides):
        sign = real(1.0)
        if side == 1:
            sign = real(-1.0)
        for dof in range(lane(), m.nv, lanes()):
            s.qvel[world, dof] = s.search[world, dof] + sign * s.implicit_qacc[world, dof]
        sync()
        body_velocities(m, s, world, 0)
        for body in range(1 + lane(), m.nbody, lanes()):
            bias_cotangents(m, s, world, body, HALF * sign * scale)
        sync()
        gather(m, s, world, s.multiplier[world], s.virtual_twist[world], s.virtual_twist_bar[world])
        gather_motion(m, s, world)
    for dof in range(lane(), m.nv, lanes()):
        s.qvel[world, dof] = s.search[world, dof]
        s.qacc[world, dof] = s.search_momentum[world, dof]
    sync()
    body_velocities(m, s, world, 1)


@wp.func(inline=True)
def bias_cotangents(m: ModelArrays, s: Scratch, world: int, body: int, scale: real):
    """Fills the cotangents of a body's twists: those of scale Y . (I A + V x* I V)."""
    mass = m.body_mass[world * m.body_stride + body]
    moment = s.body_moment[world, body]
    rotary = s.body_rotary[world, body]
    v = s.velocity[world, body]
    y = s.virtual_twist[world, body]
    momentum = apply_inertia(mass, moment, rotary, v)
    wrench = apply_inertia(mass, moment, rotary, s.acceleration[world, body]) + cross_force(v, momentum)
    v_bar = apply_inertia(mass, moment, rotary, cross_motion(y, v)) - cross_force(y, momentum)
    s.virtual_twist_bar[world, body] = scale * wrench
    s.acceleration_bar[world, body] = scale * apply_inertia(mass, moment, rotary, y)
    s.velocity_bar[world, body] = scale * v_bar
    s.pose_bar[world, body] = zero_twist()
