"""Stage: the evaluation point is stored, and the state moves on."""

import warp as wp

from diffsim.physics.lanes import sync, world_of
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.scratch import Scratch
from diffsim.physics.step import (
    EvaluationPoints,
    all_bounded,
    runge_kutta_step,
    stage_count,
    store_point,
    velocity_step,
)
from diffsim.stages.bounds import OPTIONS
from diffsim.types import RK4

wp.set_module_options({"enable_backward": False})


@wp.kernel(**OPTIONS)
def advance_kernel(m: ModelArrays, s: Scratch, t: EvaluationPoints, slot: int, report_out: wp.array2d(dtype=wp.int32)):
    """Stores a slot and takes a step of Euler, or the last of a Runge-Kutta step. Reports as `step.evaluations`."""
    world = world_of(s.first_world, wp.tid())
    stage = slot % stage_count(m)
    store_point(m, s, t, world, slot)
    if stage == 0:
        bounded = all_bounded(m.nq, s.qpos[world]) and all_bounded(m.nv, s.qvel[world])
        if not (bounded and all_bounded(m.nv, s.qacc[world])):
            report_out[world, 2] = 1
    sync()
    if m.integrator == RK4:
        if stage == 3:
            runge_kutta_step(m, s, t, world, slot - stage)
    elif m.implicit == 1:
        velocity_step(m, s, t, world, slot, s.implicit_qacc[world])
    else:
        velocity_step(m, s, t, world, slot, s.qacc[world])
