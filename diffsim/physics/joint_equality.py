"""Rows of joint constraints, which make a joint follow a polynomial of another joint, and their gradient.

    r = y - c_0 - p(z),    J = e_y - p'(z) e_z,    y, z: the joints' coordinates minus those at qpos0

The reference acceleration omits the drift dJ/dt v = -p''(z) z'^2, as in MuJoCo.
Source: MuJoCo documentation, XML reference, equality/joint.
"""

import warp as wp

from diffsim.physics.constraint import (
    EQUALITY,
    JOINT_EQUALITY,
    add_row,
    position_slope,
    row_damping,
    row_dot,
    single_run,
)
from diffsim.physics.lanes import owns
from diffsim.physics.limit import constant_row_gradient
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.scratch import Scratch
from diffsim.physics.structure import extend_runs, is_ancestor
from diffsim.types import ONE, ZERO, real, vec3


@wp.func
def displacement(m: ModelArrays, s: Scratch, world: int, joint: int) -> real:
    """A joint's coordinate minus its value at qpos0; zero if there is no joint."""
    if joint < 0:
        return ZERO
    adr = m.jnt_qposadr[joint]
    return s.qpos[world, adr] - m.qpos0[adr]


@wp.func
def polynomial(c: wp.array(dtype=real), z: real) -> vec3:
    """Value, slope and curvature of c_0 + c_1 z + ... + c_4 z^4."""
    value = c[4]
    slope = real(0.0)
    curvature = real(0.0)
    for r in range(4):
        curvature = curvature * z + slope
        slope = slope * z + value
        value = value * z + c[3 - r]
    return vec3(value, slope, curvature + curvature)


@wp.func
def joint_runs(m: ModelArrays, s: Scratch, world: int, dof: int, leader: int) -> int:
    """Appends the runs of a joint constraint's dofs; returns the index of the first one."""
    if leader < 0:
        return single_run(s.run[world], s.run_count, world, dof, 1)
    other = m.jnt_dofadr[leader]
    first = single_run(s.run[world], s.run_count, world, wp.max(dof, other), 1)
    s.run_count[world] = extend_runs(s.run[world], first, first + 1, wp.min(dof, other))
    if is_ancestor(m.dof_parent, wp.min(dof, other), wp.max(dof, other)) == 0:
        s.coupled[world] = 1
    return first


@wp.func
def joint_equality_rows(m: ModelArrays, s: Scratch, world: int):
    """Appends a row for each active joint constraint."""
    for eq in range(m.njoint_eq):
        if s.eq_active[world, m.rare[0].joint_eq_id[eq]] == 1:
            leader = m.rare[0].joint_eq[eq, 1]
            p = polynomial(m.rare[0].joint_eq_polynomial[eq], displacement(m, s, world, leader))
            r = displacement(m, s, world, m.rare[0].joint_eq[eq, 0]) - p[0]
            params = m.params_joint_eq + eq
            run = joint_runs(m, s, world, m.jnt_dofadr[m.rare[0].joint_eq[eq, 0]], leader)
            row = add_row(
                s, world, run, EQUALITY, JOINT_EQUALITY, eq, params, r, wp.abs(r), m.rare[0].joint_eq_invweight[eq]
            )
            s.row_jacobian[world, row, m.jnt_dofadr[m.rare[0].joint_eq[eq, 0]]] = ONE
            if leader >= 0:
                s.row_jacobian[world, row, m.jnt_dofadr[leader]] = -p[1]


@wp.func
def joint_equality_gradient(m: ModelArrays, s: Scratch, world: int, row: int, x: wp.array(dtype=real)):
    """Adds the gradient of (J_i x) f_i at fixed a and x to qpos_bar and qvel_bar."""
    power = row_dot(s, world, row, x)
    constant_row_gradient(m, s, world, row, power)
    eq = s.row_index[world, row]
    dof = m.jnt_dofadr[m.rare[0].joint_eq[eq, 0]]
    leader = m.rare[0].joint_eq[eq, 1]
    r_bar = power * position_slope(m, s, world, row)
    if owns(dof):
        s.qpos_bar[world, dof] = s.qpos_bar[world, dof] + r_bar
    if leader >= 0:
        dof = m.jnt_dofadr[leader]
        p = polynomial(m.rare[0].joint_eq_polynomial[eq], displacement(m, s, world, leader))
        # the cotangent of J = -p' through J x, J a and J v
        swept = s.qacc[world, dof] + row_damping(m, s, world, row) * s.qvel[world, dof]
        slope_bar = (power * s.row_stiffness[world, row]) * swept - s.row_force[world, row] * x[dof]
        if owns(dof):
            s.qpos_bar[world, dof] = s.qpos_bar[world, dof] + slope_bar * p[2] - r_bar * p[1]
