"""Stage of the CPU: `rows` and `solve` in one kernel."""

import warp as wp

from diffsim.physics.lanes import world_of
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.newton import solve_acceleration
from diffsim.physics.scratch import Scratch
from diffsim.stages.bounds import OPTIONS
from diffsim.stages.rows import contacts_and_rows

wp.set_module_options({"enable_backward": False})


@wp.kernel(**OPTIONS)
def respond_kernel(m: ModelArrays, s: Scratch, warm: int):
    """Contacts, rows and the acceleration."""
    world = world_of(s.first_world, wp.tid())
    contacts_and_rows(m, s, world)
    solve_acceleration(m, s, world, warm)
