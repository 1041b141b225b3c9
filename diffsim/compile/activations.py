"""Fields of `ModelArrays` of activations and muscles."""

from typing import Any

import mujoco
import numpy as np

GAIN, BIAS = mujoco.mjtGain.mjGAIN_MUSCLE, mujoco.mjtBias.mjBIAS_MUSCLE


def activations(m: mujoco.MjModel, active: list[int]) -> dict[str, Any]:
    """The inputs of the enabled actuators' gains, and the activations of all actuators.

    An activation of a disabled actuator is only clamped; if all are disabled by a flag, it stays.
    """
    off = bool(m.opt.disableflags & mujoco.mjtDisableBit.mjDSBL_ACTUATION)
    owner = np.full(m.na, -1)
    for i in range(m.nactuator):
        owner[m.actuator_actadr[i] : m.actuator_actadr[i] + m.actuator_actnum[i]] = i
    place = np.full(m.nactuator, -1)
    place[active] = np.arange(len(active))
    return dict(
        actuator_actadr=m.actuator_actadr[active],
        actuator_actearly=m.actuator_actearly[active].astype(int),
        act_actuator=place[owner],
        act_dyntype=m.actuator_dyntype[owner],
        act_dynprm=m.actuator_dynprm[owner, :3],
        act_limited=m.actuator_actlimited[owner] * (not off),
        act_range=m.actuator_actrange[owner],
    )


def has_muscles(m: mujoco.MjModel) -> bool:
    """Whether the gain or the bias of an actuator is a muscle's."""
    return bool(np.any(m.actuator_gaintype == int(GAIN)) or np.any(m.actuator_biastype == int(BIAS)))


def muscles(m: mujoco.MjModel, active: list[int]) -> dict[str, Any]:
    """Gains and biases of muscles, normalized: see `diffsim.physics.muscle`."""
    part = 1 * (m.actuator_gaintype[active] == int(GAIN)) + 2 * (m.actuator_biastype[active] == int(BIAS))
    gains, biases = np.zeros((len(active), 8)), np.zeros((len(active), 6))
    for n, i in enumerate(active):
        start, acc0 = m.actuator_lengthrange[m.actuator_outadr[i]], m.actuator_acc0[m.actuator_outadr[i]]
        if part[n] % 2:
            prm = m.actuator_gainprm[i]
            optimum = optimal_length(start, prm)
            by_velocity = 1 / max(mujoco.mjMINVAL, optimum * prm[6])
            by_length = 1 / max(mujoco.mjMINVAL, optimum)
            gains[n] = peak_force(acc0, prm), prm[0], start[0], by_length, prm[4], prm[5], by_velocity, prm[8]
        if part[n] >= 2:
            prm = m.actuator_biasprm[i]
            by_length = 1 / max(mujoco.mjMINVAL, optimal_length(start, prm))
            biases[n] = peak_force(acc0, prm), prm[0], start[0], by_length, prm[5], prm[7]
    return dict(has_muscles=int(part.any()), muscle_part=part, muscle_gain=gains, muscle_bias=biases)


def peak_force(acc0: float, prm: np.ndarray) -> float:
    """Peak force at rest, N: prm[2], or if that is negative the scale prm[3] over the acceleration by unit force."""
    return float(prm[2] if prm[2] >= 0 else prm[3] / max(mujoco.mjMINVAL, acc0))


def optimal_length(lengthrange: np.ndarray, prm: np.ndarray) -> float:
    """Optimal length L0, m: the range of lengths over that of normalized lengths."""
    return float((lengthrange[1] - lengthrange[0]) / max(mujoco.mjMINVAL, prm[1] - prm[0]))
