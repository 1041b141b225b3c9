"""Cotangents of states and inputs through the forces, lengths and velocities of actuators; see `elements`.

With the cotangents of the actuators' joint forces as lambda, `virtual_power` has the gradient of lambda' qfrc_actuator;
those of single forces, lengths and velocities are added where it computes theirs.
"""

import warp as wp

from diffsim.physics.adjoint import clear
from diffsim.physics.lanes import lane, lanes, world_of
from diffsim.physics.line import clear_line_bars
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.scratch import Scratch
from diffsim.physics.step import copy
from diffsim.physics.virtual_power import actuation_gradient
from diffsim.types import real, vec3

wp.set_module_options({"enable_backward": False})


@wp.kernel
def element_cotangents_kernel(
    # model and working memory
    m: ModelArrays,
    s: Scratch,
    # in
    actuator_bar_in: wp.array2d(dtype=vec3),
    qfrc_actuator_bar_in: wp.array2d(dtype=real),
):
    """After `load_elements_kernel`."""
    world = world_of(s.first_world, wp.tid())
    clear(m.nv, s.qpos_bar[world])
    clear(m.nv, s.qvel_bar[world])
    clear(m.na, s.act_bar[world])
    clear(m.nu, s.ctrl_bar[world])
    clear(m.nv, s.applied_bar[world])
    copy(m.nv, qfrc_actuator_bar_in[world], s.virtual_velocity[world])
    for actuator in range(lane(), m.nactuator, lanes()):
        s.actuator_sensed_bar[world, actuator] = actuator_bar_in[world, actuator]
    clear_line_bars(m, s, world)
    actuation_gradient(m, s, world)
