"""Stage: gradients of the medium's forces on ellipsoids."""

import warp as wp

from diffsim.physics.ellipsoid_drag import ellipsoid_cotangents
from diffsim.physics.lanes import world_of
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.scratch import Scratch
from diffsim.stages.bounds import OPTIONS

wp.set_module_options({"enable_backward": False})


@wp.kernel(**OPTIONS)
def ellipsoids_kernel(m: ModelArrays, s: Scratch):
    """Launched only for models with such forces, after the stage `twists`."""
    ellipsoid_cotangents(m, s, world_of(s.first_world, wp.tid()))
