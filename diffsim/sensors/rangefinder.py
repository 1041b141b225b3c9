"""Rangefinders: the distance from a site along its z axis to the nearest geom of another body."""

from __future__ import annotations

from collections.abc import Sequence

import mujoco
import numpy as np
import torch
from torch import Tensor

from diffsim.engine.rotations import rotate_back
from diffsim.sensors.reading import Reading
from diffsim.sensors.sensor import Sensor
from diffsim.sensors.shapes import RAYS

Data = mujoco.mjtRayDataField
SITE, GEOM = int(mujoco.mjtObj.mjOBJ_SITE), int(mujoco.mjtObj.mjOBJ_GEOM)


def rangefinders(reading: Reading, sensors: Sequence[Sensor]) -> Tensor:
    """Values of rangefinders with the same data: [N, k, dim]. Gradients are those of the geom that is hit."""
    m, frames = reading.mj_model, reading.sites(sensors)
    origin, direction = frames.positions(reading.motion), frames.mats(reading.motion)[..., 2]
    distance = torch.full_like(origin[..., 0], torch.inf)
    bodies = np.array([m.site_bodyid[sensor.objid] for sensor in sensors])
    geoms = visible_geoms(m)
    sizes = reading.value("geom_size")
    sizes = sizes[:, None] if sizes.dim() == 3 else sizes
    for kind in np.unique(m.geom_type[geoms]):
        alike = geoms[m.geom_type[geoms] == kind]
        others = torch.as_tensor(bodies[:, None] != m.geom_bodyid[alike], device=origin.device)
        shapes = reading.frames([(GEOM, int(i)) for i in alike])
        mats = shapes.mats(reading.motion)[:, None]
        offset = origin[:, :, None] - shapes.positions(reading.motion)[:, None]
        local = rotate_back(mats, offset), rotate_back(mats, direction[:, :, None])
        found = RAYS[int(kind)](sizes[..., alike, :], *local)
        distance = torch.minimum(distance, torch.where(others, found, torch.inf).amin(-1))
    hit = distance.isfinite()[..., None]
    distance = torch.where(hit[..., 0], distance, 0.0)[..., None]
    missed = torch.where(hit, distance, -1.0)
    values = {
        Data.mjRAYDATA_DIST: missed,
        Data.mjRAYDATA_DIR: torch.where(hit, direction, 0.0),
        Data.mjRAYDATA_ORIGIN: origin,
        Data.mjRAYDATA_POINT: torch.where(hit, origin + distance * direction, 0.0),
        Data.mjRAYDATA_DEPTH: missed,
    }
    spec = sensors[0].intprm[0]
    return torch.cat([value for field, value in values.items() if spec >> int(field) & 1], dim=-1)


def visible_geoms(m: mujoco.MjModel) -> np.ndarray:
    """Ids of the geoms that rays can hit: those that are not fully transparent."""
    alpha = np.where(m.geom_matid < 0, m.geom_rgba[:, 3], 1.0)
    with_material = m.geom_matid >= 0
    alpha[with_material] = m.mat_rgba[m.geom_matid[with_material], 3]
    return np.flatnonzero(alpha != 0)


def check_rangefinder(reading: Reading, sensor: Sensor) -> None:
    """Raises if a rangefinder is not supported."""
    if sensor.objtype != SITE:
        raise sensor.refuse("it is at a camera; at a site it is supported")
    if sensor.intprm[0] >> int(Data.mjRAYDATA_NORMAL) & 1:
        raise sensor.refuse("data normal")
    m = reading.mj_model
    for geom in visible_geoms(m):
        body = int(m.site_bodyid[sensor.objid])
        if int(m.geom_type[geom]) not in RAYS and m.geom_bodyid[geom] != body:
            name = mujoco.mj_id2name(m, mujoco.mjtObj.mjOBJ_GEOM, int(geom)) or f"#{geom}"
            kind = mujoco.mjtGeom(int(m.geom_type[geom])).name.removeprefix("mjGEOM_").lower()
            raise sensor.refuse(f"its ray can hit geom {name!r}, a {kind}")
