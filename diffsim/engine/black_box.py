"""Steps of C MuJoCo as a function of state and controls, and its central differences; NumPy, one world at a time."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import NamedTuple

import mujoco
import numpy as np

BAD = ("QPOS", "QVEL", "QACC", "CTRL")
"""Arrays in which MuJoCo finds bad numbers; it then resets the simulation, or sets the controls to zero."""


class Point(NamedTuple):
    """What a step starts from."""

    state: np.ndarray  # [nq + nv + na]
    ctrl: np.ndarray  # [nu]
    force: np.ndarray  # [nv]
    mocap_pos: np.ndarray  # [nmocap, 3]
    mocap_quat: np.ndarray  # [nmocap, 4]
    eq_active: np.ndarray  # [neq]


class Outcome(NamedTuple):
    """The next state, and the last evaluation of the dynamics (see `diffsim.DynamicsPoint`)."""

    state: np.ndarray  # [nq + nv + na]
    qpos: np.ndarray  # [nq]
    qvel: np.ndarray  # [nv]
    qacc: np.ndarray  # [nv]
    qfrc_constraint: np.ndarray  # [nv]
    qfrc_actuator: np.ndarray  # [nv]
    cfrc_ext: np.ndarray  # [nbody, 6]
    act: np.ndarray  # [na]


class BlackBox:
    """C MuJoCo with one `MjData`.

    Args:
        mj_model: any model.
        perturbation: change of each coordinate of state, control and force for the differences, > 0.
    """

    def __init__(self, mj_model: mujoco.MjModel, perturbation: float) -> None:
        self.mj_model, self.perturbation = mj_model, perturbation
        self.data = mujoco.MjData(mj_model)

    def put(self, point: Point) -> None:
        """Resets MjData, then sets all that a point has."""
        mujoco.mj_resetData(self.mj_model, self.data)
        cuts = [self.mj_model.nq, self.mj_model.nq + self.mj_model.nv]
        self.data.qpos[:], self.data.qvel[:], self.data.act[:] = np.split(point.state, cuts)
        self.data.ctrl[:], self.data.qfrc_applied[:] = point.ctrl, point.force
        for name in ("mocap_pos", "mocap_quat", "eq_active"):
            getattr(self.data, name)[:] = getattr(point, name)

    def advance(self, point: Point, num_steps: int) -> Outcome:
        """`run` from a point, without time or warm start from earlier calls."""
        self.put(point)
        return self.run(num_steps)

    def move(self, num_steps: int) -> None:
        """`num_steps` of `mj_step` from where MjData is; 0 evaluates the dynamics without a step (`mj_forward`).

        Raises: FloatingPointError if MuJoCo found a number that is not finite, or too large.
        """
        if num_steps:
            mujoco.mj_step(self.mj_model, self.data, nstep=num_steps)
        else:
            mujoco.mj_forward(self.mj_model, self.data)
        for name in BAD:
            if self.data.warning[getattr(mujoco.mjtWarning, f"mjWARN_BAD{name}")].number:
                raise FloatingPointError(f"physics diverged: C MuJoCo reports bad {name.lower()}")

    def run(self, num_steps: int) -> Outcome:
        """`move`, and its outcome."""
        data, last = self.data, []

        def record(_: mujoco.MjModel, at: mujoco.MjData) -> None:
            last[:] = [at.qpos.copy(), at.qvel.copy(), at.act.copy()]  # MuJoCo calls this in every evaluation

        previous = mujoco.get_mjcb_control()
        mujoco.set_mjcb_control(record)
        try:
            self.move(num_steps)
        finally:
            mujoco.set_mjcb_control(previous)
        mujoco.mj_rnePostConstraint(self.mj_model, data)
        # The warm start is the last evaluation's acceleration; RK4 overwrites qacc by the mean of its stages.
        qacc = data.qacc_warmstart if num_steps else data.qacc
        results = (x.copy() for x in (qacc, data.qfrc_constraint, data.qfrc_actuator, data.cfrc_ext))
        qpos, qvel, act = last
        return Outcome(np.concatenate([data.qpos, data.qvel, data.act]), *[qpos, qvel, *results, act])

    def gradient(
        self, point: Point, num_steps: int, bars: Sequence[np.ndarray], wanted: Sequence[bool] = (True,) * 5
    ) -> tuple[np.ndarray, ...]:
        """Cotangents of a point from those of its outcome, one column of the Jacobian at a time.

        Args:
            point: where to differentiate.
            num_steps: as `advance`.
            bars: cotangents of next state, qpos, qvel, qacc, qfrc_constraint and act, positions' in the tangent space.
            wanted: which of the cotangents of state, ctrl, force, mocap_pos and mocap_quat to compute.

        Returns: cotangents of state [2 nv + na] (tangent space), ctrl [nu], force [nv], mocap_pos [3 nmocap] and
            mocap_quat [4 nmocap]; zero where not wanted.
        """
        m = self.mj_model
        sizes = [2 * m.nv + m.na, m.nu, m.nv, point.mocap_pos.size, point.mocap_quat.size]
        centre, bar, h = self.advance(point, num_steps), np.concatenate(bars), self.perturbation
        total = np.zeros(sum(sizes))
        for index in np.flatnonzero(np.repeat(wanted[: len(sizes)], sizes)):
            shift = np.zeros(len(total))
            shift[index] = h
            ends = [self._tangent(centre, self.advance(self._moved(point, s), num_steps)) for s in (shift, -shift)]
            total[index] = bar @ (ends[0] - ends[1]) / (2 * h)
        return tuple(np.split(total, np.cumsum(sizes)[:-1]))

    def _moved(self, point: Point, shift: np.ndarray) -> Point:
        """A point moved by [position, velocity, act, control, force, mocap_pos, mocap_quat].

        Positions move on the manifold (`mj_integratePos`); quaternions of mocap bodies in their coordinates.
        """
        m = self.mj_model
        ends = np.cumsum([m.nv, m.nv + m.na, m.nu, m.nv, 3 * m.nmocap])
        position, others, ctrl, force, place, turn = np.split(shift, ends)
        qpos = point.state[: m.nq].copy()
        mujoco.mj_integratePos(m, qpos, position, 1.0)
        state = np.concatenate([qpos, point.state[m.nq :] + others])
        mocap_pos = point.mocap_pos + place.reshape(-1, 3)
        mocap_quat = point.mocap_quat + turn.reshape(-1, 4)
        return Point(state, point.ctrl + ctrl, point.force + force, mocap_pos, mocap_quat, point.eq_active)

    def _tangent(self, centre: Outcome, end: Outcome) -> np.ndarray:
        """Difference of two outcomes (`mj_differentiatePos`), without the quantities held constant."""
        nq, parts = self.mj_model.nq, []
        for before, after in ((centre.state[:nq], end.state[:nq]), (centre.qpos, end.qpos)):
            tangent = np.zeros(self.mj_model.nv)
            mujoco.mj_differentiatePos(self.mj_model, tangent, 1.0, before, after)
            parts.append(tangent)
        last = parts[1], end.qvel, end.qacc, end.qfrc_constraint, end.act
        return np.concatenate([parts[0], end.state[nq:], *last])


class Pool:
    """Black boxes in several processes, among which worlds are divided.

    Args:
        mj_model: as for `BlackBox`.
        num_workers: processes; 0 means this one.
        perturbation: as for `BlackBox`.
    """

    def __init__(self, mj_model: mujoco.MjModel, num_workers: int, perturbation: float) -> None:
        self.num_workers = num_workers
        if num_workers:
            options = {"initializer": _start, "initargs": (mj_model, perturbation)}
            self.executor = ProcessPoolExecutor(num_workers, get_context("spawn"), **options)
        else:
            self.box = BlackBox(mj_model, perturbation)

    def map(self, method: str, *columns: Sequence) -> list:
        """Calls a method of the black box with every row of `columns`; results in order.

        Raises: what the method raises; a FloatingPointError also names the world. ChildProcessError if a process died.
        """
        rows = list(enumerate(zip(*columns, strict=True)))
        if not self.num_workers:
            return _call(method, rows, self.box)
        share = -(-len(rows) // self.num_workers)
        chunks = [rows[i : i + share] for i in range(0, len(rows), share)]
        try:
            futures = [self.executor.submit(_call, method, chunk) for chunk in chunks]
            return [result for future in futures for result in future.result()]
        except BrokenProcessPool as error:
            raise ChildProcessError(f"a process that computes finite differences died: {error}") from error

    def close(self) -> None:
        """Ends the processes. They also end with this one."""
        if self.num_workers:
            self.executor.shutdown(cancel_futures=True)


_box: BlackBox | None = None


def _start(mj_model: mujoco.MjModel, perturbation: float) -> None:
    """Initialises a worker. The parent handles Ctrl-C, and MuJoCo's warnings become errors, not lines of a log file."""
    global _box
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    mujoco.set_mju_user_warning(lambda message: None)
    _box = BlackBox(mj_model, perturbation)


def _call(method: str, rows: list[tuple[int, tuple]], box: BlackBox | None = None) -> list:
    box = box or _box
    results = []
    for world, arguments in rows:
        try:
            results.append(getattr(box, method)(*arguments))
        except FloatingPointError as error:
            raise FloatingPointError(f"{error} in world {world}") from None
    return results
