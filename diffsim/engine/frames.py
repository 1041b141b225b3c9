"""Frames that are fixed to bodies: those of bodies, geoms, sites and cameras."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy

import mujoco
import numpy as np
import torch
from torch import Tensor

from diffsim.compile.model import Model
from diffsim.engine.motion_calls import BodyMotion
from diffsim.engine.rotations import cross, quat_mul, quat_to_mat, rotate, rotate_back
from diffsim.types import dtype

Obj = mujoco.mjtObj
KINDS = {
    "body": Obj.mjOBJ_BODY,
    "xbody": Obj.mjOBJ_XBODY,
    "geom": Obj.mjOBJ_GEOM,
    "site": Obj.mjOBJ_SITE,
    "camera": Obj.mjOBJ_CAMERA,
}
"""Kinds of objects with a frame, as in `mj_objectVelocity`: "body" is the frame of the inertia, "xbody" the body's."""

PARAMETERS = {"geom_pos": int(Obj.mjOBJ_GEOM), "body_ipos": int(Obj.mjOBJ_BODY)}
"""Fields that place frames in bodies, and the kinds of objects."""


class Frames:
    """Frames of objects of a model.

    Args:
        model: the model.
        objects: kind (one of the values of `KINDS`) and id of each object; k of them.
        device: of all tensors.

    Raises:
        ValueError: a camera follows or aims at something, so that its frame is not fixed to a body.

    Attributes:
        body: [k] ids of the objects' bodies.
    """

    def __init__(self, model: Model, objects: Sequence[tuple[int, int]], device: torch.device) -> None:
        mj_model = model.mj_model
        self._objects = objects
        bodies, offsets, quats = zip(*(frame_of(mj_model, kind, index) for kind, index in objects), strict=True)
        self.body = torch.tensor(bodies, device=device)
        self.offset = torch.tensor(np.array(offsets), dtype=dtype, device=device)
        self.quat_offset = torch.tensor(np.array(quats), dtype=dtype, device=device)

    def moved(self, values: Mapping[str, Tensor]) -> Frames:
        """The frames for other values of geom_pos [..., ngeom, 3] or body_ipos [..., nbody, 3] in `values`."""
        result = copy(self)
        for field, kind in PARAMETERS.items():
            if field in values:
                places = [place for place, (other, _) in enumerate(self._objects) if other == kind]
                ids = [self._objects[place][1] for place in places]
                offset = result.offset.expand(*values[field].shape[:-2], -1, -1).clone()
                offset[..., places, :] = values[field][..., ids, :]
                result.offset = offset
        return result

    def positions(self, motion: BodyMotion) -> Tensor:
        """[N, k, 3] m."""
        return motion.xpos[:, self.body] + self._arms(motion)

    def quats(self, motion: BodyMotion) -> Tensor:
        """[N, k, 4]."""
        return quat_mul(motion.xquat[:, self.body], self.quat_offset)

    def mats(self, motion: BodyMotion) -> Tensor:
        """[N, k, 3, 3]."""
        return quat_to_mat(self.quats(motion))

    def velocities(self, motion: BodyMotion, local: bool = False) -> Tensor:
        """[N, k, 6] rad/s, m/s: angular, and of the frame's origin; in world axes, or the frame's own if `local`."""
        w, v = self._twists(motion.velocity, motion)
        return self._result(motion, w, v, local)

    def accelerations(self, motion: BodyMotion, local: bool = False) -> Tensor:
        """[N, k, 6] rad/s^2, m/s^2, minus gravity: as `velocities`."""
        w, _ = motion.velocity[:, self.body].split(3, dim=-1)
        angular, linear = self._twists(motion.acceleration, motion)
        return self._result(motion, angular, linear + cross(w, cross(w, self._arms(motion))), local)

    def _arms(self, motion: BodyMotion) -> Tensor:
        """From the bodies' origins, in world axes."""
        return rotate(quat_to_mat(motion.xquat[:, self.body]), self.offset)

    def _twists(self, twists: Tensor, motion: BodyMotion) -> tuple[Tensor, Tensor]:
        """Angular and linear part at the frames' origins."""
        angular, linear = twists[:, self.body].split(3, dim=-1)
        return angular, linear + cross(angular, self._arms(motion))

    def _result(self, motion: BodyMotion, angular: Tensor, linear: Tensor, local: bool) -> Tensor:
        """Both parts as one vector."""
        if local:
            mat = self.mats(motion)
            angular, linear = rotate_back(mat, angular), rotate_back(mat, linear)
        return torch.cat([angular, linear], dim=-1)


def frame_of(mj_model: mujoco.MjModel, kind: int, index: int) -> tuple[int, np.ndarray, np.ndarray]:
    """Body, position and orientation of an object's frame."""
    if kind == Obj.mjOBJ_BODY:
        return index, mj_model.body_ipos[index], mj_model.body_iquat[index]
    if kind == Obj.mjOBJ_XBODY:
        return index, np.zeros(3), np.array([1.0, 0, 0, 0])
    if kind == Obj.mjOBJ_GEOM:
        return int(mj_model.geom_bodyid[index]), mj_model.geom_pos[index], mj_model.geom_quat[index]
    if kind == Obj.mjOBJ_SITE:
        return int(mj_model.site_bodyid[index]), mj_model.site_pos[index], mj_model.site_quat[index]
    mode = mujoco.mjtCamLight(int(mj_model.cam_mode[index]))
    if mode != mujoco.mjtCamLight.mjCAMLIGHT_FIXED:
        name = mujoco.mj_id2name(mj_model, Obj.mjOBJ_CAMERA, index) or index
        rule = 'the frame of a camera needs mode="fixed"'
        raise ValueError(f"{rule}, but camera {name!r} has {mode.name.removeprefix('mjCAMLIGHT_').lower()}")
    return int(mj_model.cam_bodyid[index]), mj_model.cam_pos[index], mj_model.cam_quat[index]
