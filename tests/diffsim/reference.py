"""C MuJoCo as the reference: models and moving states for both engines, steps, and derivatives."""

import copy
from dataclasses import dataclass
from pathlib import Path

import gymnasium
import mujoco
import numpy as np

ALL_MODELS = sorted(path.stem for path in (Path(__file__).parent / "models").glob("*.xml"))
CONTACT_MODELS = [name for name in ALL_MODELS if name.startswith("contact_")]
MODELS = [name for name in ALL_MODELS if name not in CONTACT_MODELS]
TASK_MODELS = ["inverted_pendulum", "inverted_double_pendulum", "reacher", "swimmer"]
INTEGRATORS = ["Euler", "implicitfast", "RK4"]

FREE, BALL = int(mujoco.mjtJoint.mjJNT_FREE), int(mujoco.mjtJoint.mjJNT_BALL)

# Differences in C: the step of each kind of coordinate is as large as the curvature of the forces allows, because
# rounding errors are 1e-16 / step. Positions: a limit's impedance changes over its width, 1e-3 by default. Controls:
# forces are affine in them, rates of activations are not. Richardson extrapolation over halved steps then removes the
# error of second order.
POSITION_STEP, VELOCITY_STEP, ACTIVATION_STEP, CONTROL_STEP = 2e-5, 2e-4, 2e-4, 1e-2


def asset(name: str) -> Path:
    """Path of an MJCF file: one of ALL_MODELS, or one that Gymnasium ships."""
    if name in ALL_MODELS:
        return Path(__file__).parent / "models" / f"{name}.xml"
    return Path(gymnasium.__file__).parent / "envs" / "mujoco" / "assets" / f"{name}.xml"


def load(name: str, integrator: str | None = None) -> mujoco.MjModel:
    """Loads a model whose constraint solver runs until it can no longer improve.

    Args:
        name: one of ALL_MODELS, or the name of a file that Gymnasium ships.
        integrator: one of INTEGRATORS, or None for the file's own.
    """
    mj_model = mujoco.MjModel.from_xml_path(str(asset(name)))
    if integrator is not None:
        mj_model.opt.integrator = getattr(mujoco.mjtIntegrator, f"mjINT_{integrator.upper()}")
    converge(mj_model)
    return mj_model


def converge(mj_model: mujoco.MjModel) -> None:
    """Makes the constraint solver of a model, and its search for contacts, run until they can no longer improve."""
    mj_model.opt.solver = mujoco.mjtSolver.mjSOL_NEWTON
    mj_model.opt.tolerance = 0.0
    mj_model.opt.ls_tolerance = 1e-12
    mj_model.opt.iterations = 20
    mj_model.opt.ls_iterations = 50
    mj_model.opt.ccd_tolerance = 1e-14
    mj_model.opt.ccd_iterations = 1000


def without_repetition(mj_model: mujoco.MjModel) -> mujoco.MjModel:
    """A copy whose constraint solver stops once it has converged to rounding errors.

    With a tolerance of 0 it repeats the converged iteration up to the largest number, which takes most of the time.
    """
    quick = copy.copy(mj_model)
    quick.opt.tolerance = quick.opt.tolerance or 1e-30
    return quick


def relative_error(actual: np.ndarray, expected: np.ndarray) -> float:
    """Largest difference of any world, relative to that world's largest expected entry.

    Args:
        actual: [N, ...].
        expected: [N, ...].
    """
    actual, expected = (np.asarray(x, dtype=np.float64).reshape(len(x), -1) for x in (actual, expected))
    if expected.size == 0:
        return 0.0
    return float((np.abs(actual - expected).max(1) / np.maximum(np.abs(expected).max(1), 1e-8)).max())


def parts_error(mj_model: mujoco.MjModel, actual: np.ndarray, expected: np.ndarray) -> float:
    """Largest `relative_error` of positions, velocities and activations, for states [N, nq + nv + na]."""
    cut = [mj_model.nq, mj_model.nq + mj_model.nv]
    parts = zip(np.split(actual, cut, axis=1), np.split(expected, cut, axis=1), strict=True)
    return max(relative_error(a, e) for a, e in parts)


# ---------------------------------------------------------------------------------------------------- states


def _random_qpos(mj_model: mujoco.MjModel, rng: np.random.Generator) -> np.ndarray:
    """A random position around qpos0 on the manifold; limited joints are in their range, half of them at a limit."""
    qpos = mj_model.qpos0.copy()
    mujoco.mj_integratePos(mj_model, qpos, 0.5 * rng.standard_normal(mj_model.nv), 1.0)
    for joint in np.flatnonzero(mj_model.jnt_limited):
        low, high = mj_model.jnt_range[joint]
        adr = mj_model.jnt_qposadr[joint]
        at_stop = rng.random() < 0.5
        # At a limit: from just outside its margin to a little way into it.
        depth = rng.uniform(-0.01, 0.02) - mj_model.jnt_margin[joint]
        if mj_model.jnt_type[joint] == BALL:
            angle = high + depth if at_stop else rng.uniform(0.2, 0.9) * high
            axis = rng.standard_normal(3)
            mujoco.mju_axisAngle2Quat(qpos[adr : adr + 4], axis / np.linalg.norm(axis), angle)
        elif at_stop:
            depth *= min(1.0, high - low)
            qpos[adr] = high + depth if rng.random() < 0.5 else low - depth
        else:
            qpos[adr] = rng.uniform(low, high)
    return qpos


def _random_ctrl(mj_model: mujoco.MjModel, rng: np.random.Generator) -> np.ndarray:
    """Controls up to 1.2 times their range, so that some are clamped."""
    low, high = mj_model.actuator_ctrlrange.T
    limited = mj_model.actuator_ctrllimited.astype(bool)
    low, high = np.where(limited, low, -1.0), np.where(limited, high, 1.0)
    return (low + high) / 2 + 1.2 * (high - low) / 2 * rng.uniform(-1, 1, mj_model.nu)


def moving_states(mj_model: mujoco.MjModel, num_worlds: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """States in motion, each reached by a few steps of C MuJoCo, and controls to apply there.

    Returns: state [num_worlds, nq + nv + na], ctrl [num_worlds, nu].
    """
    rng = np.random.default_rng(seed)
    data = mujoco.MjData(mj_model)
    states, ctrls = [], []
    while len(states) < num_worlds:
        mujoco.mj_resetData(mj_model, data)
        data.qpos[:] = _random_qpos(mj_model, rng)
        data.qvel[:] = rng.standard_normal(mj_model.nv)
        data.ctrl[:] = _random_ctrl(mj_model, rng)
        if mj_model.na:
            data.act[:] = rng.uniform(-0.1, 1.1, mj_model.na)
        mujoco.mj_step(mj_model, data, nstep=int(rng.integers(0, 4)))
        states.append(np.concatenate([data.qpos, data.qvel, data.act]))
        ctrls.append(_random_ctrl(mj_model, rng))
    return np.array(states), np.array(ctrls)


# ---------------------------------------------------------------------------------------------------- steps


def set_state(mj_model: mujoco.MjModel, data: mujoco.MjData, state: np.ndarray) -> None:
    """Sets positions, velocities and activations of MjData to state [nq + nv + na]."""
    data.qpos[:], data.qvel[:], data.act[:] = np.split(state, [mj_model.nq, mj_model.nq + mj_model.nv])


@dataclass
class Stepper:
    """C MuJoCo as a function of state and control: each call first clears time and warm start."""

    mj_model: mujoco.MjModel

    def __post_init__(self) -> None:
        """Allocates the one MjData."""
        self.data = mujoco.MjData(self.mj_model)

    def set(self, state: np.ndarray, ctrl: np.ndarray) -> mujoco.MjData:
        """Sets MjData to state [nq + nv + na] and ctrl [nu]."""
        mujoco.mj_resetData(self.mj_model, self.data)
        set_state(self.mj_model, self.data, state)
        self.data.ctrl[:] = ctrl
        return self.data

    def step(self, state: np.ndarray, ctrl: np.ndarray, num_steps: int = 1) -> np.ndarray:
        """State [nq + nv + na] after num_steps of mj_step under a constant control."""
        data = self.set(state, ctrl)
        mujoco.mj_step(self.mj_model, data, nstep=num_steps)
        return np.concatenate([data.qpos, data.qvel, data.act])

    def step_batch(self, state: np.ndarray, ctrl: np.ndarray, num_steps: int = 1) -> np.ndarray:
        """As `step`, for state [N, nq + nv + na] and ctrl [N, nu]."""
        return np.array([self.step(*world, num_steps) for world in zip(state, ctrl, strict=True)])


# ----------------------------------------------------------------------------------------------- derivatives


def displace(mj_model: mujoco.MjModel, state: np.ndarray, tangent: np.ndarray) -> np.ndarray:
    """Moves state [nq + nv + na] along tangent [2 nv + na] on the manifold (mj_integratePos)."""
    qpos, others = np.split(state, [mj_model.nq])
    qpos = qpos.copy()
    mujoco.mj_integratePos(mj_model, qpos, tangent[: mj_model.nv], 1.0)
    return np.concatenate([qpos, others + tangent[mj_model.nv :]])


def difference(mj_model: mujoco.MjModel, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Tangent [2 nv + na] that leads from one state [nq + nv + na] to another (mj_differentiatePos)."""
    tangent = np.zeros(mj_model.nv)
    mujoco.mj_differentiatePos(mj_model, tangent, 1.0, start[: mj_model.nq], end[: mj_model.nq])
    return np.concatenate([tangent, end[mj_model.nq :] - start[mj_model.nq :]])


def _central_differences(
    stepper: Stepper, state: np.ndarray, ctrl: np.ndarray, num_steps: int, scale: float
) -> np.ndarray:
    """Jacobian [T, T + nu] of `num_steps` steps, T = 2 nv + na, by differences with steps times `scale`."""
    mj_model = stepper.mj_model
    nv, na, nu = mj_model.nv, mj_model.na, mj_model.nu
    size = 2 * nv + na
    control = ACTIVATION_STEP if na else CONTROL_STEP
    steps = scale * np.repeat([POSITION_STEP, VELOCITY_STEP, ACTIVATION_STEP, control], [nv, nv, na, nu])
    centre = stepper.step(state, ctrl, num_steps)
    columns = []
    for index, step in enumerate(steps):
        shift = np.zeros(size + nu)
        shift[index] = step
        ends = [
            stepper.step(displace(mj_model, state, sign * shift[:size]), ctrl + sign * shift[size:], num_steps)
            for sign in (1, -1)
        ]
        plus, minus = (difference(mj_model, centre, end) for end in ends)
        columns.append((plus - minus) / (2 * step))
    return np.array(columns).T


def jacobian(stepper: Stepper, state: np.ndarray, ctrl: np.ndarray, num_steps: int = 1) -> tuple[np.ndarray, float]:
    """Derivative of the step on the manifold by extrapolated central differences, and an estimate of its
    error.

    The error compares the extrapolations of steps (1, 1/2) and (1/2, 1/4). It is large if the motion switches between
    the points of the differences: a limit becomes active, a control or force reaches its range, or a velocity through a
    fluid changes sign. The differences then depend on the step.

    Returns: [T, T + nu] by (position, velocity, activation, control), T = 2 nv + na, and the relative error, the worst
    over its blocks.
    """
    one, half, quarter = (_central_differences(stepper, state, ctrl, num_steps, scale) for scale in (1, 0.5, 0.25))
    coarse, fine = (4 * half - one) / 3, (4 * quarter - half) / 3
    return coarse, block_error(fine, coarse, stepper.mj_model.nv, stepper.mj_model.na)


def block_error(actual: np.ndarray, expected: np.ndarray, nv: int, na: int = 0) -> float:
    """Largest relative error of the position, velocity, activation and control columns of a Jacobian [T, T + nu]."""
    cuts = [nv, 2 * nv, 2 * nv + na]
    pairs = zip(np.split(actual, cuts, axis=1), np.split(expected, cuts, axis=1), strict=True)
    return max(relative_error(a[None], e[None]) for a, e in pairs)


def smooth_states(
    mj_model: mujoco.MjModel, num_worlds: int, num_steps: int, tolerance: float, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Moving states, and the derivative of `num_steps` steps there, known to a relative `tolerance`.

    States near a switch of the motion are skipped, because their `jacobian` does not converge.

    Returns: state [N, nq + nv + na], ctrl [N, nu], jacobian [N, T, T + nu], T = 2 nv + na.
    Raises: RuntimeError if fewer than a quarter of the candidates are used, which could hide a bad reference.
    """
    stepper = Stepper(without_repetition(mj_model))
    candidates = zip(*moving_states(mj_model, 4 * num_worlds, seed), strict=True)
    kept = []
    for state, ctrl in candidates:
        matrix, error = jacobian(stepper, state, ctrl, num_steps)
        if error <= tolerance:
            kept.append((state, ctrl, matrix))
        if len(kept) == num_worlds:
            return tuple(np.array(column) for column in zip(*kept, strict=True))  # pyright: ignore[reportReturnType]
    raise RuntimeError(f"only {len(kept)} of {4 * num_worlds} states have a derivative known to {tolerance}")


def _left_matrix(quat: np.ndarray) -> np.ndarray:
    """Matrix [4, 3] of w -> quat * (0, w)."""
    w, x, y, z = quat
    return np.array([[-x, -y, -z], [w, -z, y], [z, w, -x], [-y, x, w]])


def tangent_basis(mj_model: mujoco.MjModel, qpos: np.ndarray) -> np.ndarray:
    """Derivative [nq, nv] of mj_integratePos(qpos, .) at zero: d quat = quat * (0, w) / 2, else the identity."""
    basis = np.zeros((mj_model.nq, mj_model.nv))
    for kind, adr, dof in zip(mj_model.jnt_type, mj_model.jnt_qposadr, mj_model.jnt_dofadr, strict=True):
        if kind == FREE:
            basis[adr : adr + 3, dof : dof + 3] = np.eye(3)
            adr, dof = adr + 3, dof + 3
        if kind in (FREE, BALL):
            basis[adr : adr + 4, dof : dof + 3] = _left_matrix(qpos[adr : adr + 4]) / 2
        else:
            basis[adr, dof] = 1.0
    return basis
