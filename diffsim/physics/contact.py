"""Contacts: detection, and the rows of their friction pyramids or elliptic cones.

In a contact's frame, at its point, the difference x of the two bodies' twists has the components

    u(x) = (n . v, t1 . v, t2 . v, n . w, t1 . w, t2 . w)

Without friction its row is u_0; with friction of dimension k its rows are u_0 + mu_j u_j and u_0 - mu_j u_j, 0 < j < k.
The rows of an elliptic cone are in `cone`.
Source: MuJoCo documentation, Computation, contact and friction cones.
"""

import warp as wp

from diffsim.collision.geometry import PLANE, Geom
from diffsim.physics.cone import cone_scale
from diffsim.physics.constraint import CONE, CONTACT, UNILATERAL, fill_row, row_damping
from diffsim.physics.contact_list import contact_dim
from diffsim.physics.lanes import lane, lanes, sync
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.rotation import quat_mul, quat_to_mat, rotate
from diffsim.physics.scratch import Scratch
from diffsim.physics.spatial import angular, linear, twist
from diffsim.physics.structure import chain_runs
from diffsim.physics.surface_velocity import surface_rate
from diffsim.types import ONE, TWO, ZERO, mat33, real, vec3, vec6


@wp.func
def geom_poses(m: ModelArrays, s: Scratch, world: int):
    """Fills the poses of all geoms that can touch. Needs the kinematics."""
    for i in range(lane(), m.ncollider, lanes()):
        geom = m.collider_geom[i]
        body = m.geom_body[geom]
        body_quat = s.xquat[world, body]
        s.geom_pos[world, geom] = s.xpos[world, body] + rotate(body_quat, m.geom_pos[world * m.geom_stride + geom])
        s.geom_mat[world, geom] = quat_to_mat(quat_mul(body_quat, m.geom_quat[geom]))
    sync()


@wp.func
def load_geom(m: ModelArrays, s: Scratch, world: int, geom: int) -> Geom:
    """A geom with its pose. Needs the geoms' poses."""
    return Geom(m.geom_size[world * m.geom_stride + geom], s.geom_pos[world, geom], s.geom_mat[world, geom])


@wp.func
def may_touch(m: ModelArrays, s: Scratch, world: int, pair: int) -> int:
    """0 if the geoms' bounding spheres are farther apart than the detection distance."""
    first = m.pair_geom1[pair]
    second = m.pair_geom2[pair]
    gap = s.geom_pos[world, second] - s.geom_pos[world, first]
    reach = m.geom_rbound[world * m.geom_stride + second] + m.pair_detection[pair]
    if m.geom_kind[first] == PLANE:
        mat = s.geom_mat[world, first]
        if wp.dot(gap, vec3(mat[0, 2], mat[1, 2], mat[2, 2])) > reach:
            return 0
        return 1
    reach += m.geom_rbound[world * m.geom_stride + first]
    if wp.dot(gap, gap) > reach * reach:
        return 0
    return 1


@wp.func
def contact_rows(m: ModelArrays, s: Scratch, world: int):
    """Fills the rows of all contacts. Needs `place_contacts`."""
    for contact in range(lane(), s.contact_count[world], lanes()):
        fill_contact(m, s, world, contact)


@wp.func(inline=True)
def place_contacts(m: ModelArrays, s: Scratch, world: int):
    """Appends rows for all contacts, and room for their runs; `contact_rows` fills both. Needs the contacts."""
    for contact in range(s.contact_count[world]):
        pair = s.contact_pair[world, contact]
        body1 = m.geom_body[m.pair_geom1[pair]]
        body2 = m.geom_body[m.pair_geom2[pair]]
        s.contact_row[world, contact] = s.row_count[world]
        s.contact_run[world, contact] = s.run_count[world]
        s.row_count[world] = s.row_count[world] + contact_row_count(m, contact_dim(m, s, world, contact))
        s.run_count[world] = s.run_count[world] + chain_room(m, body1) + chain_room(m, body2)


@wp.func
def contact_row_count(m: ModelArrays, condim: int) -> int:
    """Number of rows of a contact."""
    if m.elliptic == 1:
        return condim
    return wp.max(1, 2 * (condim - 1))


@wp.func
def chain_room(m: ModelArrays, body: int) -> int:
    """Largest number of runs of the dofs that move a body."""
    dof = m.body_lastdof[body]
    if dof < 0:
        return 0
    return 1 + m.dof_address[dof + 1] - m.dof_address[dof]


@wp.func(inline=True)
def fill_contact(m: ModelArrays, s: Scratch, world: int, contact: int):
    """Fills a contact's runs, and its rows with their Jacobians."""
    pair = s.contact_pair[world, contact]
    r = s.contact_distance[world, contact] - m.pair_margin[pair]
    condim = contact_dim(m, s, world, contact)
    params = m.params_pair + pair
    rows = contact_row_count(m, condim)
    mu = m.pair_friction[world * m.pair_stride + pair, 0]
    weight = m.pair_invweight[pair]
    if condim > 1 and m.elliptic == 0:
        # all rows of a pyramid share the regularization with which its stiffness along the normal is that of one row
        weight = TWO * mu * mu / m.impratio * weight * (ONE + mu * mu)
    body1 = m.geom_body[m.pair_geom1[pair]]
    body2 = m.geom_body[m.pair_geom2[pair]]
    first = s.contact_run[world, contact]
    dof1 = m.body_lastdof[body1]
    dof2 = m.body_lastdof[body2]
    last = chain_runs(m.dof_parent, dof1, dof2, 0, s.run[world], first, s.coupled, world)
    start = s.contact_row[world, contact]
    if m.elliptic == 1:
        for i in range(rows):
            position = r
            if i > 0:
                position = ZERO
            fill_row(s, world, start + i, first, last, CONE, CONTACT, contact, params, position, wp.abs(r), weight)
    else:
        for i in range(rows):
            fill_row(s, world, start + i, first, last, UNILATERAL, CONTACT, contact, params, r, wp.abs(r), weight)
    if m.surfacevel == 1:
        for row in range(start, start + rows):
            s.row_aref[world, row] = -row_damping(m, s, world, row) * surface_rate(m, s, world, row)
    fill_contact_jacobian(m, s, world, contact, start, condim, body1, body2)


@wp.func
def components(frame: mat33, x: vec6) -> vec6:
    """u(x) of a twist at the contact's point: linear components first."""
    v = frame * linear(x)
    w = frame * angular(x)
    return vec6(v[0], v[1], v[2], w[0], w[1], w[2])


@wp.func
def twist_at(x: vec6, arm: vec3) -> vec6:
    """(velocity, angular velocity) of the point at `arm` from the reference point, as a twist about it."""
    return twist(angular(x), linear(x) + wp.cross(angular(x), arm))


@wp.func
def fill_contact_jacobian(
    m: ModelArrays, s: Scratch, world: int, contact: int, row: int, condim: int, body1: int, body2: int
):
    """Fills a contact's Jacobian on its runs. The dofs that move both bodies do not move one against the other."""
    arm1 = s.contact_point[world, contact] - s.xpos[world, m.body_root[body1]]
    arm2 = s.contact_point[world, contact] - s.xpos[world, m.body_root[body2]]
    frame = s.contact_frame[world, contact]
    pair = s.contact_pair[world, contact]
    dof1 = m.body_lastdof[body1]
    dof2 = m.body_lastdof[body2]
    while dof1 != dof2:
        dof = wp.max(dof1, dof2)
        sign = real(1.0)
        arm = arm2
        if dof1 > dof2:
            sign = real(-1.0)
            arm = arm1
            dof1 = m.dof_parent[dof1]
        else:
            dof2 = m.dof_parent[dof2]
        u = sign * components(frame, twist_at(s.motion[world, dof], arm))
        if condim == 1 or m.elliptic == 1:
            s.row_jacobian[world, row, dof] = u[0]
        for j in range(1, condim):
            if m.elliptic == 1:
                s.row_jacobian[world, row + j, dof] = cone_scale(m, world, pair, j) * u[j]
                continue
            side = m.pair_friction[world * m.pair_stride + pair, j - 1] * u[j]
            plus = row + 2 * (j - 1)
            s.row_jacobian[world, plus, dof] = u[0] + side
            s.row_jacobian[world, plus + 1, dof] = u[0] - side


@wp.func(inline=True)
def contact_force(m: ModelArrays, s: Scratch, world: int, contact: int) -> vec6:
    """A contact's force and torque in its frame, on the second geom (`mj_contactForce`). Needs the rows' forces."""
    pair = s.contact_pair[world, contact]
    row = s.contact_row[world, contact]
    condim = contact_dim(m, s, world, contact)
    force = vec6()
    if condim == 1 or m.elliptic == 1:
        force[0] = s.row_force[world, row]
    for j in range(1, condim):
        if m.elliptic == 1:
            force[j] = cone_scale(m, world, pair, j) * s.row_force[world, row + j]
        else:
            plus = s.row_force[world, row + 2 * j - 2]
            minus = s.row_force[world, row + 2 * j - 1]
            force[0] = force[0] + plus + minus
            force[j] = m.pair_friction[world * m.pair_stride + pair, j - 1] * (plus - minus)
    if m.adhesion == 1:
        force[0] = force[0] - m.rare[0].pair_adhesion[pair]
    return force
