"""Gradients of the step equal central differences of C MuJoCo on the manifold, in float64."""

import mujoco
import numpy as np
import pytest
import torch

from .engine import raw_jacobian, simulator, tangent_jacobian, tensors
from .reference import INTEGRATORS, MODELS, TASK_MODELS, block_error, load, moving_states, set_state, smooth_states

every_model = pytest.mark.parametrize("name", TASK_MODELS + MODELS)
every_integrator = pytest.mark.parametrize("integrator", INTEGRATORS)

NUM_WORLDS = 6
# States are used only if the reference's own error is a fiftieth of our tolerance.
REFERENCE_ERROR, TOLERANCE = 2e-8, 1e-6


def worst_error(jacobians: np.ndarray, expected: np.ndarray, mj_model: mujoco.MjModel) -> float:
    return max(block_error(a, e, mj_model.nv, mj_model.na) for a, e in zip(jacobians, expected, strict=True))


@every_integrator
@every_model
@pytest.mark.parametrize("num_steps", [1, 10])
def test_autograd_and_linearize(name, integrator, num_steps):
    mj_model = load(name, integrator)
    state, ctrl, expected = smooth_states(mj_model, NUM_WORLDS, num_steps, REFERENCE_ERROR)
    sim = simulator(mj_model, NUM_WORLDS)

    inputs = tensors(state, ctrl, requires_grad=True)
    output = sim.step(*inputs, num_steps=num_steps)
    raw = raw_jacobian(output, *inputs)
    actual = tangent_jacobian(mj_model, raw, state, output.detach().numpy())
    assert worst_error(actual, expected, mj_model) <= TOLERANCE

    A, B = sim.linearize(*tensors(state, ctrl), num_steps=num_steps)
    size = 2 * mj_model.nv + mj_model.na
    assert A.shape == (NUM_WORLDS, size, size)
    assert B.shape == (NUM_WORLDS, size, mj_model.nu)
    assert worst_error(torch.cat([A, B], dim=2).numpy(), actual, mj_model) <= 1e-9


@pytest.mark.parametrize("integrator", ["Euler", "implicitfast"])
@every_model
def test_linearize_equals_transition_fd(name, integrator):
    mj_model = load(name, integrator)
    nv, na, nu = mj_model.nv, mj_model.na, mj_model.nu
    state, ctrl, _ = smooth_states(mj_model, NUM_WORLDS, 1, REFERENCE_ERROR)
    A, B = simulator(mj_model, NUM_WORLDS).linearize(*tensors(state, ctrl))
    data = mujoco.MjData(mj_model)
    for world in range(NUM_WORLDS):
        mujoco.mj_resetData(mj_model, data)
        set_state(mj_model, data, state[world])
        data.ctrl[:] = ctrl[world]
        # mjd_transitionFD omits control columns that the range clamps on both sides.
        expected_A, expected_B = np.zeros((2 * nv + na, 2 * nv + na)), np.zeros((2 * nv + na, nu))
        mujoco.mjd_transitionFD(mj_model, data, 1e-6, True, expected_A, expected_B, None, None)
        actual = np.hstack([A[world].numpy(), B[world].numpy()])
        assert block_error(actual, np.hstack([expected_A, expected_B]), nv, na) <= 1e-5


@pytest.mark.parametrize(
    "name", ["spherical_pendulum", "free_body", "ball_limits", "limits", "springs", "tendons", "weld", "tendon_forces"]
)
@every_integrator
def test_gradcheck(name, integrator):
    # Raw coordinates: quaternions are perturbed off the unit sphere, and the step does not depend on their length.
    mj_model = load(name, integrator)
    state, ctrl, _ = smooth_states(mj_model, 1, 2, REFERENCE_ERROR)
    sim = simulator(mj_model, 1)
    inputs = tensors(state, ctrl, requires_grad=True)
    two_steps = lambda s, u: sim.step(s, u, num_steps=2)  # noqa: E731
    assert torch.autograd.gradcheck(two_steps, inputs, eps=1e-6, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", ["inverted_double_pendulum", "limits", "ball_limits", "tree", "connect", "weld"])
@every_integrator
def test_gradcheck_of_the_last_evaluation(name, integrator):
    mj_model = load(name, integrator)
    state, ctrl, _ = smooth_states(mj_model, 1, 2, REFERENCE_ERROR)
    sim = simulator(mj_model, 1)
    bodies = [mj_model.body(body).name for body in range(1, mj_model.nbody)]

    def evaluate(s, u):
        next_state, evaluation = sim.advance(s, u, num_steps=2)
        # Scaled to order one, so that one tolerance suits all.
        forces = 1e-2 * torch.cat([evaluation.qacc, evaluation.qfrc_constraint], dim=1)
        return next_state, evaluation.qpos, evaluation.qvel, forces, sim.xpos(evaluation.qpos, bodies)

    inputs = tensors(state, ctrl, requires_grad=True)
    assert torch.autograd.gradcheck(evaluate, inputs, eps=1e-6, atol=1e-5, rtol=1e-5)


def test_gradcheck_of_positions():
    mj_model = load("inverted_double_pendulum")
    (qpos,) = tensors(moving_states(mj_model, 2)[0][:, : mj_model.nq], requires_grad=True)
    sim = simulator(mj_model, 2)
    assert torch.autograd.gradcheck(lambda q: sim.site_xpos(q, ["tip"]), (qpos,))
    mj_model = load("tree")
    (qpos,) = tensors(moving_states(mj_model, 2)[0][:, : mj_model.nq], requires_grad=True)
    sim = simulator(mj_model, 2)
    assert torch.autograd.gradcheck(lambda q: sim.xpos(q, ["tip", "left_shin", "arm"]), (qpos,))


@pytest.mark.parametrize("name", ["swimmer", "limits", "multi_joint"])
def test_gradient_through_several_calls(name):
    mj_model = load(name)
    state, ctrl, expected = smooth_states(mj_model, 2, 10, REFERENCE_ERROR)
    sim = simulator(mj_model, 2)
    inputs = tensors(state, ctrl, requires_grad=True)
    here = inputs[0]
    for num_steps in (1, 3, 1, 5):
        here = sim.step(here, inputs[1], num_steps=num_steps)
        # Another call in between must not change the data saved for backward.
        other = sim.step(2 * inputs[0], inputs[1])
    raw = raw_jacobian(here, *inputs)
    actual = tangent_jacobian(mj_model, raw, state, here.detach().numpy())
    assert worst_error(actual, expected, mj_model) <= TOLERANCE
    raw_jacobian(other, *inputs)
    np.testing.assert_array_equal(raw_jacobian(here, *inputs), raw)


def test_graph_only_if_an_input_requires_gradients():
    mj_model = load("swimmer")
    state, ctrl = tensors(*moving_states(mj_model, 2))
    sim = simulator(mj_model, 2)
    assert not sim.step(state, ctrl).requires_grad
    ctrl.requires_grad_()
    assert sim.step(state, ctrl).requires_grad
    (grad,) = torch.autograd.grad(sim.step(state, ctrl).sum(), [ctrl])
    assert grad.abs().sum() > 0


def test_clamped_controls_have_no_gradient():
    mj_model = load("inverted_pendulum")
    state, _ = moving_states(mj_model, 3)
    (state,) = tensors(state)
    ctrl = torch.tensor([[-3.5], [0.5], [3.5]], dtype=state.dtype, requires_grad=True)
    (grad,) = torch.autograd.grad(simulator(mj_model, 3).step(state, ctrl)[:, 2].sum(), [ctrl])
    assert grad[0] == 0 and grad[1] > 0 and grad[2] == 0
