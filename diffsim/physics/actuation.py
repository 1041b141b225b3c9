"""Actuator forces, clamped as MuJoCo clamps them, and their gradient.

    p_i = clamp(gain_i(l, l') clamp(u_i) + bias_i(l, l')),    qfrc_actuator = sum_i moment_i p_i, clamped per joint

The derivative of a clamp is 1 inside its range and 0 outside. At an end of its range it is 1 for a control, the
derivative towards feasible controls; and 1/2, the mean of both sides, for a force, since forces add up.
Source: MuJoCo documentation, Computation, actuation model.
"""

import warp as wp

from diffsim.physics.kinematics import joint_quat
from diffsim.physics.lanes import lane, lanes, sync
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.rotation import quat_log
from diffsim.physics.scratch import Scratch
from diffsim.types import HALF, ZERO, real, vec3


@wp.func
def quat_moment(m: ModelArrays, actuator: int) -> vec3:
    """Gear of an actuator on a ball joint, as a vector."""
    adr = m.moment_adr[actuator]
    return vec3(m.moment_value[adr], m.moment_value[adr + 1], m.moment_value[adr + 2])


@wp.func
def actuator_length(m: ModelArrays, s: Scratch, world: int, actuator: int) -> real:
    """Length: moment . qpos, the gear times the rotation vector for a ball joint, zero for a free joint."""
    if m.actuator_quat[actuator] >= 0:
        return wp.dot(quat_moment(m, actuator), quat_log(joint_quat(s, world, m.actuator_quat[actuator])))
    length = real(0.0)
    for entry in range(m.moment_adr[actuator], m.moment_adr[actuator] + m.moment_num[actuator]):
        if m.moment_qpos[entry] >= 0:
            length += m.moment_value[entry] * s.qpos[world, m.moment_qpos[entry]]
    return length


@wp.func
def moment_dot(m: ModelArrays, actuator: int, x: wp.array(dtype=real)) -> real:
    """moment_i . x for a vector over dofs."""
    total = real(0.0)
    for entry in range(m.moment_adr[actuator], m.moment_adr[actuator] + m.moment_num[actuator]):
        total += m.moment_value[entry] * x[m.moment_dof[entry]]
    return total


@wp.func
def clamped_ctrl(m: ModelArrays, s: Scratch, world: int, actuator: int) -> real:
    """The control within ctrlrange."""
    u = s.ctrl[world, m.actuator_ctrl[actuator]]
    if m.actuator_ctrllimited[actuator] == 1:
        u = wp.clamp(u, m.actuator_ctrlrange[actuator, 0], m.actuator_ctrlrange[actuator, 1])
    return u


@wp.func
def tracked_ctrl(m: ModelArrays, actuator: int, u: real, length: real) -> real:
    """The control; for a servo on a ball joint, the setpoint u + k period nearest to the length."""
    period = m.actuator_period[actuator]
    if period > ZERO:
        return u - period * wp.round((u - length) / period)
    return u


@wp.func
def unclamped_force(m: ModelArrays, world: int, actuator: int, u: real, length: real, velocity: real) -> real:
    """gain(l, l') u + bias(l, l')."""
    u = tracked_ctrl(m, actuator, u, length)
    gain = m.actuator_gain[world * m.actuator_stride + actuator]
    bias = m.actuator_bias[world * m.actuator_stride + actuator]
    return (gain[0] + gain[1] * length + gain[2] * velocity) * u + bias[0] + bias[1] * length + bias[2] * velocity


@wp.func
def actuator_force(m: ModelArrays, s: Scratch, world: int, actuator: int) -> real:
    """p_i, clamped to forcerange."""
    length = actuator_length(m, s, world, actuator)
    velocity = moment_dot(m, actuator, s.qvel[world])
    force = unclamped_force(m, world, actuator, clamped_ctrl(m, s, world, actuator), length, velocity)
    if m.actuator_forcelimited[actuator] == 1:
        force = wp.clamp(force, m.actuator_forcerange[actuator, 0], m.actuator_forcerange[actuator, 1])
    return force


@wp.func
def sum_actuator_forces(m: ModelArrays, s: Scratch, world: int):
    """Fills qfrc_actuator with sum_i moment_i p_i, before the clamp per joint."""
    for dof in range(lane(), m.nv, lanes()):
        s.qfrc_actuator[world, dof] = ZERO
    for actuator in range(lane(), m.nactuator, lanes()):
        s.actuator_force[world, actuator] = actuator_force(m, s, world, actuator)
    sync()
    if lane() == 0:
        for actuator in range(m.nactuator):
            force = s.actuator_force[world, actuator]
            for entry in range(m.moment_adr[actuator], m.moment_adr[actuator] + m.moment_num[actuator]):
                dof = m.moment_dof[entry]
                s.qfrc_actuator[world, dof] = s.qfrc_actuator[world, dof] + m.moment_value[entry] * force
    sync()


@wp.func
def actuation(m: ModelArrays, s: Scratch, world: int):
    """Adds the actuators' forces, clamped per joint, and the applied forces to qfrc_smooth."""
    sum_actuator_forces(m, s, world)
    if m.has_actfrcrange == 1:
        for joint in range(lane(), m.njnt, lanes()):
            if m.jnt_actfrclimited[joint] == 1:
                dof = m.jnt_dofadr[joint]
                s.qfrc_actuator[world, dof] = wp.clamp(
                    s.qfrc_actuator[world, dof], m.jnt_actfrcrange[joint, 0], m.jnt_actfrcrange[joint, 1]
                )
        sync()
    for dof in range(lane(), m.nv, lanes()):
        s.qfrc_smooth[world, dof] = s.qfrc_smooth[world, dof] + s.qfrc_actuator[world, dof] + s.qfrc_applied[world, dof]
    sync()


@wp.func
def inside(x: real, low: real, high: real) -> real:
    """Derivative of a clamp: 1 within the range, ends included, else 0."""
    if x < low or x > high:
        return ZERO
    return real(1.0)


@wp.func
def strictly_inside(x: real, low: real, high: real) -> real:
    """1 within the range, ends excluded, else 0."""
    if x <= low or x >= high:
        return ZERO
    return real(1.0)


@wp.func
def force_slope(x: real, low: real, high: real) -> real:
    """Derivative of the clamp of a force: 1 within the range, 1/2 at its ends, else 0."""
    return HALF * (inside(x, low, high) + strictly_inside(x, low, high))
