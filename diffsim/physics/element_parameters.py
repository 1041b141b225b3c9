"""The gradient of `elements` by parameters: see `parameter_gradient`."""

import warp as wp

from diffsim.physics.adjoint import clear
from diffsim.physics.gear_gradient import gear_gradient
from diffsim.physics.lanes import lane, lanes, sync, world_of
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.parameter_gradient import actuator_parameter_gradient, motion_position_gradient, position_gradient
from diffsim.physics.scratch import Scratch
from diffsim.physics.step import copy
from diffsim.physics.timestep_gradient import early_timestep_gradient
from diffsim.types import real

wp.set_module_options({"enable_backward": False})


@wp.kernel
def element_parameters_kernel(
    # model and working memory
    m: ModelArrays,
    s: Scratch,
    # out
    parameter_bar_out: wp.array2d(dtype=real),
):
    """After `element_cotangents_kernel`."""
    world = world_of(s.first_world, wp.tid())
    clear(s.parameter_bar.shape[1], s.parameter_bar[world])
    sync()
    for actuator in range(lane(), m.nactuator, lanes()):
        actuator_parameter_gradient(m, s, world, actuator)
    sync()
    if lane() == 0:
        for actuator in range(m.nactuator):
            early_timestep_gradient(m, s, world, actuator, s.actuator_bar[world, actuator][0])
    sync()
    gear_gradient(m, s, world)
    if m.nline > 0:
        position_gradient(m, s, world, s.push_twist[world], s.push_twist_bar[world])
        motion_position_gradient(m, s, world)
    sync()
    copy(parameter_bar_out.shape[1], s.parameter_bar[world], parameter_bar_out[world])
