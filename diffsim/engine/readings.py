"""What a user reads from a simulation beside its next state: sensors, contacts, keyframes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import mujoco
import numpy as np
import torch
from torch import Tensor

from diffsim.engine.force_calls import ConstraintForces, ForcesCall, contact_geoms
from diffsim.engine.kinematics import Kinematics
from diffsim.engine.kinematics_at import KinematicsAt
from diffsim.engine.launch import Launch
from diffsim.sensors.reading import Reading
from diffsim.sensors.sensors import Sensors
from diffsim.types import dtype


class Contacts(NamedTuple):
    """Contacts of each world, those in the gap too; zeros, and geoms of -1, beyond the last one.

    The order is that of the pairs of geoms, not MuJoCo's. Positions, frames, distances and forces are differentiable,
    at a fixed set of contacts.

    Attributes:
        count: [N] int32, number of contacts.
        geom: [N, max_contacts, 2] int64, ids of the two geoms.
        position: [N, max_contacts, 3] m, between the two surfaces.
        frame: [N, max_contacts, 3, 3], rows are the normal from the first geom to the second, and two tangents.
        distance: [N, max_contacts] m, negative where the geoms overlap.
        force: [N, max_contacts, 6] N, N m: force on the second geom and torque, in the contact's frame, minus adhesion.
    """

    count: Tensor
    geom: Tensor
    position: Tensor
    frame: Tensor
    distance: Tensor
    force: Tensor


class Readings(Kinematics):
    """Functions of states and controls of N worlds, in one evaluation of the dynamics.

    Args:
        launch: launches of the worlds.
    """

    @abstractmethod
    def __init__(self, launch: Launch) -> None:
        super().__init__(launch)
        self._sensors: dict[tuple[int, ...], Sensors] = {}

    def sensors(
        self,
        state: Tensor,
        ctrl: Tensor,
        names: Sequence[str | int] | None = None,
        *,
        time: float | Tensor = 0.0,
        qfrc_applied: Tensor | None = None,
        parameters: Mapping[str, Tensor] | None = None,
        mocap_pos: Tensor | None = None,
        mocap_quat: Tensor | None = None,
        eq_active: Tensor | None = None,
        xfrc_applied: Tensor | None = None,
    ) -> Tensor:
        """Values of the model's sensors (`mj_forward`, then `data.sensordata`), differentiable where they are smooth.

        Noise is not added; cutoffs are applied. Values that are 0 or 1, and which geom or contact a sensor selects,
        have no gradient.

        Args:
            state: as in `step`.
            ctrl: as in `step`.
            names: names or ids of sensors; None for all.
            time: s, of all worlds or of each [N]; for clocks.
            qfrc_applied: as in `step`.
            parameters: as in `step`; the masses of subtrees follow those of bodies.
            mocap_pos: as in `step`.
            mocap_quat: as in `step`.
            eq_active: as in `step`.
            xfrc_applied: as in `step`.

        Returns: [N, nsensordata], or the values of the named sensors, one after the other.

        Raises:
            UnsupportedSensorError: a sensor that was asked for is not supported; says why.
            KeyError: there is no such sensor; has a list of those that there are.
            Others: as `step`.
        """
        row = self._inputs(
            state, ctrl, mocap_pos=mocap_pos, mocap_quat=mocap_quat, eq_active=eq_active, xfrc_applied=xfrc_applied
        )
        all_ids = range(self.model.mj_model.nsensor)
        ids = all_ids if names is None else [self._element(mujoco.mjtObj.mjOBJ_SENSOR, "nsensor", n) for n in names]
        key = tuple(ids)
        if key not in self._sensors:
            self._sensors[key] = Sensors(self.model.mj_model, key, self.device)
        now = torch.as_tensor(time, dtype=dtype, device=self.device).expand(self.num_worlds)
        vector = self._vector(parameters, xfrc_applied)
        reading = Reading(self, state, row, self._force(qfrc_applied), now, vector, parameters)
        return self._sensors[key].values(reading)

    def contacts(
        self,
        state: Tensor,
        ctrl: Tensor,
        *,
        qfrc_applied: Tensor | None = None,
        parameters: Mapping[str, Tensor] | None = None,
        mocap_pos: Tensor | None = None,
        mocap_quat: Tensor | None = None,
        eq_active: Tensor | None = None,
        xfrc_applied: Tensor | None = None,
    ) -> Contacts:
        """The contacts of each world and their forces (`mj_forward`, then `data.contact` and `mj_contactForce`).

        Arguments and errors are those of `step`.
        """
        row = self._inputs(
            state, ctrl, mocap_pos=mocap_pos, mocap_quat=mocap_quat, eq_active=eq_active, xfrc_applied=xfrc_applied
        )
        vector = self._vector(parameters, xfrc_applied)
        results = ForcesCall(self.launch)(state, row, self._force(qfrc_applied), vector)
        forces = ConstraintForces(*results[:10])
        geoms = contact_geoms(self.model, forces.pair)
        return Contacts(forces.count[:, 0], geoms, forces.point, forces.frame, forces.distance, forces.force)

    def kinematics(
        self,
        *,
        mocap_pos: Tensor | None = None,
        mocap_quat: Tensor | None = None,
        parameters: Mapping[str, Tensor] | None = None,
    ) -> Kinematics:
        """`xpos`, `site_xmat`, `jac` and all other functions of positions, at other poses of mocap bodies.

        Args:
            mocap_pos: as in `step`; differentiable.
            mocap_quat: as in `step`; differentiable.
            parameters: as in `step`, differentiable; the masses of subtrees follow those of bodies.

        Returns: an object with these functions, for this simulator's worlds.
        Raises: as `step`.
        """
        given = {"mocap_pos": mocap_pos, "mocap_quat": mocap_quat}
        row = self.launch.inputs.join(self._row[:, : self.model.nu], given)
        return KinematicsAt(self.launch, row, self._vector(parameters), parameters or {})

    def keyframe(self, key: str | int) -> tuple[Tensor, Tensor]:
        """State and controls of a keyframe of the model, in all worlds.

        Args:
            key: name or id.

        Returns: state [N, nq + nv + na] and ctrl [N, nu].
        Raises: KeyError if there is no such keyframe, with a list of those that there are.
        """
        m, index = self.model.mj_model, self._element(mujoco.mjtObj.mjOBJ_KEY, "nkey", key)
        state = np.concatenate([m.key_qpos[index], m.key_qvel[index], m.key_act[index]])
        return self._in_all_worlds(state), self._in_all_worlds(m.key_ctrl[index])

    def keyframe_mocap(self, key: str | int) -> dict[str, Tensor]:
        """Poses of the mocap bodies in a keyframe, in all worlds: the arguments mocap_pos and mocap_quat of `step`.

        Args:
            key: name or id.

        Returns: mocap_pos [N, nmocap, 3] and mocap_quat [N, nmocap, 4], by name.
        Raises: as `keyframe`.
        """
        m, index = self.model.mj_model, self._element(mujoco.mjtObj.mjOBJ_KEY, "nkey", key)
        values = {"mocap_pos": m.key_mpos[index], "mocap_quat": m.key_mquat[index]}
        return {name: self._in_all_worlds(value).unflatten(1, (m.nmocap, -1)) for name, value in values.items()}

    def reset(self, state: Tensor, mask: Tensor, to: Tensor | str | int | None = None) -> Tensor:
        """Puts the worlds of a mask back to a state. No gradient passes from their new state to the old one.

        Args:
            state: [N, nq + nv + na].
            mask: [N] bool.
            to: their new state, [N, nq + nv + na] or [nq + nv + na], differentiable; or name or id of a keyframe; None
                for the model's reference position at rest.

        Returns: the state with the worlds replaced, [N, nq + nv + na].
        Raises: TypeError, ValueError or KeyError if an argument has a wrong type, shape, dtype, device or name.
        """
        size = self.model.state_size
        self._check("state", state, size)
        if not isinstance(mask, Tensor) or mask.dtype != torch.bool or mask.shape != (self.num_worlds,):
            what = f"{tuple(mask.shape)} {mask.dtype}" if isinstance(mask, Tensor) else type(mask).__name__
            raise ValueError(f"mask must be a torch.bool tensor of shape {(self.num_worlds,)}, got {what}")
        if to is None:
            to = self._in_all_worlds(np.concatenate([self.model.mj_model.qpos0, np.zeros(size - self.model.nq)]))
        elif not isinstance(to, Tensor):
            to = self.keyframe(to)[0]
        elif to.dim() == 1:
            to = to.expand(self.num_worlds, -1)
        self._check("to", to, size)
        return torch.where(mask[:, None], to, state)

    def _in_all_worlds(self, values: np.ndarray) -> Tensor:
        """Numbers of the model, one row per world."""
        return torch.tensor(values, dtype=dtype, device=self.device).repeat(self.num_worlds, 1)

    @abstractmethod
    def _inputs(self, state: Tensor, ctrl: Tensor, num_steps: int = 1, **others: Tensor | None) -> Tensor:
        """Checks the arguments; returns the kernels' rows of controls and the other inputs."""

    @abstractmethod
    def _force(self, qfrc_applied: Tensor | None) -> Tensor:
        """The checked applied forces; zeros for None."""

    @abstractmethod
    def _vector(self, parameters: Mapping[str, Tensor] | None, xfrc_applied: Tensor | None = None) -> Tensor | None:
        """Checks the parameters and converts them to the kernels' vector, differentiably; None for the model's own."""
