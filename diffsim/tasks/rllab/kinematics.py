"""Forward kinematics of one robot in torch: its centre of mass, with velocity, and its torso's rotation."""

from __future__ import annotations

from typing import NamedTuple

import mujoco
import numpy as np
import torch
from torch import Tensor

FREE, SLIDE, HINGE = (int(getattr(mujoco.mjtJoint, f"mjJNT_{name}")) for name in ("FREE", "SLIDE", "HINGE"))


class Motion(NamedTuple):
    """What rllab reads of a robot's bodies.

    Attributes:
        com: [N, 3] m, centre of mass of the whole robot.
        velocity: [N, 3] m/s, of the centre of mass.
        rotation: [N, 3, 3], from the torso's frame to the world's.
    """

    com: Tensor
    velocity: Tensor
    rotation: Tensor


class _Frames(NamedTuple):
    """Frames of B bodies: origins [N, B, 3], rotations [N, B, 3, 3], angular velocities and origins' velocities."""

    origin: Tensor
    rotation: Tensor
    angular: Tensor
    linear: Tensor

    def along(self, vectors: Tensor) -> Tensor:
        """Vectors [B, 3] of the bodies' frames, in the world's frame: [N, B, 3]."""
        return (self.rotation @ vectors[..., None])[..., 0]

    def shifted(self, vectors: Tensor) -> _Frames:
        """Frames whose origins are other points of the same bodies, at `vectors` [B, 3] from the present ones."""
        arm = self.along(vectors)
        linear = self.linear + torch.linalg.cross(self.angular, arm)
        return self._replace(origin=self.origin + arm, linear=linear)


class _Joints(NamedTuple):
    """At most one joint of each of B bodies; a body without a joint has axes of zero length.

    Attributes:
        qpos, qvel: addresses, [B].
        reference: positions at which the joints do not move their bodies, [B].
        hinge, slide: axes of hinges and of slides in the bodies' frames, [B, 3]; None if all are zero.
        skew: matrices K of the cross product with the hinges' axes, [B, 3, 3].
        anchor: points about which hinges turn, [B, 3] m; None if all are zero.
    """

    qpos: Tensor
    qvel: Tensor
    reference: Tensor
    hinge: Tensor | None
    slide: Tensor | None
    anchor: Tensor | None
    skew: Tensor

    def moved(self, frames: _Frames, qpos: Tensor, qvel: Tensor) -> _Frames:
        """Frames after these joints, from frames before them."""
        position, rate = (qpos[:, self.qpos] - self.reference)[..., None], qvel[:, self.qvel][..., None]
        if self.slide is not None:
            axis = frames.along(self.slide)
            travel = axis * position
            linear = frames.linear + torch.linalg.cross(frames.angular, travel) + axis * rate
            frames = frames._replace(origin=frames.origin + travel, linear=linear)
        if self.hinge is None:
            return frames
        if self.anchor is not None:  # a point of the bodies before and after they turn
            frames = frames.shifted(self.anchor)
        angular = frames.angular + frames.along(self.hinge) * rate
        frames = frames._replace(rotation=frames.rotation @ self.turns(position), angular=angular)
        return frames if self.anchor is None else frames.shifted(-self.anchor)

    def turns(self, position: Tensor) -> Tensor:
        """Rodrigues' rotations by angles [N, B, 1], I + sin K + (1 - cos) K^2: [N, B, 3, 3]."""
        angle = position[..., None]
        identity = torch.eye(3, dtype=angle.dtype, device=angle.device)
        return identity + angle.sin() * self.skew + (1 - angle.cos()) * (self.skew @ self.skew)


class _Level(NamedTuple):
    """The bodies at one depth of the tree: parents within the level above, constant offset and rotation, joints."""

    parents: Tensor
    position: Tensor | None
    rotation: Tensor | None
    joints: list[_Joints]
    centre: Tensor
    share: Tensor


class Kinematics:
    """Motion of a robot as a function of qpos and qvel, differentiable any number of times.

    The simulator gives velocities of bodies without gradient (`Simulator.cvel`), and rllab's rewards are such
    velocities. The robot is the tree of body 1, the torso. A free joint's quaternion is normalized first.

    Args:
        mj_model: a model whose joints are one free joint of the torso, slides and hinges.
        dtype, device: of the tensors.

    Raises: ValueError if there is a ball joint.
    """

    def __init__(self, mj_model: mujoco.MjModel, dtype: torch.dtype, device: torch.device) -> None:
        if not np.isin(mj_model.jnt_type, (FREE, SLIDE, HINGE)).all():
            raise ValueError("mj_model must have free, slide and hinge joints only, got a ball joint")
        self.free = mj_model.jnt_type[0] == FREE
        self._dtype, self._device = dtype, device
        self.levels = []
        above, bodies = [0], [1]
        while bodies:
            self.levels.append(self._level(mj_model, bodies, above))
            above, bodies = bodies, [b for b in range(2, mj_model.nbody) if mj_model.body_parentid[b] in bodies]

    def __call__(self, qpos: Tensor, qvel: Tensor) -> Motion:
        """Motion at qpos [N, nq], qvel [N, nv]."""
        zero = qpos.new_zeros(len(qpos), 1, 3)
        identity = torch.eye(3, dtype=self._dtype, device=self._device).expand(len(qpos), 1, 3, 3)
        frames = _Frames(zero, identity, zero, zero)
        com = velocity = zero[:, 0]
        rotation = None
        for level in self.levels:
            frames = _Frames(*(part[:, level.parents] for part in frames))
            if level.position is not None:
                frames = frames.shifted(level.position)
            if level.rotation is not None:
                frames = frames._replace(rotation=frames.rotation @ level.rotation)
            if rotation is None and self.free:
                frames = free_frame(qpos, qvel)
            for joints in level.joints:
                frames = joints.moved(frames, qpos, qvel)
            rotation = frames.rotation[:, 0] if rotation is None else rotation
            centres = frames.shifted(level.centre)
            com = com + level.share @ centres.origin
            velocity = velocity + level.share @ centres.linear
        assert rotation is not None
        return Motion(com, velocity, rotation)

    def _level(self, model: mujoco.MjModel, bodies: list[int], above: list[int]) -> _Level:
        parents = torch.tensor([above.index(model.body_parentid[b]) for b in bodies], device=self._device)
        rotations = np.array([matrix(model.body_quat[b]) for b in bodies])
        turned = (rotations != np.eye(3)).any()
        counts = [0 if model.jnt_type[model.body_jntadr[b]] == FREE else model.body_jntnum[b] for b in bodies]
        joints = [self._joints(model, bodies, counts, slot) for slot in range(max(counts))]
        mass = model.body_mass[bodies] / model.body_mass[1:].sum()
        position, rotation = self._offset(model.body_pos[bodies]), self._tensor(rotations) if turned else None
        return _Level(parents, position, rotation, joints, self._tensor(model.body_ipos[bodies]), self._tensor(mass))

    def _joints(self, model: mujoco.MjModel, bodies: list[int], counts: list[int], slot: int) -> _Joints:
        """The joints number `slot` of the bodies."""
        present = np.array([slot < count for count in counts])
        index = np.where(present, model.body_jntadr[bodies] + slot, 0)
        qpos, qvel = model.jnt_qposadr[index], model.jnt_dofadr[index]

        def of(kind: int, values: np.ndarray) -> Tensor | None:
            return self._offset(values[index] * (present & (model.jnt_type[index] == kind))[:, None])

        hinges = present & (model.jnt_type[index] == HINGE)
        skew = np.cross(model.jnt_axis[index][:, None], np.eye(3)).swapaxes(1, 2) * hinges[:, None, None]
        return _Joints(
            qpos=torch.as_tensor(qpos, device=self._device).long(),
            qvel=torch.as_tensor(qvel, device=self._device).long(),
            reference=self._tensor(model.qpos0[qpos]),
            hinge=of(HINGE, model.jnt_axis),
            slide=of(SLIDE, model.jnt_axis),
            anchor=of(HINGE, model.jnt_pos),
            skew=self._tensor(skew),
        )

    def _offset(self, vectors: np.ndarray) -> Tensor | None:
        return self._tensor(vectors) if vectors.any() else None

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.as_tensor(np.array(array), dtype=self._dtype, device=self._device)


def free_frame(qpos: Tensor, qvel: Tensor) -> _Frames:
    """The frame of a torso with a free joint, whose angular velocity in qvel [N, nv] is in its own frame."""
    w, x, y, z = (qpos[:, 3:7] / qpos[:, 3:7].norm(dim=1, keepdim=True)).unbind(1)
    rows = [
        w * w + x * x - y * y - z * z, 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), w * w - x * x + y * y - z * z, 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), w * w - x * x - y * y + z * z,
    ]  # fmt: skip
    rotation = torch.stack(rows, dim=1).reshape(-1, 1, 3, 3)
    angular = (rotation @ qvel[:, None, 3:6, None])[..., 0]
    return _Frames(qpos[:, None, :3], rotation, angular, qvel[:, None, :3])


def matrix(quat: np.ndarray) -> np.ndarray:
    """Rotation [3, 3] of a unit quaternion [4]."""
    flat = np.zeros(9)
    mujoco.mju_quat2Mat(flat, quat)
    return flat.reshape(3, 3)
