"""Functions of positions, velocities and accelerations alone: where bodies are, how they move, Jacobians, energies."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import mujoco
import torch
from torch import Tensor

from diffsim.engine.frames import KINDS, Frames, frame_of
from diffsim.engine.launch import Launch
from diffsim.engine.motion_calls import BodyMotion, BodyMotionCall, DofMotionCall
from diffsim.engine.physics_calls import BodyQuantitiesCall, PointsCall
from diffsim.engine.rotations import cross
from diffsim.engine.subtrees import Subtrees
from diffsim.types import dtype

Obj = mujoco.mjtObj
Names = Sequence[str | int]
COUNTS = {"body": "nbody", "xbody": "nbody", "geom": "ngeom", "site": "nsite", "camera": "ncam"}


class Kinematics(ABC):
    """Functions of qpos, qvel and qacc for N worlds. All but `cinert` and `cvel` are differentiable in each of them.

    They use the model's own parameters and poses of mocap bodies, if not `Readings.kinematics` gives others. Errors are
    those of `Simulator.step`, and KeyError for a name or id that the model does not have, with a list of those that it
    has.

    Args:
        launch: launches of the worlds.
    """

    @abstractmethod
    def __init__(self, launch: Launch) -> None:
        self.launch = launch
        self.model = launch.model
        self.num_worlds = launch.num_worlds
        self.device = launch.device
        self._points_calls: dict[Any, PointsCall] = {}
        self._frames: dict[Any, Frames] = {}

    def xpos(self, qpos: Tensor, bodies: Names) -> Tensor:
        """World positions of bodies' origins (`data.body(name).xpos`).

        Args:
            qpos: [N, nq].
            bodies: names or ids.

        Returns: [N, len(bodies), 3] m, differentiable in qpos.
        Raises: KeyError if there is no such body, with a list of the bodies; ValueError as `step`.
        """
        return self._positions(qpos, "xbody", bodies)

    def xipos(self, qpos: Tensor, bodies: Names) -> Tensor:
        """World positions of bodies' centres of mass (`data.xipos`): as `xpos`."""
        return self._positions(qpos, "body", bodies)

    def geom_xpos(self, qpos: Tensor, geoms: Names) -> Tensor:
        """World positions of geoms (`data.geom(name).xpos`): as `xpos`."""
        return self._positions(qpos, "geom", geoms)

    def site_xpos(self, qpos: Tensor, sites: Names) -> Tensor:
        """World positions of sites (`data.site(name).xpos`): as `xpos`."""
        return self._positions(qpos, "site", sites)

    def xquat(self, qpos: Tensor, bodies: Names) -> Tensor:
        """World orientations of bodies (`data.xquat`): as `xpos`, [N, len(bodies), 4]."""
        return self.frames("xbody", bodies).quats(self.motion(qpos))

    def xmat(self, qpos: Tensor, bodies: Names) -> Tensor:
        """World orientations of bodies (`data.xmat`): as `xpos`, [N, len(bodies), 3, 3]."""
        return self.frames("xbody", bodies).mats(self.motion(qpos))

    def ximat(self, qpos: Tensor, bodies: Names) -> Tensor:
        """World orientations of bodies' inertias (`data.ximat`): as `xmat`."""
        return self.frames("body", bodies).mats(self.motion(qpos))

    def geom_xmat(self, qpos: Tensor, geoms: Names) -> Tensor:
        """World orientations of geoms (`data.geom_xmat`): as `xmat`."""
        return self.frames("geom", geoms).mats(self.motion(qpos))

    def site_xmat(self, qpos: Tensor, sites: Names) -> Tensor:
        """World orientations of sites (`data.site_xmat`): as `xmat`."""
        return self.frames("site", sites).mats(self.motion(qpos))

    def cam_xpos(self, qpos: Tensor, cameras: Names) -> Tensor:
        """World positions of cameras with mode="fixed" (`data.cam_xpos`): as `xpos`. ValueError for other modes."""
        return self.frames("camera", cameras).positions(self.motion(qpos))

    def cam_xmat(self, qpos: Tensor, cameras: Names) -> Tensor:
        """World orientations of cameras with mode="fixed" (`data.cam_xmat`): as `xmat`. ValueError for other modes."""
        return self.frames("camera", cameras).mats(self.motion(qpos))

    def velocity(self, qpos: Tensor, qvel: Tensor, kind: str, objects: Names, *, local: bool = False) -> Tensor:
        """Velocities of objects (`mj_objectVelocity`).

        Args:
            qpos: [N, nq].
            qvel: [N, nv].
            kind: "body" (at the centre of mass), "xbody" (at the body's origin), "geom", "site" or "camera".
            objects: names or ids; k of them.
            local: whether to use the axes of the object instead of the world's.

        Returns: [N, k, 6] angular [rad/s], linear [m/s].
        """
        return self.frames(kind, objects).velocities(self.motion(qpos, qvel), local)

    def acceleration(
        self, qpos: Tensor, qvel: Tensor, qacc: Tensor, kind: str, objects: Names, *, local: bool = False
    ) -> Tensor:
        """Accelerations of objects, minus gravity, as an accelerometer has them (`mj_objectAcceleration`).

        Args: as `velocity`, and qacc [N, nv].
        Returns: [N, k, 6] angular [rad/s^2], linear [m/s^2].
        """
        return self.frames(kind, objects).accelerations(self.motion(qpos, qvel, qacc), local)

    def jac(self, qpos: Tensor, point: Tensor, body: str | int) -> tuple[Tensor, Tensor]:
        """Jacobians of the velocity of a point that moves with a body, and of the body's angular velocity (`mj_jac`).

        Args:
            qpos: [N, nq].
            point: [N, 3] m, in world coordinates.
            body: name or id.

        Returns: jacp [N, 3, nv] and jacr [N, 3, nv]; differentiable in qpos and point.
        """
        if point.shape != (self.num_worlds, 3):
            raise ValueError(f"point must have shape {(self.num_worlds, 3)}, got {tuple(point.shape)}")
        return self._jacobians(qpos, point, self._ids("xbody", [body])[0])

    def jac_body(self, qpos: Tensor, body: str | int) -> tuple[Tensor, Tensor]:
        """`jac` at a body's origin (`mj_jacBody`)."""
        return self.jac(qpos, self.xpos(qpos, [body])[:, 0], body)

    def jac_body_com(self, qpos: Tensor, body: str | int) -> tuple[Tensor, Tensor]:
        """`jac` at a body's centre of mass (`mj_jacBodyCom`)."""
        return self.jac(qpos, self.xipos(qpos, [body])[:, 0], body)

    def jac_geom(self, qpos: Tensor, geom: str | int) -> tuple[Tensor, Tensor]:
        """`jac` at a geom (`mj_jacGeom`)."""
        body = int(self.model.mj_model.geom_bodyid[self._ids("geom", [geom])[0]])
        return self.jac(qpos, self.geom_xpos(qpos, [geom])[:, 0], body)

    def jac_site(self, qpos: Tensor, site: str | int) -> tuple[Tensor, Tensor]:
        """`jac` at a site (`mj_jacSite`)."""
        body = int(self.model.mj_model.site_bodyid[self._ids("site", [site])[0]])
        return self.jac(qpos, self.site_xpos(qpos, [site])[:, 0], body)

    def subtree_com(self, qpos: Tensor, bodies: Names) -> Tensor:
        """Centres of mass of the subtrees of bodies (`data.subtree_com`): as `xpos`."""
        return self.subtrees.com(self.motion(qpos))[:, self._ids("body", bodies)]

    def subtree_linvel(self, qpos: Tensor, qvel: Tensor, bodies: Names) -> Tensor:
        """Velocities of the centres of mass of the subtrees of bodies (`data.subtree_linvel`): [N, len(bodies), 3]."""
        return self.subtrees.linvel(self.motion(qpos, qvel))[:, self._ids("body", bodies)]

    def subtree_angmom(self, qpos: Tensor, qvel: Tensor, bodies: Names) -> Tensor:
        """Angular momenta of the subtrees of bodies about their centres of mass (`data.subtree_angmom`).

        Returns: [N, len(bodies), 3] kg m^2/s.
        """
        return self.subtrees.angmom(self.motion(qpos, qvel))[:, self._ids("body", bodies)]

    def cinert(self, qpos: Tensor) -> Tensor:
        """Bodies' inertias about their tree's centre of mass (`data.cinert`), without gradient.

        Args:
            qpos: [N, nq].

        Returns: [N, nbody, 10]: rotational inertia xx, yy, zz, xy, xz, yz [kg m^2], mass * offset [kg m], mass [kg].
        Raises: as `step`.
        """
        return self._body_quantities(qpos, torch.zeros_like(qpos[:, :1]).expand(-1, self.model.nv))[0]

    def cvel(self, qpos: Tensor, qvel: Tensor) -> Tensor:
        """Bodies' twists about their tree's centre of mass (`data.cvel`), without gradient.

        Args:
            qpos: [N, nq].
            qvel: [N, nv].

        Returns: [N, nbody, 6]: angular [rad/s], linear [m/s].
        Raises: as `step`.
        """
        return self._body_quantities(qpos, qvel)[1]

    def motion(
        self,
        qpos: Tensor,
        qvel: Tensor | None = None,
        qacc: Tensor | None = None,
        inputs: Tensor | None = None,
        vector: Tensor | None = None,
    ) -> BodyMotion:
        """Poses, velocities and accelerations of all bodies; None for velocities or accelerations of zero.

        `inputs` are rows of `WorldInputs`, None for the model's own poses of mocap bodies; `vector` is that of
        `Parameters.vector`, None for the model's own parameters.
        """
        self._check("qpos", qpos, self.model.nq)
        for name, value in (("qvel", qvel), ("qacc", qacc)):
            if value is not None:
                self._check(name, value, self.model.nv)
        still = torch.zeros_like(qpos[:, :1]).expand(-1, self.model.nv)
        velocity, acceleration = (still if value is None else value for value in (qvel, qacc))
        row = self._row if inputs is None else inputs
        return BodyMotion(*self._motion_call(qpos, velocity, acceleration, row, vector))

    @cached_property
    def _row(self) -> Tensor:
        """A row of `WorldInputs` with the model's own poses of mocap bodies."""
        return self.launch.inputs.join(torch.zeros(self.num_worlds, self.model.nu, dtype=dtype, device=self.device), {})

    @property
    def _vector_of_all(self) -> Tensor | None:
        """The vector of the parameters of all functions, None for the model's own."""
        return None

    def frames(self, kind: str, objects: Names) -> Frames:
        """The frames of objects; see `velocity` for the arguments. They are kept."""
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {list(KINDS)}, got {kind!r}")
        return self.frames_of([(int(KINDS[kind]), i) for i in self._ids(kind, objects)])

    def frames_of(self, objects: Sequence[tuple[int, int]]) -> Frames:
        """The frames of objects, given by kind (`mjtObj`) and id. They are kept."""
        key = tuple(objects)
        if key not in self._frames:
            self._frames[key] = Frames(self.model, key, self.device)
        return self._frames[key]

    @cached_property
    def subtrees(self) -> Subtrees:
        """Sums over subtrees."""
        return Subtrees(self.model, self.device)

    @cached_property
    def _motion_call(self) -> BodyMotionCall:
        return BodyMotionCall(self.launch)

    @cached_property
    def _moved_by(self) -> Tensor:
        """[nbody, nv], 1 where a dof moves a body."""
        mj_model = self.model.mj_model
        moved = torch.zeros(mj_model.nbody, self.model.nv, dtype=dtype)
        for body in range(1, mj_model.nbody):
            moved[body] = moved[mj_model.body_parentid[body]]
            first = mj_model.body_dofadr[body]
            moved[body, first : first + mj_model.body_dofnum[body]] = 1
        return moved.to(self.device)

    def _jacobians(self, qpos: Tensor, point: Tensor, body: int) -> tuple[Tensor, Tensor]:
        self._check("qpos", qpos, self.model.nq)
        (motion,) = DofMotionCall(self.launch)(qpos, self._row, self._vector_of_all)
        rotary, linear = (motion * self._moved_by[body][:, None]).split(3, dim=-1)
        return (linear + cross(rotary, point[:, None])).mT, rotary.mT

    def _body_quantities(self, qpos: Tensor, qvel: Tensor) -> tuple[Tensor, Tensor]:
        self._check("qpos", qpos, self.model.nq)
        self._check("qvel", qvel, self.model.nv)
        cinert, cvel = BodyQuantitiesCall(self.launch)(qpos, qvel, self._row, self._vector_of_all)
        return cinert, cvel

    def _positions(self, qpos: Tensor, kind: str, objects: Names) -> Tensor:
        """Positions of objects, at the model's own poses of mocap bodies and parameters."""
        self._check("qpos", qpos, self.model.nq)
        key = kind, tuple(self._ids(kind, objects))
        if key not in self._points_calls:
            frames = [frame_of(self.model.mj_model, int(KINDS[kind]), i)[:2] for i in key[1]]
            bodies, offsets = [body for body, _ in frames], [tuple(offset) for _, offset in frames]
            self._points_calls[key] = PointsCall(self.launch, bodies, offsets)  # to make it waits for the device
        return self._points_calls[key](qpos)[0]

    def _ids(self, kind: str, objects: Names) -> list[int]:
        """Ids of objects of a kind, one of `KINDS`."""
        if isinstance(objects, str):
            raise TypeError(f"names must be in a list, got {objects!r}")
        return [self._element(KINDS[kind], COUNTS[kind], name) for name in objects]

    def _element(self, kind: mujoco.mjtObj, count: str, name: str | int) -> int:
        """Id of an element of the model, of which there are as many as its field `count` says."""
        mj_model = self.model.mj_model
        number = getattr(mj_model, count)
        names = [mujoco.mj_id2name(mj_model, kind, i) for i in range(number)]
        if name in names:
            return names.index(name)
        if isinstance(name, int) and 0 <= name < number:
            return name
        word = kind.name.removeprefix("mjOBJ_").removeprefix("X").lower()
        raise KeyError(f"{word} must be one of {names} or an id below {number}, got {name!r}")

    def _check(self, name: str, value: Tensor, size: int) -> None:
        if not isinstance(value, Tensor):
            raise TypeError(f"{name} must be a torch.Tensor, got {type(value).__name__}")
        if value.shape != (self.num_worlds, size):
            raise ValueError(f"{name} must have shape {(self.num_worlds, size)}, got {tuple(value.shape)}")
        if value.dtype != dtype:
            raise ValueError(f"{name} must have dtype {dtype} (DIFFSIM_X64=1 selects float64), got {value.dtype}")
        if value.device != self.device:
            raise ValueError(f"{name} must be on device {self.device}, got {value.device}")
