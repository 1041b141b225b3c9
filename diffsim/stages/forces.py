"""Stage: all forces but those of constraints."""

import warp as wp

from diffsim.physics.actuation import actuation
from diffsim.physics.bias import smooth_bias
from diffsim.physics.lanes import sync, world_of
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.passive import passive
from diffsim.physics.scratch import Scratch
from diffsim.physics.tendon import tendon_passive
from diffsim.stages.bounds import OPTIONS

wp.set_module_options({"enable_backward": False})


@wp.func(inline=True)
def forces(m: ModelArrays, s: Scratch, world: int):
    """Fills qfrc_smooth and qfrc_actuator. Needs the motion."""
    smooth_bias(m, s, world)
    passive(m, s, world)
    if m.ntendon > 0:
        tendon_passive(m, s, world)
        sync()
    actuation(m, s, world)


@wp.kernel(**OPTIONS)
def forces_kernel(m: ModelArrays, s: Scratch):
    """See `forces`."""
    forces(m, s, world_of(s.first_world, wp.tid()))
