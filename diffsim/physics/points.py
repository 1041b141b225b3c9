"""World positions of points fixed in bodies, and their adjoint."""

import warp as wp

from diffsim.physics.integrate import raw_from_tangent
from diffsim.physics.kinematics import kinematics, motion_subspaces
from diffsim.physics.lanes import lane, lanes, sync, world_of
from diffsim.physics.mocap import load_default_mocap
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.rotation import rotate
from diffsim.physics.scratch import Scratch
from diffsim.physics.spatial import twist
from diffsim.physics.tree import sum_subtrees, zero_twist
from diffsim.types import real, vec3

wp.set_module_options({"enable_backward": False})


@wp.func
def point_position(s: Scratch, world: int, body: int, offset: vec3) -> vec3:
    """World position of a point at `offset` in a body's frame."""
    return s.xpos[world, body] + rotate(s.xquat[world, body], offset)


@wp.func
def load_kinematics(m: ModelArrays, s: Scratch, world: int, qpos: wp.array(dtype=real)):
    """Fills the poses of all bodies at a qpos, and at the mocap bodies' poses in the model."""
    for i in range(lane(), m.nq, lanes()):
        s.qpos[world, i] = qpos[i]
    load_default_mocap(m, s, world)
    sync()
    kinematics(m, s, world)


@wp.kernel
def points_kernel(
    # model and working memory
    m: ModelArrays,
    s: Scratch,
    # in
    qpos_in: wp.array2d(dtype=real),
    point_body: wp.array(dtype=wp.int32),
    point_offset: wp.array(dtype=vec3),
    # out
    position_out: wp.array2d(dtype=vec3),
):
    """Positions of points in each world."""
    world = world_of(0, wp.tid())
    load_kinematics(m, s, world, qpos_in[world])
    for point in range(lane(), point_body.shape[0], lanes()):
        position_out[world, point] = point_position(s, world, point_body[point], point_offset[point])


@wp.kernel
def points_adjoint_kernel(
    # model and working memory
    m: ModelArrays,
    s: Scratch,
    # in
    qpos_in: wp.array2d(dtype=real),
    point_body: wp.array(dtype=wp.int32),
    point_offset: wp.array(dtype=vec3),
    position_bar_in: wp.array2d(dtype=vec3),
    # out
    qpos_bar_out: wp.array2d(dtype=real),
):
    """The adjoint of `points_kernel`: the cotangents are forces at the points, which act on the bodies as wrenches."""
    world = world_of(0, wp.tid())
    load_kinematics(m, s, world, qpos_in[world])
    for body in range(lane(), m.nbody, lanes()):
        motion_subspaces(m, s, world, body)
        s.pose_bar[world, body] = zero_twist()
    sync()
    if lane() == 0:
        for point in range(point_body.shape[0]):
            body = point_body[point]
            arm = point_position(s, world, body, point_offset[point]) - s.xpos[world, m.body_root[body]]
            force = position_bar_in[world, point]
            s.pose_bar[world, body] = s.pose_bar[world, body] + twist(wp.cross(arm, force), force)
    sync()
    sum_subtrees(m, s.pose_bar[world])
    for dof in range(lane(), m.nv, lanes()):
        s.qpos_bar[world, dof] = wp.dot(s.motion[world, dof], s.pose_bar[world, m.dof_body[dof]])
    sync()
    raw_from_tangent(m, qpos_in[world], s.qpos_bar[world], qpos_bar_out[world])
