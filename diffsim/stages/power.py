"""Stage of the CPU: `virtual` and `twists` in one kernel."""

import warp as wp

from diffsim.physics.lanes import world_of
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.row_law import row_forces
from diffsim.physics.scratch import Scratch
from diffsim.physics.virtual_power import solve_virtual_velocity, twist_cotangents
from diffsim.stages.bounds import OPTIONS

wp.set_module_options({"enable_backward": False})


@wp.kernel(**OPTIONS)
def power_kernel(m: ModelArrays, s: Scratch):
    """The virtual velocity and its twists."""
    world = world_of(s.first_world, wp.tid())
    row_forces(m, s, world, s.qacc[world])
    solve_virtual_velocity(m, s, world)
    twist_cotangents(m, s, world)
