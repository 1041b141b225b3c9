"""One sensor of a model, and why some are refused."""

from __future__ import annotations

from dataclasses import dataclass

import mujoco

Type = mujoco.mjtSensor


class UnsupportedSensorError(ValueError):
    """A sensor that was asked for is not supported."""


@dataclass(frozen=True)
class Sensor:
    """A sensor of a model, with MuJoCo's fields.

    Attributes:
        index: its id.
        name: for messages.
        type: `mjtSensor`.
        objtype: kind of the object that it measures, `mjtObj`.
        objid: its id.
        reftype: kind of the object of reference.
        refid: its id, -1 for none.
        dim: number of its values.
        intprm: integer parameters.
    """

    index: int
    name: str
    type: Type
    objtype: int
    objid: int
    reftype: int
    refid: int
    dim: int
    intprm: tuple[int, ...]

    @classmethod
    def of(cls, mj_model: mujoco.MjModel, index: int) -> Sensor:
        """A sensor of a model."""
        fields = ("objtype", "objid", "reftype", "refid", "dim")
        return cls(
            index=index,
            name=mujoco.mj_id2name(mj_model, mujoco.mjtObj.mjOBJ_SENSOR, index) or f"#{index}",
            type=Type(int(mj_model.sensor_type[index])),
            **{field: int(getattr(mj_model, f"sensor_{field}")[index]) for field in fields},
            intprm=tuple(int(value) for value in mj_model.sensor_intprm[index]),
        )

    @property
    def word(self) -> str:
        """MJCF's word for the type."""
        return self.type.name.removeprefix("mjSENS_").lower()

    def refuse(self, reason: str) -> UnsupportedSensorError:
        """The error that this sensor is not supported."""
        return UnsupportedSensorError(f"sensor {self.name!r} ({self.word}) is not supported: {reason}")
