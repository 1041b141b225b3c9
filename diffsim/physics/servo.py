"""PID controllers and DC motors: their forces at an evaluation point, the steps of their activations, and adjoints.

`fill_servos` evaluates the laws of `servo_law` and their gradients once per evaluation; `actuation` and its gradient
read them. The activations have rates that depend on the state, so `servo_ends` finds the activations after the step
before the state moves, and `servo_adjoint` adds their gradient to that of the evaluation.
"""

from functools import partial

import warp as wp

from diffsim.collision.gradient_call import calls_gradient
from diffsim.physics.clamp import inside
from diffsim.physics.lanes import lane, lanes, sync
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.scratch import Scratch
from diffsim.physics.servo_law import (
    INPUT,
    SLEWED,
    Servo,
    bristle_end,
    drive_slope,
    end_power,
    rates_power,
    servo_drag,
    servo_drive,
    servo_end,
    servo_rates,
)
from diffsim.physics.world_parameters import timestep
from diffsim.types import ZERO, real, vec2, vec3, vec5, vec11


@wp.func(inline=True)
def load_servo(m: ModelArrays, world: int, row: int) -> Servo:
    """The constants of a servo."""
    k = m.rare[0].servo_kind[row]
    c = m.rare[0].servo_numbers[row]
    return Servo(
        k[0], k[1], k[2], k[3], k[4], timestep(m, world),
        c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7], c[8], c[9], c[10], c[11], c[12],
        c[13], c[14], c[15], c[16], c[17], c[18], c[19], c[20], c[21], c[22], c[23], c[24],
    )  # fmt: skip


@wp.func
def servo_point(m: ModelArrays, s: Scratch, world: int, row: int, length: real, velocity: real) -> vec11:
    """The point x: absent inputs and activations are zero."""
    x = vec11()
    x[0] = length
    x[1] = velocity
    for k in range(4):
        i = m.rare[0].servo_ctrl[row, k]
        if i >= 0:
            u = s.ctrl[world, i]
            if m.rare[0].control_limited[i] == 1:
                u = wp.clamp(u, m.rare[0].control_range[i, 0], m.rare[0].control_range[i, 1])
            x[INPUT + k] = u
    for k in range(5):
        i = m.rare[0].servo_act[row, k]
        if i >= 0:
            x[SLEWED + k] = s.act[world, i]
    return x


@wp.func
def add_point_cotangent(m: ModelArrays, s: Scratch, world: int, row: int, bar: vec11):
    """Adds the cotangents of inputs and activations. No two servos share one."""
    for k in range(4):
        i = m.rare[0].servo_ctrl[row, k]
        if i >= 0:
            slope = real(1.0)
            if m.rare[0].control_limited[i] == 1:
                slope = inside(s.ctrl[world, i], m.rare[0].control_range[i, 0], m.rare[0].control_range[i, 1])
            s.ctrl_bar[world, i] = s.ctrl_bar[world, i] + slope * bar[INPUT + k]
    for k in range(5):
        i = m.rare[0].servo_act[row, k]
        if i >= 0:
            s.act_bar[world, i] = s.act_bar[world, i] + bar[SLEWED + k]


@wp.func
def servo_forces(m: ModelArrays, s: Scratch, world: int, actuator: int) -> vec3:
    """The force of a servo that ranges limit, that which they do not, and the first one's derivative by the velocity.

    Zero for other actuators.
    """
    if m.nservo > 0:
        row = m.rare[0].actuator_servo[actuator]
        if row >= 0:
            return s.rare[0].servo_force[world, row]
    return vec3(ZERO, ZERO, ZERO)


@wp.func
def add_servo_cotangents(m: ModelArrays, s: Scratch, world: int, row: int, drive_bar: real, drag_bar: real) -> vec2:
    """Adds the cotangents of a servo's inputs and activations, given those of `servo_forces`.

    Returns: those of its length and velocity.
    """
    bar = drive_bar * s.rare[0].servo_slope[world, row, 0] + drag_bar * s.rare[0].servo_slope[world, row, 1]
    add_point_cotangent(m, s, world, row, bar)
    return vec2(bar[0], bar[1])


@partial(calls_gradient, inline=True)
def fill_servo(m: ModelArrays, s: Scratch, world: int, row: int, x: vec11):
    """Fills a servo's forces and their gradients."""
    law = load_servo(m, world, row)
    s.rare[0].servo_force[world, row] = vec3(servo_drive(law, x), servo_drag(law, x), drive_slope(law, x))
    drive = wp.grad(servo_drive)(law, x)
    drag = wp.grad(servo_drag)(law, x)
    slope = wp.grad(drive_slope)(law, x)
    s.rare[0].servo_slope[world, row, 0] = drive[1]
    s.rare[0].servo_slope[world, row, 1] = drag[1]
    s.rare[0].servo_slope[world, row, 2] = slope[1]
    s.rare[0].servo_point[world, row] = x


@wp.func(inline=True)
def servo_ends(m: ModelArrays, s: Scratch, world: int, stage: int, acts: wp.array2d(dtype=real), first: int, last: int):
    """Fills the rates of a stage's activations, and the activations after the step.

    Those of bristles follow from the first stage, the others from all stages.
    `acts` has the activations [slot, na], `first` is the slot of the step's first stage; see `step.EvaluationPoints`.
    """
    for row in range(lane(), m.nservo, lanes()):
        law = load_servo(m, world, row)
        x = s.rare[0].servo_point[world, row]
        rates = servo_rates(law, x)
        for k in range(5):
            i = m.rare[0].servo_act[row, k]
            if i >= 0:
                s.rare[0].act_rate[world, stage, i] = rates[k]
        bristle = m.rare[0].servo_act[row, 3]
        if stage == 0 and bristle >= 0:
            s.rare[0].act_end[world, bristle] = bristle_end(law, x)
        if stage == last:
            if last > 0:
                for k in range(5):
                    i = m.rare[0].servo_act[row, k]
                    if i >= 0:
                        x[SLEWED + k] = acts[first, i]
                        rates[k] = mean_rate(s, world, i)
            end = servo_end(law, x, rates)
            for k in range(5):
                i = m.rare[0].servo_act[row, k]
                if i >= 0 and i != bristle:
                    s.rare[0].act_end[world, i] = end[k]
    sync()


@wp.func
def mean_rate(s: Scratch, world: int, i: int) -> real:
    """The weighted sum of an activation's rates in the four stages of a Runge-Kutta step."""
    total = s.rare[0].act_rate[world, 0, i] + s.rare[0].act_rate[world, 3, i]
    total += real(2.0) * (s.rare[0].act_rate[world, 1, i] + s.rare[0].act_rate[world, 2, i])
    return total / real(6.0)


@wp.func
def recover_rates(m: ModelArrays, s: Scratch, world: int, i: int, acts: wp.array2d(dtype=real), first: int):
    """Fills an activation's rates in the first three stages of a Runge-Kutta step, from the stages' activations."""
    for stage in range(3):
        time = timestep(m, world)
        if stage < 2:
            time = real(0.5) * timestep(m, world)
        s.rare[0].act_rate[world, stage, i] = (acts[first + stage + 1, i] - acts[first, i]) / time


@partial(calls_gradient, inline=True)
def servo_adjoint(
    m: ModelArrays, s: Scratch, world: int, stage: int, acts: wp.array2d(dtype=real), first: int, last: int
):
    """Adds the gradient of the activations' step to act_bar and ctrl_bar, and to the actuators' lengths and velocities.

    Needs `fill_servos`. The arguments are those of `servo_ends`. In a Runge-Kutta step, the last stage sets
    state_act_bar and act_rate_bar.
    """
    for row in range(lane(), m.nservo, lanes()):
        law = load_servo(m, world, row)
        x = s.rare[0].servo_point[world, row]
        rates = servo_rates(law, x)
        bristle = m.rare[0].servo_act[row, 3]
        rates_bar = vec5()
        total = vec11()
        if stage == last:
            end_bar = vec5()
            start = x
            means = rates
            for k in range(5):
                i = m.rare[0].servo_act[row, k]
                if i >= 0 and i != bristle:
                    end_bar[k] = s.next_act_bar[world, i]
                    if last > 0:
                        recover_rates(m, s, world, i, acts, first)
                        s.rare[0].act_rate[world, last, i] = rates[k]
                        start[SLEWED + k] = acts[first, i]
                        means[k] = mean_rate(s, world, i)
            bar = wp.grad(end_power)(law, start, means, end_bar)
            total = bar[1]
            rates_bar = bar[2]
            if last > 0:
                for k in range(5):
                    i = m.rare[0].servo_act[row, k]
                    if i >= 0:
                        s.state_act_bar[world, i] = total[SLEWED + k]
                        s.act_rate_bar[world, i] = rates_bar[k]
                total = vec11()
        if last > 0:
            weight = real(1.0 / 3.0)
            if stage == 0 or stage == 3:
                weight = real(1.0 / 6.0)
            for k in range(5):
                i = m.rare[0].servo_act[row, k]
                if i >= 0:
                    rates_bar[k] = weight * s.act_rate_bar[world, i] + s.act_step_bar[world, i]
        if stage == 0 and bristle >= 0:
            through = wp.grad(bristle_end)(law, x)
            total += s.next_act_bar[world, bristle] * through[1]
        by_rates = wp.grad(rates_power)(law, x, rates_bar)
        total += by_rates[1]
        add_point_cotangent(m, s, world, row, total)
        s.actuator_sensed_bar[world, m.rare[0].servo_actuator[row]] = vec3(ZERO, total[0], total[1])
    sync()
