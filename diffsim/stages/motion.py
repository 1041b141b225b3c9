"""Stage: motion subspaces, inertias, velocities and accelerations of the bodies."""

import warp as wp

from diffsim.physics.bias import body_motions
from diffsim.physics.lanes import world_of
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.scratch import Scratch
from diffsim.stages.bounds import OPTIONS

wp.set_module_options({"enable_backward": False})


@wp.kernel(**OPTIONS)
def motion_kernel(m: ModelArrays, s: Scratch, with_qacc: int):
    """See `bias.body_motions`. Needs the frames."""
    body_motions(m, s, world_of(s.first_world, wp.tid()), with_qacc)
