"""The acceleration: minimum of MuJoCo's convex cost, by Newton's method with exact line search.

    cost(a) = 1/2 (a - a_s)' M (a - a_s) + sum_i c_i(J_i a - aref_i),    c_i' = -f_i

The cost is piecewise quadratic, so a full step that changes no row's state reaches the minimum exactly.
Source: MuJoCo documentation, Computation, constraint model, primal problem.
"""

import warp as wp

from diffsim.physics.constraint import (
    QUADRATIC,
    constraint_force,
    move_rows,
    row_dot,
    row_forces,
    row_law,
    row_state,
)
from diffsim.physics.inertia import multiply_mass
from diffsim.physics.lanes import all_lanes, lane, lanes, sync
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.scratch import Scratch
from diffsim.physics.sparse import add_outer, add_scaled, copy_lower, copy_range, dot, factor, factor_solve
from diffsim.types import EPSILON, ZERO, real, vec2

MAX_ITERATIONS = wp.constant(50)
MAX_LINE_SEARCH = wp.constant(50)


@wp.func
def add_active_rows(s: Scratch, world: int):
    """Adds D_i J_i' J_i of each row in the quadratic state to `hessian`."""
    for row in range(s.row_count[world]):
        if s.row_state[world, row] == QUADRATIC:
            first = s.row_first_run[world, row]
            last = s.row_last_run[world, row]
            stiffness = s.row_stiffness[world, row]
            add_outer(first, last, s.run[world], stiffness, s.row_jacobian[world, row], s.hessian[world])


@wp.func
def factor_hessian(m: ModelArrays, s: Scratch, world: int):
    """Fills `hessian` with the factor of H = M + sum over rows in the quadratic state of D_i J_i' J_i.

    Needs the sparsity from `hessian_structure`.
    """
    mass = s.mass_matrix[world]
    hessian = s.hessian[world]
    if s.coupled[world] == 0:
        copy_lower(m.nv, m.dof_address, m.dof_run, mass, hessian)
        add_active_rows(s, world)
        sync()
        factor(m.nv, m.dof_address, m.dof_run, hessian)
    else:
        copy_lower(m.nv, s.hessian_address[world], s.hessian_run[world], mass, hessian)
        add_active_rows(s, world)
        sync()
        factor(m.nv, s.hessian_address[world], s.hessian_run[world], hessian)


@wp.func
def solve_hessian(m: ModelArrays, s: Scratch, world: int, x: wp.array(dtype=real)):
    """Solves H x = b in place. Needs `factor_hessian`."""
    if s.coupled[world] == 0:
        factor_solve(m.nv, m.dof_address, m.dof_run, s.hessian[world], x)
    else:
        factor_solve(m.nv, s.hessian_address[world], s.hessian_run[world], s.hessian[world], x)


@wp.func
def line_derivatives(s: Scratch, world: int, slope: real, curvature: real, alpha: real) -> vec2:
    """First and second derivative of the cost along qacc + alpha search.

    `slope` and `curvature` are the derivatives of the smooth part at alpha = 0.
    """
    first = slope + alpha * curvature
    second = curvature
    for row in range(lane(), s.row_count[world], lanes()):
        along = s.row_along[world, row]
        residual = s.row_residual[world, row] + alpha * along
        state = row_state(s, world, row, residual)
        by_first = row_law(s, world, row, state, residual) * along
        by_second = real(0.0)
        if state == QUADRATIC:
            by_second = s.row_stiffness[world, row] * along * along
        if lanes() == 1:
            first -= by_first
            second += by_second
        else:
            s.row_derivatives[world, row] = vec2(by_first, by_second)
    if lanes() > 1:
        sync()
        for row in range(s.row_count[world]):
            derivatives = s.row_derivatives[world, row]
            first -= derivatives[0]
            second += derivatives[1]
        sync()
    return vec2(first, second)


@wp.func
def line_search(m: ModelArrays, s: Scratch, world: int) -> real:
    """Step length that minimizes the cost along the search direction: safeguarded Newton on its derivative.

    Fills search_momentum.
    """
    multiply_mass(m, s, world, s.search[world], s.search_momentum[world])
    sync()
    curvature = real(0.0)
    slope = real(0.0)
    for dof in range(m.nv):
        curvature += s.search[world, dof] * s.search_momentum[world, dof]
        slope += s.search[world, dof] * (s.momentum[world, dof] - s.qfrc_smooth[world, dof])
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
    sync()
    return alpha


@wp.func
def search_direction(m: ModelArrays, s: Scratch, world: int) -> real:
    """Fills `search` with -H^-1 g, g = M a - qfrc_smooth - J' f; returns g' H^-1 g. Refactors H."""
    constraint_force(m, s, world)
    for dof in range(lane(), m.nv, lanes()):
        s.work[world, dof] = s.qfrc_smooth[world, dof] + s.qfrc_constraint[world, dof] - s.momentum[world, dof]
        s.search[world, dof] = s.work[world, dof]
    sync()
    factor_hessian(m, s, world)
    solve_hessian(m, s, world, s.search[world])
    return dot(0, m.nv, s.search[world], s.work[world])


@wp.func
def full_step_keeps_states(m: ModelArrays, s: Scratch, world: int) -> bool:
    """Fills row_along with J search. Returns whether a full step changes no row's state; that step is then exact."""
    same = bool(True)
    for row in range(lane(), s.row_count[world], lanes()):
        along = row_dot(s, world, row, s.search[world])
        s.row_along[world, row] = along
        if row_state(s, world, row, s.row_residual[world, row] + along) != s.row_state[world, row]:
            same = False
    return all_lanes(same)


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
    if warm == 0 or s.row_count[world] == 0:
        copy_lower(m.nv, m.dof_address, m.dof_run, s.mass_matrix[world], s.hessian[world])
        copy_range(0, m.nv, s.qfrc_smooth[world], s.momentum[world])
        copy_range(0, m.nv, s.qfrc_smooth[world], s.qacc[world])
        sync()
        factor(m.nv, m.dof_address, m.dof_run, s.hessian[world])
        factor_solve(m.nv, m.dof_address, m.dof_run, s.hessian[world], s.qacc[world])
    else:
        multiply_mass(m, s, world, s.qacc[world], s.momentum[world])
    idle = row_forces(m, s, world, s.qacc[world])
    if idle and (warm == 0 or s.row_count[world] == 0):
        constraint_force(m, s, world)
        return
    iterations = int(0)
    for _ in range(MAX_ITERATIONS):
        iterations += 1
        decrement = search_direction(m, s, world)
        alpha = real(1.0)
        exact = full_step_keeps_states(m, s, world)
        if not exact:
            alpha = line_search(m, s, world)
            add_scaled(0, m.nv, alpha, s.search_momentum[world], s.momentum[world])
        add_scaled(0, m.nv, alpha, s.search[world], s.qacc[world])
        move_rows(s, world, alpha)  # ends with a sync
        if exact or decrement <= tolerance(s, world, m.nv):
            break
    if lane() == 0:
        s.iteration_peak[world] = wp.max(s.iteration_peak[world], iterations)
    constraint_force(m, s, world)
