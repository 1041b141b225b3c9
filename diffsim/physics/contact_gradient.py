"""Gradient of the virtual power of contacts, P = sum_i (J_i x) f_i, at fixed a and x.

With the components u of `contact`, row i = (0, +-j) of a contact has J_i x = u_0(x) +- mu_j u_j(x), so

    dP = sum_k alpha_k du_k(x) + beta_k (du_k(a) + b du_k(v)) + r_bar dr
    alpha_k = sum_i c_ik f_i   (the contact force),    beta_k = -sum_i c_ik D_i (J_i x),    c_i0 = 1, c_ij = +-mu_j

With an elliptic cone, whose rows are J_k = s_k u_k and whose cost has the Hessian H (see `cone`),

    alpha_k = s_k f_k,    beta_k = -s_k (H J x)_k,    r_bar = d ln D / dr sum_k (J_k x) f_k + beta_0 d (k d r) / dr

With the noslip solver beta also has the weights of the rows' residuals. alpha and beta act on the bodies as wrenches.
The narrow phase gives the gradient of the contact's point, frame and distance by the poses of the two geoms.
"""

import warp as wp

from diffsim.physics.adhesion import adhesion_slope
from diffsim.physics.cone import cone_mu, cone_product, cone_scale, load_products, load_rows
from diffsim.physics.constraint import (
    QUADRATIC,
    SATISFIED,
    position_slope,
    row_damping,
    row_dot,
    signed_impedance,
)
from diffsim.physics.contact import twist_at
from diffsim.physics.contact_list import contact_dim, contact_total
from diffsim.physics.lanes import lane, lanes
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.scratch import Scratch
from diffsim.physics.spatial import angular, cross_force, linear, twist
from diffsim.physics.surface_velocity import surface_pose_cotangents, surface_shape_cotangents
from diffsim.types import ONE, ZERO, mat33, real, vec3, vec6


@wp.func(inline=True)
def keep_geom_cotangents(
    m: ModelArrays, s: Scratch, world: int, contact: int, force1: vec3, size1: vec3, force2: vec3, size2: vec3
):
    """Keeps a contact's cotangents of its geoms' positions and sizes, if the gradient of parameters needs them."""
    if m.parameter_gradient == 1:
        s.contact_geom_bar[world, contact, 0] = force1
        s.contact_geom_bar[world, contact, 1] = size1
        s.contact_geom_bar[world, contact, 2] = force2
        s.contact_geom_bar[world, contact, 3] = size2
        if m.surfacevel == 1:
            for side in range(2):
                geom = m.pair_geom1[s.contact_pair[world, contact]]
                if side == 1:
                    geom = m.pair_geom2[s.contact_pair[world, contact]]
                _turn, shift = surface_pose_cotangents(m, s, world, contact, geom, real(2 * side - 1))
                s.contact_geom_bar[world, contact, 2 * side] = s.contact_geom_bar[world, contact, 2 * side] + shift


@wp.func
def noslip_weight(s: Scratch, world: int, row: int) -> real:
    """W of a row (see `noslip_adjoint`), which multiplies the residual J a - aref in P."""
    return s.rare[0].noslip_weight[world, row]


@wp.func(inline=True)
def contact_forces(m: ModelArrays, s: Scratch, world: int, contact: int, x: wp.array(dtype=real)) -> bool:
    """Fills a contact's alpha, beta, b and r_bar. Returns whether it has cotangents."""
    if contact >= s.contact_count[world]:
        return gap_cotangents(s, world, contact)
    if m.elliptic == 1:
        return cone_cotangents(m, s, world, contact, x)
    first = s.contact_row[world, contact]
    pair = s.contact_pair[world, contact]
    condim = contact_dim(m, s, world, contact)
    alpha = vec6()
    beta = vec6()
    r_bar = s.contact_distance_bar[world, contact]
    active = s.contact_sensed[world, contact] == 1
    for i in range(wp.max(1, 2 * (condim - 1))):
        row = first + i
        if s.row_state[world, row] == QUADRATIC:
            active = True
            power = row_dot(s, world, row, x) + s.row_force_bar[world, row]
            force = s.row_force[world, row]
            pull = -s.row_stiffness[world, row] * power
            alpha[0] = alpha[0] + force
            beta[0] = beta[0] + pull
            if condim > 1:
                j = 1 + i / 2
                mu = m.pair_friction[world * m.pair_stride + pair, j - 1]
                if i % 2 == 1:
                    mu = -mu
                alpha[j] = alpha[j] + mu * force
                beta[j] = beta[j] + mu * pull
            r_bar += power * position_slope(m, s, world, row)
    if m.noslip > 0:
        params = world * m.solver_stride + s.row_params[world, first]
        r = s.row_position[world, first]
        d = signed_impedance(m, params, r)
        for i in range(wp.max(1, 2 * (condim - 1))):
            weight = noslip_weight(s, world, first + i)
            beta[0] = beta[0] + weight
            r_bar += weight * m.solver_reference[params, 0] * (d[0] + r * d[1])
            if condim > 1:
                mu = m.pair_friction[world * m.pair_stride + pair, i / 2] * (ONE - real(2 * (i % 2)))
                beta[1 + i / 2] = beta[1 + i / 2] + mu * weight
    if active:
        if m.adhesion == 1:
            r_bar += adhesion_slope(m, s, world, contact, beta[0])
        s.contact_alpha[world, contact] = alpha
        s.contact_beta[world, contact] = beta
        s.contact_r_bar[world, contact] = r_bar
        s.contact_damping[world, contact] = row_damping(m, s, world, first)
    return active


@wp.func
def gap_cotangents(s: Scratch, world: int, contact: int) -> bool:
    """`contact_forces` of a contact in the gap, which exerts no force."""
    s.contact_alpha[world, contact] = vec6()
    s.contact_beta[world, contact] = vec6()
    s.contact_r_bar[world, contact] = s.contact_distance_bar[world, contact]
    s.contact_damping[world, contact] = ZERO
    return s.contact_sensed[world, contact] == 1


@wp.func
def clear_contact_bars(m: ModelArrays, s: Scratch, world: int):
    """Sets the cotangents of the contacts' points, frames and distances to zero."""
    for contact in range(lane(), contact_total(m, s, world), lanes()):
        s.contact_sensed[world, contact] = 0
        s.contact_point_bar[world, contact] = vec3(ZERO, ZERO, ZERO)
        s.contact_frame_bar[world, contact] = mat33()
        s.contact_distance_bar[world, contact] = ZERO


@wp.func(inline=True)
def cone_cotangents(m: ModelArrays, s: Scratch, world: int, contact: int, x: wp.array(dtype=real)) -> bool:
    """`contact_forces` of an elliptic cone."""
    first = s.contact_row[world, contact]
    state = s.row_state[world, first]
    if state == SATISFIED and s.contact_sensed[world, contact] == 0:
        return False
    pair = s.contact_pair[world, contact]
    dim = contact_dim(m, s, world, contact)
    u = load_rows(s.row_residual[world], first, dim)
    force = load_rows(s.row_force[world], first, dim)
    push = load_products(s, world, first, dim, x) + load_rows(s.row_force_bar[world], first, dim)
    alpha = vec6()
    beta = -cone_product(state, s.row_stiffness[world, first], cone_mu(m, world, pair), u, push)
    if m.noslip > 0:
        for k in range(dim):
            beta[k] += noslip_weight(s, world, first + k)
    for k in range(dim):
        scale = cone_scale(m, world, pair, k)
        alpha[k] = scale * force[k]
        beta[k] = scale * beta[k]
    params = world * m.solver_stride + s.row_params[world, first]
    r = s.row_position[world, first]
    d = signed_impedance(m, params, r)
    r_bar = s.contact_distance_bar[world, contact] + d[1] / (d[0] * (ONE - d[0])) * wp.dot(push, force)
    r_bar += beta[0] * m.solver_reference[params, 0] * (d[0] + r * d[1])
    if m.adhesion == 1:
        r_bar += adhesion_slope(m, s, world, contact, beta[0])
    s.contact_alpha[world, contact] = alpha
    s.contact_beta[world, contact] = beta
    s.contact_r_bar[world, contact] = r_bar
    s.contact_damping[world, contact] = row_damping(m, s, world, first)
    return True


@wp.func
def relative_twist(
    m: ModelArrays, s: Scratch, world: int, twists: wp.array2d(dtype=vec6), body1: int, body2: int, point: vec3
) -> vec6:
    """Difference of two bodies' twists at a point."""
    second = twist_at(twists[world, body2], point - s.xpos[world, m.body_root[body2]])
    return second - twist_at(twists[world, body1], point - s.xpos[world, m.body_root[body1]])


@wp.func(inline=True)
def relative_twists(m: ModelArrays, s: Scratch, world: int, contact: int, body1: int, body2: int):
    """Differences of two bodies' twists at their contact: those of x, and of a + b v."""
    point = s.contact_point[world, contact]
    by_x = relative_twist(m, s, world, s.constraint_twist, body1, body2, point)
    by_a = relative_twist(m, s, world, s.qacc_twist, body1, body2, point)
    by_a += s.contact_damping[world, contact] * relative_twist(m, s, world, s.velocity, body1, body2, point)
    return by_x, by_a


@wp.func(inline=True)
def shape_cotangents(m: ModelArrays, s: Scratch, world: int, contact: int, body1: int, body2: int):
    """Cotangents of a contact's point and frame. Needs `contact_forces`."""
    by_x, by_a = relative_twists(m, s, world, contact, body1, body2)
    alpha = s.contact_alpha[world, contact]
    beta = s.contact_beta[world, contact]
    axes = wp.transpose(s.contact_frame[world, contact])
    alpha_force = axes * vec3(alpha[0], alpha[1], alpha[2])
    beta_force = axes * vec3(beta[0], beta[1], beta[2])
    point_bar = wp.cross(alpha_force, angular(by_x)) + wp.cross(beta_force, angular(by_a))
    point_bar += s.contact_point_bar[world, contact]
    frame_bar = s.contact_frame_bar[world, contact]
    for k in range(3):
        row_bar = (
            alpha[k] * linear(by_x)
            + alpha[k + 3] * angular(by_x)
            + beta[k] * linear(by_a)
            + beta[k + 3] * angular(by_a)
        )
        for i in range(3):
            frame_bar[k, i] += row_bar[i]
    if m.surfacevel == 1:
        point, normal, tangent1, tangent2 = surface_shape_cotangents(m, s, world, contact)
        point_bar += point
        for i in range(3):
            frame_bar[0, i] += normal[i]
            frame_bar[1, i] += tangent1[i]
            frame_bar[2, i] += tangent2[i]
    return point_bar, frame_bar


@wp.func(inline=True)
def body_cotangents(
    m: ModelArrays,
    s: Scratch,
    world: int,
    contact: int,
    body: int,
    geom: int,
    sign: real,
    torque: vec3,
    force: vec3,
):
    """A contact's cotangents of one of its bodies: of the first with `sign` -1, of the second with 1.

    `torque` and `force` are those of the narrow phase on the body's geom.

    Returns: cotangents of the body's twists of x and of a, and of its pose. Needs `contact_forces`.
    """
    point = s.contact_point[world, contact]
    axes = sign * wp.transpose(s.contact_frame[world, contact])
    alpha = s.contact_alpha[world, contact]
    beta = s.contact_beta[world, contact]
    alpha_torque = axes * vec3(alpha[3], alpha[4], alpha[5])
    alpha_force = axes * vec3(alpha[0], alpha[1], alpha[2])
    beta_torque = axes * vec3(beta[3], beta[4], beta[5])
    beta_force = axes * vec3(beta[0], beta[1], beta[2])
    push = wrench_at(m, s, world, body, point, alpha_torque, alpha_force)
    pull = wrench_at(m, s, world, body, point, beta_torque, beta_force)
    pose = wrench_at(m, s, world, body, s.geom_pos[world, geom], torque, force)
    if m.surfacevel == 1:
        turn, shift = surface_pose_cotangents(m, s, world, contact, geom, sign)
        pose += wrench_at(m, s, world, body, s.geom_pos[world, geom], turn, shift)
    return push, pull, pose


@wp.func
def wrench_at(m: ModelArrays, s: Scratch, world: int, body: int, point: vec3, torque: vec3, force: vec3) -> vec6:
    """A torque and a force at a point, as a wrench about the body's reference point."""
    return twist(torque + wp.cross(point - s.xpos[world, m.body_root[body]], force), force)


@wp.func
def add_body_cotangents(s: Scratch, world: int, body: int, push: vec6, pull: vec6, damping: real, pose: vec6):
    """Adds a body's cotangents: `push` of the twist of x, `pull` of those of a and (times b) v, `pose` of its pose.

    The cotangent of a pose is that of a motion of the body that rotates its twists too, hence the terms X x* F.
    """
    if body == 0:
        return
    carried = cross_force(s.constraint_twist[world, body], push)
    carried += cross_force(s.qacc_twist[world, body] + damping * s.velocity[world, body], pull)
    s.constraint_twist_bar[world, body] = s.constraint_twist_bar[world, body] + push
    s.qacc_twist_bar[world, body] = s.qacc_twist_bar[world, body] + pull
    s.velocity_bar[world, body] = s.velocity_bar[world, body] + damping * pull
    s.pose_bar[world, body] = s.pose_bar[world, body] + pose + carried
