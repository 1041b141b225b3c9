"""The acceleration: minimum of MuJoCo's convex cost, by Newton's method with exact line search.

    cost(a) = 1/2 (a - a_s)' M (a - a_s) + sum_i c_i(J_i a - aref_i),    c_i' = -f_i

The cost is piecewise quadratic, so a full step that changes no row's state reaches the minimum exactly.
Source: MuJoCo documentation, Computation, constraint model, primal problem.
"""

import warp as wp

from diffsim.physics.constraint import (
    QUADRATIC,
    SATISFIED,
    constraint_force,
    move_rows,
    row_dot,
    row_forces,
    row_law,
    row_state,
)
from diffsim.physics.inertia import factor, factor_solve, multiply_mass
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.scratch import Scratch
from diffsim.types import EPSILON, ZERO, real, vec2

MAX_ITERATIONS = wp.constant(50)
MAX_LINE_SEARCH = wp.constant(50)


@wp.func
def factor_hessian(m: ModelArrays, s: Scratch, world: int):
    """Fills `hessian` with the factor of H = M + sum over rows in the quadratic state of D_i J_i' J_i."""
    for i in range(m.nv):
        for j in range(i + 1):
            s.hessian[world, i, j] = s.mass_matrix[world, i, j]
    for row in range(s.row_count[world]):
        if s.row_state[world, row] == QUADRATIC:
            for i in range(s.row_extent[world, row]):
                left = s.row_stiffness[world, row] * s.row_jacobian[world, row, i]
                if left != ZERO:
                    for j in range(i + 1):
                        s.hessian[world, i, j] = s.hessian[world, i, j] + left * s.row_jacobian[world, row, j]
    factor(m.nv, s.hessian[world])


@wp.func
def line_derivatives(s: Scratch, world: int, slope: real, curvature: real, alpha: real) -> vec2:
    """First and second derivative of the cost along qacc + alpha search.

    `slope` and `curvature` are the derivatives of the smooth part at alpha = 0.
    """
    first = slope + alpha * curvature
    second = curvature
    for row in range(s.row_count[world]):
        along = s.row_along[world, row]
        residual = s.row_residual[world, row] + alpha * along
        state = row_state(s, world, row, residual)
        first -= row_law(s, world, row, state, residual) * along
        if state == QUADRATIC:
            second += s.row_stiffness[world, row] * along * along
    return vec2(first, second)


@wp.func
def line_search(m: ModelArrays, s: Scratch, world: int) -> real:
    """Step length that minimizes the cost along the search direction: safeguarded Newton on its derivative."""
    multiply_mass(m, s, world, s.search[world], s.work[world])
    curvature = real(0.0)
    for dof in range(m.nv):
        curvature += s.search[world, dof] * s.work[world, dof]
    multiply_mass(m, s, world, s.qacc[world], s.work[world])
    slope = real(0.0)
    for dof in range(m.nv):
        slope += s.search[world, dof] * (s.work[world, dof] - s.qfrc_smooth[world, dof])
    low = real(0.0)
    high = real(-1.0)  # no upper bracket yet
    alpha = real(1.0)
    start = wp.abs(line_derivatives(s, world, slope, curvature, ZERO)[0])
    for _ in range(MAX_LINE_SEARCH):
        value = line_derivatives(s, world, slope, curvature, alpha)
        if wp.abs(value[0]) <= real(4.0) * EPSILON * start:
            break
        if value[0] < ZERO:
            low = alpha
        else:
            high = alpha
        alpha = alpha - value[0] / value[1]
        if alpha <= low or (high > ZERO and alpha >= high):
            alpha = real(0.5) * (low + high)
    return alpha


@wp.func
def search_direction(m: ModelArrays, s: Scratch, world: int) -> real:
    """Fills `search` with -H^-1 g, g = M a - qfrc_smooth - J' f; returns g' H^-1 g. Refactors H."""
    multiply_mass(m, s, world, s.qacc[world], s.work[world])
    constraint_force(m, s, world)
    for dof in range(m.nv):
        s.work[world, dof] = s.qfrc_smooth[world, dof] + s.qfrc_constraint[world, dof] - s.work[world, dof]
        s.search[world, dof] = s.work[world, dof]
    factor_hessian(m, s, world)
    factor_solve(m.nv, s.hessian[world], s.search[world])
    decrement = real(0.0)
    for dof in range(m.nv):
        decrement += s.search[world, dof] * s.work[world, dof]
    return decrement


@wp.func
def full_step_keeps_states(m: ModelArrays, s: Scratch, world: int) -> int:
    """Fills row_along with J search. Returns 1 if a full step changes no row's state; that step is then exact."""
    same = int(1)
    for row in range(s.row_count[world]):
        along = row_dot(m, s, world, row, s.search[world])
        s.row_along[world, row] = along
        if row_state(s, world, row, s.row_residual[world, row] + along) != s.row_state[world, row]:
            same = 0
    return same


@wp.func
def tolerance(s: Scratch, world: int, nv: int) -> real:
    """Newton decrement (squared distance to the minimum in H's norm) below which a step is a rounding error.

    It is (4 eps)^2 times the terms that cancel at the minimum: work of smooth forces, energy of the rows.
    """
    size = real(0.0)
    for dof in range(nv):
        size += wp.abs(s.qacc[world, dof] * s.qfrc_smooth[world, dof])
    for row in range(s.row_count[world]):
        size += wp.abs(s.row_force[world, row] * s.row_aref[world, row])
    return real(16.0) * EPSILON * EPSILON * size


@wp.func
def solve_acceleration(m: ModelArrays, s: Scratch, world: int, warm: int):
    """Fills qacc and qfrc_constraint; starts from qacc if `warm` is 1. Needs mass_matrix, qfrc_smooth and the rows."""
    if warm == 0:
        for row in range(s.row_count[world]):
            s.row_state[world, row] = SATISFIED
        factor_hessian(m, s, world)
        for dof in range(m.nv):
            s.qacc[world, dof] = s.qfrc_smooth[world, dof]
        factor_solve(m.nv, s.hessian[world], s.qacc[world])
    forced = row_forces(m, s, world, s.qacc[world])
    if warm == 0 and forced == 0:
        constraint_force(m, s, world)
        return
    iterations = int(0)
    for _ in range(MAX_ITERATIONS):
        iterations += 1
        decrement = search_direction(m, s, world)
        alpha = real(1.0)
        exact = full_step_keeps_states(m, s, world)
        if exact == 0:
            alpha = line_search(m, s, world)
        for dof in range(m.nv):
            s.qacc[world, dof] = s.qacc[world, dof] + alpha * s.search[world, dof]
        move_rows(s, world, alpha)
        if exact == 1 or decrement <= tolerance(s, world, m.nv):
            break
    s.iteration_peak[world] = wp.max(s.iteration_peak[world], iterations)
    constraint_force(m, s, world)
