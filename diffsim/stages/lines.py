"""Stages of spatial tendons and moving transmissions. Launched only for models with them."""

import warp as wp

from diffsim.physics.lanes import world_of
from diffsim.physics.line import fill_lines
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.scratch import Scratch
from diffsim.stages.bounds import OPTIONS

wp.set_module_options({"enable_backward": False})


@wp.kernel(**OPTIONS)
def lines_kernel(m: ModelArrays, s: Scratch):
    """Fills their lengths and moments. Needs the motion."""
    fill_lines(m, s, world_of(s.first_world, wp.tid()))
