"""Stage: gradients by positions of what the noslip solver adds."""

import warp as wp

from diffsim.physics.lanes import world_of
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.noslip_gradient import has_swept_rows, jacobian_gradient, mass_gradient
from diffsim.physics.scratch import Scratch
from diffsim.stages.bounds import OPTIONS

wp.set_module_options({"enable_backward": False})


@wp.kernel(**OPTIONS)
def noslip_gradient_kernel(m: ModelArrays, s: Scratch):
    """See `noslip_gradient`. Needs the stage `noslip_adjoint`."""
    world = world_of(s.first_world, wp.tid())
    if has_swept_rows(m, s, world):
        mass_gradient(m, s, world)
        jacobian_gradient(m, s, world)
