"""Stage: gradient of gyroscopic forces and actuators, in the adjoint of an implicit step. See `implicit_adjoint`."""

import warp as wp

from diffsim.physics.implicit import implicit_force_gradient
from diffsim.physics.lanes import world_of
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.scratch import Scratch
from diffsim.stages.bounds import OPTIONS

wp.set_module_options({"enable_backward": False})


@wp.kernel(**OPTIONS)
def implicit_forces_kernel(m: ModelArrays, s: Scratch):
    """See `implicit.implicit_force_gradient`."""
    implicit_force_gradient(m, s, world_of(s.first_world, wp.tid()))
