"""Robots for the benchmark: MJCF files, composites of several copies, and random walks from the first keyframe."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import mujoco
import mujoco.rollout
import numpy as np

import diffsim

HOLD = 25
"""Steps for which a random control is held."""
APART = 3.0
"""Metres from one copy of a composite to the next."""

Step = Callable[[np.ndarray, np.ndarray], np.ndarray]


class Robot(NamedTuple):
    """A model with its start: the first keyframe, or qpos0."""

    name: str
    mj_model: mujoco.MjModel
    state: np.ndarray  # [nq + nv + na]
    ctrl: np.ndarray  # [nu]


def converge(mj_model: mujoco.MjModel, tolerance: float) -> None:
    """Makes C MuJoCo's solver Newton's method with enough iterations for a tolerance."""
    opt = mj_model.opt
    opt.solver, opt.tolerance, opt.iterations = mujoco.mjtSolver.mjSOL_NEWTON, tolerance, 200
    opt.ls_tolerance, opt.ls_iterations = min(0.01, tolerance**0.5), 200


def files(paths: Iterable[Path]) -> list[Path]:
    """The MJCF files among files and folders."""
    return [file for path in paths for file in (sorted(path.rglob("*.xml")) if path.is_dir() else [path])]


def accepted(mj_model: mujoco.MjModel) -> bool:
    """Whether the simulator takes a model."""
    try:
        diffsim.Model(mj_model)
    except diffsim.UnsupportedModelError:
        return False
    return True


def load(path: Path) -> Robot | None:
    """A robot, or None if its model has no degrees of freedom or the simulator refuses it."""
    mj_model = mujoco.MjModel.from_xml_path(str(path))
    converge(mj_model, 1e-14)
    return start(path.stem, mj_model) if mj_model.nv and accepted(mj_model) else None


def start(name: str, mj_model: mujoco.MjModel) -> Robot:
    """A model at its first keyframe, or at qpos0."""
    data = mujoco.MjData(mj_model)
    if mj_model.nkey:
        mujoco.mj_resetDataKeyframe(mj_model, data, 0)
    return Robot(name, mj_model, np.concatenate([data.qpos, data.qvel, data.act]), data.ctrl.copy())


def composite(path: Path, robot: Robot, copies: int) -> Robot | None:
    """Several copies of a robot side by side in the first one's world; None if the simulator refuses them together."""
    spec = mujoco.MjSpec.from_file(str(path))
    for index in range(1, copies):
        other = mujoco.MjSpec.from_file(str(path))
        for element in [*other.worldbody.geoms, *other.worldbody.lights, *other.keys]:
            other.delete(element)
        frame = spec.worldbody.add_frame(pos=[APART * index, 0, 0])
        spec.attach(other, frame=frame, prefix=f"copy{index}_")
    for key in list(spec.keys):
        spec.delete(key)
    mj_model = spec.compile()
    converge(mj_model, 1e-14)
    if not accepted(mj_model):
        return None
    cuts = [robot.mj_model.nq, robot.mj_model.nq + robot.mj_model.nv]
    qpos, qvel, act = np.split(np.tile(robot.state, (copies, 1)), cuts, axis=1)
    free = robot.mj_model.jnt_qposadr[robot.mj_model.jnt_type == mujoco.mjtJoint.mjJNT_FREE]
    qpos[:, free] += APART * np.arange(copies)[:, None]
    state = np.concatenate([qpos.ravel(), qvel.ravel(), act.ravel()])
    return Robot(f"{copies} x {robot.name}", mj_model, state, np.tile(robot.ctrl, copies))


class MujocoStep:
    """One step of C MuJoCo, started cold, in many worlds: [N, nq + nv + na] from states of that size and [N, nu]."""

    def __init__(self, mj_model: mujoco.MjModel) -> None:
        self.mj_model, self.data = mj_model, mujoco.MjData(mj_model)
        self.rollout = mujoco.rollout.Rollout(nthread=0)

    def __call__(self, state: np.ndarray, ctrl: np.ndarray) -> np.ndarray:
        """The next states."""
        full = np.concatenate([np.zeros((len(state), 1)), state], axis=1)
        control = np.asarray(ctrl, dtype=np.float64)[:, None]
        models = [self.mj_model] * len(state)
        return np.asarray(self.rollout.rollout(models, [self.data], full, control, nstep=1)[0])[:, 0, 1:]

    def failed(self) -> bool:
        """Whether C MuJoCo found a bad number in any step so far."""
        kinds = mujoco.mjtWarning
        return any(
            self.data.warning[kind].number
            for kind in (kinds.mjWARN_BADQPOS, kinds.mjWARN_BADQVEL, kinds.mjWARN_BADQACC)
        )


def controls(robot: Robot, steps: int, worlds: int, rng: np.random.Generator) -> np.ndarray:
    """Random controls [steps, N, nu] around the keyframe's, within range, each held for HOLD steps."""
    mj_model = robot.mj_model
    limited = mj_model.actuator_ctrllimited.astype(bool)
    low, high = np.where(limited[:, None], mj_model.actuator_ctrlrange, [-1.0, 1.0]).T
    noise = rng.uniform(-1, 1, (-(-steps // HOLD), worlds, mj_model.nu))
    ctrl = np.clip(robot.ctrl + 0.1 * (high - low) * noise, low + 0.01 * (high - low), high - 0.01 * (high - low))
    return np.repeat(ctrl, HOLD, axis=0)[:steps]


def starts(robot: Robot, worlds: int, rng: np.random.Generator) -> np.ndarray:
    """The robot's start with small random velocities, [N, nq + nv + na]."""
    state, nq, nv = np.tile(robot.state, (worlds, 1)), robot.mj_model.nq, robot.mj_model.nv
    state[:, nq : nq + nv] += 0.1 * rng.standard_normal((worlds, nv))
    return state


def visited(robot: Robot, worlds: int, steps: int = 256, every: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """States [N, nq + nv + na] and controls [N, nu] on C MuJoCo's walks, every few steps of each."""
    rng = np.random.default_rng(0)
    walks = max(1, worlds * every // steps)
    state, ctrl, step = starts(robot, walks, rng), controls(robot, steps, walks, rng), MujocoStep(robot.mj_model)
    kept = []
    for index in range(steps):
        state = step(state, ctrl[index])
        if index % every == every - 1:
            kept.append((state, ctrl[index]))
    states, ctrls = (np.concatenate(parts) for parts in zip(*kept, strict=True))
    order = np.arange(worlds) % len(states)
    return states[order], ctrls[order]
