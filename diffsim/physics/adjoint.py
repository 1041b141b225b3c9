"""Adjoint kernels of the step and of one evaluation: cotangents of inputs from cotangents of outputs.

They hold cotangents of positions in the tangent space (`mj_integratePos`); see `tangent`.
"""

import warp as wp

from diffsim.physics.activation import act_slope, activation_time, add_rate_cotangent, euler_activation_adjoint
from diffsim.physics.integrate import (
    integrate_position_adjoint,
    load3,
    store3,
    tangent_from_raw,
)
from diffsim.physics.lanes import lane, lanes, sync
from diffsim.physics.mocap import load_inputs, store_input_cotangents
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.rotation import inverse_right_jacobian, inverse_right_jacobian_gradient
from diffsim.physics.scratch import START_BAR, Scratch
from diffsim.physics.step import (
    EvaluationPoints,
    activation_end,
    copy,
    evaluation_count,
    stage_count,
    stage_fraction,
    stage_weight,
    tangent_rate,
)
from diffsim.physics.world_parameters import timestep
from diffsim.types import BALL, FREE, RK4, real


@wp.func
def clear(n: int, x: wp.array(dtype=real)):
    """X = 0."""
    for i in range(lane(), n, lanes()):
        x[i] = real(0.0)


@wp.func
def add(n: int, x: wp.array(dtype=real), y: wp.array(dtype=real)):
    """Y += x."""
    for i in range(lane(), n, lanes()):
        y[i] = y[i] + x[i]


@wp.func(inline=True)
def set_point(m: ModelArrays, s: Scratch, t: EvaluationPoints, world: int, slot: int):
    """Sets the evaluation point to a slot."""
    copy(m.nq, t.qpos[world, slot], s.qpos[world])
    copy(m.nv, t.qvel[world, slot], s.qvel[world])
    copy(m.na, t.act[world, slot], s.act[world])
    copy(m.nv, t.qacc[world, slot], s.qacc[world])
    sync()


@wp.func(inline=True)
def velocity_step_adjoint(m: ModelArrays, s: Scratch, world: int):
    """Adjoint of `step.velocity_step`: adds to qpos_bar, qvel_bar, act_bar and ctrl_bar, fills implicit_qacc_bar."""
    euler_activation_adjoint(m, s, world)
    next_qvel = s.work[world]
    for dof in range(lane(), m.nv, lanes()):
        next_qvel[dof] = s.qvel[world, dof] + timestep(m, world) * s.implicit_qacc[world, dof]
    sync()
    integrate_position_adjoint(
        m, next_qvel, timestep(m, world), s.next_qpos_bar[world], s.qpos_bar[world], s.step_bar[world]
    )
    sync()
    for dof in range(lane(), m.nv, lanes()):
        velocity_bar = s.next_qvel_bar[world, dof] + s.step_bar[world, dof]
        s.qvel_bar[world, dof] = s.qvel_bar[world, dof] + velocity_bar
        s.implicit_qacc_bar[world, dof] = timestep(m, world) * velocity_bar


@wp.func
def stage_rates(
    m: ModelArrays, s: Scratch, t: EvaluationPoints, world: int, slot: int, step_rate: wp.array(dtype=real)
):
    """Fills stage_rate with the rates of `runge_kutta_step`, and step_rate with their weighted sum."""
    copy(m.nv, t.qvel[world, slot], s.stage_rate[world, 0])
    sync()
    stages = int(4)  # a variable, so that Warp does not unroll the loop
    for stage in range(1, stages):
        scale = timestep(m, world) * stage_fraction(stage)
        tangent_rate(m, s.stage_rate[world, stage - 1], scale, t.qvel[world, slot + stage], s.stage_rate[world, stage])
        sync()
    for dof in range(lane(), m.nv, lanes()):
        rate = real(0.0)
        for stage in range(4):
            rate += stage_weight(stage) * s.stage_rate[world, stage, dof]
        step_rate[dof] = rate
    sync()


@wp.func
def tangent_rate_adjoint(
    m: ModelArrays,
    step: wp.array(dtype=real),
    scale: real,
    qvel: wp.array(dtype=real),
    rate_bar: wp.array(dtype=real),
    step_bar: wp.array(dtype=real),
    qvel_bar: wp.array(dtype=real),
):
    """Adjoint of `tangent_rate`: adds to step_bar and qvel_bar, given rate_bar."""
    for joint in range(lane(), m.njnt, lanes()):
        dof = m.jnt_dofadr[joint]
        kind = m.jnt_type[joint]
        if kind == FREE or kind == BALL:
            if kind == FREE:
                for i in range(3):
                    qvel_bar[dof + i] = qvel_bar[dof + i] + rate_bar[dof + i]
                dof = dof + 3
            theta = scale * load3(step, dof)
            bar = load3(rate_bar, dof)
            theta_bar = inverse_right_jacobian_gradient(theta, load3(qvel, dof), bar)
            store3(step_bar, dof, load3(step_bar, dof) + scale * theta_bar)
            store3(qvel_bar, dof, load3(qvel_bar, dof) + inverse_right_jacobian(-theta, bar))
        else:
            qvel_bar[dof] = qvel_bar[dof] + rate_bar[dof]


@wp.func
def runge_kutta_step_adjoint(m: ModelArrays, s: Scratch, t: EvaluationPoints, world: int, slot: int):
    """Adjoint of `runge_kutta_step`: from next_*_bar to state_*_bar and step_rate_bar.

    Clears step_bar and acceleration_step_bar, which carry the cotangents of a stage's rate and acceleration from the
    next stage.
    """
    step_rate = s.work[world]
    stage_rates(m, s, t, world, slot, step_rate)
    copy(m.nv, s.next_qvel_bar[world], s.state_qvel_bar[world])
    clear(m.nv, s.state_qpos_bar[world])
    sync()
    integrate_position_adjoint(
        m, step_rate, timestep(m, world), s.next_qpos_bar[world], s.state_qpos_bar[world], s.step_rate_bar[world]
    )
    clear(m.nv, s.step_bar[world])
    clear(m.nv, s.acceleration_step_bar[world])
    for i in range(lane(), m.na, lanes()):
        bar = s.next_act_bar[world, i] * act_slope(m, i, activation_end(m, s, t, world, slot, i))
        s.state_act_bar[world, i] = bar
        s.act_rate_bar[world, i] = activation_time(m, world, i) * bar
        s.act_step_bar[world, i] = real(0.0)
    sync()


@wp.func
def load_stage_cotangents(m: ModelArrays, s: Scratch, world: int, stage: int):
    """Sets rate_bar, and adds to qacc_bar what the next state and the next stage contribute."""
    for dof in range(lane(), m.nv, lanes()):
        weight = stage_weight(stage)
        s.rate_bar[world, dof] = weight * s.step_rate_bar[world, dof] + s.step_bar[world, dof]
        s.qacc_bar[world, dof] = (
            s.qacc_bar[world, dof]
            + timestep(m, world) * weight * s.next_qvel_bar[world, dof]
            + s.acceleration_step_bar[world, dof]
        )
    sync()


@wp.func
def load_stage_adjoint(m: ModelArrays, s: Scratch, world: int, stage: int):
    """Adjoint of `load_stage`: from qpos_bar, qvel_bar and act_bar, adds to state_*_bar and *step_bar."""
    for i in range(lane(), m.na, lanes()):
        rate_bar = stage_weight(stage) * s.act_rate_bar[world, i] + s.act_step_bar[world, i]
        add_rate_cotangent(m, s, world, i, rate_bar)
        s.act_step_bar[world, i] = timestep(m, world) * stage_fraction(stage) * s.act_bar[world, i]
        s.state_act_bar[world, i] = s.state_act_bar[world, i] + s.act_bar[world, i]
    if stage > 0:
        scale = timestep(m, world) * stage_fraction(stage)
        rate = s.stage_rate[world, stage - 1]
        integrate_position_adjoint(m, rate, scale, s.qpos_bar[world], s.state_qpos_bar[world], s.step_bar[world])
        tangent_rate_adjoint(m, rate, scale, s.qvel[world], s.rate_bar[world], s.step_bar[world], s.qvel_bar[world])
        sync()
        for dof in range(lane(), m.nv, lanes()):
            s.acceleration_step_bar[world, dof] = scale * s.qvel_bar[world, dof]
    else:
        add(m.nv, s.rate_bar[world], s.qvel_bar[world])
        add(m.nv, s.qpos_bar[world], s.state_qpos_bar[world])
    add(m.nv, s.qvel_bar[world], s.state_qvel_bar[world])
    sync()


@wp.func(inline=True)
def begin_slot(m: ModelArrays, s: Scratch, t: EvaluationPoints, world: int, slot: int, num_steps: int):
    """Sets the cotangents of a slot's evaluation to what the next state and the next Runge-Kutta stage contribute."""
    if slot < evaluation_count(m, num_steps) - 1:
        clear(m.nv, s.qpos_bar[world])
        clear(m.nv, s.qvel_bar[world])
        clear(m.na, s.act_bar[world])
        clear(m.nv, s.qacc_bar[world])
        clear(m.nv, s.constraint_bar[world])
    if m.integrator == RK4 and num_steps > 0:
        stage = slot % stage_count(m)
        if stage == 3:
            runge_kutta_step_adjoint(m, s, t, world, slot - stage)
        load_stage_cotangents(m, s, world, stage)


@wp.func(inline=True)
def end_slot(m: ModelArrays, s: Scratch, world: int, slot: int, num_steps: int):
    """Adds the cotangents of a slot's evaluation point to those of the state; at a step's start, to the last state."""
    stage = slot % stage_count(m)
    if m.integrator == RK4 and num_steps > 0:
        load_stage_adjoint(m, s, world, stage)
    else:
        copy(m.nv, s.qpos_bar[world], s.state_qpos_bar[world])
        copy(m.nv, s.qvel_bar[world], s.state_qvel_bar[world])
        copy(m.na, s.act_bar[world], s.state_act_bar[world])
    if stage == 0:
        sync()
        copy(m.nv, s.state_qpos_bar[world], s.next_qpos_bar[world])
        copy(m.na, s.state_act_bar[world], s.next_act_bar[world])
        copy(m.nv, s.state_qvel_bar[world], s.next_qvel_bar[world])


@wp.func
def load_evaluation_cotangents(
    m: ModelArrays,
    s: Scratch,
    world: int,
    qpos: wp.array(dtype=real),
    qpos_bar: wp.array2d(dtype=real),
    qvel_bar: wp.array2d(dtype=real),
    qacc_bar: wp.array2d(dtype=real),
    constraint_bar: wp.array2d(dtype=real),
    act_bar: wp.array2d(dtype=real),
):
    """Sets the evaluation's cotangents to those of its outputs."""
    clear(m.nv, s.qpos_bar[world])
    sync()
    tangent_from_raw(m, qpos, qpos_bar[world], s.qpos_bar[world])
    copy(m.nv, qvel_bar[world], s.qvel_bar[world])
    copy(m.nv, qacc_bar[world], s.qacc_bar[world])
    if m.noslip > 0:
        for dof in range(lane(), m.nv, lanes()):
            s.rare[0].noslip_vector[world, START_BAR, dof] = qacc_bar[world, m.nv + dof]
    copy(m.nv, constraint_bar[world], s.constraint_bar[world])
    copy(m.na, act_bar[world], s.act_bar[world])


@wp.func
def load_controls(m: ModelArrays, s: Scratch, world: int, ctrl: wp.array(dtype=real)):
    """Sets the inputs (see `mocap`), and clears their cotangents and those of applied forces."""
    load_inputs(m, s, world, ctrl)
    clear(m.nu, s.ctrl_bar[world])
    clear(m.nv, s.applied_bar[world])


@wp.func(inline=True)
def load_cotangents(
    m: ModelArrays,
    s: Scratch,
    world: int,
    ctrl: wp.array(dtype=real),
    last: wp.array(dtype=real),
    next_bar: wp.array(dtype=real),
    qpos_bar: wp.array2d(dtype=real),
    qvel_bar: wp.array2d(dtype=real),
    qacc_bar: wp.array2d(dtype=real),
    constraint_bar: wp.array2d(dtype=real),
    act_bar: wp.array2d(dtype=real),
):
    """Sets the controls, and the cotangents of the outputs; `last` is the last evaluation's qpos."""
    load_controls(m, s, world, ctrl)
    for dof in range(lane(), m.nv, lanes()):
        s.next_qpos_bar[world, dof] = next_bar[dof]
        s.next_qvel_bar[world, dof] = next_bar[m.nv + dof]
    for i in range(lane(), m.na, lanes()):
        s.next_act_bar[world, i] = next_bar[2 * m.nv + i]
    load_evaluation_cotangents(m, s, world, last, qpos_bar, qvel_bar, qacc_bar, constraint_bar, act_bar)


@wp.func(inline=True)
def store_cotangents(
    m: ModelArrays,
    s: Scratch,
    world: int,
    state_bar: wp.array(dtype=real),
    ctrl_bar: wp.array(dtype=real),
    qfrc_applied_bar: wp.array(dtype=real),
):
    """Returns the cotangents of the inputs."""
    for dof in range(lane(), m.nv, lanes()):
        state_bar[dof] = s.state_qpos_bar[world, dof]
        state_bar[m.nv + dof] = s.state_qvel_bar[world, dof]
    for i in range(lane(), m.na, lanes()):
        state_bar[2 * m.nv + i] = s.state_act_bar[world, i]
    store_input_cotangents(m, s, world, ctrl_bar)
    copy(m.nv, s.applied_bar[world], qfrc_applied_bar)
