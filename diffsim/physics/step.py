"""The physics step: explicit and implicit Euler, Runge-Kutta 4 on the manifold.

Each evaluation writes (q, v, act, a) to its slot of a trajectory; the adjoint needs nothing else.
"""

import mujoco
import warp as wp

from diffsim.physics.activation import activation_rate, activation_time, of_servo
from diffsim.physics.actuation import advanced_activation
from diffsim.physics.derived import contact_wrenches
from diffsim.physics.integrate import integrate_position, load3, store3
from diffsim.physics.lanes import lane, lanes, sync
from diffsim.physics.mocap import load_inputs
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.rotation import inverse_right_jacobian
from diffsim.physics.scratch import START, Scratch
from diffsim.physics.world_parameters import timestep
from diffsim.types import BALL, FREE, RK4, real, vec6

MAXVAL = wp.constant(real(mujoco.mjMAXVAL))  # MuJoCo resets a simulation with larger numbers


@wp.struct
class EvaluationPoints:
    """Evaluation points of consecutive physics steps: one slot per step for Euler, four for Runge-Kutta."""

    qpos: wp.array3d(dtype=real)  # [world, slot, nq]
    qvel: wp.array3d(dtype=real)  # [world, slot, nv]
    act: wp.array3d(dtype=real)  # [world, slot, na]
    qacc: wp.array3d(dtype=real)  # [world, slot, nv]
    start: wp.array3d(dtype=real)  # [world, slot, nv] before the noslip solver; empty without


@wp.func
def stage_fraction(stage: int) -> real:
    """Time of a Runge-Kutta stage, as a fraction of the step."""
    if stage == 0:
        return real(0.0)
    if stage == 3:
        return real(1.0)
    return real(0.5)


@wp.func
def stage_weight(stage: int) -> real:
    """Weight of a Runge-Kutta stage in the step."""
    if stage == 0 or stage == 3:
        return wp.static(real(1.0 / 6.0))
    return wp.static(real(1.0 / 3.0))


@wp.func
def copy(n: int, source: wp.array(dtype=real), target: wp.array(dtype=real)):
    """Target = source."""
    for i in range(lane(), n, lanes()):
        target[i] = source[i]


@wp.func
def store_point(m: ModelArrays, s: Scratch, t: EvaluationPoints, world: int, slot: int):
    """Writes the evaluation point to a slot."""
    copy(m.nq, s.qpos[world], t.qpos[world, slot])
    copy(m.nv, s.qvel[world], t.qvel[world, slot])
    copy(m.na, s.act[world], t.act[world, slot])
    copy(m.nv, s.qacc[world], t.qacc[world, slot])
    if m.noslip > 0:
        copy(m.nv, s.rare[0].noslip_vector[world, START], t.start[world, slot])


@wp.func
def tangent_rate(
    m: ModelArrays, step: wp.array(dtype=real), scale: real, qvel: wp.array(dtype=real), rate: wp.array(dtype=real)
):
    """Rate = d/dt of the increment theta = scale * step that moves q0 (+) theta with velocity qvel.

    J_r(theta)^-1 omega for rotations, else qvel. Source: Munthe-Kaas (1999), High order Runge-Kutta methods on
    manifolds; MuJoCo 4.0 integrates free and ball joints this way.
    """
    for joint in range(lane(), m.njnt, lanes()):
        dof = m.jnt_dofadr[joint]
        kind = m.jnt_type[joint]
        if kind == FREE or kind == BALL:
            if kind == FREE:
                store3(rate, dof, load3(qvel, dof))
                dof = dof + 3
            store3(rate, dof, inverse_right_jacobian(scale * load3(step, dof), load3(qvel, dof)))
        else:
            rate[dof] = qvel[dof]


@wp.func(inline=True)
def velocity_step(m: ModelArrays, s: Scratch, t: EvaluationPoints, world: int, slot: int, w: wp.array(dtype=real)):
    """V' = v + h w, q' = q (+) h v', and the step of the activations."""
    for i in range(lane(), m.na, lanes()):
        if of_servo(m, i):
            s.act[world, i] = s.rare[0].act_end[world, i]
        else:
            rate = activation_rate(m, s, world, i, s.act[world, i])
            end = s.act[world, i] + activation_time(m, world, i) * rate[0]
            s.act[world, i] = advanced_activation(m, s, world, i, end)
    for dof in range(lane(), m.nv, lanes()):
        s.qvel[world, dof] = s.qvel[world, dof] + timestep(m, world) * w[dof]
    sync()
    integrate_position(m, t.qpos[world, slot], s.qvel[world], timestep(m, world), s.qpos[world])
    sync()


@wp.func
def load_stage(m: ModelArrays, s: Scratch, t: EvaluationPoints, world: int, slot: int, stage: int):
    """Sets the evaluation point to a Runge-Kutta stage of the step that starts at `slot`.

    Increments of position are in the tangent space at the start of the step.
    """
    if stage > 0:
        scale = timestep(m, world) * stage_fraction(stage)
        integrate_position(m, t.qpos[world, slot], s.stage_rate[world, stage - 1], scale, s.qpos[world])
        for dof in range(lane(), m.nv, lanes()):
            s.qvel[world, dof] = t.qvel[world, slot, dof] + scale * t.qacc[world, slot + stage - 1, dof]
        for i in range(lane(), m.na, lanes()):
            rate = activation_rate(m, s, world, i, t.act[world, slot + stage - 1, i])
            if of_servo(m, i):
                rate[0] = s.rare[0].act_rate[world, stage - 1, i]
            s.act[world, i] = t.act[world, slot, i] + scale * rate[0]
        sync()
        tangent_rate(m, s.stage_rate[world, stage - 1], scale, s.qvel[world], s.stage_rate[world, stage])
    else:
        copy(m.nv, s.qvel[world], s.stage_rate[world, stage])
    sync()


@wp.func
def activation_end(m: ModelArrays, s: Scratch, t: EvaluationPoints, world: int, slot: int, i: int) -> real:
    """Activation i at the end of the Runge-Kutta step that starts at `slot`, before its clamp."""
    rate = real(0.0)
    for stage in range(4):
        stage_rate = activation_rate(m, s, world, i, t.act[world, slot + stage, i])
        rate += stage_weight(stage) * stage_rate[0]
    return t.act[world, slot, i] + activation_time(m, world, i) * rate


@wp.func
def runge_kutta_step(m: ModelArrays, s: Scratch, t: EvaluationPoints, world: int, slot: int):
    """Next state from the four evaluations of the step that starts at `slot`."""
    step_rate = s.work[world]
    for dof in range(lane(), m.nv, lanes()):
        rate = real(0.0)
        acceleration = real(0.0)
        for stage in range(4):
            rate += stage_weight(stage) * s.stage_rate[world, stage, dof]
            acceleration += stage_weight(stage) * t.qacc[world, slot + stage, dof]
        step_rate[dof] = rate
        s.qvel[world, dof] = t.qvel[world, slot, dof] + timestep(m, world) * acceleration
    for i in range(lane(), m.na, lanes()):
        if of_servo(m, i):
            s.act[world, i] = s.rare[0].act_end[world, i]
        else:
            s.act[world, i] = advanced_activation(m, s, world, i, activation_end(m, s, t, world, slot, i))
    sync()
    integrate_position(m, t.qpos[world, slot], step_rate, timestep(m, world), s.qpos[world])
    sync()


@wp.func
def stage_count(m: ModelArrays) -> int:
    """Number of evaluations in a step."""
    if m.integrator == RK4:
        return 4
    return 1


@wp.func
def evaluation_count(m: ModelArrays, num_steps: int) -> int:
    """Number of evaluations in `num_steps` steps; one if `num_steps` is 0."""
    return wp.max(num_steps * stage_count(m), 1)


@wp.func
def all_finite(n: int, values: wp.array(dtype=real)) -> bool:
    """Whether this lane's entries of the first n numbers are finite."""
    for i in range(lane(), n, lanes()):
        if not wp.isfinite(values[i]):
            return False
    return True


@wp.func
def all_bounded(n: int, values: wp.array(dtype=real)) -> bool:
    """Whether this lane's entries of the first n numbers are at most MAXVAL in size."""
    for i in range(lane(), n, lanes()):
        if not (wp.abs(values[i]) <= MAXVAL):
            return False
    return True


@wp.func
def load_state(
    m: ModelArrays,
    s: Scratch,
    world: int,
    state: wp.array(dtype=real),
    ctrl: wp.array(dtype=real),
    qfrc_applied: wp.array(dtype=real),
) -> bool:
    """Sets the evaluation point to a state, inputs (see `mocap`) and applied forces.

    Returns: whether all numbers of this lane are finite, and those of the state and of controls without range at most
        MAXVAL.
    """
    copy(m.nq, state, s.qpos[world])
    for i in range(lane(), m.nv, lanes()):
        s.qvel[world, i] = state[m.nq + i]
    for i in range(lane(), m.na, lanes()):
        s.act[world, i] = state[m.nq + m.nv + i]
    load_inputs(m, s, world, ctrl)
    copy(m.nv, qfrc_applied, s.qfrc_applied[world])
    if lane() == 0:
        s.contact_peak[world] = 0
        s.iteration_peak[world] = 0
    for actuator in range(lane(), m.nactuator, lanes()):
        if m.actuator_ctrllimited[actuator] == 0 and not (wp.abs(ctrl[m.actuator_ctrl[actuator]]) <= MAXVAL):
            return False
    if m.nservo > 0:
        for i in range(lane(), m.nu, lanes()):
            if m.rare[0].control_limited[i] == 0 and not (wp.abs(ctrl[i]) <= MAXVAL):
                return False
    inputs = m.nu + 7 * m.nmocap
    for i in range(inputs + m.nequality + lane(), ctrl.shape[0], lanes()):
        if not wp.isfinite(ctrl[i]):
            return False
    return all_bounded(m.nq + m.nv + m.na, state) and all_finite(inputs, ctrl) and all_finite(m.nv, qfrc_applied)


@wp.func
def store_forces(
    m: ModelArrays,
    s: Scratch,
    world: int,
    qfrc_constraint: wp.array(dtype=real),
    qfrc_actuator: wp.array(dtype=real),
    cfrc_ext: wp.array(dtype=vec6),
    report: wp.array(dtype=wp.int32),
):
    """Writes the forces of the last evaluation, and the peaks over all evaluations."""
    copy(m.nv, s.qfrc_constraint[world], qfrc_constraint)
    copy(m.nv, s.qfrc_actuator[world], qfrc_actuator)
    if lane() == 0:
        report[0] = s.contact_peak[world]
        report[1] = s.iteration_peak[world]
    if lane() == 0 and s.contact_peak[world] <= m.max_contacts:
        contact_wrenches(m, s, world, cfrc_ext)
