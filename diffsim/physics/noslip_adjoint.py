"""Adjoint of the noslip solver: the sweeps in reverse.

With the acceleration a_0 and the forces f_0 of the constraint solver, the forces f_u and the acceleration after update
u, and g_u = f_u - f_0, which is zero but in rows that are swept,

    a_u = a_0 + M^-1 J' g_u,    qacc = a_end,    qfrc_constraint = J' f_end

Update u solves equations of the residuals J_B a_u - aref_B of its rows B, so its adjoint gives weights w_u of these
equations, and the gradient is that of sum_u w_u' (J_B a_u - aref_B) + y' M (qacc - a_0) + kappa' J' g_end at fixed w_u,
f_u and y = M^-1 abar. Let Lambda_u be the sum of y + kappa and of the X_B w of the updates from u on. Then the
cotangent of a force is c_j + J_j Lambda_u, where c_j is what Lambda does not carry, and at last that of f_0 is c. The
others are, of J_j, of the residual of row j at a_0, of M, and of a_0,

    alpha_j + beta_j,    alpha_j = sum_u w_uj (a_u - a_0),    beta_j = sum_u (change of f_j in u) Lambda_u
    W_j = sum_u w_uj
    -sum_j X_j alpha_j' - y (qacc - a_0)'
    abar + J' W

`noslip_gradient` takes them on. The rest is the adjoint of the constraint solver, with cotangents c of its forces.
"""

import warp as wp

from diffsim.physics.cone import cone_mu, cone_product, cone_scale, load_rows
from diffsim.physics.constraint import (
    FRICTION,
    QUADRATIC,
    SLIDING,
    TENDON_FRICTION,
    add_row_scaled,
    row_damping,
    row_dot,
)
from diffsim.physics.contact_gradient import clear_contact_bars
from diffsim.physics.contact_list import contact_dim
from diffsim.physics.lanes import lane, lanes, sync
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.noslip import (
    MINVAL,
    cone_block,
    coupling,
    factor_mass,
    first_contact_row,
    is_active,
    is_swept,
    pair_couplings,
    residual,
    sweep_count,
)
from diffsim.physics.noslip_cone import MINIMUM, RESTORED, Block, block_product, cone_friction_adjoint, outer
from diffsim.physics.scratch import END, PUSH, RESPONSE, RUNNING, START, START_BAR, Scratch
from diffsim.physics.sparse import add_scaled, copy_range, factor_solve
from diffsim.types import HALF, TWO, ZERO, real, vec2, vec5


@wp.func
def total_cotangent(s: Scratch, world: int, row: int) -> real:
    """The cotangent of a row's force after an update."""
    return s.row_force_bar[world, row] + row_dot(s, world, row, s.rare[0].noslip_vector[world, PUSH])


@wp.func
def add_weight(m: ModelArrays, s: Scratch, world: int, row: int, weight: real):
    """Adds w of a row, in alpha, W and Lambda."""
    vectors = s.rare[0].noslip_vector[world]
    add_scaled(0, m.nv, weight, vectors[RUNNING], s.rare[0].noslip_pull[world, row])
    add_scaled(0, m.nv, -weight, vectors[START], s.rare[0].noslip_pull[world, row])
    add_scaled(0, m.nv, weight, s.rare[0].noslip_response[world, row], vectors[PUSH])
    if lane() == 0:
        s.rare[0].noslip_weight[world, row] = s.rare[0].noslip_weight[world, row] + weight


@wp.func
def undo_update(m: ModelArrays, s: Scratch, world: int, row: int, sweep: int, before: real):
    """Goes back to before an update of a row, whose force has the cotangent `before` there. Needs Lambda."""
    vectors = s.rare[0].noslip_vector[world]
    change = s.rare[0].noslip_force[world, sweep + 1, row] - s.rare[0].noslip_force[world, sweep, row]
    add_scaled(0, m.nv, change, vectors[PUSH], s.rare[0].noslip_push[world, row])
    add_scaled(0, m.nv, -change, s.rare[0].noslip_response[world, row], vectors[RUNNING])
    if lane() == 0:
        s.row_force_bar[world, row] = before - row_dot(s, world, row, vectors[PUSH])


@wp.func(inline=True)
def dry_friction_adjoint(m: ModelArrays, s: Scratch, world: int, row: int, sweep: int):
    """Adjoint of `update_dry_friction`."""
    weight = real(0.0)
    if wp.abs(s.rare[0].noslip_force[world, sweep + 1, row]) < s.row_limit[world, row]:
        weight = -total_cotangent(s, world, row) / wp.max(MINVAL, coupling(s, world, row, row))
    sync()
    add_weight(m, s, world, row, weight)
    sync()
    undo_update(m, s, world, row, sweep, ZERO)
    sync()


@wp.func(inline=True)
def edges_adjoint(m: ModelArrays, s: Scratch, world: int, row: int, sweep: int):
    """Adjoint of `update_edges`."""
    bar = vec2(total_cotangent(s, world, row), total_cotangent(s, world, row + 1))
    force = s.rare[0].noslip_force[world, sweep + 1]
    before = vec2(bar[0], bar[1])
    weight = real(0.0)
    if s.rare[0].noslip_ending[world, sweep, row] != RESTORED:
        a, between = pair_couplings(s, world, row)
        curvature = a[0] + a[1] - TWO * between
        if curvature < MINVAL:
            before = vec2(HALF * (bar[0] + bar[1]), HALF * (bar[0] + bar[1]))
        elif force[row] == ZERO:
            before = vec2(bar[1], bar[1])
        elif force[row + 1] == ZERO:
            before = vec2(bar[0], bar[0])
        else:
            weight = (bar[1] - bar[0]) / curvature
            middle_bar = bar[0] + bar[1] + weight * (a[0] - a[1])
            before = vec2(HALF * middle_bar, HALF * middle_bar)
    sync()
    add_weight(m, s, world, row, weight)
    add_weight(m, s, world, row + 1, -weight)
    sync()
    undo_update(m, s, world, row, sweep, before[0])
    undo_update(m, s, world, row + 1, sweep, before[1])
    sync()


@wp.func
def add_block_cotangents(m: ModelArrays, s: Scratch, world: int, row: int, dim: int, a_bar: Block):
    """Adds to alpha and beta what a symmetric cotangent of A of the rows from `row` gives."""
    for i in range(dim):
        for j in range(dim):
            response = s.rare[0].noslip_response[world, row + j]
            add_scaled(0, m.nv, a_bar[i, j], response, s.rare[0].noslip_pull[world, row + i])
            add_scaled(0, m.nv, a_bar[i, j], response, s.rare[0].noslip_push[world, row + i])


@wp.func(inline=True)
def cone_adjoint(m: ModelArrays, s: Scratch, world: int, contact: int, sweep: int):
    """Adjoint of `update_cone`.

    The force x is a function of A and of b = J_B a_u - aref_B - A x, so w is the cotangent of b, and what the
    cotangent of A has beyond w x' acts on A alone. At a minimum this is zero; see `noslip_cone`.
    """
    row = s.contact_row[world, contact] + 1
    pair = s.contact_pair[world, contact]
    dim = contact_dim(m, s, world, contact) - 1
    bar = vec5()
    force = vec5()
    scale = vec5()
    slip = vec5()
    for i in range(dim):
        bar[i] = total_cotangent(s, world, row + i)
        force[i] = s.rare[0].noslip_force[world, sweep + 1, row + i]
        scale[i] = cone_scale(m, world, pair, i + 1)
        slip[i] = residual(s, world, row + i)
    ending = s.rare[0].noslip_ending[world, sweep, row - 1]
    weight = vec5()
    before = vec5()
    a_bar = Block()
    normal_bar = real(0.0)
    if ending == RESTORED:
        for i in range(dim):
            before[i] = bar[i]
    elif ending == MINIMUM:
        normal = s.rare[0].noslip_force[world, sweep, row - 1]
        a = cone_block(m, s, world, row, dim, scale)
        b = slip - block_product(a, force)
        b_bar, by_a, by_normal, _by_mu = cone_friction_adjoint(a, b, cone_mu(m, world, pair), normal, dim, bar)
        weight = b_bar
        normal_bar = by_normal
        a_bar = by_a - outer(b_bar, force)
        a_bar = HALF * (a_bar + wp.transpose(a_bar))
    sync()
    for i in range(dim):
        add_weight(m, s, world, row + i, weight[i])
    add_block_cotangents(m, s, world, row, dim, a_bar)
    sync()
    for i in range(dim):
        undo_update(m, s, world, row + i, sweep, before[i])
    if lane() == 0:
        s.row_force_bar[world, row - 1] = s.row_force_bar[world, row - 1] + normal_bar
    sync()


@wp.func(inline=True)
def contact_adjoint(m: ModelArrays, s: Scratch, world: int, contact: int, sweep: int):
    """Adjoint of `update_contact`."""
    if m.elliptic == 1:
        cone_adjoint(m, s, world, contact, sweep)
    else:
        edges = contact_dim(m, s, world, contact) - 1
        for r in range(edges):
            edges_adjoint(m, s, world, s.contact_row[world, contact] + 2 * (edges - 1 - r), sweep)


@wp.func(inline=True)
def sweep_adjoint(m: ModelArrays, s: Scratch, world: int, sweep: int):
    """Adjoint of `sweep_all`."""
    contacts = s.contact_count[world]
    for r in range(contacts):
        contact = contacts - 1 - r
        if contact_dim(m, s, world, contact) > 1:
            if is_active(s, world, s.contact_row[world, contact], sweep):
                contact_adjoint(m, s, world, contact, sweep)
    rows = first_contact_row(s, world)
    for r in range(rows):
        row = rows - 1 - r
        if s.row_kind[world, row] == FRICTION and is_active(s, world, row, sweep):
            dry_friction_adjoint(m, s, world, row, sweep)


@wp.func
def clear_noslip_cotangents(m: ModelArrays, s: Scratch, world: int, sensed: int):
    """Clears alpha, beta and W, and unless contacts are sensed c and the cotangents of contacts."""
    if sensed == 0:
        clear_contact_bars(m, s, world)
        for row in range(lane(), s.row_count[world], lanes()):
            s.row_force_bar[world, row] = ZERO
    for row in range(lane(), s.row_count[world], lanes()):
        s.rare[0].noslip_weight[world, row] = ZERO
    for row in range(s.row_count[world]):
        if is_swept(m, s, world, row):
            for dof in range(lane(), m.nv, lanes()):
                s.rare[0].noslip_pull[world, row, dof] = ZERO
                s.rare[0].noslip_push[world, row, dof] = ZERO
    sync()
    for contact in range(lane(), s.contact_count[world], lanes()):
        s.contact_sensed[world, contact] = 1


@wp.func
def noslip_adjoint(m: ModelArrays, s: Scratch, world: int, sensed: int):
    """From qacc_bar, of qacc, to that of a_0; fills alpha, beta, W, and adds c to `row_force_bar`.

    Needs `solve_noslip`. With `sensed` 1, the adjoint of forces that are functions of a_0: there is no qacc_bar.
    """
    vectors = s.rare[0].noslip_vector[world]
    clear_noslip_cotangents(m, s, world, sensed)
    for dof in range(lane(), m.nv, lanes()):
        vectors[RESPONSE, dof] = s.qacc_bar[world, dof] * real(1 - sensed)
    factor_mass(m, s, world)
    factor_solve(m.nv, m.dof_address, m.dof_run, s.hessian[world], vectors[RESPONSE])
    for dof in range(lane(), m.nv, lanes()):
        vectors[PUSH, dof] = vectors[RESPONSE, dof] + s.constraint_bar[world, dof]
        s.qacc_bar[world, dof] = s.qacc_bar[world, dof] + vectors[START_BAR, dof]
        vectors[START_BAR, dof] = ZERO
    copy_range(0, m.nv, vectors[END], vectors[RUNNING])
    sync()
    sweeps = sweep_count(m, s, world)
    for r in range(sweeps):
        sweep_adjoint(m, s, world, sweeps - 1 - r)


@wp.func
def on_line(m: ModelArrays, s: Scratch, world: int, row: int) -> bool:
    """Whether a row is the friction of a spatial tendon."""
    if s.row_source[world, row] != TENDON_FRICTION:
        return False
    return m.rare[0].tendon_line[s.row_index[world, row]] >= 0


@wp.func
def start_cotangents(m: ModelArrays, s: Scratch, world: int, sensed: int):
    """Adds to qacc_bar what a_0 gets from rows, and to qvel_bar what the residuals of dry friction give.

    With `sensed` 1 the rows of contacts, and the forces of spatial tendons, act on the bodies' accelerations instead.
    """
    for row in range(s.row_count[world]):
        weight = real(0.0)
        dry = s.row_kind[world, row] == FRICTION
        if dry:
            weight = s.rare[0].noslip_weight[world, row]
            add_row_scaled(s, world, row, weight * row_damping(m, s, world, row), s.qvel_bar[world])
        elif sensed == 0 and is_swept(m, s, world, row):
            weight = s.rare[0].noslip_weight[world, row]
        if s.row_state[world, row] == QUADRATIC and (sensed == 0 or (dry and not on_line(m, s, world, row))):
            weight -= s.row_stiffness[world, row] * s.row_force_bar[world, row]
        add_row_scaled(s, world, row, weight, s.qacc_bar[world])
    if m.elliptic == 1 and sensed == 0:
        for contact in range(s.contact_count[world]):
            first = s.contact_row[world, contact]
            if s.row_state[world, first] == SLIDING:
                pair = s.contact_pair[world, contact]
                dim = contact_dim(m, s, world, contact)
                u = load_rows(s.row_residual[world], first, dim)
                push = load_rows(s.row_force_bar[world], first, dim)
                pull = cone_product(SLIDING, s.row_stiffness[world, first], cone_mu(m, world, pair), u, push)
                for j in range(dim):
                    add_row_scaled(s, world, first + j, -pull[j], s.qacc_bar[world])
    sync()
