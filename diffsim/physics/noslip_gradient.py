"""Gradients by positions of what the noslip solver adds: of the rows' Jacobians, and of the mass matrix.

`noslip_adjoint` gives a vector z_j = alpha_j + beta_j for each row j, in P = sum_j J_j z_j, and vectors whose outer
products are the cotangent of M,

    P = sum_j J_j z_j - sum_j X_j' M alpha_j - y' M (qacc - a_0)

Of a contact, J_j z_j are sums of the components u_k of `contact`, of one vector for each component.
"""

import warp as wp

from diffsim.physics.cone import cone_scale
from diffsim.physics.contact import twist_at
from diffsim.physics.contact_gradient import wrench_at
from diffsim.physics.contact_list import contact_dim
from diffsim.physics.lanes import lane, lanes, sync
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.noslip import is_swept
from diffsim.physics.scratch import END, RESPONSE, START, Scratch
from diffsim.physics.sparse import add_scaled
from diffsim.physics.spatial import angular, apply_inertia, cross_force, linear
from diffsim.physics.tree import block_twist, gather, spread, zero_twist
from diffsim.types import ONE, ZERO, real, vec3, vec6


@wp.func
def has_swept_rows(m: ModelArrays, s: Scratch, world: int) -> bool:
    """Whether there is any friction."""
    for row in range(s.row_count[world]):
        if is_swept(m, s, world, row):
            return True
    return False


@wp.func(inline=True)
def mass_cotangents(m: ModelArrays, s: Scratch, world: int, dof: int, x: wp.array(dtype=real)):
    """Fills a vector x with which the part of M is the sum of the products e' M x over the dofs' unit vectors e.

    The cotangent of M is made symmetric, and doubled, so that x need not be differentiated.
    """
    vectors = s.rare[0].noslip_vector[world]
    for i in range(lane(), m.nv, lanes()):
        change = vectors[END, i] - vectors[START, i]
        x[i] = -vectors[RESPONSE, dof] * change - (vectors[END, dof] - vectors[START, dof]) * vectors[RESPONSE, i]
    for row in range(s.row_count[world]):
        if is_swept(m, s, world, row):
            response = s.rare[0].noslip_response[world, row]
            pull = s.rare[0].noslip_pull[world, row]
            add_scaled(0, m.nv, -response[dof], pull, x)
            add_scaled(0, m.nv, -pull[dof], response, x)
    sync()


@wp.func
def mass_gradient(m: ModelArrays, s: Scratch, world: int):
    """Adds the part of M, but that of armature along lines. Uses the memory of the virtual twists.

    A dof that moves no other's axis is left out: the twist before any other dof does not have its part.
    """
    unit = s.virtual_velocity[world]
    x = s.work[world]
    for dof in range(lane(), m.nv, lanes()):
        unit[dof] = ZERO
    sync()
    for dof in range(m.nv):
        if m.rare[0].dof_carries[dof] == 1:
            mass_cotangents(m, s, world, dof, x)
            if lane() == 0:
                unit[dof] = ONE
            sync()
            spread(m, s, world, unit, s.virtual_twist[world])
            spread(m, s, world, x, s.constraint_twist[world])
            for body in range(1 + lane(), m.nbody, lanes()):
                s.virtual_twist_bar[world, body] = apply_inertia(
                    m.body_mass[world * m.body_stride + body],
                    s.body_moment[world, body],
                    s.body_rotary[world, body],
                    s.constraint_twist[world, body],
                )
            sync()
            gather(m, s, world, unit, s.virtual_twist[world], s.virtual_twist_bar[world])
            if lane() == 0:
                unit[dof] = ZERO
            sync()


@wp.func(inline=True)
def component_vectors(m: ModelArrays, s: Scratch, world: int, contact: int):
    """Replaces the beta of a contact's rows by the vectors of its components."""
    pair = s.contact_pair[world, contact]
    first = s.contact_row[world, contact]
    dim = contact_dim(m, s, world, contact)
    z = s.rare[0].noslip_push[world]
    for dof in range(lane(), m.nv, lanes()):
        u = vec6()
        for j in range(1, dim):
            if m.elliptic == 1:
                row = first + j
                u[j] = cone_scale(m, world, pair, j) * (z[row, dof] + s.rare[0].noslip_pull[world, row, dof])
            else:
                row = first + 2 * j - 2
                plus = z[row, dof] + s.rare[0].noslip_pull[world, row, dof]
                minus = z[row + 1, dof] + s.rare[0].noslip_pull[world, row + 1, dof]
                u[0] = u[0] + plus + minus
                u[j] = m.pair_friction[world * m.pair_stride + pair, j - 1] * (plus - minus)
        for j in range(dim):
            z[first + j, dof] = u[j]


@wp.func
def chain_twist(m: ModelArrays, s: Scratch, world: int, body: int, x: wp.array(dtype=real)) -> vec6:
    """The twist of a body at joint velocities x."""
    total = zero_twist()
    b = body
    while b > 0:
        for block in range(m.body_blockadr[b], m.body_blockadr[b] + m.body_blocknum[b]):
            total += block_twist(s, world, m.block_dofadr[block], m.block_dofnum[block], x)
        b = m.body_parent[b]
    return total


@wp.func
def add_chain_gradient(m: ModelArrays, s: Scratch, world: int, body: int, wrench: vec6, x: wp.array(dtype=real)):
    """Adds the gradient of the power of a wrench that stays where it is, with the body's twist at x, to qpos_bar.

    See `tree`: a motion of a dof, or of a mocap body, turns the part of the twist that comes after it.
    """
    after = zero_twist()
    b = body
    while b > 0:
        blocks = m.body_blocknum[b]
        for r in range(blocks):
            block = m.body_blockadr[b] + blocks - 1 - r
            dofadr = m.block_dofadr[block]
            dofnum = m.block_dofnum[block]
            after += block_twist(s, world, dofadr, dofnum, x)
            turn_bar = cross_force(after, wrench)
            for dof in range(dofadr, dofadr + dofnum):
                s.qpos_bar[world, dof] = s.qpos_bar[world, dof] + wp.dot(s.motion[world, dof], turn_bar)
        if m.nmocap > 0:
            mocap = m.body_mocap[b]
            if mocap >= 0:
                s.mocap_bar[world, mocap] = s.mocap_bar[world, mocap] + cross_force(after, wrench)
        b = m.body_parent[b]


@wp.func
def point_twist(m: ModelArrays, s: Scratch, world: int, body: int, point: vec3, x: wp.array(dtype=real)) -> vec6:
    """The twist of a body's point at joint velocities x."""
    return twist_at(chain_twist(m, s, world, body, x), point - s.xpos[world, m.body_root[body]])


@wp.func
def component_gradient(m: ModelArrays, s: Scratch, world: int, contact: int, k: int):
    """Adds the gradient of component k at its vector: to qpos_bar, and to the cotangents of the point and frame."""
    pair = s.contact_pair[world, contact]
    body1 = m.geom_body[m.pair_geom1[pair]]
    body2 = m.geom_body[m.pair_geom2[pair]]
    point = s.contact_point[world, contact]
    x = s.rare[0].noslip_push[world, s.contact_row[world, contact] + k]
    along = k % 3
    frame = s.contact_frame[world, contact]
    axis = vec3(frame[along, 0], frame[along, 1], frame[along, 2])
    between = point_twist(m, s, world, body2, point, x) - point_twist(m, s, world, body1, point, x)
    force = axis
    torque = vec3(ZERO, ZERO, ZERO)
    change = linear(between)
    if k >= 3:
        torque = axis
        force = vec3(ZERO, ZERO, ZERO)
        change = angular(between)
    s.contact_point_bar[world, contact] = s.contact_point_bar[world, contact] + wp.cross(force, angular(between))
    frame_bar = s.contact_frame_bar[world, contact]
    for i in range(3):
        frame_bar[along, i] += change[i]
    s.contact_frame_bar[world, contact] = frame_bar
    add_chain_gradient(m, s, world, body2, wrench_at(m, s, world, body2, point, torque, force), x)
    add_chain_gradient(m, s, world, body1, wrench_at(m, s, world, body1, point, -torque, -force), x)


@wp.func(inline=True)
def jacobian_gradient(m: ModelArrays, s: Scratch, world: int):
    """Adds the part of contacts' Jacobians."""
    for contact in range(s.contact_count[world]):
        if contact_dim(m, s, world, contact) > 1:
            component_vectors(m, s, world, contact)
    sync()
    if lane() == 0:
        for contact in range(s.contact_count[world]):
            dim = contact_dim(m, s, world, contact)
            if dim > 1:
                for k in range(dim):
                    component_gradient(m, s, world, contact, k)
    sync()
