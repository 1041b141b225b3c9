"""Stage: gradients of actuators, and of all forces along spatial tendons and moving transmissions."""

import warp as wp

from diffsim.physics.lanes import world_of
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.scratch import Scratch
from diffsim.physics.virtual_power import lines_gradient
from diffsim.stages.bounds import OPTIONS

wp.set_module_options({"enable_backward": False})


@wp.kernel(**OPTIONS)
def lines_gradient_kernel(m: ModelArrays, s: Scratch):
    """Launched only for models with them. See `virtual_power.lines_gradient`."""
    lines_gradient(m, s, world_of(s.first_world, wp.tid()))
