"""The laws of actuators with several inputs and activations: PID controllers and DC motors, as functions that can be
differentiated.

A point x holds length l and velocity v, the inputs (position, velocity, feedforward, voltage), and the activations:
the slewed setpoint, the integral z of the position's error, the temperature T, the bristle's deflection b and the
current i. With the torque tau = kp (u_pos - l) + kd (u_vel - v) + ki z + u_ff, a DC motor has

    voltage V = clamp(R tau / K + K v) + u_volt,    resistance R(T) = R (1 + alpha (T + ambient - reference))
    force K i, where te i' = V / R(T) - K v / R(T) - i,    or K (V - K v) / R(T) without inductance
    T' = (R(T) i^2 - T / R_T) / C
    b' = v - sigma_0 |v| b / g(v),    g(v) = F_C + (F_S - F_C) exp(-(v / v_S)^2)

and, which no range of forces limits, cogging A sin(N l + phi) and friction -(sigma_0 b + sigma_1 b').
Source: MuJoCo documentation, XML reference, actuator/pid and actuator/dcmotor; `mj_fwdActuation`, `mj_nextActivation`.
"""

import warp as wp

from diffsim.collision.gradient_call import differentiable
from diffsim.physics.muscle import MINVAL
from diffsim.types import ONE, ZERO, real, vec5, vec11

# Entries of a point.
LENGTH = wp.constant(0)
VELOCITY = wp.constant(1)
INPUT = wp.constant(2)  # the first of four
SLEWED = wp.constant(6)  # the first of five activations
INTEGRAL = wp.constant(7)
TEMPERATURE = wp.constant(8)
BRISTLE = wp.constant(9)
CURRENT = wp.constant(10)

FASTEST = wp.constant(real(40.0))  # velocities over v_S beyond which the exponential is zero
SMALL_DECAY = wp.constant(real(1e-3))


@wp.struct
class Servo:
    """Constants of an actuator. Where a feature is off, its constants have no effect; bounds are infinite."""

    motor: wp.int32  # 1 for a DC motor, 0 for a PID controller
    first: wp.int32  # the slewed input
    controlled: wp.int32  # 1 if setpoints give a voltage
    inductive: wp.int32  # 1 if the current is an activation
    early: wp.int32  # 1 if the force depends on the next activation
    timestep: real  # s
    period: real  # of a setpoint on a rotation, 0 for the others
    slew: real  # largest rate of a setpoint
    windup: real  # largest integral
    low: real  # range of the integral, and of a PID controller's slewed setpoint
    high: real
    kp: real
    ki: real
    kd: real
    resistance: real  # Ohm
    constant: real  # K, N m / A
    supply: real  # V
    heating: real  # alpha, 1 / K
    ambient: real  # ambient less reference temperature, K
    insulation: real  # R_T, K / W
    capacity: real  # C, J / K
    delay: real  # te, s
    ramp: real  # largest rate of the current, A / s
    stiffness: real  # sigma_0
    rubbing: real  # sigma_1
    coulomb: real
    stiction: real
    stribeck: real
    cogging: real  # A
    poles: real  # N
    phase: real


@differentiable
def near(u: real, at: real, period: real) -> real:
    """The setpoint u + k period nearest to a value."""
    turns = real(0.0)
    if period > ZERO:
        turns = wp.round((u - at) / period)
    return u - period * turns


@differentiable
def slewed_input(e: Servo, x: vec11) -> real:
    """The first input, after the limit of its rate."""
    u = near(x[INPUT + e.first], x[SLEWED], e.period)
    return wp.clamp(u, x[SLEWED] - e.slew * e.timestep, x[SLEWED] + e.slew * e.timestep)


@differentiable
def input_of(e: Servo, x: vec11, k: int) -> real:
    """Input k after slewing."""
    u = x[INPUT + k]
    if k == e.first:
        u = slewed_input(e, x)
    return u


@differentiable
def commanded(e: Servo, x: vec11) -> real:
    """The voltage that the setpoints give, before its clamp."""
    torque = e.kp * (input_of(e, x, 0) - x[LENGTH]) + e.kd * (input_of(e, x, 1) - x[VELOCITY])
    torque += e.ki * x[INTEGRAL] + input_of(e, x, 2)
    return e.resistance / e.constant * torque + e.constant * x[VELOCITY]


@differentiable
def voltage(e: Servo, x: vec11) -> real:
    """V."""
    driven = real(0.0)
    if e.controlled == 1:
        driven = wp.clamp(commanded(e, x), -e.supply, e.supply)
    return driven + input_of(e, x, 3)


@differentiable
def hot_resistance(e: Servo, x: vec11) -> real:
    """R(T)."""
    return e.resistance * (ONE + e.heating * (x[TEMPERATURE] + e.ambient))


@differentiable
def speed(v: real) -> real:
    """|v|, with derivative 0 at 0."""
    size = real(0.0)
    if v > ZERO:
        size = v
    if v < ZERO:
        size = -v
    return size


@differentiable
def decay(e: Servo, v: real) -> real:
    """The rate sigma_0 |v| / g at which the bristle relaxes."""
    ratio = wp.clamp(v / wp.max(MINVAL, e.stribeck), -FASTEST, FASTEST)
    g = e.coulomb + (e.stiction - e.coulomb) * wp.exp(-ratio * ratio)
    return e.stiffness * speed(v) / wp.max(MINVAL, g)


@differentiable
def servo_rates(e: Servo, x: vec11) -> vec5:
    """Rates of the activations."""
    slewed = slewed_input(e, x)
    error = slewed - x[LENGTH]
    error = near(error, ZERO, e.period)
    if x[INTEGRAL] >= e.windup:
        error = wp.min(error, ZERO)
    if x[INTEGRAL] <= -e.windup:
        error = wp.max(error, ZERO)
    heat = real(0.0)
    charge = real(0.0)
    if e.motor == 1:
        r = hot_resistance(e, x)
        drive = (voltage(e, x) - e.constant * x[VELOCITY]) / r
        current = drive
        if e.inductive == 1:
            current = x[CURRENT]
        heat = (r * current * current - x[TEMPERATURE] / e.insulation) / e.capacity
        charge = wp.clamp((drive - x[CURRENT]) / e.delay, -e.ramp, e.ramp)
    bristle = x[VELOCITY] - decay(e, x[VELOCITY]) * x[BRISTLE]
    return vec5((slewed - x[SLEWED]) / e.timestep, error, heat, bristle, charge)


@differentiable
def bristle_end(e: Servo, x: vec11) -> real:
    """The bristle's deflection after a step at constant velocity."""
    a = decay(e, x[VELOCITY])
    drop = a * e.timestep
    left = wp.exp(-drop)
    time = real(0.0)
    if drop < SMALL_DECAY:
        time = e.timestep * (ONE - drop * (real(0.5) - drop * (real(1.0 / 6.0) - drop * real(1.0 / 24.0))))
    else:
        time = (ONE - left) / a
    return left * x[BRISTLE] + time * x[VELOCITY]


@differentiable
def current_gain(e: Servo) -> real:
    """What multiplies the current's rate in a step: te (1 - exp(-h / te))."""
    return e.delay * (ONE - wp.exp(-e.timestep / e.delay))


@differentiable
def servo_end(e: Servo, x: vec11, rates: vec5) -> vec5:
    """The activations after a step with given rates, but the bristle's: see `bristle_end`."""
    slewed = x[SLEWED] + e.timestep * rates[0]
    if e.motor == 0:
        slewed = wp.clamp(slewed, e.low, e.high)
    integral = wp.clamp(x[INTEGRAL] + e.timestep * rates[1], e.low, e.high)
    current = x[CURRENT] + rates[4] * current_gain(e)
    return vec5(slewed, integral, x[TEMPERATURE] + e.timestep * rates[2], x[BRISTLE], current)


@differentiable
def servo_drive(e: Servo, x: vec11) -> real:
    """The force that ranges limit; of a PID controller without the part -kp l - kd v."""
    force = real(0.0)
    after = vec5(x[SLEWED], x[INTEGRAL], x[TEMPERATURE], x[BRISTLE], x[CURRENT])
    if e.early == 1:
        after = servo_end(e, x, servo_rates(e, x))
    if e.motor == 0:
        position = near(input_of(e, x, 0), x[LENGTH], e.period)
        force = e.kp * position + e.kd * input_of(e, x, 1) + input_of(e, x, 2) + e.ki * after[1]
    elif e.inductive == 1:
        force = e.constant * after[4]
    else:
        force = e.constant * (voltage(e, x) - e.constant * x[VELOCITY]) / wp.max(MINVAL, hot_resistance(e, x))
    return force


@differentiable
def servo_drag(e: Servo, x: vec11) -> real:
    """Cogging and friction, which nothing limits."""
    friction = e.stiffness * x[BRISTLE]
    friction += e.rubbing * (x[VELOCITY] - decay(e, x[VELOCITY]) * x[BRISTLE])
    return e.cogging * wp.sin(e.poles * x[LENGTH] + e.phase) - friction


@differentiable
def drive_slope(e: Servo, x: vec11) -> real:
    """Derivative of `servo_drive` by the velocity."""
    slope = real(0.0)
    if e.motor == 1:
        r = hot_resistance(e, x)
        by_voltage = real(0.0)
        if e.controlled == 1:
            if wp.abs(commanded(e, x)) < e.supply:
                by_voltage = e.constant - e.kd * e.resistance / e.constant
        slope = e.constant * (by_voltage - e.constant) / wp.max(MINVAL, r)
        if e.inductive == 1:
            slope = slope * current_gain(e) / e.delay
            charge = ((voltage(e, x) - e.constant * x[VELOCITY]) / r - x[CURRENT]) / e.delay
            if e.early == 0 or wp.abs(charge) >= e.ramp:
                slope = ZERO
    return slope


@differentiable
def rates_power(e: Servo, x: vec11, bar: vec5) -> real:
    """Bar . rates."""
    return wp.dot(bar, servo_rates(e, x))


@differentiable
def end_power(e: Servo, x: vec11, rates: vec5, bar: vec5) -> real:
    """Bar . activations after a step of `servo_end`."""
    return wp.dot(bar, servo_end(e, x, rates))
