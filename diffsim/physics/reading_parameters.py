"""The adjoints of `body_motion` and `elements` with the gradient by parameters: see `parameter_gradient`."""

import warp as wp

from diffsim.physics.adjoint import clear
from diffsim.physics.body_motion import (
    gather_motions,
    load_motion,
    load_motion_cotangents,
    load_motions,
    store_motion_cotangents,
)
from diffsim.physics.constraint_parameters import add_to
from diffsim.physics.elements import load_element_cotangents, load_elements, store_element_cotangents
from diffsim.physics.gear_gradient import gear_gradient
from diffsim.physics.integrate import raw_from_tangent
from diffsim.physics.lanes import lane, lanes, sync, world_of
from diffsim.physics.mocap import store_input_cotangents
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.parameter_gradient import (
    actuator_parameter_gradient,
    add_position,
    motion_position_gradient,
    position_gradient,
)
from diffsim.physics.scratch import Scratch
from diffsim.physics.step import copy
from diffsim.physics.timestep_gradient import early_timestep_gradient
from diffsim.types import quat, real, vec2, vec3, vec6

wp.set_module_options({"enable_backward": False})


@wp.kernel
def body_motion_parameters_kernel(
    # model and working memory
    m: ModelArrays,
    s: Scratch,
    # in
    qpos_in: wp.array2d(dtype=real),
    qvel_in: wp.array2d(dtype=real),
    qacc_in: wp.array2d(dtype=real),
    inputs_in: wp.array2d(dtype=real),
    xpos_bar_in: wp.array2d(dtype=vec3),
    xquat_bar_in: wp.array2d(dtype=quat),
    velocity_bar_in: wp.array2d(dtype=vec6),
    acceleration_bar_in: wp.array2d(dtype=vec6),
    # out
    qpos_bar_out: wp.array2d(dtype=real),
    qvel_bar_out: wp.array2d(dtype=real),
    qacc_bar_out: wp.array2d(dtype=real),
    inputs_bar_out: wp.array2d(dtype=real),
    parameter_bar_out: wp.array2d(dtype=real),
):
    """As `body_motion.body_motion_adjoint_kernel`; the parameters are the bodies' poses in the model, and gravity."""
    world = world_of(0, wp.tid())
    load_motion(m, s, world, qpos_in[world], qvel_in[world], qacc_in[world], inputs_in[world])
    load_motion_cotangents(
        m,
        s,
        world,
        xpos_bar_in[world],
        xquat_bar_in[world],
        velocity_bar_in[world],
        acceleration_bar_in[world],
    )
    clear(s.parameter_bar.shape[1], s.parameter_bar[world])
    sync()
    motion_position_gradient(m, s, world)
    if lane() == 0:
        for i in range(3):
            total = acceleration_bar_in[world, 0][3 + i]
            for c in range(m.body_childadr[0], m.body_childadr[1]):
                total += s.acceleration_bar[world, m.body_child[c]][3 + i]
            add_to(s, world, m.at_gravity + i, -total)
    store_motion_cotangents(
        m,
        s,
        world,
        qpos_in[world],
        qpos_bar_out[world],
        qvel_bar_out[world],
        qacc_bar_out[world],
        inputs_bar_out[world],
    )
    sync()
    copy(parameter_bar_out.shape[1], s.parameter_bar[world], parameter_bar_out[world])


@wp.kernel
def elements_parameters_kernel(
    # model and working memory
    m: ModelArrays,
    s: Scratch,
    # in
    state_in: wp.array2d(dtype=real),
    inputs_in: wp.array2d(dtype=real),
    tendon_bar_in: wp.array2d(dtype=vec2),
    actuator_bar_in: wp.array2d(dtype=vec3),
    qfrc_actuator_bar_in: wp.array2d(dtype=real),
    # out
    state_bar_out: wp.array2d(dtype=real),
    inputs_bar_out: wp.array2d(dtype=real),
    parameter_bar_out: wp.array2d(dtype=real),
):
    """As `elements.elements_adjoint_kernel`."""
    world = world_of(0, wp.tid())
    load_elements(m, s, world, state_in[world], inputs_in[world])
    load_element_cotangents(m, s, world, tendon_bar_in[world], actuator_bar_in[world], qfrc_actuator_bar_in[world])
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
    store_element_cotangents(m, s, world, state_in[world], state_bar_out[world], inputs_bar_out[world])
    sync()
    copy(parameter_bar_out.shape[1], s.parameter_bar[world], parameter_bar_out[world])


@wp.kernel
def dof_motion_parameters_kernel(
    # model and working memory
    m: ModelArrays,
    s: Scratch,
    # in
    qpos_in: wp.array2d(dtype=real),
    inputs_in: wp.array2d(dtype=real),
    motion_bar_in: wp.array2d(dtype=vec6),
    # out
    qpos_bar_out: wp.array2d(dtype=real),
    inputs_bar_out: wp.array2d(dtype=real),
    parameter_bar_out: wp.array2d(dtype=real),
):
    """As `body_motion.dof_motion_adjoint_kernel`; the parameters are the bodies' poses in the model."""
    world = world_of(0, wp.tid())
    load_motions(m, s, world, qpos_in[world], inputs_in[world])
    gather_motions(m, s, world, motion_bar_in[world])
    clear(s.parameter_bar.shape[1], s.parameter_bar[world])
    sync()
    for body in range(1 + lane(), m.nbody, lanes()):
        add_position(m, s, world, body, s.pose_bar[world, body])
    store_input_cotangents(m, s, world, inputs_bar_out[world])
    raw_from_tangent(m, qpos_in[world], s.qpos_bar[world], qpos_bar_out[world])
    sync()
    copy(parameter_bar_out.shape[1], s.parameter_bar[world], parameter_bar_out[world])
