"""Stage: the acceleration of an implicit velocity step. Launched only if the model's step is implicit."""

import warp as wp

from diffsim.physics.implicit import implicit_acceleration
from diffsim.physics.lanes import world_of
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.scratch import Scratch
from diffsim.stages.bounds import OPTIONS

wp.set_module_options({"enable_backward": False})


@wp.kernel(**OPTIONS)
def implicit_kernel(m: ModelArrays, s: Scratch):
    """Fills implicit_qacc, and `hessian` with the factor of M - h D. Needs qacc and the frames."""
    implicit_acceleration(m, s, world_of(s.first_world, wp.tid()))
