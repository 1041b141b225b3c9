"""Stage: adjoint of the noslip solver, from the cotangents of its results to those of the constraint solver."""

import warp as wp

from diffsim.physics.lanes import world_of
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.noslip_adjoint import noslip_adjoint, start_cotangents
from diffsim.physics.scratch import Scratch
from diffsim.stages.bounds import OPTIONS

wp.set_module_options({"enable_backward": False})


@wp.kernel(**OPTIONS)
def noslip_adjoint_kernel(m: ModelArrays, s: Scratch, sensed: int):
    """See `noslip_adjoint`. Needs the stage `noslip` of the adjoint, and `motion` after it."""
    world = world_of(s.first_world, wp.tid())
    noslip_adjoint(m, s, world, sensed)
    start_cotangents(m, s, world, sensed)
