"""What sensors measure at one state: computed when a sensor first needs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import mujoco
import torch
from torch import Tensor

from diffsim.compile.fields import active_actuators
from diffsim.engine.force_calls import ConstraintForces, ForcesCall, contact_geoms
from diffsim.engine.frames import Frames
from diffsim.engine.motion_calls import BodyMotion, Elements, ElementsCall
from diffsim.engine.subtrees import Subtrees
from diffsim.engine.world_inputs import APPLIED
from diffsim.physics.line import NORMALS
from diffsim.types import dtype

if TYPE_CHECKING:
    from diffsim.engine.kinematics import Kinematics
    from diffsim.sensors.sensor import Sensor


class Reading:
    """Quantities of the worlds at one state.

    Args:
        sim: the simulator.
        state: [N, nq + nv + na].
        inputs: [N, num_inputs], rows of `WorldInputs`.
        force: [N, nv] N, N m, applied forces.
        time: [N] s.
        vector: of `Parameters.vector`; None for the model's own parameters.
        parameters: the given fields of the model, of its shape or with a leading [N].
    """

    def __init__(
        self,
        sim: Kinematics,
        state: Tensor,
        inputs: Tensor,
        force: Tensor,
        time: Tensor,
        vector: Tensor | None = None,
        parameters: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.sim, self.model, self.mj_model = sim, sim.model, sim.model.mj_model
        self.qpos, self.qvel = state[:, : self.model.nq], state[:, self.model.nq : self.model.nq + self.model.nv]
        self.state, self.inputs, self.force, self.time = state, inputs, force, time
        self.vector, self.parameters = vector, parameters or {}
        self.active = {index: place for place, index in enumerate(active_actuators(self.mj_model))}

    @cached_property
    def motion(self) -> BodyMotion:
        """Poses and velocities of the bodies."""
        return self.sim.motion(self.qpos, self.qvel, inputs=self.inputs, vector=self.vector)

    @cached_property
    def elements(self) -> Elements:
        """Tendons and actuators."""
        return Elements(*ElementsCall(self.sim.launch)(self.state, self.inputs, self.vector))

    @cached_property
    def forces(self) -> ConstraintForces:
        """Accelerations, contacts and constraint forces."""
        results = ForcesCall(self.sim.launch)(self.state, self.inputs, self.force, self.vector)
        return ConstraintForces(*results[:10])

    @cached_property
    def moving(self) -> BodyMotion:
        """`motion` with accelerations."""
        return self.sim.motion(self.qpos, self.qvel, self.forces.qacc, self.inputs, self.vector)

    @cached_property
    def subtrees(self) -> Subtrees:
        """Sums over subtrees."""
        return self.sim.subtrees.changed(self.parameters) if self.parameters else self.sim.subtrees

    @cached_property
    def centre(self) -> Tensor:
        """The point [N, 1, 3] about which torques are computed, near the robots so that no digits are lost."""
        return self.subtrees.com(self.moving)[:, :1].detach()

    @cached_property
    def applied(self) -> Tensor | None:
        """Forces on bodies, [N, nbody, 6] force, torque; None if they are not given."""
        applied = self.sim.launch.inputs.split(self.inputs)[APPLIED]
        return applied.unflatten(1, (-1, 6)) if applied.shape[1] else None

    @cached_property
    def contact_geoms(self) -> Tensor:
        """The two geoms of each contact, [N, C, 2]; -1 beyond the last one."""
        return contact_geoms(self.model, self.forces.pair)

    @cached_property
    def contact_bodies(self) -> Tensor:
        """The two bodies of each contact, [N, C, 2]; -1 beyond the last one."""
        geoms = self.contact_geoms
        bodies = torch.as_tensor(self.mj_model.geom_bodyid, device=geoms.device).long()
        return torch.where(geoms >= 0, bodies[geoms.clamp_min(0)], -1)

    def frames(self, objects: Sequence[tuple[int, int]]) -> Frames:
        """Frames of objects."""
        frames = self.sim.frames_of(objects)
        return frames.moved(self.parameters) if self.parameters else frames

    def objects(self, sensors: Sequence[Sensor]) -> Frames:
        """Frames of what sensors measure."""
        return self.frames([(sensor.objtype, sensor.objid) for sensor in sensors])

    def references(self, sensors: Sequence[Sensor]) -> Frames:
        """Frames of reference of sensors."""
        return self.frames([(sensor.reftype, sensor.refid) for sensor in sensors])

    def sites(self, sensors: Sequence[Sensor]) -> Frames:
        """Frames of the sites that sensors are at."""
        return self.frames([(int(mujoco.mjtObj.mjOBJ_SITE), sensor.objid) for sensor in sensors])

    def actuator(self, sensor: Sensor) -> int:
        """Place of a sensor's actuator among the enabled ones.

        Raises: UnsupportedSensorError if it is disabled, or has several outputs.
        """
        if sensor.dim != 1:
            raise sensor.refuse("its actuator has several outputs")
        if sensor.objid not in self.active:
            raise sensor.refuse("its actuator is disabled")
        return self.active[sensor.objid]

    def has_normals(self, sensor: Sensor) -> bool:
        """Whether a sensor of an actuator, or of all actuators of a joint, depends on the normals of contacts.

        `Elements`, which has no contacts, lacks them. The force of an actuator without terms of velocity does not.
        """
        m, model = self.mj_model, self.model
        if sensor.type == mujoco.mjtSensor.mjSENS_JOINTACTFRC:
            lines = model.field("actuator_line")[list(self.active.values())]
            dof = int(m.jnt_dofadr[sensor.objid])
            first, size = model.field("line_adr"), model.field("line_num")
            dofs = [model.field("line_dof")[first[line] : first[line] + size[line]] for line in lines if line >= 0]
            normals = [model.field("line_kind")[line] == NORMALS for line in lines if line >= 0]
            return any(normal and dof in of_line for normal, of_line in zip(normals, dofs, strict=True))
        if mujoco.mjtTrn(m.actuator_trntype[sensor.objid]) != mujoco.mjtTrn.mjTRN_BODY:
            return False
        constant = not m.actuator_gaintype[sensor.objid] and not m.actuator_biastype[sensor.objid]
        return sensor.type == mujoco.mjtSensor.mjSENS_ACTUATORVEL or not constant

    def value(self, name: str) -> Tensor:
        """A field of the model, which can be a parameter with a leading [N]."""
        if name in self.parameters:
            return self.parameters[name]
        return self.tensor(self.mj_model.opt.gravity if name == "gravity" else getattr(self.mj_model, name))

    def tensor(self, value: object) -> Tensor:
        """Numbers of the model."""
        return torch.as_tensor(value, dtype=dtype, device=self.sim.device)
