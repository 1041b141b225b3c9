"""Poses, velocities and accelerations of bodies, the motion of each dof, and their adjoints.

The velocity of a body is (w, v): its angular velocity, and the velocity of its origin o. With the twists (w, u) and
(alpha, c) of `bias` about the reference point r, the acceleration of the origin is that of a material point:

    v = u + w x (o - r),    a = c + alpha x (o - r) + w x v

As in `bias`, accelerations contain the gravity: a body at rest has -gravity.
"""

import warp as wp

from diffsim.physics.adjoint import clear
from diffsim.physics.bias import moving_frames
from diffsim.physics.contact import twist_at
from diffsim.physics.integrate import raw_from_tangent
from diffsim.physics.kinematics import kinematics, motion_subspaces
from diffsim.physics.lanes import lane, lanes, sync, world_of
from diffsim.physics.mocap import load_inputs, store_input_cotangents
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.rotation import quat_conj, quat_mul
from diffsim.physics.scratch import Scratch
from diffsim.physics.spatial import angular, cross_force, linear, twist
from diffsim.physics.tree import gather_motion, zero_twist
from diffsim.types import HALF, ZERO, quat, real, vec3, vec6

wp.set_module_options({"enable_backward": False})


@wp.func
def load_motion(
    m: ModelArrays,
    s: Scratch,
    world: int,
    qpos: wp.array(dtype=real),
    qvel: wp.array(dtype=real),
    qacc: wp.array(dtype=real),
    inputs: wp.array(dtype=real),
):
    """Fills the poses, velocities and accelerations of the bodies."""
    for i in range(lane(), m.nq, lanes()):
        s.qpos[world, i] = qpos[i]
    for i in range(lane(), m.nv, lanes()):
        s.qvel[world, i] = qvel[i]
        s.qacc[world, i] = qacc[i]
    load_inputs(m, s, world, inputs)
    sync()
    moving_frames(m, s, world, 1)


@wp.kernel
def body_motion_kernel(
    # model and working memory
    m: ModelArrays,
    s: Scratch,
    # in
    qpos_in: wp.array2d(dtype=real),
    qvel_in: wp.array2d(dtype=real),
    qacc_in: wp.array2d(dtype=real),
    inputs_in: wp.array2d(dtype=real),
    # out
    xpos_out: wp.array2d(dtype=vec3),
    xquat_out: wp.array2d(dtype=quat),
    velocity_out: wp.array2d(dtype=vec6),
    acceleration_out: wp.array2d(dtype=vec6),
):
    """Poses, velocities and accelerations of all bodies, (angular, linear) in world axes at the bodies' origins."""
    world = world_of(0, wp.tid())
    load_motion(m, s, world, qpos_in[world], qvel_in[world], qacc_in[world], inputs_in[world])
    for body in range(lane(), m.nbody, lanes()):
        arm = s.xpos[world, body] - s.xpos[world, m.body_root[body]]
        v = twist_at(s.velocity[world, body], arm)
        a = twist_at(s.acceleration[world, body], arm)
        xpos_out[world, body] = s.xpos[world, body]
        xquat_out[world, body] = s.xquat[world, body]
        velocity_out[world, body] = v
        acceleration_out[world, body] = twist(angular(a), linear(a) + wp.cross(angular(v), linear(v)))


@wp.kernel
def body_motion_adjoint_kernel(
    # model and working memory
    m: ModelArrays,
    s: Scratch,
    # in
    qpos_in: wp.array2d(dtype=real),
    qvel_in: wp.array2d(dtype=real),
    qacc_in: wp.array2d(dtype=real),
    inputs_in: wp.array2d(dtype=real),
    xpos_bar_in: wp.array2d(dtype=vec3),
    xquat_bar_in: wp.array2d(dtype=quat),
    velocity_bar_in: wp.array2d(dtype=vec6),
    acceleration_bar_in: wp.array2d(dtype=vec6),
    # out
    qpos_bar_out: wp.array2d(dtype=real),
    qvel_bar_out: wp.array2d(dtype=real),
    qacc_bar_out: wp.array2d(dtype=real),
    inputs_bar_out: wp.array2d(dtype=real),
):
    """The adjoint of `body_motion_kernel`."""
    world = world_of(0, wp.tid())
    load_motion(m, s, world, qpos_in[world], qvel_in[world], qacc_in[world], inputs_in[world])
    load_motion_cotangents(
        m,
        s,
        world,
        xpos_bar_in[world],
        xquat_bar_in[world],
        velocity_bar_in[world],
        acceleration_bar_in[world],
    )
    store_motion_cotangents(
        m,
        s,
        world,
        qpos_in[world],
        qpos_bar_out[world],
        qvel_bar_out[world],
        qacc_bar_out[world],
        inputs_bar_out[world],
    )


@wp.func
def load_motion_cotangents(
    m: ModelArrays,
    s: Scratch,
    world: int,
    xpos_bar: wp.array(dtype=vec3),
    xquat_bar: wp.array(dtype=quat),
    velocity_bar: wp.array(dtype=vec6),
    acceleration_bar: wp.array(dtype=vec6),
):
    """Fills the cotangents of positions and velocities, and sums over subtrees those of the bodies' motion."""
    for dof in range(lane(), m.nv, lanes()):
        s.qpos_bar[world, dof] = ZERO
        s.qvel_bar[world, dof] = ZERO
    for body in range(1 + lane(), m.nbody, lanes()):
        turn = quat_mul(xquat_bar[body], quat_conj(s.xquat[world, body]))
        torque = HALF * vec3(turn[1], turn[2], turn[3])
        body_motion_adjoint(m, s, world, body, xpos_bar[body], torque, velocity_bar[body], acceleration_bar[body])
    sync()
    clear(m.nu, s.ctrl_bar[world])
    gather_motion(m, s, world)


@wp.func
def store_motion_cotangents(
    m: ModelArrays,
    s: Scratch,
    world: int,
    qpos: wp.array(dtype=real),
    qpos_bar: wp.array(dtype=real),
    qvel_bar: wp.array(dtype=real),
    qacc_bar: wp.array(dtype=real),
    inputs_bar: wp.array(dtype=real),
):
    """Writes the cotangents of the inputs."""
    store_input_cotangents(m, s, world, inputs_bar)
    for dof in range(lane(), m.nv, lanes()):
        qvel_bar[dof] = s.qvel_bar[world, dof]
        # now the cotangent of the acceleration is that of the body's whole subtree
        qacc_bar[dof] = wp.dot(s.motion[world, dof], s.acceleration_bar[world, m.dof_body[dof]])
    raw_from_tangent(m, qpos, s.qpos_bar[world], qpos_bar)


@wp.func
def body_motion_adjoint(
    m: ModelArrays, s: Scratch, world: int, body: int, force: vec3, torque: vec3, v_bar: vec6, a_bar: vec6
):
    """Fills a body's cotangents for `gather_motion`; `force` and `torque` are those of its pose."""
    arm = s.xpos[world, body] - s.xpos[world, m.body_root[body]]
    v = s.velocity[world, body]
    a = s.acceleration[world, body]
    w = angular(v)
    point = linear(twist_at(v, arm))
    pull = linear(a_bar)
    spin_bar = angular(v_bar) + wp.cross(point, pull)
    point_bar = linear(v_bar) + wp.cross(pull, w)
    s.velocity_bar[world, body] = twist(spin_bar + wp.cross(arm, point_bar), point_bar)
    s.acceleration_bar[world, body] = twist(angular(a_bar) + wp.cross(arm, pull), pull)
    push = force + wp.cross(point_bar, w) + wp.cross(pull, angular(a))
    carried = cross_force(v, s.velocity_bar[world, body]) + cross_force(a, s.acceleration_bar[world, body])
    s.pose_bar[world, body] = twist(torque + wp.cross(arm, push), push) + carried


@wp.kernel
def dof_motion_kernel(
    # model and working memory
    m: ModelArrays,
    s: Scratch,
    # in
    qpos_in: wp.array2d(dtype=real),
    inputs_in: wp.array2d(dtype=real),
    # out
    motion_out: wp.array2d(dtype=vec6),
):
    """Each dof's motion: the twist, about the world's origin, that a unit of its velocity gives to its body."""
    world = world_of(0, wp.tid())
    load_motions(m, s, world, qpos_in[world], inputs_in[world])
    for dof in range(lane(), m.nv, lanes()):
        arm = -s.xpos[world, m.body_root[m.dof_body[dof]]]
        motion_out[world, dof] = twist_at(s.motion[world, dof], arm)


@wp.func
def load_motions(m: ModelArrays, s: Scratch, world: int, qpos: wp.array(dtype=real), inputs: wp.array(dtype=real)):
    """Fills the poses of the bodies and the motions of the dofs."""
    for i in range(lane(), m.nq, lanes()):
        s.qpos[world, i] = qpos[i]
    load_inputs(m, s, world, inputs)
    sync()
    kinematics(m, s, world)
    for body in range(lane(), m.nbody, lanes()):
        motion_subspaces(m, s, world, body)
        s.pose_bar[world, body] = zero_twist()
    sync()


@wp.kernel
def dof_motion_adjoint_kernel(
    # model and working memory
    m: ModelArrays,
    s: Scratch,
    # in
    qpos_in: wp.array2d(dtype=real),
    inputs_in: wp.array2d(dtype=real),
    motion_bar_in: wp.array2d(dtype=vec6),
    # out
    qpos_bar_out: wp.array2d(dtype=real),
    inputs_bar_out: wp.array2d(dtype=real),
):
    """The adjoint of `dof_motion_kernel`."""
    world = world_of(0, wp.tid())
    load_motions(m, s, world, qpos_in[world], inputs_in[world])
    gather_motions(m, s, world, motion_bar_in[world])
    store_input_cotangents(m, s, world, inputs_bar_out[world])
    raw_from_tangent(m, qpos_in[world], s.qpos_bar[world], qpos_bar_out[world])


@wp.func
def gather_motions(m: ModelArrays, s: Scratch, world: int, motion_bar: wp.array(dtype=vec6)):
    """Fills the cotangents of positions and mocap bodies, and the bodies' `pose_bar` with those of their subtrees.

    q_e moves the motion S_d of each later dof d by S_e x S_d. With the cotangents B_d,
    dP/dq_e = S_e . sum over later d of (S_d x* B_d).
    """
    clear(m.nu, s.ctrl_bar[world])
    for r in range(m.nlevel):
        level = m.nlevel - 1 - r
        last = m.level_adr[level + 1] - 1
        for i in range(lane(), m.level_adr[level + 1] - m.level_adr[level], lanes()):
            node = m.tree[last - i]
            body = node[0]
            total = zero_twist()
            for c in range(node[2], node[3]):
                total += s.pose_bar[world, m.body_child[c]]
            s.pose_bar[world, body] = total
            turn_motions(m, s, world, body, motion_bar)
        sync()
    if m.nmocap > 0:
        for k in range(lane(), m.nmocap, lanes()):
            s.mocap_bar[world, k] = s.pose_bar[world, m.rare[0].mocap_body[k]]
    sync()


@wp.func
def turn_motions(m: ModelArrays, s: Scratch, world: int, body: int, motion_bar: wp.array(dtype=vec6)):
    """A body's part: fills qpos_bar of its dofs, and adds their cotangents to what its parent adds."""
    total = s.pose_bar[world, body]
    reference = s.xpos[world, m.body_root[body]]
    blocks = m.body_blocknum[body]
    for b in range(blocks):
        block = m.body_blockadr[body] + blocks - 1 - b
        dofadr = m.block_dofadr[block]
        for dof in range(dofadr, dofadr + m.block_dofnum[block]):
            bar = motion_bar[dof]
            about = twist(angular(bar) - wp.cross(reference, linear(bar)), linear(bar))
            total += cross_force(s.motion[world, dof], about)
        for dof in range(dofadr, dofadr + m.block_dofnum[block]):
            s.qpos_bar[world, dof] = wp.dot(s.motion[world, dof], total)
    s.pose_bar[world, body] = total
