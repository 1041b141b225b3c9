"""Sensors of velocities. Each function maps k sensors of one type to their values [N, k, dim]."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from diffsim.engine.rotations import cross, rotate_back, rotation_vector
from diffsim.sensors.position import BALL, first_active, joint_limits, tendon_limits, unit_quat
from diffsim.sensors.reading import Reading
from diffsim.sensors.sensor import Sensor, Type

Sensors = Sequence[Sensor]


def _velocimeters(reading: Reading, sensors: Sensors) -> Tensor:
    return reading.sites(sensors).velocities(reading.motion, local=True)[..., 3:]


def _gyros(reading: Reading, sensors: Sensors) -> Tensor:
    return reading.sites(sensors).velocities(reading.motion, local=True)[..., :3]


def _joint_velocities(reading: Reading, sensors: Sensors) -> Tensor:
    return reading.qvel[:, [int(reading.mj_model.jnt_dofadr[sensor.objid]) for sensor in sensors], None]


def _ball_velocities(reading: Reading, sensors: Sensors) -> Tensor:
    first = [int(reading.mj_model.jnt_dofadr[sensor.objid]) for sensor in sensors]
    return torch.stack([reading.qvel[:, dof : dof + 3] for dof in first], dim=1)


def _tendon_velocities(reading: Reading, sensors: Sensors) -> Tensor:
    return reading.elements.tendon[:, [sensor.objid for sensor in sensors], 1:]


def _actuator_velocities(reading: Reading, sensors: Sensors) -> Tensor:
    return reading.elements.actuator[:, [reading.actuator(sensor) for sensor in sensors], 2:]


def _joint_limit_velocities(reading: Reading, sensors: Sensors) -> Tensor:
    found = [_joint_limit_velocity(reading, sensor.objid) for sensor in sensors]
    return torch.stack(found, dim=1)[..., None]


def _joint_limit_velocity(reading: Reading, joint: int) -> Tensor:
    m, limits = reading.mj_model, joint_limits(reading, joint)
    dof = int(m.jnt_dofadr[joint])
    rates = [reading.qvel[:, dof], -reading.qvel[:, dof]][: len(limits)]
    if limits and m.jnt_type[joint] == BALL:
        turn = rotation_vector(unit_quat(reading.qpos, int(m.jnt_qposadr[joint])))
        axis = torch.nn.functional.normalize(turn, dim=-1)
        rates = [-(axis * reading.qvel[:, dof : dof + 3]).sum(-1)]
    return first_active(limits, rates, reading.qvel)


def _tendon_limit_velocities(reading: Reading, sensors: Sensors) -> Tensor:
    found = []
    for sensor in sensors:
        limits, rate = tendon_limits(reading, sensor.objid), reading.elements.tendon[:, sensor.objid, 1]
        found.append(first_active(limits, [rate, -rate][: len(limits)], reading.qvel))
    return torch.stack(found, dim=1)[..., None]


def _frame_velocities(reading: Reading, sensors: Sensors) -> tuple[Tensor, Tensor]:
    """Angular and linear velocity, relative to a moving reference and in its axes if there is one."""
    objects, motion = reading.objects(sensors), reading.motion
    w, v = objects.velocities(motion).split(3, dim=-1)
    if sensors[0].refid < 0:
        return w, v
    references = reading.references(sensors)
    spin, drift = references.velocities(motion).split(3, dim=-1)
    mats, apart = references.mats(motion), objects.positions(motion) - references.positions(motion)
    return rotate_back(mats, w - spin), rotate_back(mats, v - drift + cross(apart, spin))


def _frame_linear(reading: Reading, sensors: Sensors) -> Tensor:
    return _frame_velocities(reading, sensors)[1]


def _frame_angular(reading: Reading, sensors: Sensors) -> Tensor:
    return _frame_velocities(reading, sensors)[0]


def _subtree_velocities(reading: Reading, sensors: Sensors) -> Tensor:
    return reading.subtrees.linvel(reading.motion)[:, [sensor.objid for sensor in sensors]]


def _subtree_momenta(reading: Reading, sensors: Sensors) -> Tensor:
    return reading.subtrees.angmom(reading.motion)[:, [sensor.objid for sensor in sensors]]


VELOCITY: dict[Type, Callable[[Reading, Sensors], Tensor]] = {
    Type.mjSENS_VELOCIMETER: _velocimeters,
    Type.mjSENS_GYRO: _gyros,
    Type.mjSENS_JOINTVEL: _joint_velocities,
    Type.mjSENS_TENDONVEL: _tendon_velocities,
    Type.mjSENS_ACTUATORVEL: _actuator_velocities,
    Type.mjSENS_BALLANGVEL: _ball_velocities,
    Type.mjSENS_JOINTLIMITVEL: _joint_limit_velocities,
    Type.mjSENS_TENDONLIMITVEL: _tendon_limit_velocities,
    Type.mjSENS_FRAMELINVEL: _frame_linear,
    Type.mjSENS_FRAMEANGVEL: _frame_angular,
    Type.mjSENS_SUBTREELINVEL: _subtree_velocities,
    Type.mjSENS_SUBTREEANGMOM: _subtree_momenta,
}
