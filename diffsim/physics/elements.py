"""Lengths and velocities of tendons and actuators, forces of actuators, and their adjoint.

With the cotangents of the actuators' joint forces as lambda, `virtual_power` has the gradient of lambda' qfrc_actuator;
those of single forces, lengths and velocities are added where it computes theirs.
"""

from functools import partial

import warp as wp

from diffsim.collision.gradient_call import calls_gradient
from diffsim.physics.actuation import actuation, actuator_length, moment_dot
from diffsim.physics.adjoint import clear
from diffsim.physics.bias import moving_frames
from diffsim.physics.fill_servos import fill_servos
from diffsim.physics.integrate import raw_from_tangent
from diffsim.physics.lanes import lane, lanes, sync, world_of
from diffsim.physics.line import clear_line_bars, fill_lines
from diffsim.physics.line_power import sensed_lines_gradient
from diffsim.physics.mocap import load_inputs, store_input_cotangents
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.scratch import Scratch
from diffsim.physics.step import copy
from diffsim.physics.tendon import tendon_dot, tendon_length
from diffsim.physics.tendon_equality import add_tendon_bar
from diffsim.physics.virtual_power import actuation_gradient
from diffsim.types import ZERO, real, vec2, vec3

wp.set_module_options({"enable_backward": False})


@calls_gradient
def load_elements(
    m: ModelArrays,
    s: Scratch,
    world: int,
    state: wp.array(dtype=real),
    inputs: wp.array(dtype=real),
):
    """Fills what tendons and actuators need."""
    copy(m.nq, state, s.qpos[world])
    for i in range(lane(), m.nv, lanes()):
        s.qvel[world, i] = state[m.nq + i]
    for i in range(lane(), m.na, lanes()):
        s.act[world, i] = state[m.nq + m.nv + i]
    load_inputs(m, s, world, inputs)
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
    # in
    state_in: wp.array2d(dtype=real),
    inputs_in: wp.array2d(dtype=real),
    # out
    tendon_out: wp.array2d(dtype=vec2),
    actuator_out: wp.array2d(dtype=vec3),
    qfrc_actuator_out: wp.array2d(dtype=real),
):
    """Length and velocity of tendons; force, length and velocity of enabled actuators; the actuators' joint forces."""
    world = world_of(0, wp.tid())
    load_elements(m, s, world, state_in[world], inputs_in[world])
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
def elements_adjoint_kernel(
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
):
    """The adjoint of `elements_kernel`."""
    world = world_of(0, wp.tid())
    load_elements(m, s, world, state_in[world], inputs_in[world])
    load_element_cotangents(m, s, world, tendon_bar_in[world], actuator_bar_in[world], qfrc_actuator_bar_in[world])
    store_element_cotangents(m, s, world, state_in[world], state_bar_out[world], inputs_bar_out[world])


@partial(calls_gradient, inline=True)
def load_element_cotangents(
    m: ModelArrays,
    s: Scratch,
    world: int,
    tendon_bar: wp.array(dtype=vec2),
    actuator_bar: wp.array(dtype=vec3),
    qfrc_actuator_bar: wp.array(dtype=real),
):
    """Fills the cotangents of state and inputs."""
    clear(m.nv, s.qpos_bar[world])
    clear(m.nv, s.qvel_bar[world])
    clear(m.na, s.act_bar[world])
    clear(m.nu, s.ctrl_bar[world])
    clear(m.nv, s.applied_bar[world])
    copy(m.nv, qfrc_actuator_bar, s.virtual_velocity[world])
    for actuator in range(lane(), m.nactuator, lanes()):
        s.actuator_sensed_bar[world, actuator] = actuator_bar[actuator]
    clear_line_bars(m, s, world)
    actuation_gradient(m, s, world)
    sync()
    if lane() == 0:
        for tendon in range(m.ntendon):
            bar = tendon_bar[tendon]
            add_tendon_bar(m, s, world, tendon, bar[0], ZERO, bar[1], ZERO)
    sync()
    if m.nline > 0:
        sensed_lines_gradient(m, s, world)


@wp.func
def store_element_cotangents(
    m: ModelArrays,
    s: Scratch,
    world: int,
    state: wp.array(dtype=real),
    state_bar: wp.array(dtype=real),
    inputs_bar: wp.array(dtype=real),
):
    """Writes the cotangents of state and inputs, and clears those of the actuators."""
    sync()
    for actuator in range(lane(), m.nactuator, lanes()):
        s.actuator_sensed_bar[world, actuator] = vec3(ZERO, ZERO, ZERO)
    store_input_cotangents(m, s, world, inputs_bar)
    raw_from_tangent(m, state, s.qpos_bar[world], state_bar)
    for i in range(lane(), m.nv, lanes()):
        state_bar[m.nq + i] = s.qvel_bar[world, i]
    for i in range(lane(), m.na, lanes()):
        state_bar[m.nq + m.nv + i] = s.act_bar[world, i]
