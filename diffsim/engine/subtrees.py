"""Momentum and energy of bodies: centres of mass of subtrees, their velocities and angular momenta, energies."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy

import mujoco
import numpy as np
import torch
from torch import Tensor

from diffsim.compile.model import Model
from diffsim.engine.frames import Frames
from diffsim.engine.motion_calls import BodyMotion
from diffsim.engine.rotations import cross, rotate, rotate_back
from diffsim.types import dtype


class Subtrees:
    """Sums over subtrees of a model's bodies; all functions are differentiable.

    Args:
        model: the model.
        device: of all tensors.
    """

    def __init__(self, model: Model, device: torch.device) -> None:
        mj_model = model.mj_model
        self.frames = Frames(model, [(mujoco.mjtObj.mjOBJ_BODY, i) for i in range(mj_model.nbody)], device)

        def tensor(value: np.ndarray) -> Tensor:
            return torch.tensor(value, dtype=dtype, device=device)

        self.inertia = tensor(mj_model.body_inertia)
        self.mass = tensor(mj_model.body_mass)
        self.members = tensor(_members(mj_model))
        self._set_total(tensor(mj_model.body_subtreemass))

    def _set_total(self, total: Tensor) -> None:
        """Sets the subtrees' masses."""
        self.has_mass = total >= mujoco.mjMINVAL
        self.total = total.clamp(min=mujoco.mjMINVAL)

    def changed(self, values: Mapping[str, Tensor]) -> Subtrees:
        """The sums for other values of body_mass, body_inertia or body_ipos; the subtrees' masses follow."""
        result = copy(self)
        result.frames = self.frames.moved(values)
        result.inertia = values.get("body_inertia", self.inertia)
        if "body_mass" in values:
            result.mass = values["body_mass"]
            result._set_total(result.mass @ self.members.T)
        return result

    def com(self, motion: BodyMotion) -> Tensor:
        """Centres of mass (`data.subtree_com`): [N, nbody, 3] m; of a subtree without mass, its body's `xipos`."""
        own = self.frames.positions(motion)
        mean = self.members @ (self.mass[..., None] * own) / self.total[..., None]
        return torch.where(self.has_mass[..., None], mean, own)

    def linvel(self, motion: BodyMotion) -> Tensor:
        """Velocities of the centres of mass (`data.subtree_linvel`): [N, nbody, 3] m/s."""
        momentum = self.mass[..., None] * self.frames.velocities(motion)[..., 3:]
        return self.members @ momentum / self.total[..., None]

    def angmom(self, motion: BodyMotion) -> Tensor:
        """Angular momenta about the centres of mass (`data.subtree_angmom`): [N, nbody, 3] kg m^2/s."""
        position, (w, v) = self.frames.positions(motion), self.frames.velocities(motion).split(3, dim=-1)
        mat = self.frames.mats(motion)
        spin = rotate(mat, self.inertia * rotate_back(mat, w))
        about_world = self.members @ (spin + cross(position, self.mass[..., None] * v))
        momentum = self.total[..., None] * self.linvel(motion)
        return about_world - cross(self.com(motion), momentum)

    def kinetic(self, motion: BodyMotion) -> Tensor:
        """Kinetic energy of the bodies without armatures: [N] J."""
        w, v = self.frames.velocities(motion).split(3, dim=-1)
        local = rotate_back(self.frames.mats(motion), w)
        return 0.5 * ((self.inertia * local.square()).sum((1, 2)) + (self.mass[..., None] * v.square()).sum((1, 2)))


def _members(mj_model: mujoco.MjModel) -> np.ndarray:
    """[nbody, nbody], 1 where the body of the column is in the subtree of the row's."""
    members = np.eye(mj_model.nbody)
    for body in range(mj_model.nbody - 1, 0, -1):
        members[mj_model.body_parentid[body]] += members[body]
    return members
