"""Stage: the evaluation point, and the poses of bodies and geoms."""

import warp as wp

from diffsim.physics.adjoint import set_point
from diffsim.physics.contact import geom_poses
from diffsim.physics.kinematics import kinematics
from diffsim.physics.lanes import world_of
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.scratch import Scratch
from diffsim.physics.step import EvaluationPoints, load_stage, stage_count
from diffsim.stages.bounds import OPTIONS
from diffsim.types import RK4

wp.set_module_options({"enable_backward": False})


@wp.func(inline=True)
def frames(m: ModelArrays, s: Scratch, t: EvaluationPoints, world: int, slot: int, num_steps: int, adjoint: int):
    """Forward, moves on to a Runge-Kutta stage first; in the adjoint, loads the slot's point."""
    if adjoint == 1:
        set_point(m, s, t, world, slot)
    elif m.integrator == RK4 and num_steps > 0:
        stage = slot % stage_count(m)
        load_stage(m, s, t, world, slot - stage, stage)
    kinematics(m, s, world)
    geom_poses(m, s, world)


@wp.kernel(**OPTIONS)
def frames_kernel(m: ModelArrays, s: Scratch, t: EvaluationPoints, slot: int, num_steps: int, adjoint: int):
    """See `frames`."""
    frames(m, s, t, world_of(s.first_world, wp.tid()), slot, num_steps, adjoint)
