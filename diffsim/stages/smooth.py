"""Stage of the CPU: `frames`, `motion`, `mass` and `forces` in one kernel, for models without lines."""

import warp as wp

from diffsim.physics.bias import body_motions
from diffsim.physics.inertia import mass_matrix
from diffsim.physics.lanes import world_of
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.scratch import Scratch
from diffsim.physics.step import EvaluationPoints
from diffsim.stages.bounds import OPTIONS
from diffsim.stages.forces import forces
from diffsim.stages.frames import frames

wp.set_module_options({"enable_backward": False})


@wp.kernel(**OPTIONS)
def smooth_kernel(m: ModelArrays, s: Scratch, t: EvaluationPoints, slot: int, num_steps: int):
    """All of an evaluation before the contacts."""
    world = world_of(s.first_world, wp.tid())
    frames(m, s, t, world, slot, num_steps, 0)
    body_motions(m, s, world, 0)
    mass_matrix(m, s, world)
    forces(m, s, world)
