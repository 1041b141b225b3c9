"""Constraint rows: what every soft constraint puts before the solver, and the force law it obeys.

    f_i = -D_i (J_i a - aref_i) where it acts, else 0 (or a constant for dry friction)
    aref_i = -b J_i v - k d_i r_i,    D_i = d_i / ((1 - d_i) A_i),    d_i = d(|r_i|)

Connect and weld constraints also subtract dJ_i/dt v from aref_i, and share the |r| of all their rows.
Three kinds of row: EQUALITY acts both ways, UNILATERAL only pushes, FRICTION saturates at its loss. Which joint,
contact or equality a row belongs to (its source and index) is needed only for gradients.
Source: MuJoCo documentation, Computation, constraint model; Modeling, solver parameters.
"""

import warp as wp

from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.scratch import Scratch
from diffsim.types import HALF, ONE, ZERO, real, vec2

EQUALITY = wp.constant(0)
UNILATERAL = wp.constant(1)
FRICTION = wp.constant(2)

TINY = wp.constant(real(1.0e-15))


@wp.func
def impedance(m: ModelArrays, params: int, size: real) -> vec2:
    """d(|r|) and its derivative with respect to |r|, from solimp."""
    low = m.solver_impedance[params, 0]
    high = m.solver_impedance[params, 1]
    width = m.solver_impedance[params, 2]
    middle = m.solver_impedance[params, 3]
    power = m.solver_impedance[params, 4]
    if low == high or width <= TINY:
        return vec2(HALF * (low + high), ZERO)
    x = size / width
    if x >= ONE:
        return vec2(high, ZERO)
    y = x
    dy = real(1.0)
    if power != ONE:
        if x <= middle:
            scale = ONE / wp.pow(middle, power - ONE)
            y = scale * wp.pow(x, power)
            dy = scale * power * wp.pow(x, power - ONE)
        else:
            scale = ONE / wp.pow(ONE - middle, power - ONE)
            y = ONE - scale * wp.pow(ONE - x, power)
            dy = scale * power * wp.pow(ONE - x, power - ONE)
    return vec2(low + y * (high - low), dy * (high - low) / width)


@wp.func
def add_row(
    m: ModelArrays,
    s: Scratch,
    world: int,
    kind: int,
    source: int,
    index: int,
    params: int,
    position: real,
    size: real,
    invweight: real,
) -> int:
    """Appends a row with a Jacobian of zeros; returns its index.

    `position` is r of this row; `size` is |r| of the whole constraint it is part of, which sets its impedance.
    """
    row = s.row_count[world]
    s.row_count[world] = row + 1
    d = impedance(m, params, size)
    s.row_kind[world, row] = kind
    s.row_source[world, row] = source
    s.row_index[world, row] = index
    s.row_params[world, row] = params
    s.row_position[world, row] = position
    s.row_size[world, row] = size
    s.row_stiffness[world, row] = ONE / wp.max(TINY, (ONE - d[0]) / d[0] * invweight)
    s.row_aref[world, row] = -m.solver_reference[params, 0] * d[0] * position
    s.row_limit[world, row] = ZERO
    s.row_extent[world, row] = m.nv
    for dof in range(m.nv):
        s.row_jacobian[world, row, dof] = ZERO
    return row


@wp.func
def damp_rows(m: ModelArrays, s: Scratch, world: int):
    """Adds -b J v to the reference accelerations, once the Jacobians are there."""
    for row in range(s.row_count[world]):
        rate = row_dot(m, s, world, row, s.qvel[world])
        s.row_aref[world, row] = s.row_aref[world, row] - row_damping(m, s, world, row) * rate


@wp.func
def row_dot(m: ModelArrays, s: Scratch, world: int, row: int, x: wp.array(dtype=real)) -> real:
    """J_i x."""
    total = real(0.0)
    for dof in range(s.row_extent[world, row]):
        total += s.row_jacobian[world, row, dof] * x[dof]
    return total


@wp.func
def row_damping(m: ModelArrays, s: Scratch, world: int, row: int) -> real:
    """B of a row."""
    return m.solver_reference[s.row_params[world, row], 1]


@wp.func
def row_state(s: Scratch, world: int, row: int, residual: real) -> int:
    """1 where the force is linear in the residual J a - aref, 0 where there is none, 2 and 3 at the friction limit."""
    kind = s.row_kind[world, row]
    if kind == UNILATERAL:
        if residual < ZERO:
            return 1
        return 0
    if kind == FRICTION:
        bound = s.row_limit[world, row] / s.row_stiffness[world, row]
        if residual <= -bound:
            return 2
        if residual >= bound:
            return 3
    return 1


@wp.func
def row_law(s: Scratch, world: int, row: int, state: int, residual: real) -> real:
    """Force of a row in a state."""
    if state == 1:
        return -s.row_stiffness[world, row] * residual
    if state == 2:
        return s.row_limit[world, row]
    if state == 3:
        return -s.row_limit[world, row]
    return ZERO


@wp.func
def row_forces(m: ModelArrays, s: Scratch, world: int, qacc: wp.array(dtype=real)) -> int:
    """Fills each row's residual, state and force at an acceleration; 1 if there is a force."""
    some = int(0)
    for row in range(s.row_count[world]):
        residual = row_dot(m, s, world, row, qacc) - s.row_aref[world, row]
        state = row_state(s, world, row, residual)
        s.row_residual[world, row] = residual
        s.row_state[world, row] = state
        s.row_force[world, row] = row_law(s, world, row, state, residual)
        if state > 0:
            some = 1
    return some


@wp.func
def move_rows(s: Scratch, world: int, alpha: real):
    """`row_forces` after a step of qacc by alpha along the direction that row_along was filled for."""
    for row in range(s.row_count[world]):
        residual = s.row_residual[world, row] + alpha * s.row_along[world, row]
        state = row_state(s, world, row, residual)
        s.row_residual[world, row] = residual
        s.row_state[world, row] = state
        s.row_force[world, row] = row_law(s, world, row, state, residual)


@wp.func
def constraint_force(m: ModelArrays, s: Scratch, world: int):
    """Fills qfrc_constraint = J' f from the rows' forces."""
    for dof in range(m.nv):
        s.qfrc_constraint[world, dof] = ZERO
    for row in range(s.row_count[world]):
        force = s.row_force[world, row]
        if force != ZERO:
            for dof in range(s.row_extent[world, row]):
                s.qfrc_constraint[world, dof] = s.qfrc_constraint[world, dof] + s.row_jacobian[world, row, dof] * force


@wp.func
def position_slope(m: ModelArrays, s: Scratch, world: int, row: int) -> real:
    """df_i / dr_i at fixed a, where |r| is |r_i|: through D, d and r of f = -D (J a + b J v + k d r)."""
    params = s.row_params[world, row]
    r = s.row_position[world, row]
    d = impedance(m, params, wp.abs(r))
    slope = wp.sign(r) * d[1]
    through_stiffness = slope / (d[0] * (ONE - d[0])) * s.row_force[world, row]
    return through_stiffness - s.row_stiffness[world, row] * m.solver_reference[params, 0] * (d[0] + r * slope)
