"""Stages: the noslip solver, after `solve`; and in the adjoint, after `rows`."""

import warp as wp

from diffsim.physics.lanes import sync, world_of
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.noslip import finish_noslip, solve_noslip
from diffsim.physics.row_law import row_forces
from diffsim.physics.scratch import Scratch
from diffsim.physics.step import EvaluationPoints, copy
from diffsim.stages.bounds import OPTIONS

wp.set_module_options({"enable_backward": False})


@wp.kernel(**OPTIONS)
def noslip_kernel(m: ModelArrays, s: Scratch, t: EvaluationPoints, slot: int, adjoint: int):
    """Forward, changes qacc and qfrc_constraint. In the adjoint, leaves qacc as it was before."""
    world = world_of(s.first_world, wp.tid())
    if adjoint == 1:
        copy(m.nv, t.start[world, slot], s.qacc[world])
        sync()
        row_forces(m, s, world, s.qacc[world])
        sync()
    solve_noslip(m, s, world)
    if adjoint == 0:
        finish_noslip(m, s, world)
