"""`linearize`, which differentiates all rows in one pass, equals the adjoint of each row.

`test_gradient` and `test_contact_gradient` compare it with C MuJoCo.
"""

import mujoco
import numpy as np
import pytest
import torch

import diffsim

from .contact_reference import TASKS, load_task, task_states, visited_states
from .engine import simulator, tensors
from .reference import CONTACT_MODELS, INTEGRATORS, load, moving_states

NUM_WORLDS = 3


def adjoint_rows(sim: diffsim.Simulator, state: torch.Tensor, ctrl: torch.Tensor, num_steps: int) -> torch.Tensor:
    """Jacobian [N, T, T + num_inputs], T = 2 nv + na, in the tangent space, by a launch of the adjoint per row."""
    trajectory = sim.launch.step(state, ctrl, torch.zeros(len(state), sim.model.nv), num_steps)[1]
    rows = []
    for unit in torch.eye(sim.model.tangent_size, dtype=state.dtype):
        bars = sim.launch.step_adjoint(ctrl, num_steps, trajectory, unit.expand(len(state), -1), [None] * 5)
        rows.append(torch.cat(bars[:2], dim=1))
    return torch.stack(rows, dim=1)


def check(mj_model: mujoco.MjModel, state: np.ndarray, ctrl: np.ndarray, num_steps: int) -> None:
    """The Jacobian of each world equals the adjoint's to 1e-12 of its largest entry."""
    sim = simulator(mj_model, len(state))
    inputs = tensors(state, ctrl)
    expected = adjoint_rows(sim, inputs[0], sim.launch.inputs.join(inputs[1], {}), num_steps=num_steps)
    expected = expected[:, :, : sim.model.tangent_size + sim.model.nu]  # without those by mocap bodies
    error = (torch.cat(sim.linearize(*inputs, num_steps=num_steps), dim=2) - expected).abs().amax((1, 2))
    assert (error <= 1e-12 * expected.abs().amax((1, 2))).all(), error


@pytest.mark.parametrize("integrator", INTEGRATORS)
@pytest.mark.parametrize("name", CONTACT_MODELS)
def test_models(name, integrator):
    mj_model = load(name, integrator)
    check(mj_model, *visited_states(mj_model, NUM_WORLDS, 5), num_steps=2)


@pytest.mark.parametrize("id", TASKS)
def test_tasks(id):
    check(load_task(id)[0], *task_states(id, NUM_WORLDS), num_steps=1)


def test_given_parameters():
    """Equals the Jacobian of a model that has them."""
    mj_model = load("contact_boxes")
    state, ctrl = visited_states(mj_model, NUM_WORLDS, 5)
    friction = 0.5 * mj_model.geom_friction
    actual = simulator(mj_model, NUM_WORLDS).linearize(
        *tensors(state, ctrl), parameters={"geom_friction": torch.tensor(friction)}
    )
    mj_model.geom_friction[:] = friction
    expected = simulator(mj_model, NUM_WORLDS).linearize(*tensors(state, ctrl))
    # With parameters, Euler's velocity step is implicit even without damping, which rounds otherwise.
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-12)


def test_threads_compute_the_same_bits():
    mj_model = load("half_cheetah")
    inputs = tensors(*moving_states(mj_model, 37))
    sim = simulator(mj_model, 37)
    alone = sim.linearize(*inputs)
    torch.set_num_threads(2)
    try:
        shared = sim.linearize(*inputs)
    finally:
        torch.set_num_threads(1)
    assert all(torch.equal(a, b) for a, b in zip(alone, shared, strict=True))
