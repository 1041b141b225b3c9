"""C MuJoCo in place of `Simulator`: the same calls, with central differences as derivatives."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Any

import mujoco
import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from diffsim.engine.black_box import Point, Pool
from diffsim.engine.simulator import DynamicsPoint

FREE, BALL = int(mujoco.mjtJoint.mjJNT_FREE), int(mujoco.mjtJoint.mjJNT_BALL)
TOLERANCE = 1e-15
"""Tolerance of the constraint solver: differences magnify the error that it leaves."""


class BlackBoxSimulator:
    """The methods of `Simulator` that tasks call, computed by C MuJoCo: same arguments, results and errors.

    Args:
        mj_model: any model whose actuators have no states. It is copied.
        num_workers: as for `FiniteDifferenceMDP`.
        perturbation: as for `FiniteDifferenceMDP`.

    Raises: ValueError if actuators have states.
    """

    def __init__(self, mj_model: mujoco.MjModel, num_workers: int = 0, perturbation: float = 1e-6) -> None:
        if mj_model.na:
            raise ValueError(f"task's actuators must have no states, got na = {mj_model.na}")
        self.mj_model = copy(mj_model)
        self.mj_model.opt.tolerance = min(self.mj_model.opt.tolerance, TOLERANCE)
        self.pool = Pool(self.mj_model, num_workers, perturbation)
        self.data = mujoco.MjData(self.mj_model)

    def step(self, state: Tensor, ctrl: Tensor, num_steps: int = 1, *, qfrc_applied: Tensor | None = None) -> Tensor:
        """Next state, [N, nq + nv]."""
        return self.advance(state, ctrl, num_steps, qfrc_applied=qfrc_applied)[0]

    def advance(
        self, state: Tensor, ctrl: Tensor, num_steps: int = 1, *, qfrc_applied: Tensor | None = None
    ) -> tuple[Tensor, DynamicsPoint]:
        """Next state, and the last evaluation of the dynamics (see `DynamicsPoint`)."""
        for name, value in (("state", state), ("ctrl", ctrl), ("qfrc_applied", qfrc_applied)):
            if value is not None and not value.isfinite().all():
                world, index = torch.nonzero(~value.detach().isfinite())[0].tolist()
                found = value[world, index].item()
                raise ValueError(f"{name} must be finite, got {found} at world {world}, index {index}")
        force = state.new_zeros(len(state), self.mj_model.nv) if qfrc_applied is None else qfrc_applied
        next_state, *evaluation = _Step.apply(self, num_steps, state, ctrl, force)
        return next_state, DynamicsPoint(*evaluation)

    def forward(self, state: Tensor, ctrl: Tensor) -> DynamicsPoint:
        """Evaluates the dynamics without a step."""
        return self.advance(state, ctrl, 0)[1]

    def xpos(self, qpos: Tensor, bodies: Sequence[str | int]) -> Tensor:
        """World positions of bodies' origins, [N, len(bodies), 3] m."""
        ids = [self.mj_model.body(body).id for body in bodies]
        return _Points.apply(self, qpos, [(i, "body") for i in ids])

    def xipos(self, qpos: Tensor, bodies: Sequence[str | int]) -> Tensor:
        """World positions of bodies' centres of mass, [N, len(bodies), 3] m."""
        ids = [self.mj_model.body(body).id for body in bodies]
        return _Points.apply(self, qpos, [(i, "com") for i in ids])

    def site_xpos(self, qpos: Tensor, sites: Sequence[str | int]) -> Tensor:
        """World positions of sites, [N, len(sites), 3] m."""
        return _Points.apply(self, qpos, [(self.mj_model.site(site).id, "site") for site in sites])

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


class _Step(torch.autograd.Function):
    """`BlackBoxSimulator.advance`."""

    @staticmethod
    def forward(ctx: Any, sim: BlackBoxSimulator, num_steps: int, *inputs: Tensor) -> tuple[Tensor, ...]:  # noqa: D102
        points = [Point(*row) for row in zip(*map(_numpy, inputs), strict=True)]
        outcomes = sim.pool.map("advance", points, [num_steps] * len(points))
        results = tuple(sim._tensor(column, inputs[0]) for column in zip(*outcomes, strict=True))
        ctx.sim, ctx.num_steps, ctx.points = sim, num_steps, points
        ctx.save_for_backward(*results[:2])
        ctx.mark_non_differentiable(*results[5:])
        return results

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # noqa: D102
        sim: BlackBoxSimulator = ctx.sim
        nq, (next_state, qpos) = sim.mj_model.nq, map(_numpy, ctx.saved_tensors)
        bars = [_numpy(grad) for grad in grads[:5]]
        bars[0] = np.hstack([_to_tangent(sim.mj_model, next_state[:, :nq], bars[0][:, :nq]), bars[0][:, nq:]])
        bars[1] = _to_tangent(sim.mj_model, qpos, bars[1])
        wanted = tuple(ctx.needs_input_grad[2:])
        rows = [ctx.points, [ctx.num_steps] * len(qpos), list(zip(*bars, strict=True)), [wanted] * len(qpos)]
        state, ctrl, force = (np.array(column) for column in zip(*sim.pool.map("gradient", *rows), strict=True))
        start, nv = np.array([point.state[:nq] for point in ctx.points]), sim.mj_model.nv
        raw = np.hstack([_from_tangent(sim.mj_model, start, state[:, :nv]), state[:, nv:]])
        return None, None, *(sim._tensor(bar, grads[0]) for bar in (raw, ctrl, force))


class _Points(torch.autograd.Function):
    """`BlackBoxSimulator.xpos`, `xipos` and `site_xpos`, with MuJoCo's own Jacobians."""

    @staticmethod
    def forward(ctx: Any, sim: BlackBoxSimulator, qpos: Tensor, points: list[tuple[int, str]]) -> Tensor:  # noqa: D102
        jacobian = {"body": mujoco.mj_jacBody, "com": mujoco.mj_jacBodyCom, "site": mujoco.mj_jacSite}
        position = {"body": "xpos", "com": "xipos", "site": "site_xpos"}
        positions = np.zeros((len(qpos), len(points), 3))
        ctx.jacobians = np.zeros((len(qpos), len(points), 3, sim.mj_model.nv))
        ctx.sim, ctx.qpos = sim, _numpy(qpos)
        for world, q in enumerate(ctx.qpos):
            data = sim._at(q)
            for k, (index, kind) in enumerate(points):
                positions[world, k] = getattr(data, position[kind])[index]
                if ctx.needs_input_grad[1]:
                    jacobian[kind](sim.mj_model, data, ctx.jacobians[world, k], None, index)
        return sim._tensor(positions, qpos)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor, None]:  # noqa: D102
        bar = np.einsum("npi,npid->nd", _numpy(grad), ctx.jacobians)
        return None, ctx.sim._tensor(_from_tangent(ctx.sim.mj_model, ctx.qpos, bar), grad), None


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
