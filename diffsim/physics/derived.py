"""MuJoCo's derived quantities that Gymnasium's tasks observe: inertias, velocities and contact forces of bodies.

All are in world axes, about the centre of mass of the body's tree. They have no gradient.
"""

import warp as wp

from diffsim.physics.bias import moving_frames
from diffsim.physics.constraint import TINY
from diffsim.physics.contact import contact_force
from diffsim.physics.equality import joined, turning_torque
from diffsim.physics.fluid import com_arm
from diffsim.physics.inertia import subtree_inertias
from diffsim.physics.integrate import load3
from diffsim.physics.lanes import lane, lanes, sync, world_of
from diffsim.physics.mocap import load_inputs
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.rotation import quat_to_mat, rotate
from diffsim.physics.scratch import Scratch
from diffsim.physics.spatial import angular, linear, twist
from diffsim.types import ZERO, mat33, real, vec3, vec6

wp.set_module_options({"enable_backward": False})


@wp.func
def tree_com(m: ModelArrays, s: Scratch, world: int, body: int) -> vec3:
    """Centre of mass of the tree that contains the body, of its root where it has no mass. Needs subtrees' inertias."""
    root = m.body_root[body]
    mass = s.subtree_mass[world, root]
    if mass < TINY:
        return s.xpos[world, root] + rotate(s.xquat[world, root], m.body_ipos[world * m.body_stride + root])
    return s.xpos[world, root] + s.subtree_moment[world, root] / mass


@wp.func
def contact_wrenches(m: ModelArrays, s: Scratch, world: int, wrench: wp.array(dtype=vec6)):
    """Fills `cfrc_ext`, the sum of contact, connect, weld and applied forces on each body; zero for the world.

    One lane does it. Needs the rows' forces and the subtrees' inertias.
    """
    for body in range(m.nbody):
        wrench[body] = vec6(ZERO, ZERO, ZERO, ZERO, ZERO, ZERO)
    for contact in range(s.contact_count[world]):
        pair = s.contact_pair[world, contact]
        local = contact_force(m, s, world, contact)
        axes = wp.transpose(s.contact_frame[world, contact])
        force = axes * vec3(local[0], local[1], local[2])
        torque = axes * vec3(local[3], local[4], local[5])
        for side in range(2):
            geom = m.pair_geom1[pair]
            sign = real(-1.0)
            if side == 1:
                geom = m.pair_geom2[pair]
                sign = real(1.0)
            body = m.geom_body[geom]
            add_wrench(m, s, world, body, s.contact_point[world, contact], sign * torque, sign * force, wrench)
    equality_wrenches(m, s, world, wrench)
    if s.has_xfrc[world] == 1:
        for body in range(1, m.nbody):
            x = s.xfrc[world, body]
            com = s.xpos[world, m.body_root[body]] + com_arm(m, s, world, body)
            add_wrench(m, s, world, body, com, angular(x), linear(x), wrench)


@wp.func
def add_wrench(
    m: ModelArrays,
    s: Scratch,
    world: int,
    body: int,
    point: vec3,
    torque: vec3,
    force: vec3,
    wrench: wp.array(dtype=vec6),
):
    """Adds a torque and a force at a point to a body's wrench, unless it is the world."""
    if body > 0:
        arm = point - tree_com(m, s, world, body)
        wrench[body] = wrench[body] + twist(torque + wp.cross(arm, force), force)


@wp.func
def equality_wrenches(m: ModelArrays, s: Scratch, world: int, wrench: wp.array(dtype=vec6)):
    """Adds the forces of connect and weld constraints to `contact_wrenches`."""
    for eq in range(m.neq):
        first = s.eq_row[world, eq]
        if first >= 0:
            j = joined(m, s, world, eq)
            force = load3(s.row_force[world], first)
            torque = vec3(ZERO, ZERO, ZERO)
            if m.rare[0].eq_rows[eq] == 6:
                torque = turning_torque(j, load3(s.row_force[world], first + 3))
            add_wrench(m, s, world, j.body1, j.point1, torque, force, wrench)
            add_wrench(m, s, world, j.body2, j.point2, -torque, -force, wrench)


@wp.kernel
def body_quantities_kernel(
    # model and working memory
    m: ModelArrays,
    s: Scratch,
    # in
    qpos_in: wp.array2d(dtype=real),
    qvel_in: wp.array2d(dtype=real),
    inputs_in: wp.array2d(dtype=real),
    # out
    cinert_out: wp.array3d(dtype=real),
    cvel_out: wp.array2d(dtype=vec6),
):
    """Bodies' inertias (xx, yy, zz, xy, xz, yz, mass * com, mass) and twists, as MuJoCo's `cinert` and `cvel`."""
    world = world_of(0, wp.tid())
    for i in range(lane(), m.nq, lanes()):
        s.qpos[world, i] = qpos_in[world, i]
    for i in range(lane(), m.nv, lanes()):
        s.qvel[world, i] = qvel_in[world, i]
    load_inputs(m, s, world, inputs_in[world])
    sync()
    moving_frames(m, s, world, 0)
    subtree_inertias(m, s, world)
    for body in range(lane(), m.nbody, lanes()):
        for i in range(10):
            cinert_out[world, body, i] = ZERO
        cvel_out[world, body] = vec6(ZERO, ZERO, ZERO, ZERO, ZERO, ZERO)
        if body > 0:
            com = tree_com(m, s, world, body)
            v = s.velocity[world, body]
            arm = com - s.xpos[world, m.body_root[body]]
            cvel_out[world, body] = twist(angular(v), linear(v) + wp.cross(angular(v), arm))
            store_inertia(m, s, world, body, com, cinert_out[world, body])


@wp.func
def store_inertia(m: ModelArrays, s: Scratch, world: int, body: int, com: vec3, out: wp.array(dtype=real)):
    """Writes a body's inertia about a point, in MuJoCo's order."""
    mass = m.body_mass[world * m.body_stride + body]
    axes = quat_to_mat(s.xquat[world, body])
    arm = s.xpos[world, body] + axes * m.body_ipos[world * m.body_stride + body] - com
    square = wp.dot(arm, arm)
    rotary = axes * m.body_rotary[world * m.body_stride + body] * wp.transpose(axes)
    rotary = rotary + mass * (mat33(square, ZERO, ZERO, ZERO, square, ZERO, ZERO, ZERO, square) - wp.outer(arm, arm))
    for i in range(3):
        out[i] = rotary[i, i]
        out[6 + i] = mass * arm[i]
    out[3] = rotary[0, 1]
    out[4] = rotary[0, 2]
    out[5] = rotary[1, 2]
    out[9] = mass
