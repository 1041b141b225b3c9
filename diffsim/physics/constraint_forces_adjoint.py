"""The adjoint of `constraint_forces`.

With cotangents phi of the forces f, it is the gradient of P = phi . f, which `virtual_power` computes for phi = J x:
here x is zero, and `row_force_bar` adds phi. The cotangent of a is that of the bodies' accelerations, summed over the
subtrees, and of the rows of single dofs.
"""

import warp as wp

from diffsim.physics.adjoint import clear
from diffsim.physics.cone import cone_scale
from diffsim.physics.constraint import QUADRATIC, TENDON_LIMIT, add_row_scaled
from diffsim.physics.constraint_forces import is_limit_of_joint
from diffsim.physics.contact_gradient import clear_contact_bars
from diffsim.physics.contact_list import contact_dim, contact_total, listed_place
from diffsim.physics.integrate import raw_from_tangent
from diffsim.physics.lanes import lane, lanes, sync
from diffsim.physics.mocap import store_input_cotangents
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.scratch import Scratch
from diffsim.physics.step import copy
from diffsim.types import ZERO, mat33, real, vec3, vec6

wp.set_module_options({"enable_backward": False})


@wp.func
def contact_row_cotangents(m: ModelArrays, s: Scratch, world: int, contact: int, bar: vec6):
    """Adjoint of `contact.contact_force`: fills the cotangents of the contact's rows."""
    pair = s.contact_pair[world, contact]
    row = s.contact_row[world, contact]
    condim = contact_dim(m, s, world, contact)
    if condim == 1 or m.elliptic == 1:
        s.row_force_bar[world, row] = bar[0]
    for j in range(1, condim):
        if m.elliptic == 1:
            s.row_force_bar[world, row + j] = cone_scale(m, world, pair, j) * bar[j]
            continue
        side = m.pair_friction[world * m.pair_stride + pair, j - 1] * bar[j]
        s.row_force_bar[world, row + 2 * j - 2] = bar[0] + side
        s.row_force_bar[world, row + 2 * j - 1] = bar[0] - side


@wp.func
def load_force_cotangents(
    m: ModelArrays,
    s: Scratch,
    world: int,
    point: wp.array(dtype=vec3),
    frame: wp.array(dtype=mat33),
    distance: wp.array(dtype=real),
    force: wp.array(dtype=vec6),
    equality: wp.array(dtype=vec6),
    joint_limit: wp.array(dtype=real),
    tendon_limit: wp.array(dtype=real),
):
    """Fills the cotangents of the rows' forces and those of qacc through limits, and clears the others.

    Needs the rows' forces. One lane does most of it.
    """
    clear(m.nv, s.qpos_bar[world])
    clear(m.nv, s.qvel_bar[world])
    clear(m.nv, s.qacc_bar[world])
    clear(m.na, s.act_bar[world])
    clear(m.nu, s.ctrl_bar[world])
    clear(m.nv, s.applied_bar[world])
    clear(m.nv, s.constraint_bar[world])
    clear(m.nv, s.virtual_velocity[world])
    clear(m.nv, s.constraint_velocity[world])
    if lane() == 0:
        for row in range(s.row_count[world]):
            s.row_force_bar[world, row] = ZERO
        for contact in range(contact_total(m, s, world)):
            place = listed_place(m, s, world, contact)
            if contact < s.contact_count[world]:
                contact_row_cotangents(m, s, world, contact, force[place])
            s.contact_sensed[world, contact] = 1
            s.contact_point_bar[world, contact] = point[place]
            s.contact_frame_bar[world, contact] = frame[place]
            s.contact_distance_bar[world, contact] = distance[place]
        for eq in range(m.neq):
            if s.eq_row[world, eq] >= 0:
                for i in range(m.rare[0].eq_rows[eq]):
                    s.row_force_bar[world, s.eq_row[world, eq] + i] = equality[eq][i]
        load_limit_cotangents(m, s, world, joint_limit, tendon_limit)
    sync()
    for row in range(s.row_count[world]):
        limits = is_limit_of_joint(s, world, row)
        if s.row_source[world, row] == TENDON_LIMIT:  # that of a spatial tendon acts on the bodies' accelerations
            limits = m.rare[0].tendon_line[s.row_index[world, row]] < 0
        if limits and s.row_state[world, row] == QUADRATIC:
            pull = s.row_stiffness[world, row] * s.row_force_bar[world, row]
            add_row_scaled(s, world, row, -pull, s.qacc_bar[world])
    sync()


@wp.func
def load_limit_cotangents(
    m: ModelArrays, s: Scratch, world: int, joint_limit: wp.array(dtype=real), tendon_limit: wp.array(dtype=real)
):
    """Adjoint of `store_limit_forces`: the first row of a joint or tendon gets its cotangent."""
    for row in range(s.row_count[world]):
        source = s.row_source[world, row]
        index = s.row_index[world, row]
        again = bool(False)
        if row > 0:
            # both limits of a joint or tendon have adjacent rows
            again = s.row_source[world, row - 1] == source and s.row_index[world, row - 1] == index
        if not again:
            if is_limit_of_joint(s, world, row):
                s.row_force_bar[world, row] = joint_limit[index]
            elif source == TENDON_LIMIT:
                s.row_force_bar[world, row] = tendon_limit[index]


@wp.func
def store_force_gradient(
    m: ModelArrays,
    s: Scratch,
    world: int,
    qpos: wp.array(dtype=real),
    qpos_bar: wp.array(dtype=real),
    qvel_bar: wp.array(dtype=real),
    qacc_bar: wp.array(dtype=real),
    inputs_bar: wp.array(dtype=real),
):
    """Writes the cotangents of the evaluation point and the inputs, and clears those of rows and contacts."""
    for row in range(lane(), s.row_count[world], lanes()):
        s.row_force_bar[world, row] = ZERO
    clear_contact_bars(m, s, world)
    copy(m.nv, s.qvel_bar[world], qvel_bar)
    store_input_cotangents(m, s, world, inputs_bar)
    joins = contact_total(m, s, world) + m.neq + m.nline > 0
    for dof in range(lane(), m.nv, lanes()):
        body = m.dof_body[dof]
        total = s.acceleration_bar[world, body]
        if joins:
            total += s.qacc_twist_bar[world, body]
        qacc_bar[dof] = s.qacc_bar[world, dof] + wp.dot(s.motion[world, dof], total)
    sync()
    raw_from_tangent(m, qpos, s.qpos_bar[world], qpos_bar)
