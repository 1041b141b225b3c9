"""Actuator forces, clamped as MuJoCo clamps them, and their gradient.

    p_i = clamp(c_i (gain_i(l, l') u_i + bias_i(l, l'))),    qfrc_actuator = sum_i moment_i p_i, clamped per joint

The input u_i is a control or an activation (see `activation`). The factor c_i scales the forces on a tendon so that
their sum is within the tendon's actuatorfrcrange.
Source: MuJoCo documentation, Computation, actuation model.
"""

import warp as wp

from diffsim.physics.activation import actuator_input, add_input_cotangent, clamped_act
from diffsim.physics.gravcomp import ACTUATOR, gravcomp_force
from diffsim.physics.kinematics import joint_quat
from diffsim.physics.lanes import lane, lanes, sync
from diffsim.physics.line import LENGTH, VELOCITY, add_along_line, add_line_bar, line_dot
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.muscle import muscle_bias, muscle_gain, vec5
from diffsim.physics.rotation import inverse_right_jacobian, quat_log
from diffsim.physics.scratch import Scratch
from diffsim.physics.servo import servo_forces
from diffsim.physics.world_parameters import gear_of, moment_value
from diffsim.types import ZERO, real, vec3


@wp.func
def quat_moment(m: ModelArrays, world: int, actuator: int) -> vec3:
    """Gear of an actuator on a ball joint, as a vector."""
    adr = m.moment_adr[actuator]
    return vec3(moment_value(m, world, adr), moment_value(m, world, adr + 1), moment_value(m, world, adr + 2))


@wp.func
def actuator_length(m: ModelArrays, s: Scratch, world: int, actuator: int) -> real:
    """Length: moment . qpos, gear . rotation vector for a ball joint, zero for a free joint, gear times a line's."""
    line = m.actuator_line[actuator]
    if line >= 0:
        return gear_of(m, world, actuator) * s.line_length[world, line]
    if m.actuator_quat[actuator] >= 0:
        return wp.dot(quat_moment(m, world, actuator), quat_log(joint_quat(s, world, m.actuator_quat[actuator])))
    length = real(0.0)
    for entry in range(m.moment_adr[actuator], m.moment_adr[actuator] + m.moment_num[actuator]):
        if m.moment_qpos[entry] >= 0:
            length += moment_value(m, world, entry) * s.qpos[world, m.moment_qpos[entry]]
    return length


@wp.func
def moment_dot(m: ModelArrays, s: Scratch, world: int, actuator: int, x: wp.array(dtype=real)) -> real:
    """moment_i . x for a vector over dofs."""
    line = m.actuator_line[actuator]
    if line >= 0:
        return gear_of(m, world, actuator) * line_dot(m, s, world, line, x)
    total = real(0.0)
    for entry in range(m.moment_adr[actuator], m.moment_adr[actuator] + m.moment_num[actuator]):
        total += moment_value(m, world, entry) * x[m.moment_dof[entry]]
    return total


@wp.func
def setpoint_turns(m: ModelArrays, world: int, actuator: int, u: real, length: real) -> real:
    """Number of whole turns from the length to the setpoint of a servo on a rotation; 0 for other actuators."""
    period = m.actuator_period[world * m.actuator_stride + actuator]
    if period > ZERO:
        return wp.round((u - length) / period)
    return real(0.0)


@wp.func
def tracked_ctrl(m: ModelArrays, world: int, actuator: int, u: real, length: real) -> real:
    """The input; for a servo on a rotation, the setpoint u - k period nearest to the length."""
    period = m.actuator_period[world * m.actuator_stride + actuator]
    if period > ZERO:
        return u - period * setpoint_turns(m, world, actuator, u, length)
    return u


@wp.func
def advanced_activation(m: ModelArrays, s: Scratch, world: int, i: int, act: real) -> real:
    """Activation i after a step to the value `act`: within actrange, and for a servo on a ball joint tracked."""
    act = clamped_act(m, i, act)
    actuator = m.rare[0].act_actuator[i]
    if actuator >= 0:
        if m.actuator_period[world * m.actuator_stride + actuator] > ZERO:
            act = tracked_ctrl(m, world, actuator, act, actuator_length(m, s, world, actuator))
    return act


@wp.func
def is_muscle(m: ModelArrays, actuator: int) -> bool:
    """Whether an actuator's gain or bias is a muscle's."""
    return m.has_muscles == 1 and (
        m.rare[0].actuator_gain_row[actuator] >= 0 or m.rare[0].actuator_bias_row[actuator] >= 0
    )


@wp.func
def gain_terms(m: ModelArrays, world: int, actuator: int, length: real, velocity: real) -> vec5:
    """Gain of an actuator, and its derivatives: by length, by velocity, by both, and by velocity twice."""
    if is_muscle(m, actuator):
        row = m.rare[0].actuator_gain_row[actuator]
        if row >= 0:
            return muscle_gain(m.muscle_gain[world * m.muscle_gain_stride + row], length, velocity)
    gain = m.actuator_gain[world * m.actuator_stride + actuator]
    return vec5(gain[0] + gain[1] * length + gain[2] * velocity, gain[1], gain[2], ZERO, ZERO)


@wp.func
def bias_terms(m: ModelArrays, world: int, actuator: int, length: real, velocity: real) -> vec3:
    """Bias of an actuator, and its derivatives by length and velocity."""
    if is_muscle(m, actuator):
        row = m.rare[0].actuator_bias_row[actuator]
        if row >= 0:
            passive = muscle_bias(m.muscle_bias[world * m.muscle_bias_stride + row], length)
            return vec3(passive[0], passive[1], ZERO)
    bias = m.actuator_bias[world * m.actuator_stride + actuator]
    return vec3(bias[0] + bias[1] * length + bias[2] * velocity, bias[1], bias[2])


@wp.func
def unclamped_force(m: ModelArrays, world: int, actuator: int, u: real, length: real, velocity: real) -> real:
    """gain(l, l') u + bias(l, l')."""
    u = tracked_ctrl(m, world, actuator, u, length)
    if is_muscle(m, actuator):
        gains = gain_terms(m, world, actuator, length, velocity)
        biases = bias_terms(m, world, actuator, length, velocity)
        return gains[0] * u + biases[0]
    gain = m.actuator_gain[world * m.actuator_stride + actuator]
    bias = m.actuator_bias[world * m.actuator_stride + actuator]
    return (gain[0] + gain[1] * length + gain[2] * velocity) * u + bias[0] + bias[1] * length + bias[2] * velocity


@wp.func
def drive_input(m: ModelArrays, s: Scratch, world: int, actuator: int) -> real:
    """What an actuator's gain multiplies; the whole force of a DC motor, and that of a PID controller but its bias."""
    if m.nservo > 0:
        if m.rare[0].actuator_servo[actuator] >= 0:
            return servo_forces(m, s, world, actuator)[0]
    return actuator_input(m, s, world, actuator)


@wp.func
def driving_force(m: ModelArrays, s: Scratch, world: int, actuator: int) -> real:
    """`unclamped_force` at the evaluation point."""
    length = actuator_length(m, s, world, actuator)
    velocity = moment_dot(m, s, world, actuator, s.qvel[world])
    return unclamped_force(m, world, actuator, drive_input(m, s, world, actuator), length, velocity)


@wp.func
def tendon_total(m: ModelArrays, s: Scratch, world: int, tendon: int) -> real:
    """Sum of the forces of a tendon's actuators before all clamps."""
    total = real(0.0)
    for actuator in range(m.nactuator):
        if m.rare[0].actuator_tendon[actuator] == tendon:
            total += driving_force(m, s, world, actuator)
    return total


@wp.func
def tendon_scale(m: ModelArrays, s: Scratch, world: int, actuator: int) -> real:
    """c_i; 1 where the sum is zero, as in MuJoCo."""
    scale = real(1.0)
    if m.has_tendon_frcrange == 1:
        tendon = m.rare[0].actuator_tendon[actuator]
        if tendon >= 0:
            total = tendon_total(m, s, world, tendon)
            if total != ZERO:
                low = m.rare[0].tendon_actfrcrange[tendon, 0]
                scale = wp.clamp(total, low, m.rare[0].tendon_actfrcrange[tendon, 1]) / total
    return scale


@wp.func
def actuator_force(m: ModelArrays, s: Scratch, world: int, actuator: int) -> real:
    """p_i, clamped to forcerange, and what a DC motor adds."""
    force = tendon_scale(m, s, world, actuator) * driving_force(m, s, world, actuator)
    if m.actuator_forcelimited[actuator] == 1:
        force = wp.clamp(force, m.actuator_forcerange[actuator, 0], m.actuator_forcerange[actuator, 1])
    if m.nservo > 0:
        force += servo_forces(m, s, world, actuator)[1]
    return force


@wp.func
def add_actuator_cotangents(m: ModelArrays, s: Scratch, world: int, actuator: int, bar: vec3):
    """Adds the cotangents of an actuator's input, length and velocity to those of control and state. For one lane."""
    add_input_cotangent(m, s, world, actuator, bar[0])
    line = m.actuator_line[actuator]
    if line >= 0:
        add_line_bar(s, world, line, LENGTH, gear_of(m, world, actuator) * bar[1])
        add_line_bar(s, world, line, VELOCITY, gear_of(m, world, actuator) * bar[2])
    for entry in range(m.moment_adr[actuator], m.moment_adr[actuator] + m.moment_num[actuator]):
        dof = m.moment_dof[entry]
        s.qvel_bar[world, dof] = s.qvel_bar[world, dof] + bar[2] * moment_value(m, world, entry)
        if m.moment_qpos[entry] >= 0:
            s.qpos_bar[world, dof] = s.qpos_bar[world, dof] + bar[1] * moment_value(m, world, entry)
    if m.actuator_quat[actuator] >= 0:
        theta = quat_log(joint_quat(s, world, m.actuator_quat[actuator]))
        turn_bar = bar[1] * inverse_right_jacobian(-theta, quat_moment(m, world, actuator))
        for i in range(3):
            dof = m.moment_dof[m.moment_adr[actuator]] + i
            s.qpos_bar[world, dof] = s.qpos_bar[world, dof] + turn_bar[i]


@wp.func
def sum_actuator_forces(m: ModelArrays, s: Scratch, world: int):
    """Fills qfrc_actuator with sum_i moment_i p_i and gravity compensation, before the clamp per joint."""
    for dof in range(lane(), m.nv, lanes()):
        s.qfrc_actuator[world, dof] = gravcomp_force(m, s, world, dof, ACTUATOR)
    for actuator in range(lane(), m.nactuator, lanes()):
        s.actuator_force[world, actuator] = actuator_force(m, s, world, actuator)
    sync()
    if lane() == 0:
        for actuator in range(m.nactuator):
            force = s.actuator_force[world, actuator]
            line = m.actuator_line[actuator]
            if line >= 0:
                add_along_line(m, s, world, line, gear_of(m, world, actuator) * force, s.qfrc_actuator[world])
            for entry in range(m.moment_adr[actuator], m.moment_adr[actuator] + m.moment_num[actuator]):
                dof = m.moment_dof[entry]
                s.qfrc_actuator[world, dof] = s.qfrc_actuator[world, dof] + moment_value(m, world, entry) * force
    sync()


@wp.func
def actuation(m: ModelArrays, s: Scratch, world: int):
    """Adds the actuators' forces, clamped per joint, and the applied forces to qfrc_smooth."""
    sum_actuator_forces(m, s, world)
    if m.has_actfrcrange == 1:
        for joint in range(lane(), m.njnt, lanes()):
            if m.rare[0].jnt_actfrclimited[joint] == 1:
                dof = m.jnt_dofadr[joint]
                s.qfrc_actuator[world, dof] = wp.clamp(
                    s.qfrc_actuator[world, dof],
                    m.rare[0].jnt_actfrcrange[joint, 0],
                    m.rare[0].jnt_actfrcrange[joint, 1],
                )
        sync()
    for dof in range(lane(), m.nv, lanes()):
        s.qfrc_smooth[world, dof] = s.qfrc_smooth[world, dof] + s.qfrc_actuator[world, dof] + s.qfrc_applied[world, dof]
    sync()
