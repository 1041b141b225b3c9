"""Stage: adjoint of the implicit velocity step. Launched only if the model's step is implicit."""

import warp as wp

from diffsim.physics.implicit import implicit_adjoint
from diffsim.physics.lanes import world_of
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.scratch import Scratch
from diffsim.stages.bounds import OPTIONS

wp.set_module_options({"enable_backward": False})


@wp.kernel(**OPTIONS)
def implicit_adjoint_kernel(m: ModelArrays, s: Scratch):
    """Adds to the cotangents of the evaluation, given implicit_qacc_bar. Needs what `implicit` filled."""
    implicit_adjoint(m, s, world_of(s.first_world, wp.tid()))
