"""Stage: gradient of the bias's derivative, in the adjoint of the integrator "implicit". See `implicit_adjoint`."""

import warp as wp

from diffsim.physics.bias_derivative import bias_derivative_gradient
from diffsim.physics.lanes import world_of
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.scratch import Scratch
from diffsim.physics.world_parameters import timestep
from diffsim.stages.bounds import OPTIONS

wp.set_module_options({"enable_backward": False})


@wp.kernel(**OPTIONS)
def implicit_bias_kernel(m: ModelArrays, s: Scratch):
    """See `bias_derivative.bias_derivative_gradient`."""
    world = world_of(s.first_world, wp.tid())
    bias_derivative_gradient(m, s, world, -timestep(m, world))
