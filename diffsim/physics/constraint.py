"""Constraint rows: the solver's input from every soft constraint. `row_law` has their forces.

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

from diffsim.physics.lanes import lane, lanes, sync
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.scratch import Scratch
from diffsim.physics.sparse import add_scaled, dot
from diffsim.types import HALF, ONE, ZERO, real, vec2

# Kinds of rows.
EQUALITY = wp.constant(0)  # pushes and pulls
UNILATERAL = wp.constant(1)  # only pushes
FRICTION = wp.constant(2)  # saturates at its limit
CONE = wp.constant(3)  # one of the rows of an elliptic cone, which have a common law: see `cone`

# States of rows, named after MuJoCo's, which describe the row's cost as a function of the residual J_i a - aref_i.
SATISFIED = wp.constant(int(mujoco.mjtConstraintState.mjCNSTRSTATE_SATISFIED))  # no force
QUADRATIC = wp.constant(int(mujoco.mjtConstraintState.mjCNSTRSTATE_QUADRATIC))  # the force is linear in the residual
LINEAR_NEG = wp.constant(int(mujoco.mjtConstraintState.mjCNSTRSTATE_LINEARNEG))  # residual < 0: friction at +limit
LINEAR_POS = wp.constant(int(mujoco.mjtConstraintState.mjCNSTRSTATE_LINEARPOS))  # residual > 0: friction at -limit
SLIDING = wp.constant(int(mujoco.mjtConstraintState.mjCNSTRSTATE_CONE))  # rows of a cone: the force is on its surface

# Sources of rows; the comment names what the row's index counts.
JOINT_LIMIT = wp.constant(0)  # slide and hinge joints
BALL_LIMIT = wp.constant(1)  # ball joints
DOF_FRICTION = wp.constant(2)  # dofs
CONTACT = wp.constant(3)  # contacts
CONNECT_OR_WELD = wp.constant(4)  # connect and weld constraints
JOINT_EQUALITY = wp.constant(5)  # joint constraints
TENDON_LIMIT = wp.constant(6)  # tendons
TENDON_FRICTION = wp.constant(7)  # tendons
TENDON_EQUALITY = wp.constant(8)  # equality constraints of tendons

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
def position_slope(m: ModelArrays, s: Scratch, world: int, row: int) -> real:
    """df_i / dr_i at fixed a, where |r| is |r_i|: through D, d and r of f = -D (J a + b J v + k d r)."""
    params = world * m.solver_stride + s.row_params[world, row]
    r = s.row_position[world, row]
    d = signed_impedance(m, params, r)
    through_stiffness = d[1] / (d[0] * (ONE - d[0])) * s.row_force[world, row]
    return through_stiffness - s.row_stiffness[world, row] * m.solver_reference[params, 0] * (d[0] + r * d[1])


@wp.func
def signed_impedance(m: ModelArrays, params: int, r: real) -> vec2:
    """d(|r|) and its derivative by r; the mean of both sides at r = 0."""
    d = impedance(m, params, wp.abs(r))
    return vec2(d[0], r / wp.max(TINY, wp.abs(r)) * d[1])
