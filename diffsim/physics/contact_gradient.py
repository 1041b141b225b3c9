"""Gradient of the virtual power of contacts, P = sum_i (J_i x) f_i, at fixed a and x.

With the components u of `contact`, row i = (0, +-j) of a contact has J_i x = u_0(x) +- mu_j u_j(x), so

    dP = sum_k alpha_k du_k(x) + beta_k (du_k(a) + b du_k(v)) + r_bar dr
    alpha_k = sum_i c_ik f_i   (the contact force),    beta_k = -sum_i c_ik D_i (J_i x),    c_i0 = 1, c_ij = +-mu_j

alpha and beta act on the bodies as wrenches. The narrow phase gives the gradient of the contact's point, frame and
distance by the poses of the two geoms.
"""

import warp as wp

from diffsim.collision.geometry import GeometryCotangents, contact_geometry_adjoint
from diffsim.collision.gradient_call import calls_gradient
from diffsim.physics.constraint import QUADRATIC, position_slope, row_damping, row_dot
from diffsim.physics.contact import components, load_geom, twist_at
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.parameter_gradient import friction_gradient
from diffsim.physics.scratch import Scratch
from diffsim.physics.spatial import angular, cross_force, linear, twist
from diffsim.types import mat33, real, vec3, vec6


@wp.struct
class ContactForces:
    """A contact's forces alpha and beta, b, and the cotangent of its distance."""

    active: wp.int32  # 1 if a row is in the quadratic state
    alpha: vec6
    beta: vec6
    alpha_force: vec3  # alpha and beta in world axes
    alpha_torque: vec3
    beta_force: vec3
    beta_torque: vec3
    damping: real
    r_bar: real


@wp.struct
class ShapeCotangents:
    """Cotangents of a contact's point and frame."""

    point: vec3
    frame: mat33


@wp.struct
class BodyCotangents:
    """Cotangents of a body's twists of x and of a, and (times b) of its velocity; and of its pose."""

    push: vec6
    pull: vec6
    pose: vec6


@calls_gradient
def contact_gradient(m: ModelArrays, s: Scratch, world: int, x: wp.array(dtype=real)):
    """Adds each contact's cotangents of its bodies' twists and poses. Needs the bodies' twists of x and a.

    For one lane. Several lanes use the stages of `diffsim.stages`, which call the same functions.
    """
    for contact in range(s.contact_count[world]):
        f = contact_forces(m, s, world, contact, x)
        if f.active == 1:
            pair = s.contact_pair[world, contact]
            bar = shape_cotangents(m, s, world, contact, f)
            g = contact_geometry_adjoint(
                m.geom_kind[m.pair_geom1[pair]],
                m.geom_kind[m.pair_geom2[pair]],
                load_geom(m, s, world, m.pair_geom1[pair]),
                load_geom(m, s, world, m.pair_geom2[pair]),
                s.contact_candidate[world, contact],
                m.pair_detection[pair],
                f.r_bar,
                bar.point,
                bar.frame,
            )
            for side in range(2):
                add_body_cotangents(
                    s,
                    world,
                    contact_body(m, s, world, contact, side),
                    body_cotangents(m, s, world, contact, f, g, side),
                    f.damping,
                )


@wp.func(inline=True)
def contact_forces(m: ModelArrays, s: Scratch, world: int, contact: int, x: wp.array(dtype=real)) -> ContactForces:
    """A contact's alpha, beta and r_bar."""
    first = s.contact_row[world, contact]
    pair = s.contact_pair[world, contact]
    condim = m.pair_condim[pair]
    f = ContactForces()
    alpha = vec6()
    beta = vec6()
    r_bar = real(0.0)
    for i in range(wp.max(1, 2 * (condim - 1))):
        row = first + i
        if s.row_state[world, row] == QUADRATIC:
            f.active = 1
            power = row_dot(s, world, row, x)
            force = s.row_force[world, row]
            pull = -s.row_stiffness[world, row] * power
            alpha[0] = alpha[0] + force
            beta[0] = beta[0] + pull
            if condim > 1:
                j = 1 + i / 2
                mu = m.pair_friction[world, pair, j - 1]
                if i % 2 == 1:
                    mu = -mu
                alpha[j] = alpha[j] + mu * force
                beta[j] = beta[j] + mu * pull
            r_bar += power * position_slope(m, s, world, row)
    axes = wp.transpose(s.contact_frame[world, contact])
    f.alpha = alpha
    f.beta = beta
    f.alpha_force = axes * vec3(alpha[0], alpha[1], alpha[2])
    f.alpha_torque = axes * vec3(alpha[3], alpha[4], alpha[5])
    f.beta_force = axes * vec3(beta[0], beta[1], beta[2])
    f.beta_torque = axes * vec3(beta[3], beta[4], beta[5])
    f.r_bar = r_bar
    f.damping = row_damping(m, s, world, first)
    return f


@wp.func(inline=True)
def contact_body(m: ModelArrays, s: Scratch, world: int, contact: int, side: int) -> int:
    """One of a contact's two bodies."""
    pair = s.contact_pair[world, contact]
    if side == 0:
        return m.geom_body[m.pair_geom1[pair]]
    return m.geom_body[m.pair_geom2[pair]]


@wp.func
def relative_twist(
    m: ModelArrays, s: Scratch, world: int, twists: wp.array2d(dtype=vec6), body1: int, body2: int, point: vec3
) -> vec6:
    """Difference of two bodies' twists at a point."""
    second = twist_at(twists[world, body2], point - s.xpos[world, m.body_root[body2]])
    return second - twist_at(twists[world, body1], point - s.xpos[world, m.body_root[body1]])


@wp.func(inline=True)
def relative_acceleration(
    m: ModelArrays, s: Scratch, world: int, damping: real, body1: int, body2: int, point: vec3
) -> vec6:
    """Difference of two bodies' twists of a + b v at a point."""
    by_a = relative_twist(m, s, world, s.qacc_twist, body1, body2, point)
    return by_a + damping * relative_twist(m, s, world, s.velocity, body1, body2, point)


@wp.func(inline=True)
def shape_cotangents(m: ModelArrays, s: Scratch, world: int, contact: int, f: ContactForces) -> ShapeCotangents:
    """Cotangents of a contact's point and frame."""
    body1 = contact_body(m, s, world, contact, 0)
    body2 = contact_body(m, s, world, contact, 1)
    point = s.contact_point[world, contact]
    by_x = relative_twist(m, s, world, s.constraint_twist, body1, body2, point)
    by_a = relative_acceleration(m, s, world, f.damping, body1, body2, point)
    alpha = f.alpha
    beta = f.beta
    bar = ShapeCotangents()
    bar.point = wp.cross(f.alpha_force, angular(by_x)) + wp.cross(f.beta_force, angular(by_a))
    frame_bar = mat33()
    for k in range(3):
        row_bar = (
            alpha[k] * linear(by_x)
            + alpha[k + 3] * angular(by_x)
            + beta[k] * linear(by_a)
            + beta[k + 3] * angular(by_a)
        )
        for i in range(3):
            frame_bar[k, i] = row_bar[i]
    bar.frame = frame_bar
    return bar


@wp.func
def contact_friction_gradient(m: ModelArrays, s: Scratch, world: int, x: wp.array(dtype=real)):
    """Adds the gradient by the pairs' friction. For one lane, since contacts share pairs."""
    for contact in range(s.contact_count[world]):
        f = contact_forces(m, s, world, contact, x)
        if f.active == 1:
            body1 = contact_body(m, s, world, contact, 0)
            body2 = contact_body(m, s, world, contact, 1)
            point = s.contact_point[world, contact]
            frame = s.contact_frame[world, contact]
            by_x = components(frame, relative_twist(m, s, world, s.constraint_twist, body1, body2, point))
            by_a = components(frame, relative_acceleration(m, s, world, f.damping, body1, body2, point))
            friction_gradient(m, s, world, s.contact_pair[world, contact], f.alpha, f.beta, by_x, by_a)


@wp.func(inline=True)
def body_cotangents(
    m: ModelArrays, s: Scratch, world: int, contact: int, f: ContactForces, g: GeometryCotangents, side: int
) -> BodyCotangents:
    """A contact's cotangents of one of its bodies."""
    body = contact_body(m, s, world, contact, side)
    point = s.contact_point[world, contact]
    geom = m.pair_geom1[s.contact_pair[world, contact]]
    sign = real(-1.0)
    torque = g.torque1
    force = g.force1
    if side == 1:
        geom = m.pair_geom2[s.contact_pair[world, contact]]
        sign = real(1.0)
        torque = g.torque2
        force = g.force2
    bar = BodyCotangents()
    bar.push = wrench_at(m, s, world, body, point, sign * f.alpha_torque, sign * f.alpha_force)
    bar.pull = wrench_at(m, s, world, body, point, sign * f.beta_torque, sign * f.beta_force)
    bar.pose = wrench_at(m, s, world, body, s.geom_pos[world, geom], torque, force)
    return bar


@wp.func
def wrench_at(m: ModelArrays, s: Scratch, world: int, body: int, point: vec3, torque: vec3, force: vec3) -> vec6:
    """A torque and a force at a point, as a wrench about the body's reference point."""
    return twist(torque + wp.cross(point - s.xpos[world, m.body_root[body]], force), force)


@wp.func
def add_body_cotangents(s: Scratch, world: int, body: int, bar: BodyCotangents, damping: real):
    """Adds a contact's cotangents of a body.

    The cotangent of a pose is that of a motion of the body that rotates its twists too, hence the terms X x* F.
    """
    if body == 0:
        return
    carried = cross_force(s.constraint_twist[world, body], bar.push)
    carried += cross_force(s.qacc_twist[world, body] + damping * s.velocity[world, body], bar.pull)
    s.constraint_twist_bar[world, body] = s.constraint_twist_bar[world, body] + bar.push
    s.qacc_twist_bar[world, body] = s.qacc_twist_bar[world, body] + bar.pull
    s.velocity_bar[world, body] = s.velocity_bar[world, body] + damping * bar.pull
    s.pose_bar[world, body] = s.pose_bar[world, body] + bar.pose + carried
