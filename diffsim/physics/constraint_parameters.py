"""Gradient of the virtual power of constraints' rows by friction loss, ranges of joints and tendons, solref and solimp.

A row in the quadratic state has the force f = -D (J a + b J v + k d r + ...), D = d / ((1 - d) A), d = d(|r|; solimp).
"""

import warp as wp

from diffsim.physics.adhesion import row_adhesion
from diffsim.physics.constraint import (
    BALL_LIMIT,
    CONTACT,
    DOF_FRICTION,
    JOINT_LIMIT,
    QUADRATIC,
    SATISFIED,
    TENDON_LIMIT,
    TINY,
    impedance,
    position_slope,
    row_dot,
)
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.scratch import Scratch
from diffsim.physics.surface_velocity import surface_rate
from diffsim.physics.tendon import tendon_dot
from diffsim.types import HALF, ONE, ZERO, real, vec5


@wp.func
def add_to(s: Scratch, world: int, index: int, value: real):
    """parameter_bar[index] += value."""
    s.parameter_bar[world, index] = s.parameter_bar[world, index] + value


@wp.func
def row_parameter_gradient(m: ModelArrays, s: Scratch, world: int, row: int, power: real):
    """Adds a row's part of friction loss, a joint's range, solref and solimp; `power` is J_i x. For one lane."""
    state = s.row_state[world, row]
    source = s.row_source[world, row]
    index = s.row_index[world, row]
    if state == QUADRATIC:
        solver_gradient(m, s, world, row, power, power * s.row_stiffness[world, row])
        r_bar = power * position_slope(m, s, world, row)
        if source == JOINT_LIMIT:
            towards = s.row_jacobian[world, row, m.jnt_dofadr[index]]
            side = 0
            if towards < ZERO:
                side = 1
            add_to(s, world, m.at_jnt_range + 2 * index + side, -towards * r_bar)
        if source == BALL_LIMIT:
            limits = m.jnt_range[world * m.joint_stride + index]
            side = 0
            if limits[1] >= limits[0]:
                side = 1
            add_to(s, world, m.at_jnt_range + 2 * index + side, r_bar)
        if source == TENDON_LIMIT:
            towards = ONE
            side = 0
            if tendon_dot(m, s, world, index, s.row_jacobian[world, row]) < ZERO:
                towards = -ONE
                side = 1
            add_to(s, world, m.rare[0].at_tendon_range + 2 * index + side, -towards * r_bar)
    elif state != SATISFIED and source == DOF_FRICTION:
        push = power * s.row_force[world, row]
        add_to(s, world, m.at_dof_frictionloss + index, push / s.row_limit[world, row])


@wp.func
def solver_gradient(m: ModelArrays, s: Scratch, world: int, row: int, power: real, pull: real):
    """Adds the part of k, b and solimp of f = -D (J a + b J v + k d r), for a row in the quadratic state.

    `power` is J x, and `pull` D J x. For a row of a contact that slides `pull` is that row of H J x, see `cone`.
    """
    local = s.row_params[world, row]
    params = world * m.solver_stride + local
    d = impedance(m, params, s.row_size[world, row])[0]
    r = s.row_position[world, row]
    add_to(s, world, m.at_solver_reference + 2 * local, -pull * d * r)
    rate = row_dot(s, world, row, s.qvel[world])
    if m.surfacevel == 1 and s.row_source[world, row] == CONTACT:
        rate += surface_rate(m, s, world, row)
    add_to(s, world, m.at_solver_reference + 2 * local + 1, -pull * rate)
    work = power * s.row_force[world, row]
    if m.adhesion == 1 and s.row_source[world, row] == CONTACT:
        contact = s.row_index[world, row]
        share = row_adhesion(m, s, world, contact, row - s.contact_row[world, contact])
        work -= pull * share / s.row_stiffness[world, row]
    d_bar = work / (d * (ONE - d)) - pull * m.solver_reference[params, 0] * r
    by_solimp = impedance_gradient(
        m.solver_impedance[params, 0],
        m.solver_impedance[params, 1],
        m.solver_impedance[params, 2],
        m.solver_impedance[params, 3],
        m.solver_impedance[params, 4],
        s.row_size[world, row],
    )
    for i in range(5):
        add_to(s, world, m.at_solver_impedance + 5 * local + i, d_bar * by_solimp[i])


@wp.func
def impedance_gradient(low: real, high: real, width: real, middle: real, power: real, size: real) -> vec5:
    """Gradient of `constraint.impedance` by the five numbers of solimp."""
    if width <= TINY:
        return vec5(HALF, HALF, ZERO, ZERO, ZERO)
    x = size / width
    if x >= ONE:
        return vec5(ZERO, ONE, ZERO, ZERO, ZERO)
    below = x <= middle
    part = x
    whole = middle
    if not below:
        part = ONE - x
        whole = ONE - middle
    steepness = wp.pow(part / whole, power - ONE)
    rise = part * steepness
    by_middle = -(power - ONE) * rise / whole
    by_power = real(0.0)
    if part > ZERO:
        by_power = rise * wp.log(part / whole)
    y = rise
    if not below:
        y = ONE - rise
        by_power = -by_power
    change = high - low
    return vec5(ONE - y, y, -power * steepness * x / width * change, by_middle * change, by_power * change)
