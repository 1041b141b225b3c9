"""Sensors of accelerations and forces. Each function maps k sensors of one type to their values [N, k, dim]."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import mujoco
import torch
from torch import Tensor

from diffsim.engine.rotations import cross, rotate_back
from diffsim.sensors.contact_sensor import contact_sensors
from diffsim.sensors.reading import Reading
from diffsim.sensors.sensor import Sensor, Type
from diffsim.sensors.shapes import RAYS
from diffsim.sensors.wrenches import transmitted_wrenches

Sensors = Sequence[Sensor]


def _touch(reading: Reading, sensors: Sensors) -> Tensor:
    """Sum of the normal forces of the contacts of the site's body whose ray from the contact meets the site."""
    return torch.stack([_one_touch(reading, sensor) for sensor in sensors], dim=1)[..., None]


def _one_touch(reading: Reading, sensor: Sensor) -> Tensor:
    m, forces, site = reading.mj_model, reading.forces, reading.sites([sensor])
    body = int(m.site_bodyid[sensor.objid])
    first, second = (reading.contact_bodies[..., side] == body for side in range(2))
    normal = forces.force[..., 0]
    direction = torch.where(second[..., None], -forces.frame[..., 0, :], forces.frame[..., 0, :]).detach()
    mats = site.mats(reading.motion).detach()
    offset = forces.point.detach() - site.positions(reading.motion).detach()
    size = reading.tensor(m.site_size[sensor.objid])
    distance = RAYS[int(m.site_type[sensor.objid])](size, rotate_back(mats, offset), rotate_back(mats, direction))
    counts = (first | second) & (normal > 0) & distance.isfinite()
    return torch.where(counts, normal, 0.0).sum(1)


def check_touch(reading: Reading, sensor: Sensor) -> None:
    """Raises if a touch sensor is not supported."""
    if int(reading.mj_model.site_type[sensor.objid]) not in RAYS:
        raise sensor.refuse("its site is a mesh")


def _accelerometers(reading: Reading, sensors: Sensors) -> Tensor:
    return reading.sites(sensors).accelerations(reading.moving, local=True)[..., 3:]


def _linear_accelerations(reading: Reading, sensors: Sensors) -> Tensor:
    return reading.objects(sensors).accelerations(reading.moving)[..., 3:]


def _angular_accelerations(reading: Reading, sensors: Sensors) -> Tensor:
    return reading.objects(sensors).accelerations(reading.moving)[..., :3]


def _site_wrenches(reading: Reading, sensors: Sensors) -> tuple[Tensor, Tensor]:
    """Torque and force that a site's body exerts on its parent and children transmit, at the site and in its axes."""
    bodies = [int(reading.mj_model.site_bodyid[sensor.objid]) for sensor in sensors]
    sites = reading.sites(sensors)
    torque, force = transmitted_wrenches(reading)[:, bodies].split(3, dim=-1)
    arm = sites.positions(reading.moving) - reading.centre
    mats = sites.mats(reading.moving)
    return rotate_back(mats, torque - cross(arm, force)), rotate_back(mats, force)


def _forces(reading: Reading, sensors: Sensors) -> Tensor:
    return _site_wrenches(reading, sensors)[1]


def _torques(reading: Reading, sensors: Sensors) -> Tensor:
    return _site_wrenches(reading, sensors)[0]


def _actuator_forces(reading: Reading, sensors: Sensors) -> Tensor:
    force = reading.elements.actuator[..., 0]
    zero = torch.zeros_like(force[:, :1]) if force.shape[1] else reading.state.new_zeros(len(reading.state), 1)
    padded = torch.cat([force, zero], dim=1)
    return padded[:, [reading.active.get(sensor.objid, -1) for sensor in sensors], None]


def _joint_actuator_forces(reading: Reading, sensors: Sensors) -> Tensor:
    dofs = [int(reading.mj_model.jnt_dofadr[sensor.objid]) for sensor in sensors]
    return reading.elements.qfrc_actuator[:, dofs, None]


def check_joint_actuator_force(reading: Reading, sensor: Sensor) -> None:
    """Raises if the actuators' joint forces include gravity compensation, whose gradient `Elements` does not have."""
    m = reading.mj_model
    if m.jnt_actgravcomp.any() and m.body_gravcomp.any():
        raise sensor.refuse("actuators compensate gravity")


def _tendon_actuator_forces(reading: Reading, sensors: Sensors) -> Tensor:
    m, found = reading.mj_model, []
    for sensor in sensors:
        pulls = (m.actuator_trntype == int(mujoco.mjtTrn.mjTRN_TENDON)) & (m.actuator_trnid[:, 0] == sensor.objid)
        places = [place for index, place in reading.active.items() if pulls[index]]
        found.append(reading.elements.actuator[:, places, 0].sum(1))
    return torch.stack(found, dim=1)[..., None]


def _joint_limit_forces(reading: Reading, sensors: Sensors) -> Tensor:
    return reading.forces.joint_limit[:, [sensor.objid for sensor in sensors], None]


def _tendon_limit_forces(reading: Reading, sensors: Sensors) -> Tensor:
    return reading.forces.tendon_limit[:, [sensor.objid for sensor in sensors], None]


ACCELERATION: dict[Type, Callable[[Reading, Sensors], Tensor]] = {
    Type.mjSENS_TOUCH: _touch,
    Type.mjSENS_ACCELEROMETER: _accelerometers,
    Type.mjSENS_FORCE: _forces,
    Type.mjSENS_TORQUE: _torques,
    Type.mjSENS_FRAMELINACC: _linear_accelerations,
    Type.mjSENS_FRAMEANGACC: _angular_accelerations,
    Type.mjSENS_ACTUATORFRC: _actuator_forces,
    Type.mjSENS_JOINTACTFRC: _joint_actuator_forces,
    Type.mjSENS_TENDONACTFRC: _tendon_actuator_forces,
    Type.mjSENS_JOINTLIMITFRC: _joint_limit_forces,
    Type.mjSENS_TENDONLIMITFRC: _tendon_limit_forces,
    Type.mjSENS_CONTACT: contact_sensors,
}
