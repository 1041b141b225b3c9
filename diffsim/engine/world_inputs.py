"""A world's inputs beside its state, as one row: controls, poses of mocap bodies, active constraints, forces."""

from __future__ import annotations

from collections.abc import Mapping

import mujoco
import numpy as np
import torch
from torch import Tensor

from diffsim.compile.fields import mocap_bodies
from diffsim.compile.unsupported import equality
from diffsim.types import dtype

WORLD_INPUTS = ("mocap_pos", "mocap_quat", "eq_active")
"""Names of the inputs beside controls, which are those of `mujoco.MjData`."""
APPLIED = "xfrc_applied"
"""Name of the forces on bodies, which a row has at its end only if they are given."""


class WorldInputs:
    """Checks and joins the inputs of the worlds of a model (see `diffsim.physics.mocap`).

    Args:
        mj_model: the compiled model.
        num_worlds: N.
        device: of all tensors.
    """

    def __init__(self, mj_model: mujoco.MjModel, num_worlds: int, device: torch.device) -> None:
        m = self.mj_model = mj_model
        bodies = mocap_bodies(m)
        self.device = device
        own = m.body_pos[bodies], m.body_quat[bodies], m.eq_active0
        self.defaults = {name: self._repeated(value, num_worlds) for name, value in zip(WORLD_INPUTS, own, strict=True)}
        self.sizes = {"ctrl": m.nu} | {name: value[0].numel() for name, value in self.defaults.items()}
        self.applied = torch.zeros(num_worlds, m.nbody, 6, dtype=dtype, device=device)
        self.fixed = [feature for i in range(m.neq) if not m.eq_active0[i] for feature in equality(m, i)]

    def _repeated(self, value: np.ndarray, num_worlds: int) -> Tensor:
        tensor = torch.tensor(value, dtype=dtype, device=self.device)
        return tensor.expand(num_worlds, *tensor.shape)

    def join(self, ctrl: Tensor, given: Mapping[str, Tensor | None]) -> Tensor:
        """Rows [N, num_inputs] of checked controls [N, nu], and of other inputs by name, of which None is the default.

        Raises: TypeError or ValueError if an input has a wrong type, shape, dtype or device.
        """
        for name, value in given.items():
            if value is not None:
                self._check(name, value)
        applied = given.get(APPLIED)
        if applied is None and not any(value[0].numel() for value in self.defaults.values()):
            return ctrl
        parts = [given.get(name) for name in self.defaults]
        values = [own if part is None else part for part, own in zip(parts, self.defaults.values(), strict=True)]
        values += [] if applied is None else [applied]
        return torch.cat([ctrl, *(value.flatten(1).to(ctrl.dtype) for value in values)], dim=1)

    def split(self, row: Tensor) -> dict[str, Tensor]:
        """The parts of rows [N, num_inputs], by name, flat."""
        sizes = self.sizes | {APPLIED: row.shape[1] - sum(self.sizes.values())}
        return dict(zip(sizes, row.split(list(sizes.values()), dim=1), strict=True))

    def _check(self, name: str, value: Tensor) -> None:
        """Checks an input; also that no constraint can be activated that is not supported."""
        default = self.applied if name == APPLIED else self.defaults[name]
        kind = torch.bool if name == "eq_active" else dtype
        if not isinstance(value, Tensor):
            raise TypeError(f"{name} must be a torch.Tensor, got {type(value).__name__}")
        if value.shape != default.shape:
            raise ValueError(f"{name} must have shape {tuple(default.shape)}, got {tuple(value.shape)}")
        if value.dtype != kind or value.device != self.device:
            raise ValueError(
                f"{name} must have dtype {kind} on device {self.device}, got {value.dtype} on {value.device}"
            )
        if name == "eq_active" and self.fixed:
            raise ValueError(
                f"eq_active must be None for a model with unsupported constraints: {'; '.join(self.fixed)}"
            )
