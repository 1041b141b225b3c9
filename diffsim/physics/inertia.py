"""Spatial inertias and the joint-space mass matrix (composite rigid bodies).

Source: Featherstone (2008), sections 2.13 and 6.2.
"""

import warp as wp

from diffsim.physics.lanes import lane, lanes, sync
from diffsim.physics.line import add_line_armature
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.rotation import quat_to_mat
from diffsim.physics.scratch import Scratch
from diffsim.physics.sparse import multiply
from diffsim.physics.spatial import apply_inertia
from diffsim.physics.tendon import add_tendon_armature
from diffsim.types import mat33, real


@wp.func
def body_inertia(m: ModelArrays, s: Scratch, world: int, body: int):
    """Fills a body's first moment and rotational inertia about the reference point; initialises its subtree's."""
    mass = m.body_mass[world * m.body_stride + body]
    axes = quat_to_mat(s.xquat[world, body])
    arm = s.xpos[world, body] + axes * m.body_ipos[world * m.body_stride + body] - s.xpos[world, m.body_root[body]]
    moment = mass * arm
    rotary = axes * m.body_rotary[world * m.body_stride + body] * wp.transpose(axes)
    x = moment[0] * arm[0]
    y = moment[1] * arm[1]
    z = moment[2] * arm[2]
    xy = moment[0] * arm[1]
    xz = moment[0] * arm[2]
    yz = moment[1] * arm[2]
    rotary = rotary + mat33(y + z, -xy, -xz, -xy, x + z, -yz, -xz, -yz, x + y)
    s.body_moment[world, body] = moment
    s.body_rotary[world, body] = rotary
    s.subtree_mass[world, body] = mass
    s.subtree_moment[world, body] = moment
    s.subtree_rotary[world, body] = rotary


@wp.func
def subtree_inertias(m: ModelArrays, s: Scratch, world: int):
    """Adds each body's inertia to those of its ancestors. Needs the initial values from `body_inertia`."""
    for r in range(m.nlevel):
        level = m.nlevel - 1 - r
        last = m.level_adr[level + 1] - 1
        for i in range(lane(), m.level_adr[level + 1] - m.level_adr[level], lanes()):
            node = m.tree[last - i]
            body = node[0]
            for c in range(node[2], node[3]):
                child = m.body_child[c]
                s.subtree_mass[world, body] = s.subtree_mass[world, body] + s.subtree_mass[world, child]
                s.subtree_moment[world, body] = s.subtree_moment[world, body] + s.subtree_moment[world, child]
                s.subtree_rotary[world, body] = s.subtree_rotary[world, body] + s.subtree_rotary[world, child]
        sync()


@wp.func
def mass_matrix(m: ModelArrays, s: Scratch, world: int):
    """Fills the lower triangle of M, armature included, from the bodies' inertias; skips what is always zero."""
    subtree_inertias(m, s, world)
    for row in range(lane(), m.nv, lanes()):
        body = m.dof_body[row]
        momentum = apply_inertia(
            s.subtree_mass[world, body],
            s.subtree_moment[world, body],
            s.subtree_rotary[world, body],
            s.motion[world, row],
        )
        s.mass_matrix[world, row, row] = (
            wp.dot(s.motion[world, row], momentum) + m.dof_armature[world * m.dof_stride + row]
        )
        col = m.dof_parent[row]
        while col >= 0:
            s.mass_matrix[world, row, col] = wp.dot(s.motion[world, col], momentum)
            col = m.dof_parent[col]
    if m.ntendon_pair > 0:
        sync()
        add_tendon_armature(m, s, world)
    if m.nline > 0:
        sync()
        add_line_armature(m, s, world)
    sync()


@wp.func
def multiply_mass(m: ModelArrays, s: Scratch, world: int, x: wp.array(dtype=real), result: wp.array(dtype=real)):
    """Result = M x."""
    multiply(m.nv, m.dof_address, m.dof_run, s.mass_matrix[world], x, result)
