"""Compiles a `mujoco.MjModel` to the kernels' device arrays; refuses models that cannot be simulated exactly."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import torch
import warp as wp

from diffsim.collision.geometry import CONVEX
from diffsim.compile.few_iterations import warn_of_few_iterations
from diffsim.compile.fields import active_actuators, damps_implicitly, host_arrays, one_level
from diffsim.compile.noslip import noslip_sizes
from diffsim.compile.parameter_memory import ParameterMemory
from diffsim.compile.parameters import Parameters
from diffsim.compile.same_frames import with_used_frames
from diffsim.compile.sparsity import sparsity_sizes
from diffsim.compile.unsupported import UnsupportedModelError, unsupported_features
from diffsim.physics.lanes import EMULATED
from diffsim.physics.model_arrays import ModelArrays, RareArrays
from diffsim.types import EULER, IMPLICIT, IMPLICITFAST, RK4

POINT = ("qpos", "qvel", "act", "qacc", "start")
"""What a point of evaluation has, in this order. `start` is the acceleration before the noslip solver, if that acts."""
THREADS = 8
"""Threads of a world on CUDA that share the pairs of the general convex collision, each with a polytope of its own."""
INTEGRATORS = {EULER: "Euler", RK4: "RK4", IMPLICIT: "implicit", IMPLICITFAST: "implicitfast"}


class Model:
    """A MuJoCo model that the simulator reproduces and differentiates.

    The simulator always solves the constraints to convergence. C MuJoCo with few solver iterations does not; then a
    `SolverIterationsWarning` says by how much a step differs.

    Args:
        mj_model: the compiled model. The constructor reads its options (time step, integrator, gravity, flags).
        max_contacts: largest number of contacts per world; None for the number of possible contacts, at most 200.

    Raises:
        UnsupportedModelError: the model has unsupported features; lists all of them.
    """

    def __init__(self, mj_model: mujoco.MjModel, max_contacts: int | None = None) -> None:
        if not isinstance(mj_model, mujoco.MjModel):
            raise TypeError(
                f"mj_model must be a mujoco.MjModel, got {type(mj_model).__name__}; "
                "for a path or XML text use Model.from_mjcf"
            )
        features = unsupported_features(mj_model)
        if features:
            raise UnsupportedModelError(features)
        warn_of_few_iterations(mj_model)
        self.mj_model = mj_model = with_used_frames(mj_model)
        self.nq: int = mj_model.nq
        self.nv: int = mj_model.nv
        self.nu: int = mj_model.nu
        self.na: int = mj_model.na
        self.num_inputs: int = mj_model.nu + 7 * mj_model.nmocap + mj_model.neq  # see `diffsim.physics.mocap`
        self.integrator: str = INTEGRATORS[int(mj_model.opt.integrator)]
        self.timestep: float = mj_model.opt.timestep
        self._host = host_arrays(mj_model, max_contacts)
        self.max_contacts: int = self._host["max_contacts"]
        pairs = np.stack([self._host["pair_geom1"], self._host["pair_geom2"]], axis=1)[: self._host["npair"]]
        gyroscopic = bool(self._host["ngyro"]) or self.integrator == "implicit"
        table = self._host.pop("solver_table")
        active, periods = active_actuators(mj_model), self._host["actuator_period"]
        self.parameters = Parameters(mj_model, active, pairs, gyroscopic, table, periods)
        names = ("nq", "nv", "nu", "na", "nbody", "njnt", "ngeom", "nmocap", "neq")
        counts = {name: getattr(mj_model, name) for name in names}
        max_rows = self._host.pop("max_rows")
        # Sizes of the working memory, by the names in `diffsim.physics.scratch.FIELDS`.
        self.sizes: dict[str, int] = counts | {
            "actuator": self._host["nactuator"],
            "pair": len(pairs),
            "candidate": int(self._host["pair_candidates"][: len(pairs)].sum()),
            **self._convex_sizes(),
            "contact": self.max_contacts,
            "row": max_rows,
            "servo": self._host["nservo"],
            "parameter": self.parameters.size,
            "unsymmetric": self.nv * self._host["unsymmetric"],
            "line": self._host["nline"],
            "line_entry": int(self._host["line_num"][: self._host["nline"]].sum()),
            **sparsity_sizes(mj_model, self._host, max_rows),
            **noslip_sizes(mj_model, self._host["noslip"], max_rows),
        }
        self._host.update({f"at_{name}": offset for name, offset in self.parameters.offsets.items()})
        self._pairs: dict[str, dict[tuple[int, int], wp.array]] = {}
        self._convex: dict[tuple[str, bool], wp.array] = {}
        self._on_device: dict[str, dict[str, Any]] = {}

    @classmethod
    def from_mjcf(cls, source: str | Path) -> "Model":
        """Loads an MJCF model.

        Args:
            source: path of a file, or the XML text itself.

        Raises:
            FileNotFoundError: no such file.
            ValueError: MuJoCo cannot compile it; has MuJoCo's message.
            UnsupportedModelError: see `Model`.
        """
        text = str(source)
        if text.lstrip().startswith("<"):
            return cls(mujoco.MjModel.from_xml_string(text))
        if not Path(text).is_file():
            raise FileNotFoundError(f"source must be MJCF text or the path of an MJCF file, got {text!r}")
        return cls(mujoco.MjModel.from_xml_path(text))

    @property
    def state_size(self) -> int:
        """Numbers in a state [qpos, qvel, act]: nq + nv + na."""
        return self.nq + self.nv + self.na

    @property
    def tangent_size(self) -> int:
        """Numbers in a change of state in the tangent space: 2 nv + na."""
        return 2 * self.nv + self.na

    @property
    def qacc_size(self) -> int:
        """Numbers in the accelerations of an evaluation: nv, or with the noslip solver 2 nv, [qacc, start]."""
        return 2 * self.nv if self.field("noslip") else self.nv

    def split_point(self, point: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Parts of points of evaluation [..., nq + nv + na + qacc_size], in the order of `POINT`."""
        return point.split([self.nq, self.nv, self.na, self.nv, self.qacc_size - self.nv], dim=-1)

    def field(self, name: str) -> Any:  # noqa: ANN401
        """A field of `ModelArrays` on the host."""
        return self._host[name]

    def _convex_sizes(self) -> dict[str, int]:
        """Sizes of the working memory for contacts of convex geoms."""
        m, pairs = self.mj_model, int(self._host["pair_convex"][: self._host["npair"]].sum())
        if not pairs:
            names = ("polytope", "polytope_vertex", "polytope_face", "clip_corner", "convex_candidate")
            return dict.fromkeys(names, 0)
        return {
            "polytope": min(pairs, THREADS),
            "polytope_vertex": 5 + m.opt.ccd_iterations,
            "polytope_face": 6 * m.opt.ccd_iterations,
            "clip_corner": 2 * max(16, m.npolygonmax),
            "convex_candidate": int(self._host["pair_candidates"][: self._host["npair"]].sum()),
        }

    def convex_pairs(self, height_fields: bool) -> np.ndarray:
        """Indices of the pairs of geoms of the general convex collision, with height fields or without."""
        n = self._host["npair"]
        fields = self.mj_model.geom_type[self._host["pair_geom1"][:n]] == mujoco.mjtGeom.mjGEOM_HFIELD
        return np.flatnonzero((self._host["pair_convex"][:n] == 1) & (fields == height_fields))

    @property
    def kinds(self) -> dict[tuple[int, int], np.ndarray]:
        """Indices of the pairs of geoms that have a collider of their own, by their two kinds (`mjtGeom`)."""
        pairs = np.stack([self._host["pair_geom1"], self._host["pair_geom2"]], axis=1)[: self._host["npair"]]
        kinds = self.mj_model.geom_type[pairs].reshape(-1, 2)
        return {
            (int(first), int(second)): np.flatnonzero((kinds == (first, second)).all(1))
            for first, second in np.unique(kinds, axis=0)
            if (int(first), int(second)) not in CONVEX
        }

    def pairs_by_kinds(self, device: str) -> dict[tuple[int, int], wp.array]:
        """`kinds`, on a device."""
        if device not in self._pairs:
            self._pairs[device] = {
                kinds: wp.from_torch(torch.as_tensor(pairs, dtype=torch.int32, device=device))
                for kinds, pairs in self.kinds.items()
            }
        return self._pairs[device]

    def convex_pairs_on(self, device: str, height_fields: bool) -> wp.array:
        """`convex_pairs`, on a device."""
        if (device, height_fields) not in self._convex:
            pairs = torch.as_tensor(self.convex_pairs(height_fields), dtype=torch.int32, device=device)
            self._convex[device, height_fields] = wp.from_torch(pairs)
        return self._convex[device, height_fields]

    def arrays(  # noqa: ANN201  (a struct)
        self, device: str, memory: ParameterMemory | None = None, first_world: int = 0, gradient: bool = False
    ):
        """Makes the `ModelArrays` of the worlds on a device.

        Args:
            device: torch's name of the device.
            memory: the parameters; None for the model's own.
            first_world: the world of the memory that is the kernel's first.
            gradient: whether the adjoint computes the gradient of the parameters.
        """
        if device not in self._on_device:
            one_lane = device == "cpu" and not EMULATED
            fields = self._host | (one_level(self._host["tree"]) if one_lane else {})
            own = ParameterMemory(self.parameters, None, device)
            own.load(self.parameters.vector({}, torch.device(device)))
            self._on_device[device] = {name: _on_device(name, value, device) for name, value in fields.items()}
            self._on_device[device] |= own.fields()
            self._on_device[device]["rare"] = _rare(self._on_device[device], device)
        fields = self._on_device[device]
        if memory is not None:
            fields = fields | memory.fields(first_world)
            fields["rare"] = _rare(fields, device)
        arrays = ModelArrays()
        for name in ModelArrays.vars:
            if name in fields:
                setattr(arrays, name, fields[name])
        if memory is not None and damps_implicitly(self.mj_model):
            arrays.implicit = 1  # the new damping may be nonzero
        arrays.parameter_gradient = gradient
        return arrays


def _rare(fields: Mapping[str, Any], device: str) -> wp.array:
    """The arrays of rare features, which must outlive it."""
    rare = RareArrays()
    for name in RareArrays.vars:
        setattr(rare, name, fields[name])
    return wp.array([rare], dtype=RareArrays, device=device)


def _on_device(name: str, value: Any, device: str) -> Any:  # noqa: ANN401
    """Converts a field of `ModelArrays` to a kernel argument."""
    if not isinstance(value, np.ndarray):
        return value
    field = (ModelArrays.vars | RareArrays.vars)[name].type
    return wp.array(value, dtype=field.dtype, ndim=field.ndim, device=device)
