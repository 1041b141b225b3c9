"""The engines to time: our simulator, C MuJoCo, and other simulators of the same models where they are installed.

Each function prepares one engine at given states, and returns calls by the name of their result. A call takes
`frame_skip` physics steps of all worlds, or computes the Jacobians of one step.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import mujoco
import mujoco.rollout
import numpy as np
import torch
import warp as wp

import diffsim


class Work(NamedTuple):
    """A function to time."""

    call: Callable[[], object]
    steps: int  # physics steps of each world per call


class Problem(NamedTuple):
    """A task's model, with the states and controls at which it is timed."""

    mj_model: mujoco.MjModel
    frame_skip: int
    state: np.ndarray  # [N, nq + nv]
    ctrl: np.ndarray  # [N, nu]
    device: str


def missing(peer: str) -> str | None:
    """Why a peer cannot run, or None."""
    modules = {"mujoco_warp": ["mujoco_warp"], "mjx": ["jax", "mujoco.mjx"]}.get(peer, [])
    absent = [name for name in modules if importlib.util.find_spec(name) is None]
    return f"{', '.join(absent)} not installed (pip install -e '.[bench]')" if absent else None


def newton(mj_model: mujoco.MjModel) -> mujoco.MjModel:
    """A copy that uses the Newton solver in place of PGS, which only C MuJoCo has."""
    mj_model = mj_model.__copy__()
    if mj_model.opt.solver == mujoco.mjtSolver.mjSOL_PGS:
        mj_model.opt.solver = mujoco.mjtSolver.mjSOL_NEWTON
    return mj_model


def diffsim_work(problem: Problem) -> dict[str, Work]:
    """Our simulator: steps, steps with the gradient of one scalar, and Jacobians of one step."""
    simulator = diffsim.Simulator(diffsim.Model(problem.mj_model), len(problem.state), device=problem.device)
    options = {"dtype": diffsim.dtype, "device": problem.device}
    state, ctrl = (torch.tensor(x, **options) for x in (problem.state, problem.ctrl))
    weight = torch.randn(state.shape, **options)
    steps = problem.frame_skip

    def both() -> None:
        leaves = [x.detach().requires_grad_() for x in (state, ctrl)]
        torch.autograd.backward(simulator.step(*leaves, num_steps=steps), weight)

    def synchronized(call: Callable[[], object], num_steps: int) -> Work:
        return Work(lambda: (call(), problem.device == "cpu" or torch.cuda.synchronize()), num_steps)

    return {
        "forward": synchronized(lambda: simulator.step(state, ctrl, num_steps=steps), steps),
        "both": synchronized(both, steps),
        "linearize": synchronized(lambda: simulator.linearize(state, ctrl), 1),
    }


def mj_step_work(problem: Problem) -> dict[str, Work]:
    """C MuJoCo on one core, looped over worlds and steps in C (mujoco.rollout)."""
    data, count = mujoco.MjData(problem.mj_model), len(problem.state)
    full = np.concatenate([np.zeros((count, 1)), problem.state], axis=1)
    control = np.repeat(problem.ctrl[:, None], problem.frame_skip, axis=1)
    rollout = mujoco.rollout.Rollout(nthread=0)
    models = [problem.mj_model] * count
    return {"mj_step": Work(lambda: rollout.rollout(models, [data], full, control), problem.frame_skip)}


def transition_fd_work(problem: Problem) -> dict[str, Work]:
    """`mjd_transitionFD`, centred, on one core; with the Euler integrator, as it does not support RK4."""
    mj_model = problem.mj_model.__copy__()
    mj_model.opt.integrator = mujoco.mjtIntegrator.mjINT_EULER
    data = mujoco.MjData(mj_model)
    size = 2 * mj_model.nv
    a, b = np.zeros((size, size)), np.zeros((size, mj_model.nu))

    def call() -> None:
        for state, ctrl in zip(problem.state, problem.ctrl, strict=True):
            data.qpos[:], data.qvel[:] = state[: mj_model.nq], state[mj_model.nq :]
            data.ctrl[:] = ctrl
            mujoco.mjd_transitionFD(mj_model, data, 1e-6, True, a, b, None, None)

    return {"transition_fd": Work(call, 1)}


def mujoco_warp_work(problem: Problem) -> dict[str, Work]:
    """mujoco_warp; on CUDA, captured in a graph."""
    mjw: Any = importlib.import_module("mujoco_warp")
    mj_model = newton(problem.mj_model)
    contacts, rows = _most_constraints(mj_model, problem.state)
    with wp.ScopedDevice(problem.device):
        model = mjw.put_model(mj_model)
        worlds = {"nworld": len(problem.state), "nconmax": 2 * contacts + 8, "njmax": 2 * rows + 32}
        data = mjw.put_data(mj_model, mujoco.MjData(mj_model), **worlds)
        parts = (problem.state[:, : mj_model.nq], problem.state[:, mj_model.nq :], problem.ctrl)
        starts = [wp.array(x.astype(np.float32), dtype=float) for x in parts]

        def steps() -> None:
            for target, start in zip((data.qpos, data.qvel, data.ctrl), starts, strict=True):
                wp.copy(target, start)
            for _ in range(problem.frame_skip):
                mjw.step(model, data)

        steps()
        if problem.device == "cpu":
            return {"mujoco_warp": Work(steps, problem.frame_skip)}
        with wp.ScopedCapture() as capture:
            steps()

    def replay() -> None:
        wp.capture_launch(capture.graph)
        wp.synchronize_device(problem.device)

    return {"mujoco_warp": Work(replay, problem.frame_skip)}


def mjx_work(problem: Problem) -> dict[str, Work]:
    """MJX with one solver iteration, the most that it differentiates, and four iterations of its line search."""
    jax: Any = importlib.import_module("jax")
    mjx: Any = importlib.import_module("mujoco.mjx")
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "diffsim" / "jax"
    jax.config.update("jax_compilation_cache_dir", str(cache))
    mj_model = newton(problem.mj_model)
    mj_model.opt.iterations, mj_model.opt.ls_iterations = 1, 4
    model = mjx.put_model(mj_model)
    start = mjx.make_data(model)

    def step(state: Any, ctrl: Any) -> Any:
        data = start.replace(qpos=state[: mj_model.nq], qvel=state[mj_model.nq :], ctrl=ctrl)
        data, _ = jax.lax.scan(lambda d, _: (mjx.step(model, d), None), data, None, length=problem.frame_skip)
        return jax.numpy.concatenate([data.qpos, data.qvel])

    batch = jax.vmap(step)
    inputs = [jax.numpy.asarray(x, dtype="float32") for x in (problem.state, problem.ctrl)]
    weight = jax.numpy.ones_like(inputs[0])
    forward = jax.jit(batch)
    both = jax.jit(jax.grad(lambda state, ctrl: (batch(state, ctrl) * weight).sum(), argnums=(0, 1)))
    return {
        "mjx_forward": Work(lambda: jax.block_until_ready(forward(*inputs)), problem.frame_skip),
        "mjx_both": Work(lambda: jax.block_until_ready(both(*inputs)), problem.frame_skip),
    }


def _most_constraints(mj_model: mujoco.MjModel, states: np.ndarray) -> tuple[int, int]:
    """The largest numbers of contacts and of constraint rows at the states [N, nq + nv]."""
    data = mujoco.MjData(mj_model)
    contacts = rows = 0
    for state in states:
        data.qpos[:], data.qvel[:] = state[: mj_model.nq], state[mj_model.nq :]
        mujoco.mj_forward(mj_model, data)
        contacts, rows = max(contacts, data.ncon), max(rows, data.nefc)
    return contacts, rows


PEERS = {"transition_fd": transition_fd_work, "mujoco_warp": mujoco_warp_work, "mjx": mjx_work}
