"""The noslip solver: sweeps over friction after the constraint solver, without the softness that lets contacts slip.

A sweep visits dry friction and then contacts, in order. The forces f_B of one dof, of one pair of opposing edges of a
pyramid at a fixed sum, or of friction in an elliptic cone, become those that minimize

    1/2 f' A f + f' (J M^-1 qfrc_smooth - aref),    A = J M^-1 J'

within their limits; the forces of other rows, and those along normals, stay. At the minimum inside the limits the rows'
residuals J qacc - aref vanish. The acceleration follows the forces, qacc += X_i' df_i with X_i = M^-1 J_i', and so A is
not needed. Sweeps end where they improve the cost of an island, the trees that constraints join, by too little.
Source: `mj_solNoSlip` of MuJoCo, whose limits and tolerances these are.
"""

import warp as wp

from diffsim.physics.cone import cone_mu, cone_scale
from diffsim.physics.constraint import CONNECT_OR_WELD, CONTACT, FRICTION, row_dot
from diffsim.physics.contact_list import contact_dim
from diffsim.physics.lanes import lane, lanes, sync
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.noslip_cone import (
    MINIMUM,
    NO_FORCE,
    RESTORED,
    Block,
    block_product,
    cone_friction,
    no_block,
)
from diffsim.physics.row_law import constraint_force
from diffsim.physics.scratch import END, RUNNING, START, Scratch
from diffsim.physics.sparse import add_scaled, copy_lower, copy_range, factor, factor_solve
from diffsim.types import HALF, TWO, ZERO, real, vec2, vec5

MINVAL = wp.constant(real(1.0e-15))
LEAST = wp.constant(real(1.0e-10))  # smallest entry of A in a block, and largest increase of the cost


@wp.func
def first_contact_row(s: Scratch, world: int) -> int:
    """Number of rows before those of contacts."""
    if s.contact_count[world] > 0:
        return s.contact_row[world, 0]
    return s.row_count[world]


@wp.func
def is_swept(m: ModelArrays, s: Scratch, world: int, row: int) -> bool:
    """Whether the solver changes a row's force."""
    if s.row_source[world, row] == CONTACT:
        contact = s.row_index[world, row]
        if contact_dim(m, s, world, contact) == 1:
            return False
        return m.elliptic == 0 or row > s.contact_row[world, contact]
    return s.row_kind[world, row] == FRICTION


@wp.func
def factor_mass(m: ModelArrays, s: Scratch, world: int):
    """Fills `hessian` with the factor of M."""
    copy_lower(m.nv, m.dof_address, m.dof_run, s.mass_matrix[world], s.hessian[world])
    sync()
    factor(m.nv, m.dof_address, m.dof_run, s.hessian[world])


@wp.func
def responses(m: ModelArrays, s: Scratch, world: int):
    """Fills X of the rows that are swept. Needs `factor_mass`."""
    for row in range(s.row_count[world]):
        if is_swept(m, s, world, row):
            for dof in range(lane(), m.nv, lanes()):
                s.rare[0].noslip_response[world, row, dof] = ZERO
            for block in range(s.row_first_run[world, row], s.row_last_run[world, row]):
                start = s.run[world, block, 0]
                stop = s.run[world, block, 1]
                copy_range(start, stop, s.row_jacobian[world, row], s.rare[0].noslip_response[world, row])
            sync()
            factor_solve(m.nv, m.dof_address, m.dof_run, s.hessian[world], s.rare[0].noslip_response[world, row])


# ------------------------------------------------------------------------------------------------------------ islands


@wp.func
def first_tree(s: Scratch, world: int, tree: int) -> int:
    """The first tree of a tree's island."""
    root = tree
    while s.rare[0].noslip_tree[world, root] != root:
        root = s.rare[0].noslip_tree[world, root]
    return root


@wp.func(inline=True)
def join_trees(m: ModelArrays, s: Scratch, world: int, row: int) -> int:
    """Joins the trees that a row moves; returns one of them. A contact or weld joins also what it does not move."""
    joined = int(-1)
    source = s.row_source[world, row]
    always = source == CONTACT or source == CONNECT_OR_WELD
    for block in range(s.row_first_run[world, row], s.row_last_run[world, row]):
        for dof in range(s.run[world, block, 0], s.run[world, block, 1]):
            if always or s.row_jacobian[world, row, dof] != ZERO:
                tree = first_tree(s, world, m.rare[0].dof_tree[dof])
                if joined < 0:
                    joined = tree
                low = wp.min(joined, tree)
                s.rare[0].noslip_tree[world, wp.max(joined, tree)] = low
                joined = low
    return wp.max(joined, 0)


@wp.func
def find_islands(m: ModelArrays, s: Scratch, world: int):
    """Fills the rows' islands, and of each island the inertia and the largest number of sweeps. For one lane."""
    for tree in range(m.rare[0].ntree):
        s.rare[0].noslip_tree[world, tree] = tree * m.rare[0].noslip_islands
        s.rare[0].noslip_sweeps[world, tree] = 0
        s.rare[0].noslip_inertia[world, tree] = ZERO
    for row in range(s.row_count[world]):
        s.rare[0].noslip_island[world, row] = join_trees(m, s, world, row)
    for row in range(s.row_count[world]):
        island = first_tree(s, world, s.rare[0].noslip_island[world, row])
        s.rare[0].noslip_island[world, row] = island
        s.rare[0].noslip_sweeps[world, island] = m.noslip
    for dof in range(m.nv):
        island = first_tree(s, world, m.rare[0].dof_tree[dof])
        inertia = s.rare[0].noslip_inertia[world, island] + s.mass_matrix[world, dof, dof]
        s.rare[0].noslip_inertia[world, island] = inertia


@wp.func
def is_active(s: Scratch, world: int, row: int, sweep: int) -> bool:
    """Whether a sweep changes the forces of a row's island."""
    return sweep < s.rare[0].noslip_sweeps[world, s.rare[0].noslip_island[world, row]]


@wp.func
def sweep_count(m: ModelArrays, s: Scratch, world: int) -> int:
    """Largest number of sweeps of an island."""
    count = int(0)
    for tree in range(m.rare[0].ntree):
        count = wp.max(count, s.rare[0].noslip_sweeps[world, tree])
    return count


@wp.func
def begin_sweep(m: ModelArrays, s: Scratch, world: int, sweep: int):
    """Clears the islands' gains. In the first sweep the gain includes the cost of softness. For one lane."""
    for tree in range(m.rare[0].ntree):
        s.rare[0].noslip_gain[world, tree] = ZERO
    if sweep == 0:
        for row in range(s.row_count[world]):
            force = s.row_force[world, row]
            add_gain(s, world, row, HALF * force * force / s.row_stiffness[world, row])


@wp.func
def end_sweep(m: ModelArrays, s: Scratch, world: int, sweep: int):
    """Ends the sweeps of islands whose cost hardly changed. For one lane."""
    for tree in range(m.rare[0].ntree):
        least = m.rare[0].noslip_tolerance * s.rare[0].noslip_inertia[world, tree]
        if s.rare[0].noslip_gain[world, tree] < least:
            s.rare[0].noslip_sweeps[world, tree] = wp.min(sweep + 1, s.rare[0].noslip_sweeps[world, tree])


@wp.func
def add_gain(s: Scratch, world: int, row: int, value: real):
    """Adds to the gain of a row's island. For one lane."""
    tree = s.rare[0].noslip_island[world, row]
    s.rare[0].noslip_gain[world, tree] = s.rare[0].noslip_gain[world, tree] + value


# ------------------------------------------------------------------------------------------------------------- updates


@wp.func
def residual(s: Scratch, world: int, row: int) -> real:
    """J qacc - aref."""
    return row_dot(s, world, row, s.rare[0].noslip_vector[world, RUNNING]) - s.row_aref[world, row]


@wp.func
def coupling(s: Scratch, world: int, row: int, other: int) -> real:
    """An entry of A."""
    return row_dot(s, world, row, s.rare[0].noslip_response[world, other])


@wp.func
def move_force(m: ModelArrays, s: Scratch, world: int, row: int, force: real, change: real):
    """Sets a row's force, with what it changes in the acceleration."""
    add_scaled(0, m.nv, change, s.rare[0].noslip_response[world, row], s.rare[0].noslip_vector[world, RUNNING])
    if lane() == 0:
        s.row_force[world, row] = force


@wp.func(inline=True)
def update_dry_friction(m: ModelArrays, s: Scratch, world: int, row: int):
    """Friction loss of a dof or tendon."""
    slip = residual(s, world, row)
    a = wp.max(MINVAL, coupling(s, world, row, row))
    old = s.row_force[world, row]
    limit = s.row_limit[world, row]
    force = wp.clamp(old - slip / a, -limit, limit)
    change = force - old
    sync()
    move_force(m, s, world, row, force, change)
    if lane() == 0:
        add_gain(s, world, row, -HALF * change * change * a - change * slip)
    sync()


@wp.func
def pair_couplings(s: Scratch, world: int, row: int):
    """Entries of A of two opposing edges: on the diagonal, and between them."""
    first = wp.max(LEAST, coupling(s, world, row, row))
    second = wp.max(LEAST, coupling(s, world, row + 1, row + 1))
    return vec2(first, second), coupling(s, world, row, row + 1)


@wp.func(inline=True)
def update_edges(m: ModelArrays, s: Scratch, world: int, row: int, sweep: int):
    """Two opposing edges of a pyramid."""
    slip = vec2(residual(s, world, row), residual(s, world, row + 1))
    a, between = pair_couplings(s, world, row)
    old = vec2(s.row_force[world, row], s.row_force[world, row + 1])
    middle = HALF * (old[0] + old[1])
    curvature = a[0] + a[1] - TWO * between
    force = vec2(middle, middle)
    if curvature >= MINVAL:
        slope = middle * (a[0] - a[1]) + slip[0] - slip[1]
        slope -= (a[0] - between) * old[0] + (between - a[1]) * old[1]
        side = -slope / curvature
        force = vec2(middle + side, middle - side)
        if side < -middle:
            force = vec2(ZERO, TWO * middle)
        elif side > middle:
            force = vec2(TWO * middle, ZERO)
    change = force - old
    cost = wp.dot(change, slip) + HALF * (a[0] * change[0] * change[0] + a[1] * change[1] * change[1])
    cost += between * change[0] * change[1]
    ending = int(MINIMUM)
    if cost > LEAST:
        cost = ZERO
        force = old
        change = vec2(ZERO, ZERO)
        ending = RESTORED
    sync()
    move_force(m, s, world, row, force[0], change[0])
    move_force(m, s, world, row + 1, force[1], change[1])
    if lane() == 0:
        s.rare[0].noslip_ending[world, sweep, row] = ending
        add_gain(s, world, row, -cost)
    sync()


@wp.func(inline=True)
def cone_block(m: ModelArrays, s: Scratch, world: int, row: int, dim: int, scale: vec5) -> Block:
    """A of the friction rows of an elliptic cone, from `row`. The rows are `scale` times MuJoCo's."""
    a = no_block()
    for i in range(dim):
        for j in range(i):
            a[i, j] = coupling(s, world, row + i, row + j)
            a[j, i] = a[i, j]
        a[i, i] = wp.max(LEAST * scale[i] * scale[i], coupling(s, world, row + i, row + i))
    return a


@wp.func(inline=True)
def update_cone(m: ModelArrays, s: Scratch, world: int, contact: int, sweep: int):
    """Friction of an elliptic cone."""
    row = s.contact_row[world, contact] + 1
    pair = s.contact_pair[world, contact]
    dim = contact_dim(m, s, world, contact) - 1
    mu = cone_mu(m, world, pair)
    scale = vec5()
    slip = vec5()
    old = vec5()
    for i in range(dim):
        scale[i] = cone_scale(m, world, pair, i + 1)
        slip[i] = residual(s, world, row + i)
        old[i] = s.row_force[world, row + i]
    a = cone_block(m, s, world, row, dim, scale)
    normal = s.row_force[world, row - 1]
    force = vec5()
    ending = int(NO_FORCE)
    if normal >= MINVAL:
        force, ending = cone_friction(a, slip - block_product(a, old), mu, normal, dim)
    change = force - old
    cost = wp.dot(change, slip) + HALF * wp.dot(change, block_product(a, change))
    if cost > LEAST:
        cost = ZERO
        force = old
        change = vec5()
        ending = RESTORED
    sync()
    for i in range(dim):
        move_force(m, s, world, row + i, force[i], change[i])
    if lane() == 0:
        s.rare[0].noslip_ending[world, sweep, row - 1] = ending
        add_gain(s, world, row, -cost)
    sync()


@wp.func(inline=True)
def update_contact(m: ModelArrays, s: Scratch, world: int, contact: int, sweep: int):
    """Friction of a contact."""
    if m.elliptic == 1:
        update_cone(m, s, world, contact, sweep)
    else:
        for edge in range(contact_dim(m, s, world, contact) - 1):
            update_edges(m, s, world, s.contact_row[world, contact] + 2 * edge, sweep)


@wp.func(inline=True)
def sweep_all(m: ModelArrays, s: Scratch, world: int, sweep: int):
    """Updates all friction once."""
    for row in range(first_contact_row(s, world)):
        if s.row_kind[world, row] == FRICTION and is_active(s, world, row, sweep):
            update_dry_friction(m, s, world, row)
    for contact in range(s.contact_count[world]):
        if contact_dim(m, s, world, contact) > 1:
            if is_active(s, world, s.contact_row[world, contact], sweep):
                update_contact(m, s, world, contact, sweep)


@wp.func
def keep_forces(s: Scratch, world: int, sweep: int):
    """Keeps the forces before a sweep."""
    for row in range(lane(), s.row_count[world], lanes()):
        s.rare[0].noslip_force[world, sweep, row] = s.row_force[world, row]


@wp.func
def solve_noslip(m: ModelArrays, s: Scratch, world: int):
    """Fills END from qacc and the rows' forces, which it changes. Keeps qacc in START."""
    copy_range(0, m.nv, s.qacc[world], s.rare[0].noslip_vector[world, START])
    copy_range(0, m.nv, s.qacc[world], s.rare[0].noslip_vector[world, RUNNING])
    factor_mass(m, s, world)
    responses(m, s, world)
    if lane() == 0:
        find_islands(m, s, world)
    sync()
    for sweep in range(m.noslip):
        keep_forces(s, world, sweep)
        if sweep < sweep_count(m, s, world):
            if lane() == 0:
                begin_sweep(m, s, world, sweep)
            sync()
            sweep_all(m, s, world, sweep)
            if lane() == 0:
                end_sweep(m, s, world, sweep)
        sync()
    keep_forces(s, world, m.noslip)
    copy_range(0, m.nv, s.rare[0].noslip_vector[world, RUNNING], s.rare[0].noslip_vector[world, END])
    sync()


@wp.func
def finish_noslip(m: ModelArrays, s: Scratch, world: int):
    """Sets qacc and qfrc_constraint to the results of `solve_noslip`."""
    copy_range(0, m.nv, s.rare[0].noslip_vector[world, END], s.qacc[world])
    constraint_force(m, s, world)
