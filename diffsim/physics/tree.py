"""Recursions over the tree of bodies: from joint velocities to the bodies' twists, and the adjoint.

With the motion S_d of each dof, joint velocities x give the bodies the twists

    X_b = X_parent + sum_d S_d x_d

Let P depend on the twists X_b, with cotangents F_b, and let F be the sum of F_b over the subtree that dof d moves. A
motion of q_d moves the subtree rigidly, so P changes only because X, the twist before the joint, differs as seen from
the subtree: dP/dq_d = -S_d . (X x* F).
"""

import warp as wp

from diffsim.physics.lanes import lane, lanes, sync
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.scratch import Scratch
from diffsim.physics.spatial import cross_force, cross_motion
from diffsim.types import ZERO, real, vec6


@wp.func
def zero_twist() -> vec6:
    """A twist or wrench of zeros."""
    return vec6(ZERO, ZERO, ZERO, ZERO, ZERO, ZERO)


@wp.func
def block_twist(s: Scratch, world: int, dofadr: int, dofnum: int, x: wp.array(dtype=real)) -> vec6:
    """sum_d S_d x_d over a block of dofs."""
    total = s.motion[world, dofadr] * x[dofadr]
    for i in range(1, dofnum):
        total += s.motion[world, dofadr + i] * x[dofadr + i]
    return total


@wp.func
def spread(m: ModelArrays, s: Scratch, world: int, x: wp.array(dtype=real), twist: wp.array(dtype=vec6)):
    """Fills the bodies' twists X of joint velocities x. Needs the moving frames."""
    if lane() == 0:
        twist[0] = zero_twist()
    sync()
    for level in range(m.nlevel):
        for i in range(m.level_adr[level] + lane(), m.level_adr[level + 1], lanes()):
            node = m.tree[i]
            body = node[0]
            total = twist[node[1]]
            for block in range(m.body_blockadr[body], m.body_blockadr[body] + m.body_blocknum[body]):
                total += block_twist(s, world, m.block_dofadr[block], m.block_dofnum[block], x)
            twist[body] = total
        sync()


@wp.func
def sum_subtrees(m: ModelArrays, value: wp.array(dtype=vec6)):
    """Adds each body's value to those of its ancestors, but for the world."""
    for r in range(m.nlevel):
        level = m.nlevel - 1 - r
        last = m.level_adr[level + 1] - 1
        for i in range(lane(), m.level_adr[level + 1] - m.level_adr[level], lanes()):
            node = m.tree[last - i]
            body = node[0]
            total = value[body]
            for c in range(node[2], node[3]):
                total += value[m.body_child[c]]
            value[body] = total
        sync()


@wp.func
def gather(
    m: ModelArrays,
    s: Scratch,
    world: int,
    x: wp.array(dtype=real),
    twist: wp.array(dtype=vec6),
    twist_bar: wp.array(dtype=vec6),
):
    """Adjoint of `spread` by q: adds -S_d . (X x* F) to qpos_bar; sums the cotangents over each subtree in place."""
    for r in range(m.nlevel):
        level = m.nlevel - 1 - r
        last = m.level_adr[level + 1] - 1
        for i in range(lane(), m.level_adr[level + 1] - m.level_adr[level], lanes()):
            node = m.tree[last - i]
            body = node[0]
            after = twist[node[1]]
            total = twist_bar[body]
            for c in range(node[2], node[3]):
                total += twist_bar[m.body_child[c]]
            twist_bar[body] = total
            for block in range(m.body_blockadr[body], m.body_blockadr[body] + m.body_blocknum[body]):
                turn_bar = cross_force(after, total)
                for dof in range(m.block_dofadr[block], m.block_dofadr[block] + m.block_dofnum[block]):
                    motion = s.motion[world, dof]
                    s.qpos_bar[world, dof] = s.qpos_bar[world, dof] - wp.dot(motion, turn_bar)
                    after += motion * x[dof]
        sync()


@wp.func
def gather_motion(m: ModelArrays, s: Scratch, world: int):
    """Adjoint of velocities V and accelerations A by q and v, and of poses: adds to qpos_bar, qvel_bar, mocap_bar.

    A cotangent G of the pose is that of a rigid motion of the body, in which what does not belong to the tree stays.
    A motion of a mocap body, which has no dof and no velocity, acts as one of a dof. With the sums F_V, F_A and G over
    the subtree, and V and A before the joint,

        dP/dq_d = -S_d . (V x* F_V + A x* F_A - G),    dP/dv_d = S_d . (F_V - V x* F_A)
    """
    for r in range(m.nlevel):
        level = m.nlevel - 1 - r
        last = m.level_adr[level + 1] - 1
        for i in range(lane(), m.level_adr[level + 1] - m.level_adr[level], lanes()):
            node = m.tree[last - i]
            body = node[0]
            gather_body_motion(m, s, world, body, node[2], node[3])
        sync()


@wp.func(inline=True)
def gather_body_motion(m: ModelArrays, s: Scratch, world: int, body: int, first_child: int, last_child: int):
    """Part of a body: adds to those, and replaces the body's cotangents by what its parent adds."""
    v = s.velocity[world, body]
    a = s.acceleration[world, body]
    v_bar = s.velocity_bar[world, body]
    a_bar = s.acceleration_bar[world, body]
    pose_bar = s.pose_bar[world, body]
    for c in range(first_child, last_child):
        child = m.body_child[c]
        v_bar += s.velocity_bar[world, child]
        a_bar += s.acceleration_bar[world, child]
        pose_bar += s.pose_bar[world, child]
    blocks = m.body_blocknum[body]
    for b in range(blocks):
        block = m.body_blockadr[body] + blocks - 1 - b
        dofadr = m.block_dofadr[block]
        dofnum = m.block_dofnum[block]
        joint_twist = block_twist(s, world, dofadr, dofnum, s.qvel[world])
        v = v - joint_twist
        a = a - block_twist(s, world, dofadr, dofnum, s.qacc[world]) - cross_motion(v, joint_twist)
        rate_bar = v_bar - cross_force(v, a_bar)
        v_bar = v_bar + cross_force(joint_twist, a_bar)
        turn_bar = pose_bar - cross_force(v, v_bar) - cross_force(a, a_bar)
        for dof in range(dofadr, dofadr + dofnum):
            s.qvel_bar[world, dof] = s.qvel_bar[world, dof] + wp.dot(s.motion[world, dof], rate_bar)
            s.qpos_bar[world, dof] = s.qpos_bar[world, dof] + wp.dot(s.motion[world, dof], turn_bar)
    if m.nmocap > 0:
        mocap = m.body_mocap[body]
        if mocap >= 0:
            s.mocap_bar[world, mocap] = s.mocap_bar[world, mocap] + (pose_bar - cross_force(a, a_bar))
    s.velocity_bar[world, body] = v_bar
    s.acceleration_bar[world, body] = a_bar
    s.pose_bar[world, body] = pose_bar
