"""Fields of `ModelArrays` of PID controllers and DC motors: see `diffsim.physics.servo_law`."""

from typing import Any

import mujoco
import numpy as np

PID, DC_MOTOR = mujoco.mjtGain.mjGAIN_PID, mujoco.mjtGain.mjGAIN_DCMOTOR
INPUTS = [1, 2, 4, 8]  # bits of mjtCtrlInput: position, velocity, feedforward, voltage
SETPOINTS = 7
RUBBING = 18  # place of sigma_1 in the numbers


def is_servo(m: mujoco.MjModel, actuator: int) -> bool:
    """Whether an actuator is a PID controller or a DC motor."""
    return mujoco.mjtGain(m.actuator_gaintype[actuator]) in (PID, DC_MOTOR)


def servo_slots(m: mujoco.MjModel, actuator: int) -> list[int]:
    """Addresses of the activations (slewed setpoint, integral, temperature, bristle, current), -1 for none."""
    dyn, gain = m.actuator_dynprm[actuator], m.actuator_gainprm[actuator]
    if mujoco.mjtGain(m.actuator_gaintype[actuator]) == DC_MOTOR:
        present = [dyn[7] > 0, gain[5] > 0, dyn[2] > 0, dyn[5] > 0, dyn[0] > 0]
    else:
        stateful = m.actuator_actnum[actuator] > 0
        present = [stateful and dyn[1] > 0, stateful and gain[0] > 0, False, False, False]
    addresses = iter(range(m.actuator_actadr[actuator], m.actuator_actadr[actuator] + m.actuator_actnum[actuator]))
    return [next(addresses) if one else -1 for one in present]


def servo_fields(m: mujoco.MjModel, active: list[int], periods: np.ndarray) -> dict[str, Any]:
    """The enabled servos, one row each, and the ranges of all controls.

    Args:
        m: the model.
        active: the enabled actuators.
        periods: [len(active)] periods of setpoints on rotations, 0 for other actuators.
    """
    clamp = not m.opt.disableflags & mujoco.mjtDisableBit.mjDSBL_CLAMPCTRL
    rows = [n for n, i in enumerate(active) if is_servo(m, i)]
    servos = [_servo(m, active[n], periods[n]) for n in rows]
    of_actuator, in_servo = np.full(len(active), -1), np.zeros(m.na, int)
    of_actuator[rows] = np.arange(len(rows))
    for _, _, slots, _ in servos:
        in_servo[[slot for slot in slots if slot >= 0]] = 1
    return dict(
        nservo=len(rows),
        servo_kind=np.array([servo[0] for servo in servos], int).reshape(-1, 5),
        servo_ctrl=np.array([servo[1] for servo in servos], int).reshape(-1, 4),
        servo_act=np.array([servo[2] for servo in servos], int).reshape(-1, 5),
        servo_numbers=np.array([servo[3] for servo in servos], float).reshape(-1, 25),
        servo_rubbing=np.array([servo[3][RUBBING] for servo in servos], float),
        servo_actuator=np.array(rows, int),
        actuator_servo=of_actuator,
        act_servo=in_servo,
        control_limited=m.actuator_ctrllimited * bool(clamp),
        control_range=m.actuator_ctrlrange,
    )


def _servo(m: mujoco.MjModel, i: int, period: float) -> tuple[list[int], list[int], list[int], list[float]]:
    """Kind, addresses of inputs and activations, and numbers in the order of `Servo`."""
    spec, address = int(m.actuator_ctrlspec[i]), int(m.actuator_ctrladr[i])
    inputs = []
    for bit in INPUTS:
        inputs.append(address if spec & bit else -1)
        address += bool(spec & bit)
    first = next((k for k, adr in enumerate(inputs) if adr >= 0), 0)
    slots = servo_slots(m, i)
    motor = mujoco.mjtGain(m.actuator_gaintype[i]) == DC_MOTOR
    kind = [int(motor), first, int(motor and spec & SETPOINTS != 0), int(slots[4] >= 0), int(m.actuator_actearly[i])]
    numbers = _motor(m, i, slots) if motor else _controller(m, i, slots)
    return kind, inputs, slots, [period, *numbers]


def _controller(m: mujoco.MjModel, i: int, slots: list[int]) -> list[float]:
    """Numbers of a PID controller after the period. Its damping is in the bias."""
    dyn, gain, bias = m.actuator_dynprm[i], m.actuator_gainprm[i], m.actuator_biasprm[i]
    slew = dyn[1] if slots[0] >= 0 else np.inf
    low, high = m.actuator_actrange[i] if m.actuator_actlimited[i] else (-np.inf, np.inf)
    windup = dyn[0] if dyn[0] > 0 else np.inf
    ki = gain[0] if slots[1] >= 0 else 0.0
    electric = [1.0, 1.0, np.inf, 0.0, 0.0, 1.0, 1.0, 1.0, np.inf]
    return [slew, windup, low, high, -bias[1], ki, -bias[2], *electric, *[0.0] * 8]


def _motor(m: mujoco.MjModel, i: int, slots: list[int]) -> list[float]:
    """Numbers of a DC motor after the period."""
    dyn, gain, bias = m.actuator_dynprm[i], m.actuator_gainprm[i], m.actuator_biasprm[i]
    slew, imax = dyn[7] if dyn[7] > 0 else np.inf, dyn[8] if dyn[8] > 0 else np.inf
    resistance, constant = gain[0], gain[1]
    hot = slots[2] >= 0
    heat = [gain[2], dyn[4] - gain[3], dyn[2], dyn[3]] if hot else [0.0, 0.0, 1.0, 1.0]
    supply = gain[7] if gain[7] > 0 else np.inf
    delay, ramp = (dyn[0], dyn[1] if dyn[1] > 0 else np.inf) if slots[4] >= 0 else (1.0, np.inf)
    friction = [dyn[5], dyn[6], *bias[3:6]] if slots[3] >= 0 else [0.0] * 5
    numbers = [slew, imax, -imax, imax, gain[4], gain[5], gain[6], resistance, constant, supply, *heat, delay, ramp]
    return [*numbers, *friction, *bias[:3]]


def fixed_by_servos(m: mujoco.MjModel, active: list[int]) -> dict[str, str]:
    """Parameters that servos do not follow, and why."""
    if not any(is_servo(m, i) for i in active):
        return {}
    names = "actuator_gainprm", "actuator_biasprm", "actuator_gear", "timestep"
    return dict.fromkeys(names, "PID controllers or DC motors")
