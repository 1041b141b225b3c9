"""The acceleration: minimum of MuJoCo's convex cost, by Newton's method with exact line search.

    cost(a) = 1/2 (a - a_s)' M (a - a_s) + sum_i c_i(J_i a - aref_i),    c_i' = -f_i

The cost is quadratic as long as no row's state changes, except where a contact with an elliptic cone slides. There a
full step that changes no state reaches the minimum exactly; elsewhere Newton's method converges quadratically.
Source: MuJoCo documentation, Computation, constraint model, primal problem.
"""

import warp as wp

from diffsim.physics.cone import (
    cone_derivatives,
    cone_mu,
    full_step_keeps_cones,
    load_rows,
    side_direction,
    turning_stiffness,
)
from diffsim.physics.constraint import QUADRATIC, SLIDING, row_dot
from diffsim.physics.contact_list import contact_dim
from diffsim.physics.inertia import multiply_mass
from diffsim.physics.lanes import all_lanes, lane, lanes, sync
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.row_law import constraint_force, move_rows, row_forces, row_law, row_state, scalar_rows
from diffsim.physics.scratch import Scratch
from diffsim.physics.sparse import add_cone, add_outer, add_scaled, copy_lower, copy_range, dot, factor, factor_solve
from diffsim.types import EPSILON, ONE, ZERO, real, vec2

MAX_ITERATIONS = wp.constant(50)
NOISE = wp.constant(real(1000.0))
FOURTH = wp.constant(real(0.25))
MAX_LINE_SEARCH = wp.constant(50)
ROUGH = wp.constant(real(0.01))  # with elliptic cones, slope at which a line search ends, relative to that at its start


@wp.func
def add_active_rows(m: ModelArrays, s: Scratch, world: int):
    """Adds the Hessian of the rows' cost to `hessian`: D_i J_i' J_i of each row in the quadratic state, and cones'."""
    for row in range(s.row_count[world]):
        if s.row_state[world, row] == QUADRATIC:
            first = s.row_first_run[world, row]
            last = s.row_last_run[world, row]
            stiffness = s.row_stiffness[world, row]
            add_outer(first, last, s.run[world], stiffness, s.row_jacobian[world, row], s.hessian[world])
    if m.elliptic == 1:
        for contact in range(s.contact_count[world]):
            if s.row_state[world, s.contact_row[world, contact]] == SLIDING:
                add_sliding_contact(m, s, world, contact)


@wp.func(inline=True)
def add_sliding_contact(m: ModelArrays, s: Scratch, world: int, contact: int):
    """Adds J' H J of a contact that slides, with the Hessian H in `cone`, to `hessian`."""
    row = s.contact_row[world, contact]
    pair = s.contact_pair[world, contact]
    dim = contact_dim(m, s, world, contact)
    mu = cone_mu(m, world, pair)
    u = load_rows(s.row_residual[world], row, dim)
    stiffness = s.row_stiffness[world, row]
    push = stiffness / (ONE + mu * mu)
    turn = turning_stiffness(stiffness, mu, u)
    first = s.row_first_run[world, row]
    last = s.row_last_run[world, row]
    t = side_direction(u)
    add_cone(first, last, s.run[world], row, dim, push, turn, mu, t, s.row_jacobian[world], s.hessian[world])


@wp.func
def factor_hessian(m: ModelArrays, s: Scratch, world: int):
    """Fills `hessian` with the factor of H, M plus the Hessian of the rows' cost.

    Needs the sparsity from `hessian_structure`.
    """
    mass = s.mass_matrix[world]
    hessian = s.hessian[world]
    if s.coupled[world] == 0:
        copy_lower(m.nv, m.dof_address, m.dof_run, mass, hessian)
        add_active_rows(m, s, world)
        sync()
        factor(m.nv, m.dof_address, m.dof_run, hessian)
    else:
        copy_lower(m.nv, s.hessian_address[world], s.hessian_run[world], mass, hessian)
        add_active_rows(m, s, world)
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
def line_derivatives(m: ModelArrays, s: Scratch, world: int, slope: real, curvature: real, alpha: real) -> vec2:
    """First and second derivative of the cost along qacc + alpha search.

    `slope` and `curvature` are the derivatives of the smooth part at alpha = 0.
    """
    first = slope + alpha * curvature
    second = curvature
    for row in range(lane(), scalar_rows(m, s, world), lanes()):
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
    if m.elliptic == 1:
        for contact in range(lane(), s.contact_count[world], lanes()):
            by = cone_derivatives(m, s, world, contact, alpha)
            if lanes() == 1:
                first -= by[0]
                second += by[1]
            else:
                row = s.contact_row[world, contact]
                for j in range(contact_dim(m, s, world, contact)):
                    s.row_derivatives[world, row + j] = vec2()
                s.row_derivatives[world, row] = by
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
    small = wp.abs(line_derivatives(m, s, world, slope, curvature, ZERO)[0])
    if m.elliptic == 1:
        small *= ROUGH
    else:
        small *= real(4.0) * EPSILON
    for _ in range(MAX_LINE_SEARCH):
        value = line_derivatives(m, s, world, slope, curvature, alpha)
        if wp.abs(value[0]) <= small:
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
    for row in range(lane(), scalar_rows(m, s, world), lanes()):
        along = row_dot(s, world, row, s.search[world])
        s.row_along[world, row] = along
        if row_state(s, world, row, s.row_residual[world, row] + along) != s.row_state[world, row]:
            same = False
    if m.elliptic == 1:
        if not full_step_keeps_cones(m, s, world):
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


@wp.func(inline=True)
def scale_start(m: ModelArrays, s: Scratch, world: int):
    """Moves qacc from M^-1 qfrc_smooth to the minimum of the cost along the line to zero, if the cost falls there.

    Where contacts carry a robot, this saves about half of the iterations, of which cones need more than pyramids.
    """
    for dof in range(lane(), m.nv, lanes()):
        s.search[world, dof] = -s.qacc[world, dof]
    sync()
    full_step_keeps_states(m, s, world)
    descent = real(0.0)
    for row in range(s.row_count[world]):
        descent += s.row_force[world, row] * s.row_along[world, row]
    if descent > ZERO:
        alpha = line_search(m, s, world)
        add_scaled(0, m.nv, alpha, s.search_momentum[world], s.momentum[world])
        add_scaled(0, m.nv, alpha, s.search[world], s.qacc[world])
        move_rows(m, s, world, alpha)


@wp.func(inline=True)
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
    if m.elliptic == 1 and warm == 0:
        scale_start(m, s, world)
    iterations = int(0)
    previous = real(0.0)
    for _ in range(MAX_ITERATIONS):
        iterations += 1
        decrement = search_direction(m, s, world)
        alpha = real(1.0)
        exact = full_step_keeps_states(m, s, world)
        if not exact:
            alpha = line_search(m, s, world)
            add_scaled(0, m.nv, alpha, s.search_momentum[world], s.momentum[world])
        add_scaled(0, m.nv, alpha, s.search[world], s.qacc[world])
        move_rows(m, s, world, alpha)  # ends with a sync
        limit = tolerance(s, world, m.nv)
        if exact or decrement <= limit:
            break
        if m.elliptic == 1:
            if decrement <= NOISE * limit and FOURTH * previous <= decrement:
                break  # what is left are rounding errors
            previous = decrement
    if lane() == 0:
        s.iteration_peak[world] = wp.max(s.iteration_peak[world], iterations)
    constraint_force(m, s, world)
