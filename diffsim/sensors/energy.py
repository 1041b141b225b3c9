"""Potential and kinetic energy (`mj_energyPos`, `mj_energyVel`)."""

from __future__ import annotations

from collections.abc import Sequence

import mujoco
import torch
from torch import Tensor

from diffsim.compile.actuator_additions import actuator_additions, tendon_dampers
from diffsim.engine.rotations import quat_conj, quat_mul, rotation_vector
from diffsim.sensors.reading import Reading
from diffsim.sensors.sensor import Sensor

DISABLE = mujoco.mjtDisableBit
FREE, BALL = int(mujoco.mjtJoint.mjJNT_FREE), int(mujoco.mjtJoint.mjJNT_BALL)


def potential(reading: Reading, sensors: Sequence[Sensor]) -> Tensor:
    """Energy of gravity and springs: [N, k, 1] J."""
    m = reading.mj_model
    energy = torch.zeros_like(reading.qpos[:, 0])
    if not m.opt.disableflags & DISABLE.mjDSBL_GRAVITY:
        com = reading.sim.subtrees.com(reading.motion)[:, 0]
        energy = energy - float(m.body_subtreemass[0]) * (com @ reading.tensor(m.opt.gravity))
    if not m.opt.disableflags & DISABLE.mjDSBL_SPRING:
        energy = energy + _joint_springs(reading) + _tendon_springs(reading)
    return energy[:, None, None].expand(-1, len(sensors), 1)


def _spring(linear: float, polynomial: Sequence[float], stretch: Tensor) -> Tensor:
    """Integral of the spring's force k x + p_0 x^2 + p_1 x^3 ... from 0 to the stretch."""
    terms = [linear / 2, *(value / (i + 3) for i, value in enumerate(polynomial))]
    return sum((value * stretch ** (i + 2) for i, value in enumerate(terms)), torch.zeros_like(stretch))


def _joint_springs(reading: Reading) -> Tensor:
    m, energy = reading.mj_model, torch.zeros_like(reading.qpos[:, 0])
    rest = reading.tensor(m.qpos_spring)
    for joint in range(m.njnt):
        kind, adr = int(m.jnt_type[joint]), int(m.jnt_qposadr[joint])
        linear, polynomial = float(m.jnt_stiffness[joint]), m.jnt_stiffnesspoly[joint].tolist()
        if not linear and not any(polynomial):
            continue
        if kind == FREE:
            energy = energy + _spring(linear, polynomial, _norm(reading.qpos[:, adr : adr + 3] - rest[adr : adr + 3]))
            adr += 3
        if kind in (FREE, BALL):
            quat = torch.nn.functional.normalize(reading.qpos[:, adr : adr + 4], dim=-1)
            turn = rotation_vector(quat_mul(quat_conj(rest[adr : adr + 4]), quat))
            energy = energy + _spring(linear, polynomial, _norm(turn))
        else:
            energy = energy + _spring(linear, polynomial, reading.qpos[:, adr] - rest[adr])
    return energy


def _norm(x: Tensor) -> Tensor:
    """Length of vectors [N, 3], with a gradient of zero at zero."""
    square = x.square().sum(-1)
    return torch.where(square > 0, torch.where(square > 0, square, 1.0).sqrt(), 0.0)


def _tendon_springs(reading: Reading) -> Tensor:
    m, energy = reading.mj_model, torch.zeros_like(reading.qpos[:, 0])
    for tendon in range(m.ntendon):
        linear, polynomial = float(m.tendon_stiffness[tendon]), m.tendon_stiffnesspoly[tendon].tolist()
        if linear or any(polynomial):
            length, (low, high) = reading.elements.tendon[:, tendon, 0], m.tendon_lengthspring[tendon]
            energy = energy + _spring(linear, polynomial, length - length.clamp(low, high))
    return energy


def kinetic(reading: Reading, sensors: Sequence[Sensor]) -> Tensor:
    """Energy of bodies and armatures: [N, k, 1] J."""
    m = reading.mj_model
    armature = reading.tensor(m.dof_armature + actuator_additions(m)[2])
    energy = reading.sim.subtrees.kinetic(reading.motion) + 0.5 * reading.qvel.square() @ armature
    armature = tendon_dampers(m)[2]
    if armature.any():
        energy = energy + 0.5 * reading.elements.tendon[..., 1].square() @ reading.tensor(armature)
    return energy[:, None, None].expand(-1, len(sensors), 1)
