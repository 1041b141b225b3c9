"""Stages of the gradient by physical parameters. Launched only if that is asked for."""

import warp as wp

from diffsim.physics.adjoint import clear
from diffsim.physics.lanes import world_of
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.parameter_gradient import (
    implicit_parameter_gradient,
    implicitfast_parameter_gradient,
    power_parameter_gradient,
)
from diffsim.physics.scratch import Scratch
from diffsim.physics.step import EvaluationPoints, copy
from diffsim.physics.timestep_gradient import euler_timestep_gradient, stage_timestep_gradient
from diffsim.stages.bounds import OPTIONS
from diffsim.types import real

wp.set_module_options({"enable_backward": False})


@wp.kernel(**OPTIONS)
def clear_parameters_kernel(m: ModelArrays, s: Scratch):
    """Begins the adjoint."""
    world = world_of(s.first_world, wp.tid())
    clear(s.parameter_bar.shape[1], s.parameter_bar[world])


@wp.kernel(**OPTIONS)
def implicit_parameters_kernel(m: ModelArrays, s: Scratch):
    """After the stage `implicit_adjoint`."""
    implicit_parameter_gradient(m, s, world_of(s.first_world, wp.tid()))


@wp.kernel(**OPTIONS)
def implicitfast_parameters_kernel(m: ModelArrays, s: Scratch):
    """After the stages `implicit_forces` and later ones."""
    implicitfast_parameter_gradient(m, s, world_of(s.first_world, wp.tid()))


@wp.kernel(**OPTIONS)
def euler_timestep_kernel(m: ModelArrays, s: Scratch):
    """After the stage `velocity_adjoint`."""
    euler_timestep_gradient(m, s, world_of(s.first_world, wp.tid()))


@wp.kernel(**OPTIONS)
def stage_timestep_kernel(m: ModelArrays, s: Scratch, t: EvaluationPoints, slot: int):
    """After the stage `end_slot` of a Runge-Kutta stage."""
    stage_timestep_gradient(m, s, t, world_of(s.first_world, wp.tid()), slot)


@wp.kernel(**OPTIONS)
def parameters_kernel(m: ModelArrays, s: Scratch):
    """After the stage `elements`. See `parameter_gradient.power_parameter_gradient`."""
    power_parameter_gradient(m, s, world_of(s.first_world, wp.tid()))


@wp.kernel(**OPTIONS)
def store_parameters_kernel(m: ModelArrays, s: Scratch, parameter_bar_out: wp.array2d(dtype=real)):
    """Ends the adjoint."""
    world = world_of(s.first_world, wp.tid())
    copy(parameter_bar_out.shape[1], s.parameter_bar[world], parameter_bar_out[world])
