"""Velocities, gravity, Coriolis and centripetal forces, and drag: recursive Newton-Euler over the tree.

    V_b = V_parent + sum_d S_d v_d
    A_b = A_parent + sum_d (S_d a_d + V_before_d x S_d v_d),      A_world = -gravity
    W_b = I_b A_b + V_b x* I_b V_b - drag_b,      c_d = S_d . sum of W over the subtree, at a = 0

Source: Featherstone (2008), section 5.3.
"""

import warp as wp

from diffsim.physics.applied import applied_wrench
from diffsim.physics.ellipsoid_drag import ellipsoid_drag
from diffsim.physics.fluid import drag
from diffsim.physics.gravcomp import gravcomp_forces
from diffsim.physics.inertia import body_inertia
from diffsim.physics.kinematics import kinematics, motion_subspaces
from diffsim.physics.lanes import lane, lanes, sync
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.scratch import Scratch
from diffsim.physics.spatial import apply_inertia, cross_force, cross_motion
from diffsim.physics.tree import block_twist, sum_subtrees, zero_twist
from diffsim.types import ZERO, vec6


@wp.func
def moving_frames(m: ModelArrays, s: Scratch, world: int, with_qacc: int):
    """Fills poses, motion subspaces, inertias, velocities V and accelerations A; if with_qacc is 0, A omits S a."""
    kinematics(m, s, world)
    body_motions(m, s, world, with_qacc)


@wp.func(inline=True)
def body_motions(m: ModelArrays, s: Scratch, world: int, with_qacc: int):
    """Fills what `moving_frames` does but for the poses, which it needs; and the gravity compensation."""
    if lane() == 0:
        g = m.gravity[world * m.gravity_stride]
        s.velocity[world, 0] = zero_twist()
        s.acceleration[world, 0] = vec6(ZERO, ZERO, ZERO, -g[0], -g[1], -g[2])
    for body in range(1 + lane(), m.nbody, lanes()):
        motion_subspaces(m, s, world, body)
        body_inertia(m, s, world, body)
    sync()
    body_velocities(m, s, world, with_qacc)
    if m.ngravcomp > 0:
        gravcomp_forces(m, s, world)


@wp.func(inline=True)
def body_velocities(m: ModelArrays, s: Scratch, world: int, with_qacc: int):
    """Fills V and A. Needs the motion subspaces."""
    for level in range(m.nlevel):
        for i in range(m.level_adr[level] + lane(), m.level_adr[level + 1], lanes()):
            node = m.tree[i]
            body = node[0]
            body_motion(m, s, world, body, with_qacc)
        sync()


@wp.func(inline=True)
def body_motion(m: ModelArrays, s: Scratch, world: int, body: int, with_qacc: int):
    """Fills a body's V and A from its parent's."""
    velocity = s.velocity[world, m.body_parent[body]]
    acceleration = s.acceleration[world, m.body_parent[body]]
    for block in range(m.body_blockadr[body], m.body_blockadr[body] + m.body_blocknum[body]):
        dofadr = m.block_dofadr[block]
        dofnum = m.block_dofnum[block]
        joint_twist = block_twist(s, world, dofadr, dofnum, s.qvel[world])
        acceleration += cross_motion(velocity, joint_twist)
        if with_qacc == 1:
            acceleration += block_twist(s, world, dofadr, dofnum, s.qacc[world])
        velocity += joint_twist
    s.velocity[world, body] = velocity
    s.acceleration[world, body] = acceleration


@wp.func
def body_wrench(m: ModelArrays, s: Scratch, world: int, body: int) -> vec6:
    """W_b: the wrench that gives the body V and A, minus drag and applied forces."""
    mass = m.body_mass[world * m.body_stride + body]
    velocity = s.velocity[world, body]
    momentum = apply_inertia(mass, s.body_moment[world, body], s.body_rotary[world, body], velocity)
    force = apply_inertia(mass, s.body_moment[world, body], s.body_rotary[world, body], s.acceleration[world, body])
    wrench = force + cross_force(velocity, momentum)
    if m.fluid == 1:
        wrench -= drag(m, s, world, body, velocity)
        if m.nellipsoid > 0:
            wrench -= ellipsoid_drag(m, s, world, body, velocity)
    if s.has_xfrc[world] == 1:
        wrench -= applied_wrench(m, s, world, body)
    return wrench


@wp.func
def smooth_bias(m: ModelArrays, s: Scratch, world: int):
    """Writes -c, which includes drag, to qfrc_smooth. Needs the moving frames without qacc."""
    for body in range(1 + lane(), m.nbody, lanes()):
        s.wrench[world, body] = body_wrench(m, s, world, body)
    sync()
    sum_subtrees(m, s.wrench[world])
    for dof in range(lane(), m.nv, lanes()):
        s.qfrc_smooth[world, dof] = -wp.dot(s.motion[world, dof], s.wrench[world, m.dof_body[dof]])
    sync()
