"""Stage: the acceleration."""

import warp as wp

from diffsim.physics.lanes import world_of
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.newton import solve_acceleration
from diffsim.physics.scratch import Scratch
from diffsim.stages.bounds import OPTIONS

wp.set_module_options({"enable_backward": False})


@wp.kernel(**OPTIONS)
def solve_kernel(m: ModelArrays, s: Scratch, warm: int):
    """Fills qacc and qfrc_constraint. Needs the forces and the rows."""
    solve_acceleration(m, s, world_of(s.first_world, wp.tid()), warm)
