"""Stage of the CPU: `begin_slot`, `frames`, `motion` and `mass` of the adjoint in one kernel, without lines."""

import warp as wp

from diffsim.physics.adjoint import begin_slot
from diffsim.physics.bias import body_motions
from diffsim.physics.inertia import mass_matrix
from diffsim.physics.lanes import world_of
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.scratch import Scratch
from diffsim.physics.step import EvaluationPoints
from diffsim.stages.bounds import OPTIONS
from diffsim.stages.frames import frames

wp.set_module_options({"enable_backward": False})


@wp.kernel(**OPTIONS)
def point_kernel(m: ModelArrays, s: Scratch, t: EvaluationPoints, slot: int, num_steps: int):
    """The start of a slot's adjoint, up to the contacts."""
    world = world_of(s.first_world, wp.tid())
    begin_slot(m, s, t, world, slot, num_steps)
    frames(m, s, t, world, slot, num_steps, 1)
    body_motions(m, s, world, 1)
    mass_matrix(m, s, world)
