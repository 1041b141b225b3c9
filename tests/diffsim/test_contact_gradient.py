"""Gradients through contacts and all other constraints equal central differences of C MuJoCo on the manifold, in
float64."""

import mujoco
import numpy as np
import pytest
import torch

from .contact_reference import TASKS, Derivative, Tracer, derivative, load_task, model_states, task_states
from .engine import OwnStepper, contacts, raw_jacobian, simulator, tangent_jacobian, tensors
from .reference import CONTACT_MODELS, Stepper, load, relative_error

# Differences of the humanoids take a second per state.
NUM_STATES = dict.fromkeys(TASKS, 20) | {"Humanoid-v5": 8, "HumanoidStandup-v5": 8, "Ant-v5": 16}
MEDIAN, PERCENTILE_95 = 1e-6, 1e-4


def errors(actual: np.ndarray, expected: np.ndarray, nv: int) -> dict[str, np.ndarray]:
    """Relative error of each state's Jacobian [N, 2 nv, 2 nv + nu], by positions, velocities and controls: [N]."""
    cuts = [nv, 2 * nv]
    blocks = zip(
        ("positions", "velocities", "controls"),
        np.split(actual, cuts, axis=2),
        np.split(expected, cuts, axis=2),
        strict=True,
    )
    return {
        name: np.array([relative_error(x[None], y[None]) for x, y in zip(a, e, strict=True)]) for name, a, e in blocks
    }


def check(mj_model: mujoco.MjModel, reference: Derivative, num_steps: int) -> None:
    """Our Jacobian equals the reference's."""
    # At least half of the states are used, so that their selection hides no error.
    assert len(reference.state) >= 0.5 * reference.tried
    A, B = simulator(mj_model, len(reference.state)).linearize(
        *tensors(reference.state, reference.ctrl), num_steps=num_steps
    )
    jacobian = torch.cat([A, B], dim=2).numpy()
    for name, error in errors(jacobian, reference.jacobian, mj_model.nv).items():
        summary = f"{name}: {np.sort(error)}, the reference's own {reference.own_error}"
        assert np.median(error) <= MEDIAN, summary
        assert np.quantile(error, 0.95) <= PERCENTILE_95, summary


@pytest.mark.parametrize("id", TASKS)
def test_tasks(id):
    mj_model, frame_skip = load_task(id)
    mj_model.opt.iterations = 10
    check(mj_model, derivative(mj_model, NUM_STATES[id], frame_skip), frame_skip)


def test_fingers_on_the_cylinder():
    # C MuJoCo finds these contacts by iteration, not exactly enough for differences; ours are in closed form.
    mj_model, frame_skip = load_task("Pusher-v5")
    reference = derivative(mj_model, 20, frame_skip, stepper=OwnStepper(mj_model))
    pairs = [contacts(simulator(mj_model, 1), *world) for world in zip(reference.state, reference.ctrl, strict=True)]
    cylinder = mj_model.body("object").geomadr[0]
    touching = [any(cylinder in geoms and 0 not in geoms for geoms, _ in found) for found in pairs]
    assert np.mean(touching) > 0.5
    check(mj_model, reference, frame_skip)


@pytest.mark.parametrize("name", CONTACT_MODELS)
def test_models(name):
    mj_model = load(name)
    check(mj_model, derivative(mj_model, 8, 2), 2)


@pytest.mark.parametrize("integrator", ["implicitfast", "RK4"])
@pytest.mark.parametrize("name", ["contact_pair", "contact_weld", "contact_grasp", "contact_friction_loss"])
def test_other_integrators(name, integrator):
    mj_model = load(name, integrator)
    check(mj_model, derivative(mj_model, 6, 2), 2)


@pytest.mark.parametrize("name", ["contact_plane", "contact_grasp", "contact_connect", "contact_ball_limit"])
def test_autograd_equals_linearize(name):
    mj_model = load(name)
    state, ctrl = model_states(name, 5)
    sim = simulator(mj_model, 5)
    inputs = tensors(state, ctrl, requires_grad=True)
    output = sim.step(*inputs, num_steps=3)
    actual = tangent_jacobian(mj_model, raw_jacobian(output, *inputs), state, output.detach().numpy())
    expected = torch.cat(sim.linearize(*tensors(state, ctrl), num_steps=3), dim=2).numpy()
    for name, error in errors(actual, expected, mj_model.nv).items():
        assert error.max() <= 1e-9, name


@pytest.mark.parametrize("name", ["contact_ball_limit", "contact_spheres"])
def test_gradcheck_of_the_last_evaluation(name):
    mj_model = load(name)
    reference = derivative(mj_model, 1, 2)
    sim = simulator(mj_model, 1)
    bodies = range(1, mj_model.nbody)

    def evaluate(s, u):
        next_state, evaluation = sim.advance(s, u, num_steps=2)
        # Scaled to order one, so that one tolerance suits all.
        forces = 1e-2 * torch.cat([evaluation.qacc, evaluation.qfrc_constraint], dim=1)
        return next_state, evaluation.qpos, evaluation.qvel, forces, sim.xipos(evaluation.qpos, bodies)

    inputs = tensors(reference.state, reference.ctrl, requires_grad=True)
    assert torch.autograd.gradcheck(evaluate, inputs, eps=1e-6, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("id", TASKS)
def test_tracer_steps_equal_c_mujoco(id):
    # The tracer, which selects states away from switching, makes the same evaluations.
    mj_model, frame_skip = load_task(id)
    tracer, stepper = Tracer(mj_model), Stepper(mj_model)
    stages = 4 if mj_model.opt.integrator == mujoco.mjtIntegrator.mjINT_RK4 else 1
    for world in zip(*task_states(id, 5), strict=True):
        assert len(list(tracer.signatures(*world, frame_skip))) == stages * frame_skip
        reached = np.concatenate([tracer.data.qpos, tracer.data.qvel])
        expected = stepper.step(*world, frame_skip)
        assert np.abs(reached - expected).max() <= 1e-12 * np.abs(expected).max()
