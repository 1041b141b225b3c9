"""Contact sensors: data of the contacts between two objects, in a fixed number of slots."""

from __future__ import annotations

from collections.abc import Sequence

import mujoco
import torch
from torch import Tensor

from diffsim.engine.rotations import cross, rotate, rotate_back
from diffsim.sensors.reading import Reading
from diffsim.sensors.sensor import Sensor
from diffsim.sensors.shapes import RAYS, inside

Obj, Data = mujoco.mjtObj, mujoco.mjtConDataField
MINDIST, MAXFORCE, NETFORCE = 1, 2, 3
"""Values of MJCF's `reduce`: none, mindist, maxforce, netforce."""


def contact_sensors(reading: Reading, sensors: Sequence[Sensor]) -> Tensor:
    """Values of contact sensors: [N, k, dim]. Which contacts they select has no gradient."""
    return torch.stack([_one(reading, sensor) for sensor in sensors], dim=1)


def check_contact_sensor(reading: Reading, sensor: Sensor) -> None:
    """Raises if a contact sensor is not supported."""
    m = reading.mj_model
    if sensor.objtype == Obj.mjOBJ_SITE and int(m.site_type[sensor.objid]) not in RAYS:
        raise sensor.refuse("its site is a mesh")


def _one(reading: Reading, sensor: Sensor) -> Tensor:
    forces = reading.forces
    matched, flip = _match(reading, sensor)
    found = matched.sum(1, keepdim=True)
    values = {
        Data.mjCONDATA_FOUND: found.to(forces.distance.dtype)[..., None].expand(-1, matched.shape[1], 1),
        Data.mjCONDATA_FORCE: _flipped(forces.force[..., :3], flip, (1, 1, -1)),
        Data.mjCONDATA_TORQUE: _flipped(forces.force[..., 3:], flip, (1, 1, -1)),
        Data.mjCONDATA_DIST: forces.distance[..., None],
        Data.mjCONDATA_POS: forces.point,
        Data.mjCONDATA_NORMAL: _flipped(forces.frame[..., 0, :], flip, (-1, -1, -1)),
        Data.mjCONDATA_TANGENT: _flipped(forces.frame[..., 1, :], flip, (-1, -1, -1)),
    }
    linear, angular = _relative_velocities(reading)
    values[Data.mjCONDATA_LINVEL] = _flipped(linear, flip, (1, 1, -1))
    values[Data.mjCONDATA_ANGVEL] = _flipped(angular, flip, (1, 1, -1))
    spec, reduce = sensor.intprm[:2]
    chosen = [field for field in values if spec >> int(field) & 1]
    if reduce == NETFORCE:
        values = _net(reading, matched, flip)
        return torch.cat([values[field] for field in chosen], dim=-1)
    data = torch.cat([values[field] for field in chosen], dim=-1)
    slots = sensor.dim // data.shape[-1]
    criterion = torch.zeros_like(forces.distance)
    if reduce == MINDIST:
        criterion = forces.distance.detach()
    elif reduce == MAXFORCE:
        criterion = -forces.force[..., :3].detach().square().sum(-1)
    rank = torch.where(matched, criterion, torch.inf).argsort(dim=1, stable=True)[:, :slots]
    picked = data.gather(1, rank[..., None].expand(-1, -1, data.shape[-1]))
    picked = torch.where(matched.gather(1, rank)[..., None], picked, 0.0)
    padding = picked.new_zeros(len(picked), slots - picked.shape[1], data.shape[-1])
    return torch.cat([picked, padding], dim=1).flatten(1)


def _relative_velocities(reading: Reading) -> tuple[Tensor, Tensor]:
    """Velocity of the second body relative to the first at each contact, linear and angular, in the contact's frame."""
    forces, motion, bodies = reading.forces, reading.motion, reading.contact_bodies.clamp_min(0)
    parts = []
    for side in range(2):
        index = bodies[..., side, None]
        origin = motion.xpos.gather(1, index.expand(-1, -1, 3))
        w, v = motion.velocity.gather(1, index.expand(-1, -1, 6)).split(3, dim=-1)
        parts.append((w, v + cross(w, forces.point - origin)))
    (w1, v1), (w2, v2) = parts
    return rotate(forces.frame, v2 - v1), rotate(forces.frame, w2 - w1)


def _flipped(value: Tensor, flip: Tensor, signs: tuple[int, int, int]) -> Tensor:
    """Vectors [N, C, 3], times `signs` where `flip`."""
    return torch.where(flip[..., None], value * value.new_tensor(signs), value)


def _match(reading: Reading, sensor: Sensor) -> tuple[Tensor, Tensor]:
    """Which contacts are between the sensor's objects, and which of them point the other way: bool [N, C] each."""
    kinds = (sensor.objtype, sensor.objid), (sensor.reftype, sensor.refid)
    exists = reading.forces.pair >= 0
    is_first, is_second = ([_is(reading, kind, index, side) for side in range(2)] for kind, index in kinds)
    matched = exists & (is_first[0] | is_first[1]) & (is_second[0] | is_second[1])
    if sensor.objtype == Obj.mjOBJ_SITE:
        matched = matched & _in_site(reading, sensor)
    given = [kind != Obj.mjOBJ_UNKNOWN for kind, _ in kinds]
    regular, reverse = is_first[0] & is_second[1], is_first[1] & is_second[0]
    if all(given):
        return matched & (regular | reverse), reverse & ~regular
    if given[0]:
        return matched, ~is_first[0]
    return matched, (~is_second[1] if given[1] else torch.zeros_like(matched))


def _is(reading: Reading, kind: int, index: int, side: int) -> Tensor:
    """Whether a side of each contact belongs to an object."""
    if kind in (Obj.mjOBJ_UNKNOWN, Obj.mjOBJ_SITE):
        return torch.ones_like(reading.forces.pair, dtype=torch.bool)
    if kind == Obj.mjOBJ_GEOM:
        return reading.contact_geoms[..., side] == index
    bodies = reading.contact_bodies[..., side]
    if kind == Obj.mjOBJ_BODY:
        return bodies == index
    return reading.subtrees.members[index][bodies.clamp_min(0)] > 0


def _in_site(reading: Reading, sensor: Sensor) -> Tensor:
    """Whether each contact is in the sensor's site."""
    m, site = reading.mj_model, reading.sites([sensor])
    offset = (reading.forces.point - site.positions(reading.motion)).detach()
    local = rotate_back(site.mats(reading.motion).detach(), offset)
    return inside(int(m.site_type[sensor.objid]), reading.tensor(m.site_size[sensor.objid]), local)


def _net(reading: Reading, matched: Tensor, flip: Tensor) -> dict[Data, Tensor]:
    """Sum of the forces at their centroid, in world axes, by field."""
    forces = reading.forces
    sign = torch.where(matched, torch.where(flip, -1.0, 1.0), 0.0)[..., None]
    size = forces.force[..., :3].square().sum(-1, keepdim=True) * matched[..., None]
    weight = torch.where(size > 0, torch.where(size > 0, size, 1.0).sqrt(), 0.0)
    point = (weight * forces.point).sum(1) / weight.sum(1).clamp_min(mujoco.mjMINVAL)
    force, torque = (rotate_back(forces.frame, sign * part) for part in forces.force.split(3, dim=-1))
    torque = torque + cross(forces.point - point[:, None], force)
    any_ = matched.any(1, keepdim=True)
    ones = torch.ones_like(point[:, :1])
    zeros = torch.zeros_like(ones)
    return {
        Data.mjCONDATA_FOUND: matched.sum(1, keepdim=True).to(point.dtype),
        Data.mjCONDATA_FORCE: force.sum(1),
        Data.mjCONDATA_TORQUE: torch.where(any_, torque.sum(1), 0.0),
        Data.mjCONDATA_DIST: zeros,
        Data.mjCONDATA_POS: point,
        Data.mjCONDATA_NORMAL: torch.cat([ones, zeros, zeros], dim=1),
        Data.mjCONDATA_TANGENT: torch.cat([zeros, ones, zeros], dim=1),
    }
