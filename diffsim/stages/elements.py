"""Stage: gradients of springs, dampers, actuators, and of the rows of joints and tendons."""

import warp as wp

from diffsim.physics.lanes import world_of
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.scratch import Scratch
from diffsim.physics.virtual_power import element_gradients
from diffsim.stages.bounds import OPTIONS

wp.set_module_options({"enable_backward": False})


@wp.kernel(**OPTIONS)
def elements_kernel(m: ModelArrays, s: Scratch):
    """See `virtual_power.element_gradients`."""
    element_gradients(m, s, world_of(s.first_world, wp.tid()))
