"""Rows of connect and weld constraints.

They join a point of each of two bodies; a weld also aligns a frame of each, of orientations q_1 and q_2. With the
relative rotation (e_0, e) = q_1 q_2*, R the rotation of q_2, and s half the weld's torquescale,

    r = p_1 - p_2,      r_rot = 2 s R' e
    J x = v_1(x) - v_2(x) at the two points,      J_rot x = s R' (e_0 W - e x W),    W = w_1(x) - w_2(x)

for the bodies' velocities v(x), w(x) at qvel = x. All rows share one impedance, that of the norm of all residuals.
Only these rows have a reference acceleration that includes the drift dJ/dt v, so that the force opposes the whole
second derivative of r. At velocities v, w, and with the accelerations D of the bodies at qacc = 0,

    dJ/dt v = d_1 - d_2,    d = lin(D) + ang(D) x arm + w x v
    dJ_rot/dt v = s R' (e_0 Z - e x Z - |W|^2 e / 2),    W = w_1 - w_2,    Z = ang(D_1) - ang(D_2) - w_2 x w_1

Source: MuJoCo documentation, Computation, equality constraints and dual problem; XML reference, equality/weld.
"""

import warp as wp

from diffsim.physics.constraint import CONNECT_OR_WELD, EQUALITY, add_row, clear_row
from diffsim.physics.contact import twist_at
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.points import point_position
from diffsim.physics.rotation import quat_conj, quat_mul, quat_to_mat
from diffsim.physics.scratch import Scratch
from diffsim.physics.spatial import angular, cross_motion, linear
from diffsim.physics.structure import chain_runs
from diffsim.physics.tree import block_twist, zero_twist
from diffsim.types import HALF, ONE, mat33, real, vec3


@wp.struct
class Joined:
    """The points and frames that a connect or weld constraint joins."""

    body1: wp.int32
    body2: wp.int32
    point1: vec3  # m
    point2: vec3
    frame: mat33  # R'
    scalar: real  # e_0
    turn: vec3  # e
    scale: real  # s


@wp.func
def joined(m: ModelArrays, s: Scratch, world: int, eq: int) -> Joined:
    """The points and frames of a constraint. Needs the kinematics."""
    j = Joined()
    j.body1 = m.rare[0].eq_body[eq, 0]
    j.body2 = m.rare[0].eq_body[eq, 1]
    j.point1 = point_position(s, world, j.body1, m.rare[0].eq_anchor[eq, 0])
    j.point2 = point_position(s, world, j.body2, m.rare[0].eq_anchor[eq, 1])
    first = quat_mul(s.xquat[world, j.body1], m.rare[0].eq_quat[eq, 0])
    second = quat_mul(s.xquat[world, j.body2], m.rare[0].eq_quat[eq, 1])
    between = quat_mul(first, quat_conj(second))
    j.frame = wp.transpose(quat_to_mat(second))
    j.scalar = between[0]
    j.turn = vec3(between[1], between[2], between[3])
    j.scale = HALF * m.rare[0].eq_torquescale[eq]
    return j


@wp.func
def turning(j: Joined, w: vec3) -> vec3:
    """The rate of r_rot at a relative angular velocity."""
    return j.frame * (j.scale * (j.scalar * w - wp.cross(j.turn, w)))


@wp.func
def turning_torque(j: Joined, force: vec3) -> vec3:
    """Transpose of `turning`: torque of three rotational forces on the first body, minus that on the second."""
    f = wp.transpose(j.frame) * force
    return j.scale * (j.scalar * f + wp.cross(j.turn, f))


@wp.func
def equality_rows(m: ModelArrays, s: Scratch, world: int):
    """Appends the rows of the active connect and weld constraints. Needs the moving frames."""
    if m.neq == 0:
        return
    drifts(m, s, world)
    for eq in range(m.neq):
        s.eq_row[world, eq] = -1
        if s.eq_active[world, m.rare[0].eq_id[eq]] == 1:
            s.eq_row[world, eq] = s.row_count[world]
            joined_rows(m, s, world, eq)


@wp.func(inline=True)
def joined_rows(m: ModelArrays, s: Scratch, world: int, eq: int):
    """Appends the rows of an active constraint. Needs the drifts."""
    j = joined(m, s, world, eq)
    apart = j.point1 - j.point2
    turned = j.frame * ((j.scale + j.scale) * j.turn)
    size = wp.sqrt(wp.dot(apart, apart) + wp.dot(turned, turned))
    params = m.params_eq + eq
    run = s.run_count[world]
    dof1 = m.body_lastdof[j.body1]
    dof2 = m.body_lastdof[j.body2]
    s.run_count[world] = chain_runs(m.dof_parent, dof1, dof2, 1, s.run[world], run, s.coupled, world)
    for i in range(3):
        add_row(s, world, run, EQUALITY, CONNECT_OR_WELD, eq, params, apart[i], size, m.rare[0].eq_invweight[eq, 0])
    for i in range(m.rare[0].eq_rows[eq] - 3):
        add_row(s, world, run, EQUALITY, CONNECT_OR_WELD, eq, params, turned[i], size, m.rare[0].eq_invweight[eq, 1])
    for i in range(m.rare[0].eq_rows[eq]):
        clear_row(s, world, s.eq_row[world, eq] + i)
    add_joined_jacobian(m, s, world, eq, j, j.body1, j.point1, ONE)
    add_joined_jacobian(m, s, world, eq, j, j.body2, j.point2, -ONE)
    subtract_drift(m, s, world, eq, j)


@wp.func
def add_joined_jacobian(m: ModelArrays, s: Scratch, world: int, eq: int, j: Joined, body: int, point: vec3, sign: real):
    """Adds one body's part of a constraint's Jacobian."""
    row = s.eq_row[world, eq]
    arm = point - s.xpos[world, m.body_root[body]]
    dof = m.body_lastdof[body]
    while dof >= 0:
        at = twist_at(s.motion[world, dof], arm)
        v = sign * linear(at)
        w = sign * turning(j, angular(at))
        for i in range(3):
            s.row_jacobian[world, row + i, dof] = s.row_jacobian[world, row + i, dof] + v[i]
        if m.rare[0].eq_rows[eq] == 6:
            for i in range(3):
                s.row_jacobian[world, row + 3 + i, dof] = s.row_jacobian[world, row + 3 + i, dof] + w[i]
        dof = m.dof_parent[dof]


@wp.func
def drifts(m: ModelArrays, s: Scratch, world: int):
    """Fills `drift`: the rates of the bodies' twists at qacc = 0. Needs the moving frames."""
    s.drift[world, 0] = zero_twist()
    for body in range(1, m.nbody):
        parent = m.body_parent[body]
        velocity = s.velocity[world, parent]
        drift = s.drift[world, parent]
        for block in range(m.body_blockadr[body], m.body_blockadr[body] + m.body_blocknum[body]):
            joint_twist = block_twist(s, world, m.block_dofadr[block], m.block_dofnum[block], s.qvel[world])
            drift += cross_motion(velocity, joint_twist)
            velocity += joint_twist
        s.drift[world, body] = drift


@wp.func
def point_drift(m: ModelArrays, s: Scratch, world: int, body: int, point: vec3) -> vec3:
    """d: the acceleration of a body's point at qacc = 0."""
    arm = point - s.xpos[world, m.body_root[body]]
    velocity = twist_at(s.velocity[world, body], arm)
    return linear(twist_at(s.drift[world, body], arm)) + wp.cross(angular(velocity), linear(velocity))


@wp.func
def subtract_drift(m: ModelArrays, s: Scratch, world: int, eq: int, j: Joined):
    """Subtracts dJ/dt v from the reference accelerations."""
    row = s.eq_row[world, eq]
    drift = point_drift(m, s, world, j.body1, j.point1) - point_drift(m, s, world, j.body2, j.point2)
    for i in range(3):
        s.row_aref[world, row + i] = s.row_aref[world, row + i] - drift[i]
    if m.rare[0].eq_rows[eq] == 6:
        w1 = angular(s.velocity[world, j.body1])
        w2 = angular(s.velocity[world, j.body2])
        w = w1 - w2
        z = angular(s.drift[world, j.body1]) - angular(s.drift[world, j.body2]) - wp.cross(w2, w1)
        spin = turning(j, z) - (HALF * j.scale * wp.dot(w, w)) * (j.frame * j.turn)
        for i in range(3):
            s.row_aref[world, row + 3 + i] = s.row_aref[world, row + 3 + i] - spin[i]
