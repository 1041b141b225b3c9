"""Stage: gradients of connect and weld constraints."""

import warp as wp

from diffsim.physics.lanes import world_of
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.scratch import Scratch
from diffsim.physics.virtual_power import joined_gradient
from diffsim.stages.bounds import OPTIONS

wp.set_module_options({"enable_backward": False})


@wp.kernel(**OPTIONS)
def joined_kernel(m: ModelArrays, s: Scratch):
    """Launched only for models with such constraints."""
    joined_gradient(m, s, world_of(s.first_world, wp.tid()))
