"""Runs the checks of float32 kernels in another process, because import sets the precision."""

import os
import zlib
from pathlib import Path

import mujoco
import numpy as np
import torch

from tests import processes

from .contact_reference import TASKS, load_task, task_states
from .engine import simulator, tensors
from .reference import Stepper
from .stiff_models import STIFF, stiff_model

FILES = ["float32_checks.py", "test_degenerate.py"]
FILES += ["test_tasks.py::test_observation_after_reset", "test_tasks.py::test_transitions"]


def test_float32_tensors(tmp_path):
    reference = tmp_path / "reference.npz"
    np.savez(reference, allow_pickle=False, **stiff_reference())
    environment = os.environ | {"DIFFSIM_X64": "0", "DIFFSIM_FLOAT32_REFERENCE": str(reference)}
    run_tests(["float32_tensor_checks.py"], environment)


def run_tests(names: list[str], environment: dict[str, str]) -> None:
    """Runs test files of this folder in another process."""
    files = [Path(__file__).with_name(name) for name in names]
    result = processes.run("-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *files, env=environment)
    assert result.returncode == 0, result.stdout[-6000:]


def stiff_reference() -> dict[str, np.ndarray]:
    """Of each stiff model: float32 states, C MuJoCo's next states, our Jacobians, and where these do not jump
    within the rounding.
    """
    arrays = {}
    for name in STIFF:
        rng = np.random.default_rng(zlib.crc32(name.encode()))  # a new model leaves the states of the others
        mj_model = stiff_model(name)
        stepper, zero = Stepper(mj_model), np.zeros(mj_model.nu)
        rest = np.concatenate([mj_model.qpos0, np.zeros(mj_model.nv + mj_model.na)])
        state = np.concatenate([mj_model.qpos0, 0.2 * rng.standard_normal(mj_model.nv), np.zeros(mj_model.na)])
        states = np.array([rest, *(state := stepper.step(state, zero, 15) for _ in range(8))])
        states = states.astype(np.float32).astype(np.float64)
        ctrl = np.zeros((len(states), mj_model.nu))
        jacobian = linearized(mj_model, states)
        steps = 3e-7 * np.concatenate([np.eye(mj_model.nv), -np.eye(mj_model.nv)])
        moved = np.repeat(states, len(steps), axis=0)
        for row, step in zip(moved, np.tile(steps, (len(states), 1)), strict=True):
            mujoco.mj_integratePos(mj_model, row[: mj_model.nq], step, 1.0)
        change = linearized(mj_model, moved).reshape(len(states), len(steps), *jacobian.shape[1:]) - jacobian[:, None]
        jump = np.linalg.norm(change, axis=(2, 3)).max(1) / np.linalg.norm(jacobian, axis=(1, 2))
        arrays |= {
            f"{name}/state": states,
            f"{name}/next": stepper.step_batch(states, ctrl),
            f"{name}/jacobian": jacobian,
            f"{name}/smooth": jump < 1e-3,
        }
    return arrays


def linearized(mj_model: mujoco.MjModel, states: np.ndarray) -> np.ndarray:
    """Jacobians of the step by state and control, at zero control: [N, 2 nv + na, 2 nv + na + nu]."""
    sim = simulator(mj_model, len(states))
    return torch.cat(sim.linearize(*tensors(states, np.zeros((len(states), mj_model.nu)))), dim=2).numpy()


def test_float32(tmp_path):
    reference = tmp_path / "reference.npz"
    np.savez(reference, **task_reference())
    environment = os.environ | {
        "DIFFSIM_X64": "0",
        "DIFFSIM_KERNELS": "float32",
        "DIFFSIM_FLOAT32_REFERENCE": str(reference),
    }
    run_tests(FILES, environment)


def task_reference() -> dict[str, np.ndarray]:
    """States of each task, rounded to float32, and from there C MuJoCo's next state and our Jacobian in float64."""
    arrays = {}
    for id in TASKS:
        mj_model, frame_skip = load_task(id)
        state, ctrl = (x[:20].astype(np.float32).astype(np.float64) for x in task_states(id, 200))
        A, B = simulator(mj_model, len(state)).linearize(*tensors(state, ctrl), num_steps=frame_skip)
        arrays |= {
            f"{id}/state": state,
            f"{id}/ctrl": ctrl,
            f"{id}/next": Stepper(mj_model).step_batch(state, ctrl, frame_skip),
            f"{id}/jacobian": np.concatenate([A.numpy(), B.numpy()], axis=2),
        }
    return arrays
