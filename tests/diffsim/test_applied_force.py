"""Applied generalized forces, and the gradients by them, equal those of C MuJoCo's `qfrc_applied`."""

from dataclasses import dataclass

import mujoco
import numpy as np
import pytest
import torch

import diffsim

from .engine import raw_jacobian, simulator, tangent_jacobian, tensors
from .reference import INTEGRATORS, Stepper, block_error, jacobian, load, moving_states, parts_error, relative_error

MODELS = ["hopper", "humanoid", "swimmer", "ball_limits", "connect", "tendon_forces", "free_body"]
every_integrator = pytest.mark.parametrize("integrator", INTEGRATORS)
every_model = pytest.mark.parametrize("name", MODELS)


@dataclass
class Pushed(Stepper):
    """C MuJoCo under applied forces [nv]."""

    force: np.ndarray

    def set(self, state: np.ndarray, ctrl: np.ndarray) -> mujoco.MjData:
        data = super().set(state, ctrl)
        data.qfrc_applied[:] = self.force
        return data


def cases(mj_model: mujoco.MjModel, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Moving states, controls, and forces of a fifth of the weight: state, ctrl, force."""
    state, ctrl = moving_states(mj_model, count)
    weight = 9.81 * mj_model.body_subtreemass[0]
    return state, ctrl, 0.2 * weight * np.random.default_rng(1).standard_normal((count, mj_model.nv))


@every_integrator
@every_model
@pytest.mark.parametrize(("num_steps", "tolerance"), [(1, 1e-10), (5, 1e-8)])
def test_parity(name, integrator, num_steps, tolerance):
    mj_model = load(name, integrator)
    state, ctrl, force = cases(mj_model, 30)
    worlds = zip(state, ctrl, force, strict=True)
    expected = np.array([Pushed(mj_model, f).step(s, u, num_steps) for s, u, f in worlds])
    state, ctrl, force = tensors(state, ctrl, force)
    sim = simulator(mj_model, len(state))
    actual = sim.step(state, ctrl, num_steps, qfrc_applied=force)
    assert parts_error(mj_model, actual.numpy(), expected) <= tolerance
    # Negative control: without the forces, the motion differs.
    assert parts_error(mj_model, sim.step(state, ctrl, num_steps).numpy(), expected) > 1e-4


@every_model
def test_forward(name):
    mj_model = load(name)
    state, ctrl, force = cases(mj_model, 10)
    expected = []
    for s, u, f in zip(state, ctrl, force, strict=True):
        data = Pushed(mj_model, f).set(s, u)
        mujoco.mj_forward(mj_model, data)
        expected.append(data.qacc.copy())
    state, ctrl, force = tensors(state, ctrl, force)
    evaluation = simulator(mj_model, 10).forward(state, ctrl, qfrc_applied=force)
    assert relative_error(evaluation.qacc.numpy(), np.array(expected)) <= 1e-9


def test_zero_force_changes_nothing():
    mj_model = load("hopper")
    state, ctrl = tensors(*moving_states(mj_model, 10))
    sim = simulator(mj_model, 10)
    before, zero = sim.step(state, ctrl, 4), torch.zeros(10, mj_model.nv, dtype=diffsim.dtype)
    assert torch.equal(sim.step(state, ctrl, 4, qfrc_applied=zero), before)
    sim.step(state, ctrl, 4, qfrc_applied=zero + 1)
    assert torch.equal(sim.step(state, ctrl, 4), before)


def force_jacobian(
    mj_model: mujoco.MjModel, state: np.ndarray, ctrl: np.ndarray, force: np.ndarray, num_steps: int
) -> np.ndarray:
    """Central differences of C's next state by the force: [nq + nv, nv]."""
    columns = []
    for unit in 1e-3 * np.eye(mj_model.nv):
        ends = [Pushed(mj_model, force + sign * unit).step(state, ctrl, num_steps) for sign in (1, -1)]
        columns.append((ends[0] - ends[1]) / 2e-3)
    return np.array(columns).T


@every_integrator
@pytest.mark.parametrize("name", ["hopper", "ball_limits", "connect", "tendon_forces"])
def test_gradient_equals_differences_of_c(name, integrator):
    mj_model, kept = load(name, integrator), []
    for state, ctrl, force in zip(*cases(mj_model, 12), strict=True):
        expected, error = jacobian(Pushed(mj_model, force), state, ctrl, 3)
        if error < 1e-7:  # elsewhere the motion switches between the points of the differences
            kept.append((state, ctrl, force, expected, force_jacobian(mj_model, state, ctrl, force, 3)))
    assert len(kept) >= 3
    state, ctrl, force, expected, expected_of_force = (np.array(column) for column in zip(*kept, strict=True))
    inputs = tensors(state, ctrl, force, requires_grad=True)
    output = simulator(mj_model, len(state)).step(inputs[0], inputs[1], 3, qfrc_applied=inputs[2])
    raw = raw_jacobian(output, *inputs)
    of_rest, of_force = np.split(raw, [raw.shape[2] - mj_model.nv], axis=2)
    tangent = tangent_jacobian(mj_model, of_rest, state, output.detach().numpy())
    assert max(block_error(a, e, mj_model.nv) for a, e in zip(tangent, expected, strict=True)) <= 1e-6
    assert relative_error(of_force, expected_of_force) <= 1e-6


@pytest.mark.parametrize("name", ["swimmer", "limits", "connect"])
@every_integrator
def test_gradcheck_of_the_last_evaluation(name, integrator):
    mj_model = load(name, integrator)
    state, ctrl, force = tensors(*cases(mj_model, 1), requires_grad=True)
    sim = simulator(mj_model, 1)

    def accelerations(f):
        evaluation = sim.advance(state, ctrl, 2, qfrc_applied=f)[1]
        return evaluation.qacc, evaluation.qfrc_constraint, sim.forward(state, ctrl, qfrc_applied=f).qacc

    assert torch.autograd.gradcheck(accelerations, (force,), eps=1e-5, atol=1e-5, rtol=1e-5)


def test_bad_forces_are_named():
    mj_model = load("hopper")
    state, ctrl, force = tensors(*cases(mj_model, 2))
    sim = simulator(mj_model, 2)
    with pytest.raises(ValueError, match=r"qfrc_applied must have shape \(2, 6\), got \(2, 5\)"):
        sim.step(state, ctrl, qfrc_applied=force[:, :5])
    force[1, 3] = float("nan")
    with pytest.raises(ValueError, match="qfrc_applied must be finite, got nan at world 1, index 3"):
        sim.forward(state, ctrl, qfrc_applied=force)
