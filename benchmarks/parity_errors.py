"""Errors of the simulator on a model beside C MuJoCo's, and how far C MuJoCo itself scatters there.

Where C MuJoCo finds a contact by iteration, chooses among equal contacts by rounding, or its solver stops early, its
own step changes by more than rounding if the state moves by less than 1e-10. This scatter then bounds the agreement.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple

import mujoco
import numpy as np
import torch

import diffsim
from benchmarks.robot_models import MujocoStep
from tests.diffsim import contact_reference as reference
from tests.diffsim.reference import Stepper, displace

STEP_LIMIT, JACOBIAN_LIMIT = 1e-9, 1e-6
"""Relative errors below which a model is clean."""
SCATTERED = 10.0
"""Times the scatter of C MuJoCo's results that explains an error."""
NUDGE, NUDGES = 1e-11, 8
"""Standard deviation of the random shifts of a state, and their number."""
TOLERANCES = (1e-13, 1e-12, 1e-11)
"""Values of `ccd_tolerance` beside that of `converge`."""
SIZES = (1e-6, 1e-7, 1e-8, 1e-5, 1e-4)
"""Steps of the differences in positions, in the order in which they are tried: the one with the least error counts."""
STATES, COLUMNS = 4, 400
"""States whose Jacobians are compared: one of a model with more than COLUMNS columns."""


class StepErrors(NamedTuple):
    """Relative errors of one step over all states: the largest, the median, and the largest beyond C's own scatter."""

    largest: float
    median: float
    unexplained: float


class JacobianErrors(NamedTuple):
    """Relative errors of the Jacobian at the state where it is largest, and the number of smooth states.

    `noise` is the relative error of C MuJoCo's differences there, by their change with half the step.
    """

    largest: float
    noise: float
    smooth: int


class Tracer(reference.Tracer):
    """Also tells the sides of clamps, of the activation of muscles, and of the wrapping of tendons apart.

    The sign of the force of an equality constraint is no switch.
    """

    def signatures(self, state: np.ndarray, ctrl: np.ndarray, num_steps: int) -> Iterator[reference.Signature]:
        """As of the base class, with one more part."""
        for *rows, active in super().signatures(state, ctrl, num_steps):
            equality = self.data.efc_type[: self.data.nefc] == int(mujoco.mjtConstraint.mjCNSTR_EQUALITY)
            active = np.where(equality, 0, np.frombuffer(active, dtype=np.int8))
            yield *rows, active.tobytes(), sides(self.mj_model, self.data)


def sides(m: mujoco.MjModel, d: mujoco.MjData) -> bytes:
    """On which side of each clamp and switch of actuators and tendons the dynamics were evaluated."""

    def clamp(value: np.ndarray, limits: np.ndarray, limited: np.ndarray) -> np.ndarray:
        return limited * ((value >= limits[:, 1]).astype(int) - (value <= limits[:, 0]))

    dofs = m.dof_jntid
    of_joint = m.jnt_actfrcrange[dofs], m.jnt_actfrclimited[dofs]
    parts = [
        clamp(d.ctrl, m.actuator_ctrlrange, m.actuator_ctrllimited),
        clamp(d.actuator_force, m.actuator_forcerange, m.actuator_forcelimited),
        clamp(d.qfrc_actuator, *of_joint),
    ]
    for i in np.flatnonzero(m.actuator_dyntype == int(mujoco.mjtDyn.mjDYN_MUSCLE)):
        parts.append(np.sign([d.ctrl[m.actuator_ctrladr[i]] - d.act[m.actuator_actadr[i]]]))
    wraps = d.wrap_obj.ravel()[: d.ten_wrapnum.sum()]
    return np.concatenate(parts).astype(np.int8).tobytes() + d.ten_wrapnum.tobytes() + wraps.tobytes()


def converge(mj_model: mujoco.MjModel) -> None:
    """Makes C MuJoCo's solver and its search for contacts run until they can hardly improve."""
    opt = mj_model.opt
    opt.solver, opt.tolerance, opt.iterations = mujoco.mjtSolver.mjSOL_NEWTON, 0.0, 50
    opt.ls_tolerance, opt.ls_iterations = 1e-12, 500
    opt.ccd_tolerance, opt.ccd_iterations = 1e-14, 200


def stimulated(mj_model: mujoco.MjModel, ctrls: np.ndarray) -> np.ndarray:
    """Controls [N, nu], those of muscles raised at random: where they have reached their activation there is a kink."""
    muscle = mj_model.actuator_dyntype == int(mujoco.mjtDyn.mjDYN_MUSCLE)
    raised = ctrls.copy()
    raised[:, mj_model.actuator_ctrladr[muscle]] += np.random.default_rng(0).uniform(0, 0.1, (len(ctrls), muscle.sum()))
    return raised


def step_errors(mj_model: mujoco.MjModel, states: np.ndarray, ctrls: np.ndarray) -> StepErrors:
    """Errors of one step from states [N, nq + nv + na]; one beyond SCATTERED times C's own scatter is unexplained."""
    mujoco_step = MujocoStep(mj_model)
    expected = mujoco_step(states, ctrls)
    scale = 1 + np.abs(expected).max(1)
    simulator = diffsim.Simulator(diffsim.Model(mj_model), len(states))
    actual = simulator.step(torch.tensor(states), torch.tensor(ctrls)).numpy()
    error = np.abs(actual - expected).max(1) / scale
    scatter = np.zeros(len(states))
    if error.max() > STEP_LIMIT:
        others = chain(_nudged(mj_model, mujoco_step, states, ctrls), _searched(mj_model, states, ctrls))
        scatter = np.max([np.abs(other - expected).max(1) / scale for other in others], axis=0)
    beyond = error[error > np.maximum(STEP_LIMIT, SCATTERED * scatter)]
    return StepErrors(float(error.max()), float(np.median(error)), float(beyond.max(initial=0.0)))


def _nudged(
    mj_model: mujoco.MjModel, mujoco_step: MujocoStep, states: np.ndarray, ctrls: np.ndarray
) -> Iterator[np.ndarray]:
    """C MuJoCo's steps from states that are moved by about NUDGE."""
    rng = np.random.default_rng(0)
    for _ in range(NUDGES):
        shifts = NUDGE * rng.standard_normal((len(states), 2 * mj_model.nv + mj_model.na))
        yield mujoco_step(np.array([displace(mj_model, *p) for p in zip(states, shifts, strict=True)]), ctrls)


def _searched(mj_model: mujoco.MjModel, states: np.ndarray, ctrls: np.ndarray) -> Iterator[np.ndarray]:
    """C MuJoCo's steps with searches for contacts that end at other tolerances."""
    other = copy.copy(mj_model)
    for tolerance in TOLERANCES:
        other.opt.ccd_tolerance = tolerance
        yield MujocoStep(other)(states, ctrls)


def jacobian_errors(mj_model: mujoco.MjModel, states: np.ndarray, ctrls: np.ndarray) -> JacobianErrors:
    """Errors of the Jacobians at the smooth ones of the first states beside C MuJoCo's central differences."""
    columns = 2 * mj_model.nv + mj_model.na + mj_model.nu
    count = min(len(states), STATES if columns <= COLUMNS else 1)
    simulator = diffsim.Simulator(diffsim.Model(mj_model), count)
    state, ctrl = torch.tensor(states[:count]), torch.tensor(ctrls[:count])
    ours = torch.cat(simulator.linearize(state, ctrl), dim=2).numpy()
    places = zip(ours, states, ctrls, strict=False)
    found = [pair for place in places if (pair := _jacobian_error(mj_model, *place)) is not None]
    return JacobianErrors(*max(found, default=(np.nan, np.nan)), len(found))


def _jacobian_error(
    mj_model: mujoco.MjModel, ours: np.ndarray, state: np.ndarray, ctrl: np.ndarray
) -> tuple[float, float] | None:
    """Error and noise with the best step size; None if the state is not smooth."""
    tracer, stepper, found = Tracer(mj_model), Stepper(mj_model), []
    for size in SIZES:
        steps = reference.difference_steps(mj_model, size)
        if reference.switch(tracer, state, ctrl, 1, steps) is None:
            truth, noise = reference.extrapolated_differences(mj_model, stepper, state, ctrl, 1, steps)
            found.append((float(np.linalg.norm(ours - truth) / np.linalg.norm(truth)), noise))
            if found[-1][0] <= JACOBIAN_LIMIT:
                break
    return min(found, default=None)
