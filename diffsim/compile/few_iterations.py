"""Measures how far C MuJoCo's constraint solver stops from the minimum, if a model asks for few iterations."""

import warnings
from copy import copy

import mujoco
import numpy as np

ENOUGH = {mujoco.mjtSolver.mjSOL_NEWTON: 20, mujoco.mjtSolver.mjSOL_CG: 50, mujoco.mjtSolver.mjSOL_PGS: 50}
"""Iterations from which a solver is not measured. PGS with 50 errs by up to 2e-5 on Gymnasium's humanoids."""

TOLERANCE, LS_ITERATIONS, LS_TOLERANCE = 1e-6, 20, 0.1
"""Worst of the other options with which a solver is not measured."""

THRESHOLD = 1e-4
"""Difference of a step's velocities, relative to the largest, above which there is a warning."""

STATES, APART = 8, 10  # states measured, physics steps from one to the next


class SolverIterationsWarning(UserWarning):
    """C MuJoCo, with the model's options, stops before its constraint solver converges; the simulator does not."""


def warn_of_few_iterations(mj_model: mujoco.MjModel) -> None:
    """Warns of a model whose steps differ from C MuJoCo's because of its solver's options; names the differences."""
    opt = mj_model.opt
    enough = opt.iterations >= ENOUGH[mujoco.mjtSolver(opt.solver)] and opt.ls_iterations >= LS_ITERATIONS
    if enough and opt.tolerance <= TOLERANCE and opt.ls_tolerance <= LS_TOLERANCE:
        return
    relative, qvel, qacc = differences_to_converged(mj_model)
    if relative > THRESHOLD:
        solver = mujoco.mjtSolver(opt.solver).name.removeprefix("mjSOL_")
        warnings.warn(
            f"with solver={solver} iterations={opt.iterations} ls_iterations={opt.ls_iterations} "
            f"tolerance={opt.tolerance:g}, C MuJoCo stops before the constraint solver converges; the simulator always "
            f"converges. One step differs by up to {qvel:.2g} in qvel ({relative:.1%} of the largest velocity) and "
            f"{qacc:.2g} in qacc, at {STATES} states after {'keyframe 0' if mj_model.nkey else 'qpos0'}. C MuJoCo "
            "agrees with solver=Newton iterations=100 ls_iterations=50 tolerance=1e-10",
            SolverIterationsWarning,
            stacklevel=3,
        )


def differences_to_converged(mj_model: mujoco.MjModel) -> tuple[float, float, float]:
    """Largest differences between one step of C MuJoCo with a model's own options and with a converged solver.

    The states are those of a converged simulation with small random controls. Each solver starts at the converged
    acceleration of the step before, as it does in a simulation.

    Returns: the difference of qvel relative to the largest velocity before and after, of qvel, and of qacc.
    """
    own, converged = copy(mj_model), copy(mj_model)
    opt = converged.opt
    opt.solver, opt.iterations, opt.ls_iterations = mujoco.mjtSolver.mjSOL_NEWTON, 100, 50
    opt.tolerance, opt.ls_tolerance = 1e-14, 1e-10
    data, reference = mujoco.MjData(own), mujoco.MjData(converged)
    if mj_model.nkey:
        mujoco.mj_resetDataKeyframe(converged, reference, 0)
    worst = np.zeros(3)
    for ctrl in _controls(mj_model, reference.ctrl):
        mujoco.mj_step(converged, reference, nstep=APART)
        reference.ctrl[:] = ctrl
        for name in ("qpos", "qvel", "act", "ctrl", "qacc_warmstart"):
            getattr(data, name)[:] = getattr(reference, name)
        before = np.abs(reference.qvel).max(initial=0.0)
        mujoco.mj_step(own, data)
        mujoco.mj_step(converged, reference)
        qvel, qacc = (
            np.abs(getattr(data, name) - getattr(reference, name)).max(initial=0.0) for name in ("qvel", "qacc")
        )
        size = max(before, np.abs(reference.qvel).max(initial=0.0), 1e-3)
        worst = np.maximum(worst, [qvel / size, qvel, qacc])
    return float(worst[0]), float(worst[1]), float(worst[2])


def _controls(mj_model: mujoco.MjModel, start: np.ndarray) -> np.ndarray:
    """Random controls [STATES, nu] near `start`, a tenth of their range away at most."""
    limited = mj_model.actuator_ctrllimited[:, None].astype(bool)
    low, high = np.where(limited, mj_model.actuator_ctrlrange, [-1.0, 1.0]).T
    noise = np.random.default_rng(0).uniform(-1.0, 1.0, (STATES, mj_model.nu))
    return np.clip(start + 0.1 * (high - low) * noise, low, high)
