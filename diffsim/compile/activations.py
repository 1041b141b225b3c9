"""Fields of `ModelArrays` of activations and muscles."""

from typing import Any

import mujoco
import numpy as np
import torch
from torch import Tensor

from diffsim.compile.servos import DC_MOTOR, is_servo, servo_slots

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
    servos = np.array([is_servo(m, i) for i in range(m.nactuator)], bool)
    place[servos] = -1  # `servos` has these
    limited, ends = m.actuator_actlimited[owner] * (not off), m.actuator_actrange[owner]
    for i in map(int, np.flatnonzero(m.actuator_gaintype == int(DC_MOTOR))):  # its own range, of the integral only
        slots, bound = servo_slots(m, i), m.actuator_dynprm[i, 8]
        limited[[slot for slot in slots if slot >= 0]] = 0
        if slots[1] >= 0 and bound > 0:
            limited[slots[1]], ends[slots[1]] = not off, (-bound, bound)
    return dict(
        actuator_actadr=np.where(servos, -1, m.actuator_actadr)[active],
        actuator_actearly=m.actuator_actearly[active].astype(int),
        act_actuator=place[owner],
        act_dyntype=m.actuator_dyntype[owner],
        act_dynprm=m.actuator_dynprm[owner, :3],
        act_limited=limited,
        act_range=ends,
    )


def muscles(m: mujoco.MjModel, active: list[int]) -> tuple[list[int], list[int]]:
    """The enabled actuators whose gain, and those whose bias is a muscle's."""
    gains = [i for i in active if m.actuator_gaintype[i] == int(GAIN)]
    return gains, [i for i in active if m.actuator_biastype[i] == int(BIAS)]


def muscle_fields(m: mujoco.MjModel, active: list[int]) -> dict[str, Any]:
    """Rows of `muscle_gain` and `muscle_bias` for each enabled actuator, -1 for none."""
    rows = [np.array([own.index(i) if i in own else -1 for i in active], int) for own in muscles(m, active)]
    return dict(
        has_muscles=int(any((r >= 0).any() for r in rows)), actuator_gain_row=rows[0], actuator_bias_row=rows[1]
    )


def muscle_gains(m: mujoco.MjModel, active: list[int], prm: Tensor) -> Tensor:
    """Normalized parameters of gains: see `diffsim.physics.muscle.muscle_gain`.

    Args:
        m: the model.
        active: the enabled actuators.
        prm: [..., nu, 10] `actuator_gainprm`.

    Returns: [..., number of gains, 8].
    """
    own = muscles(m, active)[0]
    prm = _rows(prm, own)
    start, optimum = _lengths(m, own, prm)
    rate = 1 / (optimum * prm[..., 6]).clamp(min=mujoco.mjMINVAL)
    peak = _peak_force(m, own, prm)
    return torch.stack([peak, prm[..., 0], start, 1 / optimum, prm[..., 4], prm[..., 5], rate, prm[..., 8]], dim=-1)


def muscle_biases(m: mujoco.MjModel, active: list[int], prm: Tensor) -> Tensor:
    """As `muscle_gains`, of biases: [..., number of biases, 6]. See `diffsim.physics.muscle.muscle_bias`."""
    own = muscles(m, active)[1]
    prm = _rows(prm, own)
    start, optimum = _lengths(m, own, prm)
    peak = _peak_force(m, own, prm)
    return torch.stack([peak, prm[..., 0], start, 1 / optimum, prm[..., 5], prm[..., 7]], dim=-1)


def _rows(prm: Tensor, own: list[int]) -> Tensor:
    """Rows of parameters [..., nu, 10], which may be none."""
    return prm.index_select(-2, torch.tensor(own, dtype=torch.int64, device=prm.device))


def _peak_force(m: mujoco.MjModel, own: list[int], prm: Tensor) -> Tensor:
    """Peak force at rest, N: prm[2], or if that is negative the scale prm[3] over the acceleration by unit force."""
    acc0 = torch.as_tensor(m.actuator_acc0[m.actuator_outadr[own]], dtype=prm.dtype, device=prm.device)
    return torch.where(prm[..., 2] < 0, prm[..., 3] / acc0.clamp(min=mujoco.mjMINVAL), prm[..., 2])


def _lengths(m: mujoco.MjModel, own: list[int], prm: Tensor) -> tuple[Tensor, Tensor]:
    """Shortest length, and optimal length L0: the range of lengths over that of normalized lengths; m."""
    ends = torch.as_tensor(m.actuator_lengthrange[m.actuator_outadr[own]], dtype=prm.dtype, device=prm.device)
    optimum = (ends[:, 1] - ends[:, 0]) / (prm[..., 1] - prm[..., 0]).clamp(min=mujoco.mjMINVAL)
    return ends[:, 0].expand(optimum.shape), optimum.clamp(min=mujoco.mjMINVAL)
