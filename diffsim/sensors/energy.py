"""Potential and kinetic energy (`mj_energyPos`, `mj_energyVel`)."""

from __future__ import annotations

from collections.abc import Sequence

import mujoco
import torch
from torch import Tensor

from diffsim.compile.actuator_additions import actuator_additions, tendon_dampers
from diffsim.compile.gears import joint_additions
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
        subtrees = reading.subtrees
        height = (subtrees.com(reading.motion)[:, 0] * reading.value("gravity")).sum(-1)
        energy = energy - subtrees.total[..., 0] * height
    if not m.opt.disableflags & DISABLE.mjDSBL_SPRING:
        energy = energy + _joint_springs(reading) + _tendon_springs(reading)
    return energy[:, None, None].expand(-1, len(sensors), 1)


def _spring(linear: Tensor, polynomial: Sequence[float], stretch: Tensor) -> Tensor:
    """Integral of the spring's force k x + p_0 x^2 + p_1 x^3 ... from 0 to the stretch."""
    terms: list[Tensor | float] = [linear / 2, *(value / (i + 3) for i, value in enumerate(polynomial))]
    return sum((value * stretch ** (i + 2) for i, value in enumerate(terms)), torch.zeros_like(stretch))


def _joint_springs(reading: Reading) -> Tensor:
    m, energy = reading.mj_model, torch.zeros_like(reading.qpos[:, 0])
    rest, stiffness = reading.tensor(m.qpos_spring), reading.value("jnt_stiffness")
    given = "jnt_stiffness" in reading.parameters
    for joint in range(m.njnt):
        kind, adr = int(m.jnt_type[joint]), int(m.jnt_qposadr[joint])
        linear, polynomial = stiffness[..., joint], m.jnt_stiffnesspoly[joint].tolist()
        if not given and not m.jnt_stiffness[joint] and not any(polynomial):
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
    stiffness, rest = reading.value("tendon_stiffness"), reading.value("tendon_lengthspring")
    given = "tendon_stiffness" in reading.parameters
    for tendon in range(m.ntendon):
        polynomial = m.tendon_stiffnesspoly[tendon].tolist()
        if given or m.tendon_stiffness[tendon] or any(polynomial):
            length, (low, high) = reading.elements.tendon[:, tendon, 0], rest[..., tendon, :].unbind(-1)
            stretch = length - torch.minimum(torch.maximum(length, low), high)
            energy = energy + _spring(stiffness[..., tendon], polynomial, stretch)
    return energy


def kinetic(reading: Reading, sensors: Sequence[Sensor]) -> Tensor:
    """Energy of bodies and armatures: [N, k, 1] J."""
    m = reading.mj_model
    armature = reading.value("dof_armature") + reading.tensor(actuator_additions(m)[2])
    armature = armature + joint_additions(m, m.actuator_armature, reading.value("actuator_gear"))
    energy = reading.subtrees.kinetic(reading.motion) + 0.5 * (reading.qvel.square() * armature).sum(-1)
    armature = tendon_dampers(m)[2]
    if armature.any():
        energy = energy + 0.5 * reading.elements.tendon[..., 1].square() @ reading.tensor(armature)
    return energy[:, None, None].expand(-1, len(sensors), 1)
