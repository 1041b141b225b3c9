"""Gradient of the step itself by its length h, and by the periods of setpoints that are activations.

Each function multiplies cotangents that the adjoint has left in the working memory by what h multiplied in the step.
"""

import warp as wp

from diffsim.physics.activation import (
    FILTEREXACT,
    act_slope,
    activation_rate,
    activation_time,
    clamped_act,
    next_activation,
)
from diffsim.physics.actuation import actuator_length, setpoint_turns
from diffsim.physics.constraint_parameters import add_to
from diffsim.physics.inertia import multiply_mass
from diffsim.physics.lanes import lane, sync
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.muscle import MINVAL
from diffsim.physics.scratch import Scratch
from diffsim.physics.step import EvaluationPoints, activation_end, stage_weight
from diffsim.physics.world_parameters import timestep
from diffsim.types import real


@wp.func
def time_slope(m: ModelArrays, world: int, i: int) -> real:
    """Derivative of `activation.activation_time` by h."""
    if m.rare[0].act_dyntype[i] == FILTEREXACT:
        return wp.exp(-timestep(m, world) / wp.max(MINVAL, m.rare[0].act_dynprm[i][0]))
    return real(1.0)


@wp.func
def next_activation_slope(m: ModelArrays, s: Scratch, world: int, i: int) -> real:
    """Derivative of `activation.next_activation` by h, at the evaluation point."""
    act = s.act[world, i]
    rate = activation_rate(m, s, world, i, act)[0]
    return act_slope(m, i, act + activation_time(m, world, i) * rate) * time_slope(m, world, i) * rate


@wp.func
def early_timestep_gradient(m: ModelArrays, s: Scratch, world: int, actuator: int, input_bar: real):
    """Adds the part of an actuator whose input is the next activation, given its cotangent. For one lane."""
    i = m.actuator_actadr[actuator]
    if i >= 0:
        if m.rare[0].actuator_actearly[actuator] == 1:
            add_to(s, world, m.at_timestep, input_bar * next_activation_slope(m, s, world, i))


@wp.func
def implicit_timestep_gradient(m: ModelArrays, s: Scratch, world: int):
    """Adds the part of mu' D w. Needs mu, and w from `implicit.implicit_acceleration`.

    (M - h D) w = M a, hence h mu' D w = -(M mu) . (a - w). Overwrites `work`.
    """
    multiply_mass(m, s, world, s.multiplier[world], s.work[world])
    sync()
    if lane() == 0:
        total = real(0.0)
        for dof in range(m.nv):
            total += s.work[world, dof] * s.qacc_change[world, dof]
        add_to(s, world, m.at_timestep, -total / timestep(m, world))
    sync()


@wp.func
def period_gradient(m: ModelArrays, s: Scratch, world: int, i: int, act: real):
    """Adds the part of `actuation.advanced_activation` by the setpoint's period, which a gear gives. For one lane."""
    actuator = m.rare[0].act_actuator[i]
    if actuator >= 0:
        turns = setpoint_turns(m, world, actuator, act, actuator_length(m, s, world, actuator))
        add_to(s, world, m.at_actuator_period + actuator, -s.next_act_bar[world, i] * turns)


@wp.func
def euler_timestep_gradient(m: ModelArrays, s: Scratch, world: int):
    """Adds the part of v' = v + h w, q' = q (+) h v' and the activations. Needs `adjoint.velocity_step_adjoint`."""
    if lane() == 0:
        h = timestep(m, world)
        total = real(0.0)
        for dof in range(m.nv):
            w = s.implicit_qacc[world, dof]
            bar = s.step_bar[world, dof]
            total += (s.next_qvel_bar[world, dof] + bar) * w + bar * (s.qvel[world, dof] + h * w) / h
        for i in range(m.na):
            total += s.next_act_bar[world, i] * next_activation_slope(m, s, world, i)
            act = next_activation(m, s, world, i, s.act[world, i])
            period_gradient(m, s, world, i, act)
        add_to(s, world, m.at_timestep, total)
    sync()


@wp.func
def stage_timestep_gradient(m: ModelArrays, s: Scratch, t: EvaluationPoints, world: int, slot: int):
    """Adds the part of a Runge-Kutta stage but the first, and of the step. Needs `adjoint.end_slot` of the stage.

    A stage is at the increments h c of the rates and accelerations of the stage before, c its `stage_fraction`.
    """
    stage = slot % 4
    if stage == 0:
        return
    if lane() == 0:
        total = real(0.0)
        for dof in range(m.nv):
            total += s.step_bar[world, dof] * s.stage_rate[world, stage - 1, dof]
            total += s.acceleration_step_bar[world, dof] * t.qacc[world, slot - 1, dof]
        for i in range(m.na):
            rate = activation_rate(m, s, world, i, t.act[world, slot - 1, i])[0]
            total += s.act_step_bar[world, i] * rate
        total = total / timestep(m, world)
        if stage == 3:
            total += step_slope(m, s, t, world, slot - 3)
            for i in range(m.na):
                end = clamped_act(m, i, activation_end(m, s, t, world, slot - 3, i))
                period_gradient(m, s, world, i, end)
        add_to(s, world, m.at_timestep, total)
    sync()


@wp.func
def step_slope(m: ModelArrays, s: Scratch, t: EvaluationPoints, world: int, first: int) -> real:
    """Part of the sums of the Runge-Kutta step that starts at the slot `first`. For one lane."""
    total = real(0.0)
    for dof in range(m.nv):
        rate = real(0.0)
        acceleration = real(0.0)
        for stage in range(4):
            rate += stage_weight(stage) * s.stage_rate[world, stage, dof]
            acceleration += stage_weight(stage) * t.qacc[world, first + stage, dof]
        total += s.step_rate_bar[world, dof] * rate / timestep(m, world)
        total += s.next_qvel_bar[world, dof] * acceleration
    for i in range(m.na):
        act_rate = real(0.0)
        for stage in range(4):
            act_rate += stage_weight(stage) * activation_rate(m, s, world, i, t.act[world, first + stage, i])[0]
        total += s.act_rate_bar[world, i] / activation_time(m, world, i) * time_slope(m, world, i) * act_rate
    return total
