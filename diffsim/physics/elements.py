"""Lengths and velocities of tendons and actuators, and forces of actuators.

CUDA compiles several small kernels faster than one. The values are those of `load_elements_kernel` and
`elements_kernel`, launched in this order. The adjoint is `load_elements_kernel`, the kernels of `element_cotangents`
and `element_lines`, that of `element_parameters` if parameters have a gradient, and `store_element_cotangents_kernel`.
"""

import warp as wp

from diffsim.physics.actuation import actuation, actuator_length, moment_dot
from diffsim.physics.adjoint import clear
from diffsim.physics.bias import moving_frames
from diffsim.physics.fill_servos import fill_servos
from diffsim.physics.integrate import raw_from_tangent
from diffsim.physics.lanes import lane, lanes, sync, world_of
from diffsim.physics.line import fill_lines
from diffsim.physics.mocap import load_inputs, store_input_cotangents
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.scratch import Scratch
from diffsim.physics.step import copy
from diffsim.physics.tendon import tendon_dot, tendon_length
from diffsim.types import ZERO, real, vec2, vec3

wp.set_module_options({"enable_backward": False})


@wp.kernel
def load_elements_kernel(
    # model and working memory
    m: ModelArrays,
    s: Scratch,
    # in
    state_in: wp.array2d(dtype=real),
    inputs_in: wp.array2d(dtype=real),
):
    """Fills what tendons and actuators need."""
    world = world_of(s.first_world, wp.tid())
    state = state_in[world]
    copy(m.nq, state, s.qpos[world])
    for i in range(lane(), m.nv, lanes()):
        s.qvel[world, i] = state[m.nq + i]
    for i in range(lane(), m.na, lanes()):
        s.act[world, i] = state[m.nq + m.nv + i]
    load_inputs(m, s, world, inputs_in[world])
    clear(m.nv, s.qfrc_applied[world])
    sync()
    moving_frames(m, s, world, 0)
    if m.nline > 0:
        fill_lines(m, s, world)
    if lane() == 0:  # the lines of normals have no contacts here
        s.contact_count[world] = 0
        if m.has_gap == 1:
            s.rare[0].contact_total[world] = 0
    sync()
    if m.nservo > 0:
        fill_servos(m, s, world)


@wp.kernel
def elements_kernel(
    # model and working memory
    m: ModelArrays,
    s: Scratch,
    # out
    tendon_out: wp.array2d(dtype=vec2),
    actuator_out: wp.array2d(dtype=vec3),
    qfrc_actuator_out: wp.array2d(dtype=real),
):
    """Length and velocity of tendons; force, length and velocity of enabled actuators; the actuators' joint forces."""
    world = world_of(s.first_world, wp.tid())
    actuation(m, s, world)
    for tendon in range(lane(), m.ntendon, lanes()):
        velocity = tendon_dot(m, s, world, tendon, s.qvel[world])
        tendon_out[world, tendon] = vec2(tendon_length(m, s, world, tendon), velocity)
    for actuator in range(lane(), m.nactuator, lanes()):
        length = actuator_length(m, s, world, actuator)
        velocity = moment_dot(m, s, world, actuator, s.qvel[world])
        actuator_out[world, actuator] = vec3(s.actuator_force[world, actuator], length, velocity)
    copy(m.nv, s.qfrc_actuator[world], qfrc_actuator_out[world])


@wp.kernel
def store_element_cotangents_kernel(
    # model and working memory
    m: ModelArrays,
    s: Scratch,
    # in
    state_in: wp.array2d(dtype=real),
    # out
    state_bar_out: wp.array2d(dtype=real),
    inputs_bar_out: wp.array2d(dtype=real),
):
    """Writes the cotangents of state and inputs, and clears those of the actuators."""
    world = world_of(s.first_world, wp.tid())
    for actuator in range(lane(), m.nactuator, lanes()):
        s.actuator_sensed_bar[world, actuator] = vec3(ZERO, ZERO, ZERO)
    store_input_cotangents(m, s, world, inputs_bar_out[world])
    raw_from_tangent(m, state_in[world], s.qpos_bar[world], state_bar_out[world])
    for i in range(lane(), m.nv, lanes()):
        state_bar_out[world, m.nq + i] = s.qvel_bar[world, i]
    for i in range(lane(), m.na, lanes()):
        state_bar_out[world, m.nq + m.nv + i] = s.act_bar[world, i]
