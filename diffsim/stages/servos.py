"""Stages of PID controllers and DC motors. Launched only for models with such actuators."""

import warp as wp

from diffsim.physics.fill_servos import fill_servos
from diffsim.physics.lanes import world_of
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.scratch import Scratch
from diffsim.physics.servo import servo_adjoint, servo_ends
from diffsim.physics.step import EvaluationPoints, stage_count
from diffsim.stages.bounds import OPTIONS

wp.set_module_options({"enable_backward": False})


@wp.kernel(**OPTIONS)
def servos_kernel(m: ModelArrays, s: Scratch, points: EvaluationPoints, slot: int, num_steps: int):
    """Fills forces, and with a step the activations' rates and ends. Needs the motion and the lines."""
    world = world_of(s.first_world, wp.tid())
    fill_servos(m, s, world)
    if num_steps > 0:
        stage = slot % stage_count(m)
        servo_ends(m, s, world, stage, points.act[world], slot - stage, stage_count(m) - 1)


@wp.kernel(**OPTIONS)
def servos_adjoint_kernel(m: ModelArrays, s: Scratch, points: EvaluationPoints, slot: int, num_steps: int):
    """Adds the gradient of the activations' step. Needs the motion and the lines."""
    world = world_of(s.first_world, wp.tid())
    fill_servos(m, s, world)
    if num_steps > 0:
        stage = slot % stage_count(m)
        servo_adjoint(m, s, world, stage, points.act[world], slot - stage, stage_count(m) - 1)
