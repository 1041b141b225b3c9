"""Constraint rows: the solver's input from every soft constraint, and their force law.

    f_i = -D_i (J_i a - aref_i) where the row is active, else 0 (or a constant for dry friction)
    aref_i = -b J_i v - k d_i r_i,    D_i = d_i / ((1 - d_i) A_i),    d_i = d(|r_i|)

The Jacobian of a row is nonzero on its runs (see `sparse`), which its constraint builds before it appends the row.
Connect and weld constraints also subtract dJ_i/dt v from aref_i, and share the |r| of all their rows.
A row has a kind, which selects the force law, a state on that law, and a source with an index: the element of the model
that the row belongs to. Only gradients need the source and the index.
Source: MuJoCo documentation, Computation, constraint model; Modeling, solver parameters.
"""

import mujoco
import warp as wp

from diffsim.physics.lanes import all_lanes, lane, lanes, sync
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.scratch import Scratch
from diffsim.physics.sparse import add_scaled, dot
from diffsim.types import HALF, ONE, ZERO, real, vec2

# Kinds of rows.
EQUALITY = wp.constant(0)  # pushes and pulls
UNILATERAL = wp.constant(1)  # only pushes
FRICTION = wp.constant(2)  # saturates at its limit

# States of rows, named after MuJoCo's, which describe the row's cost as a function of the residual J_i a - aref_i.
SATISFIED = wp.constant(int(mujoco.mjtConstraintState.mjCNSTRSTATE_SATISFIED))  # no force
QUADRATIC = wp.constant(int(mujoco.mjtConstraintState.mjCNSTRSTATE_QUADRATIC))  # the force is linear in the residual
LINEAR_NEG = wp.constant(int(mujoco.mjtConstraintState.mjCNSTRSTATE_LINEARNEG))  # residual < 0: friction at +limit
LINEAR_POS = wp.constant(int(mujoco.mjtConstraintState.mjCNSTRSTATE_LINEARPOS))  # residual > 0: friction at -limit

# Sources of rows; the comment names what the row's index counts.
JOINT_LIMIT = wp.constant(0)  # slide and hinge joints
BALL_LIMIT = wp.constant(1)  # ball joints
DOF_FRICTION = wp.constant(2)  # dofs
CONTACT = wp.constant(3)  # contacts
CONNECT_OR_WELD = wp.constant(4)  # connect and weld constraints
JOINT_EQUALITY = wp.constant(5)  # joint constraints
TENDON_LIMIT = wp.constant(6)  # tendons
TENDON_FRICTION = wp.constant(7)  # tendons

TINY = wp.constant(real(1.0e-15))


@wp.func
def impedance(m: ModelArrays, params: int, size: real) -> vec2:
    """d(|r|) and its derivative by |r|, from solimp. `params` counts the rows of the table of all worlds."""
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
def single_run(
    run: wp.array2d(dtype=wp.int32), count: wp.array(dtype=wp.int32), world: int, dof: int, size: int
) -> int:
    """Appends a run of `size` dofs for the next row; returns its index. `count` is `run_count`."""
    first = count[world]
    run[first, 0] = dof
    run[first, 1] = dof + size
    count[world] = first + 1
    return first


@wp.func
def add_row(
    s: Scratch,
    world: int,
    first_run: int,
    kind: int,
    source: int,
    index: int,
    params: int,
    position: real,
    size: real,
    invweight: real,
) -> int:
    """Appends a row whose Jacobian is nonzero on the runs from `first_run` to the last one; returns its index.

    One lane appends the rows of a world.

    `position` is r of this row; `size` is |r| of the whole constraint it is part of, which sets its impedance.
    `finish_rows` completes the row. It is apart, and this function short, because this one has many callers.
    """
    row = s.row_count[world]
    s.row_count[world] = row + 1
    last_run = s.run_count[world]
    fill_row(s, world, row, first_run, last_run, kind, source, index, params, position, size, invweight)
    return row


@wp.func(inline=True)
def fill_row(
    s: Scratch,
    world: int,
    row: int,
    first_run: int,
    last_run: int,
    kind: int,
    source: int,
    index: int,
    params: int,
    position: real,
    size: real,
    invweight: real,
):
    """Fills what `add_row` gives a row."""
    s.row_first_run[world, row] = first_run
    s.row_last_run[world, row] = last_run
    s.row_kind[world, row] = kind
    s.row_source[world, row] = source
    s.row_index[world, row] = index
    s.row_params[world, row] = params
    s.row_position[world, row] = position
    s.row_size[world, row] = size
    s.row_invweight[world, row] = invweight
    s.row_aref[world, row] = ZERO
    s.row_limit[world, row] = ZERO


@wp.func
def clear_row(s: Scratch, world: int, row: int):
    """Sets the Jacobian of a row to zero."""
    for block in range(s.row_first_run[world, row], s.row_last_run[world, row]):
        for dof in range(s.run[world, block, 0], s.run[world, block, 1]):
            s.row_jacobian[world, row, dof] = ZERO


@wp.func
def finish_rows(m: ModelArrays, s: Scratch, world: int):
    """Fills the stiffness of the rows, and adds to their reference accelerations. Needs the Jacobians."""
    for row in range(lane(), s.row_count[world], lanes()):
        params = world * m.solver_stride + s.row_params[world, row]
        d = impedance(m, params, s.row_size[world, row])
        s.row_stiffness[world, row] = ONE / wp.max(TINY, (ONE - d[0]) / d[0] * s.row_invweight[world, row])
        stretch = m.solver_reference[params, 0] * d[0] * s.row_position[world, row]
        rate = m.solver_reference[params, 1] * row_dot(s, world, row, s.qvel[world])
        s.row_aref[world, row] = s.row_aref[world, row] - stretch - rate
    sync()


@wp.func
def row_dot(s: Scratch, world: int, row: int, x: wp.array(dtype=real)) -> real:
    """J_i x, by the lane that calls it."""
    total = real(0.0)
    for block in range(s.row_first_run[world, row], s.row_last_run[world, row]):
        total += dot(s.run[world, block, 0], s.run[world, block, 1], s.row_jacobian[world, row], x)
    return total


@wp.func
def add_row_scaled(s: Scratch, world: int, row: int, scale: real, x: wp.array(dtype=real)):
    """X += scale J_i. All lanes call it: a lane adds to its own entries of x."""
    for block in range(s.row_first_run[world, row], s.row_last_run[world, row]):
        add_scaled(s.run[world, block, 0], s.run[world, block, 1], scale, s.row_jacobian[world, row], x)


@wp.func
def row_damping(m: ModelArrays, s: Scratch, world: int, row: int) -> real:
    """B of a row."""
    return m.solver_reference[world * m.solver_stride + s.row_params[world, row], 1]


@wp.func
def row_state(s: Scratch, world: int, row: int, residual: real) -> int:
    """The state of a row at a residual J a - aref."""
    kind = s.row_kind[world, row]
    if kind == UNILATERAL:
        if residual < ZERO:
            return QUADRATIC
        return SATISFIED
    if kind == FRICTION:
        bound = s.row_limit[world, row] / s.row_stiffness[world, row]
        if residual <= -bound:
            return LINEAR_NEG
        if residual >= bound:
            return LINEAR_POS
    return QUADRATIC


@wp.func
def row_law(s: Scratch, world: int, row: int, state: int, residual: real) -> real:
    """Force of a row in a state."""
    if state == QUADRATIC:
        return -s.row_stiffness[world, row] * residual
    if state == LINEAR_NEG:
        return s.row_limit[world, row]
    if state == LINEAR_POS:
        return -s.row_limit[world, row]
    return ZERO


@wp.func
def row_forces(m: ModelArrays, s: Scratch, world: int, qacc: wp.array(dtype=real)) -> bool:
    """Fills each row's residual, state and force at an acceleration. Returns whether no row exerts a force."""
    idle = bool(True)
    for row in range(lane(), s.row_count[world], lanes()):
        residual = row_dot(s, world, row, qacc) - s.row_aref[world, row]
        state = row_state(s, world, row, residual)
        s.row_residual[world, row] = residual
        s.row_state[world, row] = state
        s.row_force[world, row] = row_law(s, world, row, state, residual)
        if state != SATISFIED:
            idle = False
    return all_lanes(idle)


@wp.func
def move_rows(s: Scratch, world: int, alpha: real):
    """Updates `row_forces` after a step of qacc by alpha along the search direction. Needs row_along."""
    for row in range(lane(), s.row_count[world], lanes()):
        residual = s.row_residual[world, row] + alpha * s.row_along[world, row]
        state = row_state(s, world, row, residual)
        s.row_residual[world, row] = residual
        s.row_state[world, row] = state
        s.row_force[world, row] = row_law(s, world, row, state, residual)
    sync()


@wp.func
def constraint_force(m: ModelArrays, s: Scratch, world: int):
    """Fills qfrc_constraint = J' f from the rows' forces."""
    for dof in range(lane(), m.nv, lanes()):
        s.qfrc_constraint[world, dof] = ZERO
    for row in range(s.row_count[world]):
        force = s.row_force[world, row]
        if force != ZERO:
            add_row_scaled(s, world, row, force, s.qfrc_constraint[world])
    sync()


@wp.func
def position_slope(m: ModelArrays, s: Scratch, world: int, row: int) -> real:
    """df_i / dr_i at fixed a, where |r| is |r_i|: through D, d and r of f = -D (J a + b J v + k d r)."""
    params = world * m.solver_stride + s.row_params[world, row]
    r = s.row_position[world, row]
    d = impedance(m, params, wp.abs(r))
    slope = r / wp.max(TINY, wp.abs(r)) * d[1]  # the mean of both sides at r = 0
    through_stiffness = slope / (d[0] * (ONE - d[0])) * s.row_force[world, row]
    return through_stiffness - s.row_stiffness[world, row] * m.solver_reference[params, 0] * (d[0] + r * slope)
