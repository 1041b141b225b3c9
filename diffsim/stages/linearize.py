"""Stages of the Jacobian of steps on the CPU: see `physics.linearize`.

For each evaluation, the stages of frames, constraints and the implicit velocity step run once, and those of the
gradient for each row. `jacobian_row` counts the rows.
"""

import warp as wp

from diffsim.physics.adjoint import clear
from diffsim.physics.lanes import world_of
from diffsim.physics.linearize import clear_cotangents, load_row, step_row, store_row
from diffsim.physics.mocap import load_inputs
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.newton import factor_hessian, solve_hessian
from diffsim.physics.row_law import row_forces
from diffsim.physics.scratch import Scratch
from diffsim.physics.step import EvaluationPoints, copy
from diffsim.stages.bounds import OPTIONS
from diffsim.types import real

wp.set_module_options({"enable_backward": False})


@wp.kernel(**OPTIONS)
def begin_linearize_kernel(
    m: ModelArrays,
    s: Scratch,
    ctrl_in: wp.array2d(dtype=real),
    state_jacobian_out: wp.array3d(dtype=real),
    ctrl_jacobian_out: wp.array3d(dtype=real),
):
    """Loads the inputs, and starts with the Jacobian of no step."""
    world = world_of(s.first_world, wp.tid())
    load_inputs(m, s, world, ctrl_in[world])
    clear(m.nv, s.constraint_bar[world])
    clear(m.nv, s.applied_bar[world])
    rows = 2 * m.nv + m.na
    for row in range(rows):
        clear(rows, state_jacobian_out[world, row])
        clear(m.nu, ctrl_jacobian_out[world, row])
        state_jacobian_out[world, row, row] = real(1.0)


@wp.kernel(**OPTIONS)
def first_row_kernel(m: ModelArrays, s: Scratch):
    """Starts to count rows."""
    s.jacobian_row[world_of(s.first_world, wp.tid())] = 0


@wp.kernel(**OPTIONS)
def unit_row_kernel(m: ModelArrays, s: Scratch):
    """Sets the cotangents to those of one component of w: of `implicit_qacc`, or of qacc if that is w."""
    world = world_of(s.first_world, wp.tid())
    clear_cotangents(m, s, world)
    row = s.jacobian_row[world]
    if m.implicit == 1:
        s.implicit_qacc_bar[world, row] = real(1.0)
    else:
        s.qacc_bar[world, row] = real(1.0)


@wp.kernel(**OPTIONS)
def store_row_kernel(m: ModelArrays, s: Scratch, stage: int, evaluation_jacobian_out: wp.array4d(dtype=real)):
    """Stores a row of an evaluation's Jacobian, and moves on to the next."""
    world = world_of(s.first_world, wp.tid())
    row = s.jacobian_row[world]
    store_row(m, s, world, evaluation_jacobian_out[world, stage, row])
    s.jacobian_row[world] = row + 1


@wp.kernel(**OPTIONS)
def factor_kernel(m: ModelArrays, s: Scratch):
    """Factors H, and starts to count rows. Needs the mass matrix and the rows."""
    world = world_of(s.first_world, wp.tid())
    if m.implicit == 0:
        copy(m.nv, s.qacc[world], s.implicit_qacc[world])
    row_forces(m, s, world, s.qacc[world])
    factor_hessian(m, s, world)
    s.jacobian_row[world] = 0


@wp.kernel(**OPTIONS)
def virtual_row_kernel(m: ModelArrays, s: Scratch, stage: int, evaluation_jacobian_out: wp.array4d(dtype=real)):
    """Fills lambda of a row. Needs the factor of H."""
    world = world_of(s.first_world, wp.tid())
    load_row(m, s, world, evaluation_jacobian_out[world, stage, s.jacobian_row[world]])
    copy(m.nv, s.qacc_bar[world], s.virtual_velocity[world])
    solve_hessian(m, s, world, s.virtual_velocity[world])
    copy(m.nv, s.virtual_velocity[world], s.constraint_velocity[world])


@wp.kernel(**OPTIONS)
def step_rows_kernel(
    m: ModelArrays,
    s: Scratch,
    t: EvaluationPoints,
    slot: int,
    state_jacobian_out: wp.array3d(dtype=real),
    ctrl_jacobian_out: wp.array3d(dtype=real),
    evaluation_jacobian_out: wp.array4d(dtype=real),
):
    """Continues all rows of the result through the step that starts at a slot."""
    world = world_of(s.first_world, wp.tid())
    for row in range(2 * m.nv + m.na):
        step_row(
            m,
            s,
            t,
            world,
            slot,
            evaluation_jacobian_out[world],
            state_jacobian_out[world, row],
            ctrl_jacobian_out[world, row],
        )
