"""All sensors of a model, or some of them: their values in MuJoCo's order."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import mujoco
import torch
from torch import Tensor

from diffsim.sensors.acceleration import ACCELERATION, check_joint_actuator_force, check_touch
from diffsim.sensors.contact_sensor import check_contact_sensor
from diffsim.sensors.position import POSITION, check_inside
from diffsim.sensors.rangefinder import check_rangefinder
from diffsim.sensors.reading import Reading
from diffsim.sensors.sensor import Sensor, Type
from diffsim.sensors.velocity import VELOCITY
from diffsim.types import dtype

FUNCTIONS: dict[Type, Callable[[Reading, Sequence[Sensor]], Tensor]] = POSITION | VELOCITY | ACCELERATION
CHECKS: dict[Type, Callable[[Reading, Sensor], None]] = {
    Type.mjSENS_INSIDESITE: check_inside,
    Type.mjSENS_RANGEFINDER: check_rangefinder,
    Type.mjSENS_TOUCH: check_touch,
    Type.mjSENS_JOINTACTFRC: check_joint_actuator_force,
    Type.mjSENS_CONTACT: check_contact_sensor,
}
OF_ACTUATORS = (Type.mjSENS_ACTUATORPOS, Type.mjSENS_ACTUATORVEL)
OF_MOMENTS = (Type.mjSENS_ACTUATORVEL, Type.mjSENS_ACTUATORFRC, Type.mjSENS_JOINTACTFRC)
WITHOUT_CUTOFF = (Type.mjSENS_CONTACT, Type.mjSENS_GEOMFROMTO)
REAL, POSITIVE = int(mujoco.mjtDataType.mjDATATYPE_REAL), int(mujoco.mjtDataType.mjDATATYPE_POSITIVE)


class Sensors:
    """Some sensors of a model. Those of one type are computed together.

    Args:
        mj_model: the model.
        ids: of the sensors.
        device: of all tensors.
    """

    def __init__(self, mj_model: mujoco.MjModel, ids: Sequence[int], device: torch.device) -> None:
        sensors = [Sensor.of(mj_model, i) for i in ids]
        self.enabled = not mj_model.opt.disableflags & mujoco.mjtDisableBit.mjDSBL_SENSOR
        groups: dict[tuple, list[Sensor]] = {}
        for sensor in sensors:
            key = sensor.type, sensor.refid >= 0, sensor.dim, sensor.intprm
            groups.setdefault(key, []).append(sensor)
        self.groups = list(groups.values())
        places = {sensor: place for place, sensor in enumerate(sensors)}
        starts = torch.tensor([0, *(sensor.dim for sensor in sensors)]).cumsum(0).tolist()
        order = [starts[places[sensor]] + i for group in self.groups for sensor in group for i in range(sensor.dim)]
        self.order = torch.tensor(order, device=device).argsort()
        bounds = [_bounds(mj_model, sensor) for sensor in sensors for _ in range(sensor.dim)]
        low, high = zip(*bounds, strict=True) if bounds else ((), ())
        self.clips = any(value < torch.inf for value in high)
        self.low, self.high = (torch.tensor(side, dtype=dtype, device=device) for side in (low, high))
        self.checked = False

    def values(self, reading: Reading) -> Tensor:
        """The sensors' values, one after the other: [N, sum of their dimensions].

        Raises: UnsupportedSensorError if one of them is not supported.
        """
        if not self.checked:
            for group in self.groups:
                for sensor in group:
                    _check(reading, sensor)
            self.checked = True
        worlds = len(reading.state)
        if not self.enabled or not self.groups:
            return reading.state.new_zeros(worlds, len(self.order))
        parts = [FUNCTIONS[group[0].type](reading, group).reshape(worlds, -1) for group in self.groups]
        data = torch.cat(parts, dim=1)[:, self.order]
        return torch.clamp(data, self.low, self.high) if self.clips else data


def _bounds(mj_model: mujoco.MjModel, sensor: Sensor) -> tuple[float, float]:
    """Range of a sensor's values that its cutoff leaves."""
    cutoff, kind = float(mj_model.sensor_cutoff[sensor.index]), int(mj_model.sensor_datatype[sensor.index])
    if cutoff <= 0 or sensor.type in WITHOUT_CUTOFF or kind not in (REAL, POSITIVE):
        return -torch.inf, torch.inf
    return (-cutoff if kind == REAL else -torch.inf), cutoff


def _check(reading: Reading, sensor: Sensor) -> None:
    """Raises if a sensor is not supported."""
    m, index = reading.mj_model, sensor.index
    if sensor.type not in FUNCTIONS:
        raise sensor.refuse("no sensor of this type is")
    if m.sensor_history[index, 0] > 0 and (m.sensor_delay[index] > 0 or m.sensor_interval[index, 0] > 0):
        raise sensor.refuse("it has a delay or an interval, and the simulator keeps no history")
    if sensor.type in OF_ACTUATORS:
        reading.actuator(sensor)
    if sensor.type in OF_MOMENTS and reading.has_normals(sensor):
        raise sensor.refuse("it depends on the moment of an actuator on the contacts of a body")
    if sensor.type in CHECKS:
        CHECKS[sensor.type](reading, sensor)
