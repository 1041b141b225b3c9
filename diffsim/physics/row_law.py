"""The force law of constraint rows, and the joint forces of all of them.

A row alone has a force that depends on its own residual J_i a - aref_i; the rows of an elliptic cone are in `cone`.
"""

import warp as wp

from diffsim.physics.cone import cone_forces, move_cones
from diffsim.physics.constraint import (
    FRICTION,
    LINEAR_NEG,
    LINEAR_POS,
    QUADRATIC,
    SATISFIED,
    UNILATERAL,
    add_row_scaled,
    row_dot,
)
from diffsim.physics.lanes import all_lanes, lane, lanes, sync
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.scratch import Scratch
from diffsim.types import ZERO, real


@wp.func(inline=True)
def scalar_rows(m: ModelArrays, s: Scratch, world: int) -> int:
    """Number of rows that have a law of their own. With elliptic cones they come first, then those of all contacts."""
    if m.elliptic == 1 and s.contact_count[world] > 0:
        return s.contact_row[world, 0]
    return s.row_count[world]


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
    for row in range(lane(), scalar_rows(m, s, world), lanes()):
        residual = row_dot(s, world, row, qacc) - s.row_aref[world, row]
        state = row_state(s, world, row, residual)
        s.row_residual[world, row] = residual
        s.row_state[world, row] = state
        s.row_force[world, row] = row_law(s, world, row, state, residual)
        if state != SATISFIED:
            idle = False
    if m.elliptic == 1:
        if not cone_forces(m, s, world, qacc):
            idle = False
    return all_lanes(idle)


@wp.func
def move_rows(m: ModelArrays, s: Scratch, world: int, alpha: real):
    """Updates `row_forces` after a step of qacc by alpha along the search direction. Needs row_along."""
    for row in range(lane(), scalar_rows(m, s, world), lanes()):
        residual = s.row_residual[world, row] + alpha * s.row_along[world, row]
        state = row_state(s, world, row, residual)
        s.row_residual[world, row] = residual
        s.row_state[world, row] = state
        s.row_force[world, row] = row_law(s, world, row, state, residual)
    if m.elliptic == 1:
        move_cones(m, s, world, alpha)
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
