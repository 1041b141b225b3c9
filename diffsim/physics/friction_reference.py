"""Friction of elliptic cones with a reference of its own, `<pair solreffriction>`: another damping b in those rows.

Their residuals are J a + b' J v. What differs from the damping b of the first row is a term of its own: for the virtual
power, beta_k (b' - b) u_k(v) in the notation of `contact_gradient`, for k > 0.
Source: MuJoCo documentation, XML reference, contact/pair solreffriction; `mj_makeImpedance` of MuJoCo.
"""

import warp as wp

from diffsim.physics.constraint import row_damping, row_dot
from diffsim.physics.contact_gradient import contact_forces, relative_twist, wrench_at
from diffsim.physics.contact_list import contact_dim
from diffsim.physics.lanes import lane, lanes
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.normals import contact_body
from diffsim.physics.scratch import Scratch
from diffsim.physics.spatial import angular, cross_force, linear
from diffsim.types import ZERO, real, vec3, vec6


@wp.func
def further_damping(m: ModelArrays, s: Scratch, world: int, contact: int) -> real:
    """B' - b of a contact; zero if it has no reference of its own."""
    own = m.rare[0].pair_friction_damping[s.contact_pair[world, contact]]
    if own < ZERO:
        return ZERO
    return own - row_damping(m, s, world, s.contact_row[world, contact])


@wp.func
def friction_reference(m: ModelArrays, s: Scratch, world: int):
    """Adds -(b' - b) J v to the reference accelerations of the rows of friction. Needs `constraint.finish_rows`."""
    for contact in range(lane(), s.contact_count[world], lanes()):
        damping = further_damping(m, s, world, contact)
        if damping != ZERO:
            first = s.contact_row[world, contact]
            for row in range(first + 1, first + contact_dim(m, s, world, contact)):
                rate = row_dot(s, world, row, s.qvel[world])
                s.row_aref[world, row] = s.row_aref[world, row] - damping * rate


@wp.func(inline=True)
def friction_reference_gradient(m: ModelArrays, s: Scratch, world: int):
    """Adds to the cotangents of the bodies' velocities and poses and of the contacts' shapes. For one lane."""
    for contact in range(s.contact_count[world]):
        damping = further_damping(m, s, world, contact)
        if damping != ZERO and contact_forces(m, s, world, contact, s.constraint_velocity[world]):
            beta = damping * s.contact_beta[world, contact]
            axes = wp.transpose(s.contact_frame[world, contact])
            force = axes * vec3(ZERO, beta[1], beta[2])
            torque = axes * vec3(beta[3], beta[4], beta[5])
            body1 = contact_body(m, s, world, contact, 0)
            body2 = contact_body(m, s, world, contact, 1)
            point = s.contact_point[world, contact]
            push_velocity(m, s, world, body1, point, -torque, -force)
            push_velocity(m, s, world, body2, point, torque, force)
            by_v = relative_twist(m, s, world, s.velocity, body1, body2, point)
            shape_cotangents(s, world, contact, beta, force, by_v)


@wp.func
def push_velocity(m: ModelArrays, s: Scratch, world: int, body: int, point: vec3, torque: vec3, force: vec3):
    """Adds a torque and a force at a point to the cotangent of a body's velocity, and their part of its pose's."""
    if body > 0:
        wrench = wrench_at(m, s, world, body, point, torque, force)
        s.velocity_bar[world, body] = s.velocity_bar[world, body] + wrench
        s.pose_bar[world, body] = s.pose_bar[world, body] + cross_force(s.velocity[world, body], wrench)


@wp.func
def shape_cotangents(s: Scratch, world: int, contact: int, beta: vec6, force: vec3, by_v: vec6):
    """Adds to the cotangents of a contact's point and frame."""
    s.contact_point_bar[world, contact] = s.contact_point_bar[world, contact] + wp.cross(force, angular(by_v))
    frame_bar = s.contact_frame_bar[world, contact]
    for i in range(3):
        frame_bar[0, i] += beta[3] * angular(by_v)[i]
        frame_bar[1, i] += beta[1] * linear(by_v)[i] + beta[4] * angular(by_v)[i]
        frame_bar[2, i] += beta[2] * linear(by_v)[i] + beta[5] * angular(by_v)[i]
    s.contact_frame_bar[world, contact] = frame_bar
