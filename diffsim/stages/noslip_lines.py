"""Stage: gradients by positions of what the noslip solver adds through spatial tendons."""

import warp as wp

from diffsim.physics.lanes import world_of
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.noslip_lines import noslip_lines_gradient
from diffsim.physics.scratch import Scratch
from diffsim.stages.bounds import OPTIONS

wp.set_module_options({"enable_backward": False})


@wp.kernel(**OPTIONS)
def noslip_lines_kernel(m: ModelArrays, s: Scratch):
    """Launched only for models with both. See `noslip_lines.noslip_lines_gradient`."""
    noslip_lines_gradient(m, s, world_of(s.first_world, wp.tid()))
