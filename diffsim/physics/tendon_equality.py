"""Rows of tendon constraints, which make a tendon's length follow a polynomial of another's, and their gradient.

    r = y - c_0 - p(z),    J = J_y - p'(z) J_z,    y, z: the lengths minus those at qpos0

As for joints, the reference acceleration omits the drift dJ/dt v.
Source: MuJoCo documentation, XML reference, equality/tendon.
"""

import warp as wp

from diffsim.physics.constraint import (
    EQUALITY,
    TENDON_EQUALITY,
    add_row,
    clear_row,
    position_slope,
    row_damping,
    row_dot,
)
from diffsim.physics.joint_equality import polynomial
from diffsim.physics.line import ACCELERATION, CONSTRAINT, LENGTH, VELOCITY, add_line_bar
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.scratch import Scratch
from diffsim.physics.tendon import add_along_tendon, tendon_dot, tendon_length
from diffsim.types import ONE, real, vec3


@wp.func
def leader_polynomial(m: ModelArrays, s: Scratch, world: int, eq: int) -> vec3:
    """Value, slope and curvature of c_0 + p at the length of the tendon that is followed; c_0 if there is none."""
    leader = m.rare[0].tendon_eq[eq, 1]
    stretch = real(0.0)
    if leader >= 0:
        stretch = tendon_length(m, s, world, leader) - m.rare[0].tendon_eq_length[eq, 1]
    return polynomial(m.rare[0].tendon_eq_polynomial[eq], stretch)


@wp.func
def tendon_equality_rows(m: ModelArrays, s: Scratch, world: int):
    """Appends the rows of the active tendon constraints."""
    for eq in range(m.ntendon_eq):
        if s.eq_active[world, m.rare[0].tendon_eq_id[eq]] == 1:
            tendon_equality_row(m, s, world, eq)


@wp.func
def tendon_equality_row(m: ModelArrays, s: Scratch, world: int, eq: int):
    """Appends the row of a tendon constraint."""
    tendon = m.rare[0].tendon_eq[eq, 0]
    leader = m.rare[0].tendon_eq[eq, 1]
    p = leader_polynomial(m, s, world, eq)
    r = tendon_length(m, s, world, tendon) - m.rare[0].tendon_eq_length[eq, 0] - p[0]
    first = s.run_count[world]
    for run in range(m.rare[0].tendon_eq_runadr[eq], m.rare[0].tendon_eq_runadr[eq] + m.rare[0].tendon_eq_runs[eq]):
        last = s.run_count[world]
        s.run[world, last, 0] = m.rare[0].tendon_eq_run[run, 0]
        s.run[world, last, 1] = m.rare[0].tendon_eq_run[run, 1]
        s.run_count[world] = last + 1
    if m.rare[0].tendon_eq_branched[eq] == 1:
        s.coupled[world] = 1
    params = m.params_tendon_eq + eq
    weight = m.rare[0].tendon_eq_invweight[eq]
    row = add_row(s, world, first, EQUALITY, TENDON_EQUALITY, eq, params, r, wp.abs(r), weight)
    clear_row(s, world, row)
    add_along_tendon(m, s, world, tendon, ONE, s.row_jacobian[world, row])
    if leader >= 0:
        add_along_tendon(m, s, world, leader, -p[1], s.row_jacobian[world, row])


@wp.func
def add_tendon_bar(
    m: ModelArrays, s: Scratch, world: int, tendon: int, length: real, force: real, rate: real, acceleration: real
):
    """Adds cotangents of a tendon's L, and of J x for x = lambda + kappa, v and a. For one lane."""
    line = m.rare[0].tendon_line[tendon]
    if line >= 0:
        add_line_bar(s, world, line, LENGTH, length)
        add_line_bar(s, world, line, CONSTRAINT, force)
        add_line_bar(s, world, line, VELOCITY, rate)
        add_line_bar(s, world, line, ACCELERATION, acceleration)
    else:
        add_along_tendon(m, s, world, tendon, length, s.qpos_bar[world])
        add_along_tendon(m, s, world, tendon, rate, s.qvel_bar[world])


@wp.func
def tendon_equalities_gradient(m: ModelArrays, s: Scratch, world: int):
    """Adds the gradient of all tendon constraints. For one lane."""
    for row in range(s.row_count[world]):
        if s.row_source[world, row] == TENDON_EQUALITY:
            tendon_equality_gradient(m, s, world, row, s.constraint_velocity[world])


@wp.func
def tendon_equality_gradient(m: ModelArrays, s: Scratch, world: int, row: int, x: wp.array(dtype=real)):
    """Adds the gradient of (J_i x) f_i at fixed a and x. For one lane."""
    eq = s.row_index[world, row]
    power = row_dot(s, world, row, x)
    force = s.row_force[world, row]
    damping = row_damping(m, s, world, row)
    pull = -power * s.row_stiffness[world, row]
    r_bar = power * position_slope(m, s, world, row)
    add_tendon_bar(m, s, world, m.rare[0].tendon_eq[eq, 0], r_bar, force, damping * pull, pull)
    leader = m.rare[0].tendon_eq[eq, 1]
    if leader >= 0:
        p = leader_polynomial(m, s, world, eq)
        swept = tendon_dot(m, s, world, leader, s.qacc[world])
        swept += damping * tendon_dot(m, s, world, leader, s.qvel[world])
        slope_bar = -force * tendon_dot(m, s, world, leader, x) - pull * swept
        length_bar = slope_bar * p[2] - r_bar * p[1]
        add_tendon_bar(m, s, world, leader, length_bar, -p[1] * force, -p[1] * damping * pull, -p[1] * pull)
