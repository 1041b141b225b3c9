"""Stage: the mass matrix."""

import warp as wp

from diffsim.physics.inertia import mass_matrix
from diffsim.physics.lanes import world_of
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.scratch import Scratch
from diffsim.stages.bounds import OPTIONS

wp.set_module_options({"enable_backward": False})


@wp.kernel(**OPTIONS)
def mass_kernel(m: ModelArrays, s: Scratch):
    """See `inertia.mass_matrix`. Needs the motion."""
    mass_matrix(m, s, world_of(s.first_world, wp.tid()))
