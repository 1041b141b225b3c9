"""Sensors of positions. Each function maps k sensors of one type to their values [N, k, dim]."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import mujoco
import torch
from torch import Tensor

from diffsim.engine.frames import Frames
from diffsim.engine.rotations import quat_conj, quat_mul, rotate_back, rotation_vector
from diffsim.sensors.energy import kinetic, potential
from diffsim.sensors.rangefinder import rangefinders
from diffsim.sensors.reading import Reading
from diffsim.sensors.sensor import Sensor, Type
from diffsim.sensors.shapes import RAYS, inside

Sensors = Sequence[Sensor]
BALL, FREE = int(mujoco.mjtJoint.mjJNT_BALL), int(mujoco.mjtJoint.mjJNT_FREE)


def _magnetometers(reading: Reading, sensors: Sensors) -> Tensor:
    field = reading.tensor(reading.mj_model.opt.magnetic)
    mats = reading.sites(sensors).mats(reading.motion)
    return rotate_back(mats, field.expand(mats.shape[:-1]))


def _camera_projections(reading: Reading, sensors: Sensors) -> Tensor:
    """Pixel of a site in the image of a camera, right and down from the top left corner."""
    m, ids = reading.mj_model, [sensor.refid for sensor in sensors]
    cameras = reading.frames([(int(mujoco.mjtObj.mjOBJ_CAMERA), i) for i in ids])
    resolution, size = reading.tensor(m.cam_resolution[ids]), reading.tensor(m.cam_sensorsize[ids])
    given = (size > 0).all(-1, keepdim=True)
    focal = reading.tensor(m.cam_intrinsic[ids])[:, :2] / torch.where(given, size, 1.0) * resolution
    by_angle = 0.5 / torch.tan(torch.deg2rad(reading.tensor(m.cam_fovy[ids])) / 2) * resolution[:, 1]
    focal = torch.where(given, focal, by_angle[:, None])
    offset = reading.sites(sensors).positions(reading.motion) - cameras.positions(reading.motion)
    x, y, z = rotate_back(cameras.mats(reading.motion), offset).unbind(-1)
    tiny = torch.where(z < 0, -mujoco.mjMINVAL, mujoco.mjMINVAL)
    z = torch.where(z.abs() < mujoco.mjMINVAL, tiny, z)
    return torch.stack([-x / z, y / z], dim=-1) * focal + 0.5 * resolution


def _joint_positions(reading: Reading, sensors: Sensors) -> Tensor:
    return reading.qpos[:, [int(reading.mj_model.jnt_qposadr[sensor.objid]) for sensor in sensors], None]


def _ball_quats(reading: Reading, sensors: Sensors) -> Tensor:
    addresses = [int(reading.mj_model.jnt_qposadr[sensor.objid]) for sensor in sensors]
    return torch.stack([unit_quat(reading.qpos, adr) for adr in addresses], dim=1)


def unit_quat(qpos: Tensor, adr: int) -> Tensor:
    """The unit quaternion at an address of qpos: [N, 4]."""
    return torch.nn.functional.normalize(qpos[:, adr : adr + 4], dim=-1)


def _tendon_positions(reading: Reading, sensors: Sensors) -> Tensor:
    return reading.elements.tendon[:, [sensor.objid for sensor in sensors], :1]


def _actuator_positions(reading: Reading, sensors: Sensors) -> Tensor:
    return reading.elements.actuator[:, [reading.actuator(sensor) for sensor in sensors], 1:2]


def joint_limits(reading: Reading, joint: int) -> list[Tensor]:
    """Distances [N] of a joint to its limits, minus the margin, in the order of MuJoCo's rows; none if not limited."""
    m = reading.mj_model
    if not reading.model.field("jnt_limited")[joint]:  # which knows of disabled limits
        return []
    adr, margin = int(m.jnt_qposadr[joint]), float(m.jnt_margin[joint])
    low, high = reading.value("jnt_range")[..., joint, :].unbind(-1)
    if m.jnt_type[joint] == BALL:
        angle = torch.linalg.vector_norm(rotation_vector(unit_quat(reading.qpos, adr)), dim=-1)
        return [torch.maximum(low, high) - angle - margin]
    return [reading.qpos[:, adr] - low - margin, high - reading.qpos[:, adr] - margin]


def tendon_limits(reading: Reading, tendon: int) -> list[Tensor]:
    """As `joint_limits`."""
    m = reading.mj_model
    if not reading.model.field("tendon_limited")[tendon]:
        return []
    length, margin = reading.elements.tendon[:, tendon, 0], float(m.tendon_margin[tendon])
    low, high = reading.value("tendon_range")[..., tendon, :].unbind(-1)
    return [length - low - margin, high - length - margin]


def first_active(distances: list[Tensor], values: list[Tensor], like: Tensor) -> Tensor:
    """The value [N] of the first limit that is passed, else zero."""
    result = torch.zeros_like(like[:, 0])
    for distance, value in reversed(list(zip(distances, values, strict=True))):
        result = torch.where(distance < 0, value, result)
    return result


def _joint_limit_positions(reading: Reading, sensors: Sensors) -> Tensor:
    found = [joint_limits(reading, sensor.objid) for sensor in sensors]
    return torch.stack([first_active(limits, limits, reading.qvel) for limits in found], dim=1)[..., None]


def _tendon_limit_positions(reading: Reading, sensors: Sensors) -> Tensor:
    found = [tendon_limits(reading, sensor.objid) for sensor in sensors]
    return torch.stack([first_active(limits, limits, reading.qvel) for limits in found], dim=1)[..., None]


def _in_reference(reading: Reading, sensors: Sensors, vectors: Tensor) -> Tensor:
    """World vectors in the axes of the sensors' references, if they have them."""
    if sensors[0].refid < 0:
        return vectors
    return rotate_back(reading.references(sensors).mats(reading.motion), vectors)


def _frame_positions(reading: Reading, sensors: Sensors) -> Tensor:
    position = reading.objects(sensors).positions(reading.motion)
    if sensors[0].refid >= 0:
        position = position - reading.references(sensors).positions(reading.motion)
    return _in_reference(reading, sensors, position)


def _frame_axes(axis: int) -> Callable[[Reading, Sensors], Tensor]:
    def axes(reading: Reading, sensors: Sensors) -> Tensor:
        return _in_reference(reading, sensors, reading.objects(sensors).mats(reading.motion)[..., axis])

    return axes


def _frame_quats(reading: Reading, sensors: Sensors) -> Tensor:
    quats = reading.objects(sensors).quats(reading.motion)
    if sensors[0].refid < 0:
        return quats
    return quat_mul(quat_conj(reading.references(sensors).quats(reading.motion)), quats)


def _subtree_coms(reading: Reading, sensors: Sensors) -> Tensor:
    return reading.subtrees.com(reading.motion)[:, [sensor.objid for sensor in sensors]]


def _inside_sites(reading: Reading, sensors: Sensors) -> Tensor:
    """1 if the object is inside the site; without gradient."""
    objects: Frames = reading.objects(sensors)
    sites = reading.frames([(int(mujoco.mjtObj.mjOBJ_SITE), sensor.refid) for sensor in sensors])
    position = objects.positions(reading.motion) - sites.positions(reading.motion)
    local = rotate_back(sites.mats(reading.motion), position).detach()
    m = reading.mj_model
    found = [
        inside(int(m.site_type[sensor.refid]), reading.tensor(m.site_size[sensor.refid]), local[:, k])
        for k, sensor in enumerate(sensors)
    ]
    return torch.stack(found, dim=1)[..., None].to(local.dtype)


def check_inside(reading: Reading, sensor: Sensor) -> None:
    """Raises if a sensor of what is inside a site is not supported."""
    m = reading.mj_model
    if int(m.site_type[sensor.refid]) not in RAYS:
        raise sensor.refuse("its site is a mesh")
    body = sensor.objtype == mujoco.mjtObj.mjOBJ_BODY and sensor.objid > 0
    if body and m.body_mass[sensor.objid] < mujoco.mjMINVAL <= m.body_subtreemass[sensor.objid]:
        raise sensor.refuse("its body has no mass, but bodies attached to it have")


def _clocks(reading: Reading, sensors: Sensors) -> Tensor:
    return reading.time[:, None, None].expand(-1, len(sensors), 1)


POSITION: dict[Type, Callable[[Reading, Sensors], Tensor]] = {
    Type.mjSENS_MAGNETOMETER: _magnetometers,
    Type.mjSENS_CAMPROJECTION: _camera_projections,
    Type.mjSENS_RANGEFINDER: rangefinders,
    Type.mjSENS_JOINTPOS: _joint_positions,
    Type.mjSENS_BALLQUAT: _ball_quats,
    Type.mjSENS_TENDONPOS: _tendon_positions,
    Type.mjSENS_ACTUATORPOS: _actuator_positions,
    Type.mjSENS_JOINTLIMITPOS: _joint_limit_positions,
    Type.mjSENS_TENDONLIMITPOS: _tendon_limit_positions,
    Type.mjSENS_FRAMEPOS: _frame_positions,
    Type.mjSENS_FRAMEQUAT: _frame_quats,
    Type.mjSENS_FRAMEXAXIS: _frame_axes(0),
    Type.mjSENS_FRAMEYAXIS: _frame_axes(1),
    Type.mjSENS_FRAMEZAXIS: _frame_axes(2),
    Type.mjSENS_SUBTREECOM: _subtree_coms,
    Type.mjSENS_INSIDESITE: _inside_sites,
    Type.mjSENS_E_POTENTIAL: potential,
    Type.mjSENS_E_KINETIC: kinetic,
    Type.mjSENS_CLOCK: _clocks,
}
