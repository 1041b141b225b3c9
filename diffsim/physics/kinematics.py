"""Poses of bodies, and the twist per unit of each joint velocity.

Source: MuJoCo documentation, Computation, kinematics and Modeling, joints.
"""

import warp as wp

from diffsim.physics.lanes import lane, lanes, sync
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.rotation import quat_from_axis_angle, quat_mul, quat_normalize, rotate
from diffsim.physics.scratch import Scratch
from diffsim.physics.spatial import twist
from diffsim.types import FREE, HINGE, ONE, SLIDE, ZERO, quat, vec3


@wp.func
def joint_quat(s: Scratch, world: int, adr: int) -> quat:
    """The normalized quaternion of a ball or free joint at a qpos address."""
    return quat_normalize(
        quat(s.qpos[world, adr], s.qpos[world, adr + 1], s.qpos[world, adr + 2], s.qpos[world, adr + 3])
    )


@wp.func
def kinematics(m: ModelArrays, s: Scratch, world: int):
    """Fills xpos, xquat and each joint's anchor and axis, from qpos and the poses of mocap bodies."""
    if lane() == 0:
        s.xpos[world, 0] = vec3(ZERO, ZERO, ZERO)
        s.xquat[world, 0] = quat(ONE, ZERO, ZERO, ZERO)
    sync()
    for level in range(m.nlevel):
        for i in range(m.level_adr[level] + lane(), m.level_adr[level + 1], lanes()):
            node = m.tree[i]
            body = node[0]
            body_pose(m, s, world, body)
        sync()


@wp.func(inline=True)
def body_pose(m: ModelArrays, s: Scratch, world: int, body: int):
    """Fills a body's pose, and its joints' anchors and axes, from its parent's pose."""
    parent = m.body_parent[body]
    parent_quat = s.xquat[world, parent]
    pos = s.xpos[world, parent] + rotate(parent_quat, m.body_pos[world * m.body_stride + body])
    orientation = quat_mul(parent_quat, m.body_quat[world * m.body_stride + body])
    if m.nmocap > 0:
        mocap = m.body_mocap[body]
        if mocap >= 0:
            pos = s.mocap_pos[world, mocap]
            orientation = quat_normalize(s.mocap_quat[world, mocap])
    for joint in range(m.body_jntadr[body], m.body_jntadr[body] + m.body_jntnum[body]):
        adr = m.jnt_qposadr[joint]
        kind = m.jnt_type[joint]
        if kind == FREE:
            pos = vec3(s.qpos[world, adr], s.qpos[world, adr + 1], s.qpos[world, adr + 2])
            orientation = joint_quat(s, world, adr + 3)
            s.joint_anchor[world, joint] = pos
        else:
            anchor = pos + rotate(orientation, m.jnt_pos[joint])
            axis = rotate(orientation, m.jnt_axis[joint])
            s.joint_anchor[world, joint] = anchor
            s.joint_axis[world, joint] = axis
            if kind == SLIDE:
                pos = pos + (s.qpos[world, adr] - m.qpos0[adr]) * axis
            else:
                if kind == HINGE:
                    turn = quat_from_axis_angle(m.jnt_axis[joint], s.qpos[world, adr] - m.qpos0[adr])
                    orientation = quat_mul(orientation, turn)
                else:
                    orientation = quat_mul(orientation, joint_quat(s, world, adr))
                pos = anchor - rotate(orientation, m.jnt_pos[joint])
    s.xpos[world, body] = pos
    s.xquat[world, body] = quat_normalize(orientation)


@wp.func
def motion_subspaces(m: ModelArrays, s: Scratch, world: int, body: int):
    """Fills the twists, about the root body's origin, of the body's dofs. Needs the kinematics."""
    reference = s.xpos[world, m.body_root[body]]
    for joint in range(m.body_jntadr[body], m.body_jntadr[body] + m.body_jntnum[body]):
        dof = m.jnt_dofadr[joint]
        kind = m.jnt_type[joint]
        zero = vec3(ZERO, ZERO, ZERO)
        if kind == SLIDE:
            s.motion[world, dof] = twist(zero, s.joint_axis[world, joint])
        elif kind == HINGE:
            axis = s.joint_axis[world, joint]
            s.motion[world, dof] = twist(axis, wp.cross(axis, reference - s.joint_anchor[world, joint]))
        else:
            if kind == FREE:
                s.motion[world, dof] = twist(zero, vec3(ONE, ZERO, ZERO))
                s.motion[world, dof + 1] = twist(zero, vec3(ZERO, ONE, ZERO))
                s.motion[world, dof + 2] = twist(zero, vec3(ZERO, ZERO, ONE))
                dof = dof + 3
            arm = reference - s.joint_anchor[world, joint]
            x = rotate(s.xquat[world, body], vec3(ONE, ZERO, ZERO))
            y = rotate(s.xquat[world, body], vec3(ZERO, ONE, ZERO))
            z = wp.cross(x, y)
            s.motion[world, dof] = twist(x, wp.cross(x, arm))
            s.motion[world, dof + 1] = twist(y, wp.cross(y, arm))
            s.motion[world, dof + 2] = twist(z, wp.cross(z, arm))
