"""Stage: gradient of the medium's forces, in the adjoint of an implicit step. See `implicit_adjoint`."""

import warp as wp

from diffsim.physics.implicit import drag_derivative_gradient
from diffsim.physics.lanes import world_of
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.scratch import Scratch
from diffsim.stages.bounds import OPTIONS

wp.set_module_options({"enable_backward": False})


@wp.kernel(**OPTIONS)
def implicit_fluid_kernel(m: ModelArrays, s: Scratch):
    """See `implicit.drag_derivative_gradient`."""
    drag_derivative_gradient(m, s, world_of(s.first_world, wp.tid()))
