"""Controls and activations: the inputs of the actuators' gains, the activations' rates and steps, and their adjoints.

An activation w of an actuator with control u has the rate

    u (integrator),    (u - w) / tau (filter, filterexact),    or `muscle.muscle_rate`

and becomes clamp(w + h rate), but for filterexact, which integrates over the step h exactly: tau (1 - exp(-h / tau))
takes the place of h. The gain multiplies w, or with actearly the next w.
Source: MuJoCo documentation, Computation, activation dynamics and numerical integration.
"""

import mujoco
import warp as wp

from diffsim.physics.clamp import inside
from diffsim.physics.lanes import lane, lanes
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.muscle import MINVAL, muscle_rate
from diffsim.physics.scratch import Scratch
from diffsim.physics.world_parameters import timestep
from diffsim.types import ONE, ZERO, real, vec3

INTEGRATOR = wp.constant(int(mujoco.mjtDyn.mjDYN_INTEGRATOR))
FILTEREXACT = wp.constant(int(mujoco.mjtDyn.mjDYN_FILTEREXACT))
MUSCLE = wp.constant(int(mujoco.mjtDyn.mjDYN_MUSCLE))


@wp.func
def clamped_ctrl(m: ModelArrays, s: Scratch, world: int, actuator: int) -> real:
    """The control within ctrlrange."""
    u = s.ctrl[world, m.actuator_ctrl[actuator]]
    if m.actuator_ctrllimited[actuator] == 1:
        u = wp.clamp(u, m.actuator_ctrlrange[actuator, 0], m.actuator_ctrlrange[actuator, 1])
    return u


@wp.func
def ctrl_slope(m: ModelArrays, s: Scratch, world: int, actuator: int) -> real:
    """Derivative of `clamped_ctrl`."""
    if m.actuator_ctrllimited[actuator] == 0:
        return real(1.0)
    u = s.ctrl[world, m.actuator_ctrl[actuator]]
    return inside(u, m.actuator_ctrlrange[actuator, 0], m.actuator_ctrlrange[actuator, 1])


@wp.func
def of_servo(m: ModelArrays, i: int) -> bool:
    """Whether activation i belongs to a PID controller or DC motor, which `servo` steps."""
    if m.nservo > 0:
        return m.rare[0].act_servo[i] == 1
    return False


@wp.func
def rate_of(kind: int, prm: vec3, u: real, act: real) -> vec3:
    """Rate of an activation, and its derivatives by the control within its range and by the activation."""
    if kind == INTEGRATOR:
        return vec3(u, ONE, ZERO)
    if kind == MUSCLE:
        return muscle_rate(u, act, prm)
    tau = wp.max(MINVAL, prm[0])
    return vec3((u - act) / tau, ONE / tau, -ONE / tau)


@wp.func
def time_of(kind: int, prm: vec3, h: real) -> real:
    """What multiplies the rate in a step: h, or tau (1 - exp(-h / tau))."""
    if kind == FILTEREXACT:
        tau = wp.max(MINVAL, prm[0])
        return tau * (ONE - wp.exp(-h / tau))
    return h


@wp.func
def activation_rate(m: ModelArrays, s: Scratch, world: int, i: int, act: real) -> vec3:
    """`rate_of` activation i at the value `act`; zero if its actuator is disabled."""
    actuator = m.rare[0].act_actuator[i]
    if actuator < 0:
        return vec3(ZERO, ZERO, ZERO)
    return rate_of(m.rare[0].act_dyntype[i], m.rare[0].act_dynprm[i], clamped_ctrl(m, s, world, actuator), act)


@wp.func
def activation_time(m: ModelArrays, world: int, i: int) -> real:
    """`time_of` activation i."""
    return time_of(m.rare[0].act_dyntype[i], m.rare[0].act_dynprm[i], timestep(m, world))


@wp.func
def clamped_act(m: ModelArrays, i: int, act: real) -> real:
    """An activation within actrange."""
    if m.rare[0].act_limited[i] == 1:
        return wp.clamp(act, m.rare[0].act_range[i, 0], m.rare[0].act_range[i, 1])
    return act


@wp.func
def act_slope(m: ModelArrays, i: int, act: real) -> real:
    """Derivative of `clamped_act`."""
    if m.rare[0].act_limited[i] == 1:
        return inside(act, m.rare[0].act_range[i, 0], m.rare[0].act_range[i, 1])
    return real(1.0)


@wp.func
def next_activation(m: ModelArrays, s: Scratch, world: int, i: int, act: real) -> real:
    """Activation i a step after the value `act`."""
    rate = activation_rate(m, s, world, i, act)
    return clamped_act(m, i, act + activation_time(m, world, i) * rate[0])


@wp.func
def actuator_input(m: ModelArrays, s: Scratch, world: int, actuator: int) -> real:
    """What an actuator's gain multiplies: its control, activation, or next activation."""
    i = m.actuator_actadr[actuator]
    if i < 0:
        return clamped_ctrl(m, s, world, actuator)
    if m.rare[0].actuator_actearly[actuator] == 1:
        return next_activation(m, s, world, i, s.act[world, i])
    return s.act[world, i]


@wp.func
def add_rate_cotangent(m: ModelArrays, s: Scratch, world: int, i: int, bar: real):
    """Adds to act_bar and ctrl_bar, given the cotangent of the rate of activation i at the evaluation point."""
    actuator = m.rare[0].act_actuator[i]
    if actuator >= 0:
        rate = activation_rate(m, s, world, i, s.act[world, i])
        ctrl = m.actuator_ctrl[actuator]
        s.act_bar[world, i] = s.act_bar[world, i] + bar * rate[2]
        s.ctrl_bar[world, ctrl] = s.ctrl_bar[world, ctrl] + bar * rate[1] * ctrl_slope(m, s, world, actuator)


@wp.func
def add_next_cotangent(m: ModelArrays, s: Scratch, world: int, i: int, bar: real):
    """Adds to act_bar and ctrl_bar, given the cotangent of activation i a step after the evaluation point."""
    act = s.act[world, i]
    rate = activation_rate(m, s, world, i, act)
    time = activation_time(m, world, i)
    end_bar = bar * act_slope(m, i, act + time * rate[0])
    s.act_bar[world, i] = s.act_bar[world, i] + end_bar
    add_rate_cotangent(m, s, world, i, time * end_bar)


@wp.func
def add_input_cotangent(m: ModelArrays, s: Scratch, world: int, actuator: int, bar: real):
    """Adds to ctrl_bar or act_bar, given the cotangent of `actuator_input`."""
    i = m.actuator_actadr[actuator]
    if i < 0:
        ctrl = m.actuator_ctrl[actuator]
        s.ctrl_bar[world, ctrl] = s.ctrl_bar[world, ctrl] + bar * ctrl_slope(m, s, world, actuator)
    elif m.rare[0].actuator_actearly[actuator] == 1:
        add_next_cotangent(m, s, world, i, bar)
    else:
        s.act_bar[world, i] = s.act_bar[world, i] + bar


@wp.func
def euler_activation_adjoint(m: ModelArrays, s: Scratch, world: int):
    """Adjoint of Euler's step of the activations but servos': from next_act_bar, adds to act_bar and ctrl_bar."""
    for i in range(lane(), m.na, lanes()):
        if not of_servo(m, i):
            add_next_cotangent(m, s, world, i, s.next_act_bar[world, i])
