"""Velocities, gravity, Coriolis and centripetal forces, and drag: recursive Newton-Euler over the tree.

    V_b = V_parent + sum_d S_d v_d
    A_b = A_parent + sum_d (S_d a_d + V_before_d x S_d v_d),      A_world = -gravity
    W_b = I_b A_b + V_b x* I_b V_b - drag_b,      c_d = S_d . sum of W over the subtree, at a = 0

Source: Featherstone (2008), section 5.3.
"""

import warp as wp

from diffsim.physics.fluid import drag
from diffsim.physics.inertia import body_inertia
from diffsim.physics.kinematics import kinematics, motion_subspaces
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.scratch import Scratch
from diffsim.physics.spatial import apply_inertia, cross_force, cross_motion
from diffsim.physics.tree import block_twist, zero_twist
from diffsim.types import ZERO, vec6


@wp.func
def moving_frames(m: ModelArrays, s: Scratch, world: int, with_qacc: int):
    """Fills poses, motion subspaces, inertias, velocities V and accelerations A; if with_qacc is 0, A omits S a."""
    kinematics(m, s, world)
    s.velocity[world, 0] = zero_twist()
    g = m.gravity[world]
    s.acceleration[world, 0] = vec6(ZERO, ZERO, ZERO, -g[0], -g[1], -g[2])
    for body in range(1, m.nbody):
        motion_subspaces(m, s, world, body)
        body_inertia(m, s, world, body)
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
    """W_b: the wrench that gives the body V and A, minus drag."""
    mass = m.body_mass[world, body]
    velocity = s.velocity[world, body]
    momentum = apply_inertia(mass, s.body_moment[world, body], s.body_rotary[world, body], velocity)
    force = apply_inertia(mass, s.body_moment[world, body], s.body_rotary[world, body], s.acceleration[world, body])
    wrench = force + cross_force(velocity, momentum)
    if m.fluid == 1:
        wrench -= drag(m, s, world, body, velocity)
    return wrench


@wp.func
def smooth_bias(m: ModelArrays, s: Scratch, world: int):
    """Writes -c, which includes drag, to qfrc_smooth. Needs the moving frames without qacc."""
    for body in range(1, m.nbody):
        s.wrench[world, body] = body_wrench(m, s, world, body)
    for r in range(m.nbody - 1):
        body = m.nbody - 1 - r
        wrench = s.wrench[world, body]
        for block in range(m.body_blockadr[body], m.body_blockadr[body] + m.body_blocknum[body]):
            for dof in range(m.block_dofadr[block], m.block_dofadr[block] + m.block_dofnum[block]):
                s.qfrc_smooth[world, dof] = -wp.dot(s.motion[world, dof], wrench)
        parent = m.body_parent[body]
        s.wrench[world, parent] = s.wrench[world, parent] + wrench
