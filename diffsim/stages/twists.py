"""Stage: twists of the virtual velocity, and the bodies' cotangents without those of constraints."""

import warp as wp

from diffsim.physics.lanes import world_of
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.scratch import Scratch
from diffsim.physics.virtual_power import twist_cotangents
from diffsim.stages.bounds import OPTIONS

wp.set_module_options({"enable_backward": False})


@wp.kernel(**OPTIONS)
def twists_kernel(m: ModelArrays, s: Scratch):
    """Fills what `collide_gradient` and `gather` need. Needs the motion and lambda."""
    twist_cotangents(m, s, world_of(s.first_world, wp.tid()))
