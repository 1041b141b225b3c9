"""C MuJoCo in place of `Simulator`: the same calls, with central differences as derivatives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from typing import Any

import mujoco
import numpy as np
import torch
from torch import Tensor

from diffsim.compile.fields import mocap_bodies
from diffsim.engine.black_box import Point, Pool
from diffsim.engine.checks import check_finite
from diffsim.engine.differentiable import Differentiable
from diffsim.engine.simulator import DynamicsPoint

FREE, BALL = int(mujoco.mjtJoint.mjJNT_FREE), int(mujoco.mjtJoint.mjJNT_BALL)
TOLERANCE = 1e-15
"""Tolerance of the constraint solver: differences magnify the error that it leaves."""


class BlackBoxSimulator:
    """The methods of `Simulator` that tasks call, computed by C MuJoCo: same arguments, results and errors.

    Args:
        mj_model: any model. It is copied.
        num_workers: as for `FiniteDifferenceMDP`.
        perturbation: as for `FiniteDifferenceMDP`.
    """

    def __init__(self, mj_model: mujoco.MjModel, num_workers: int = 0, perturbation: float = 1e-6) -> None:
        self.mj_model = copy(mj_model)
        self.mj_model.opt.tolerance = min(self.mj_model.opt.tolerance, TOLERANCE)
        self.pool = Pool(self.mj_model, num_workers, perturbation)
        self.data = mujoco.MjData(self.mj_model)

    def step(self, state: Tensor, ctrl: Tensor, num_steps: int = 1, **others: Tensor | None) -> Tensor:
        """Next state, [N, nq + nv + na]."""
        return self.advance(state, ctrl, num_steps, **others)[0]

    def advance(
        self,
        state: Tensor,
        ctrl: Tensor,
        num_steps: int = 1,
        *,
        qfrc_applied: Tensor | None = None,
        mocap_pos: Tensor | None = None,
        mocap_quat: Tensor | None = None,
        eq_active: Tensor | None = None,
    ) -> tuple[Tensor, DynamicsPoint]:
        """Next state, and the last evaluation of the dynamics (see `DynamicsPoint`)."""
        m, bodies = self.mj_model, mocap_bodies(self.mj_model)
        defaults = (np.zeros(m.nv), m.body_pos[bodies], m.body_quat[bodies], m.eq_active0)
        others = [  # C MuJoCo runs on the CPU, where defaults stay
            torch.as_tensor(own).to(state.dtype).expand(len(state), *own.shape) if given is None else given
            for given, own in zip((qfrc_applied, mocap_pos, mocap_quat, eq_active), defaults, strict=True)
        ]
        next_state, *point, act, actuator, contact = _Step(self, num_steps)(state, ctrl, *others)
        return next_state, DynamicsPoint(*[*point, actuator, contact, act])

    def forward(self, state: Tensor, ctrl: Tensor, **others: Tensor | None) -> DynamicsPoint:
        """Evaluates the dynamics without a step."""
        return self.advance(state, ctrl, 0, **others)[1]

    def xpos(self, qpos: Tensor, bodies: Sequence[str | int]) -> Tensor:
        """World positions of bodies' origins, [N, len(bodies), 3] m."""
        ids = [self.mj_model.body(body).id for body in bodies]
        return _Points(self, [(i, "body") for i in ids])(qpos)[0]

    def xipos(self, qpos: Tensor, bodies: Sequence[str | int]) -> Tensor:
        """World positions of bodies' centres of mass, [N, len(bodies), 3] m."""
        ids = [self.mj_model.body(body).id for body in bodies]
        return _Points(self, [(i, "com") for i in ids])(qpos)[0]

    def site_xpos(self, qpos: Tensor, sites: Sequence[str | int]) -> Tensor:
        """World positions of sites, [N, len(sites), 3] m."""
        return _Points(self, [(self.mj_model.site(site).id, "site") for site in sites])(qpos)[0]

    def cinert(self, qpos: Tensor) -> Tensor:
        """Bodies' inertias about their tree's centre of mass, without gradient: [N, nbody, 10]."""
        return self._tensor([self._at(q).cinert.copy() for q in _numpy(qpos)], qpos)

    def cvel(self, qpos: Tensor, qvel: Tensor) -> Tensor:
        """Bodies' twists about their tree's centre of mass, without gradient: [N, nbody, 6]."""
        rows = zip(_numpy(qpos), _numpy(qvel), strict=True)
        return self._tensor([self._at(q, v).cvel.copy() for q, v in rows], qpos)

    def _at(self, qpos: np.ndarray, qvel: np.ndarray | None = None) -> mujoco.MjData:
        """MjData with bodies' positions, and with their velocities if `qvel` is given."""
        self.data.qpos[:] = qpos
        mujoco.mj_kinematics(self.mj_model, self.data)
        mujoco.mj_comPos(self.mj_model, self.data)
        if qvel is not None:
            self.data.qvel[:] = qvel
            mujoco.mj_comVel(self.mj_model, self.data)
        return self.data

    @staticmethod
    def _tensor(rows: np.ndarray | Sequence[np.ndarray], like: Tensor) -> Tensor:
        return torch.as_tensor(np.array(rows)).to(like)


class _BlackBoxCall(Differentiable):
    """A function that C MuJoCo computes, with central differences as gradient."""

    refusal = (
        "second derivatives and forward-mode derivatives of C MuJoCo's steps are not supported, because the first "
        "derivatives are differences; a Simulator has them"
    )

    def __init__(self, sim: BlackBoxSimulator) -> None:
        self.sim = sim


class _Step(_BlackBoxCall):
    """`BlackBoxSimulator.advance`: its tensors, in the order of `Point` -> next state and the last evaluation."""

    num_outputs = 6
    kept = (0, 1)

    def __init__(self, sim: BlackBoxSimulator, num_steps: int) -> None:
        super().__init__(sim)
        self.num_steps = num_steps

    def results(self, *inputs: Tensor) -> tuple[Tensor, ...]:  # noqa: D102
        for name, value in zip(("state", "ctrl", "qfrc_applied", "mocap_pos", "mocap_quat"), inputs, strict=False):
            check_finite(name, value.flatten(1))
        points = _points(inputs)
        outcomes = self.sim.pool.map("advance", points, [self.num_steps] * len(points))
        *point, actuator, contact, act = (self.sim._tensor(part, inputs[0]) for part in zip(*outcomes, strict=True))
        return *point, act, actuator, contact

    def gradient(  # noqa: D102
        self, inputs: Sequence[Tensor], kept: Sequence[Tensor], bars: Sequence[Tensor | None], wanted: Sequence[bool]
    ) -> tuple[Tensor | None, ...]:
        mj_model, points, (next_state, qpos) = self.sim.mj_model, _points(inputs), map(_numpy, kept)
        nq, nv, na = mj_model.nq, mj_model.nv, mj_model.na
        sizes = (nq + nv + na, nq, nv, nv, nv, na)
        rows = zip(bars, sizes, strict=True)
        columns = [np.zeros((len(points), n)) if bar is None else _numpy(bar) for bar, n in rows]
        columns[0] = np.hstack([_to_tangent(mj_model, next_state[:, :nq], columns[0][:, :nq]), columns[0][:, nq:]])
        columns[1] = _to_tangent(mj_model, qpos, columns[1])
        counts, wishes = [self.num_steps] * len(points), [tuple(wanted)] * len(points)
        results = self.sim.pool.map("gradient", points, counts, list(zip(*columns, strict=True)), wishes)
        state, *others = (np.array(column) for column in zip(*results, strict=True))
        start = np.array([point.state[:nq] for point in points])
        raw = np.hstack([_from_tangent(mj_model, start, state[:, :nv]), state[:, nv:]])
        pairs = zip((raw, *others), inputs, strict=False)
        return *(self.sim._tensor(bar.reshape(like.shape), inputs[0]) for bar, like in pairs), None


class _Points(_BlackBoxCall):
    """`BlackBoxSimulator.xpos`, `xipos` and `site_xpos`: qpos -> positions, with MuJoCo's own Jacobians."""

    num_outputs = 1

    def __init__(self, sim: BlackBoxSimulator, points: list[tuple[int, str]]) -> None:
        super().__init__(sim)
        self.points = points

    def results(self, qpos: Tensor) -> tuple[Tensor, ...]:  # noqa: D102
        position = {"body": "xpos", "com": "xipos", "site": "site_xpos"}
        rows = [[getattr(data, position[kind])[i].copy() for i, kind in self.points] for data in self._each(qpos)]
        return (self.sim._tensor(np.array(rows).reshape(len(qpos), len(self.points), 3), qpos),)

    def gradient(  # noqa: D102
        self, inputs: Sequence[Tensor], kept: Sequence[Tensor], bars: Sequence[Any], wanted: Sequence[bool]
    ) -> tuple[Tensor]:
        jacobian = {"body": mujoco.mj_jacBody, "com": mujoco.mj_jacBodyCom, "site": mujoco.mj_jacSite}
        mj_model, qpos = self.sim.mj_model, inputs[0]
        jacobians = np.zeros((len(qpos), len(self.points), 3, mj_model.nv))
        for world, data in enumerate(self._each(qpos)):
            for k, (index, kind) in enumerate(self.points):
                jacobian[kind](mj_model, data, jacobians[world, k], None, index)
        bar = np.einsum("npi,npid->nd", _numpy(bars[0]), jacobians)
        return (self.sim._tensor(_from_tangent(mj_model, _numpy(qpos), bar), qpos),)

    def _each(self, qpos: Tensor) -> Iterator[mujoco.MjData]:
        """The worlds' MjData, one after another."""
        return (self.sim._at(row) for row in _numpy(qpos))


def _points(inputs: Sequence[Tensor]) -> list[Point]:
    """One point per world."""
    return [Point(*row) for row in zip(*map(_numpy, inputs), strict=True)]


def _numpy(value: Tensor) -> np.ndarray:
    return value.detach().cpu().double().numpy()


def _to_tangent(mj_model: mujoco.MjModel, qpos: np.ndarray, bar: np.ndarray) -> np.ndarray:
    """Cotangents of coordinates [N, nq] in the tangent space at qpos: [N, nv]."""
    return np.einsum("nqv,nq->nv", _bases(mj_model, qpos), bar)


def _from_tangent(mj_model: mujoco.MjModel, qpos: np.ndarray, bar: np.ndarray) -> np.ndarray:
    """The inverse: [N, nv] to [N, nq]. A quaternion's gradient is that of the function that normalizes it first."""
    return np.einsum("nvq,nv->nq", np.linalg.pinv(_bases(mj_model, qpos)), bar)


def _bases(mj_model: mujoco.MjModel, qpos: np.ndarray) -> np.ndarray:
    """Derivatives of `mj_integratePos` at zero, [N, nq, nv]: d quat = quat * (0, w) / 2, all else the identity."""
    bases = np.zeros((len(qpos), mj_model.nq, mj_model.nv))
    for joint in range(mj_model.njnt):
        kind, adr, dof = (int(x[joint]) for x in (mj_model.jnt_type, mj_model.jnt_qposadr, mj_model.jnt_dofadr))
        if kind == FREE:
            bases[:, adr : adr + 3, dof : dof + 3] = np.eye(3)
            adr, dof = adr + 3, dof + 3
        if kind in (FREE, BALL):
            w, x, y, z = qpos[:, adr : adr + 4].T / 2
            columns = [[-x, -y, -z], [w, -z, y], [z, w, -x], [-y, x, w]]
            bases[:, adr : adr + 4, dof : dof + 3] = np.array(columns).transpose(2, 0, 1)
        else:
            bases[:, adr, dof] = 1.0
    return bases
