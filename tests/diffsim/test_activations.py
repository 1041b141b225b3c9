"""Activations and muscles: the last evaluation, disabled actuators, and tasks that train, stop and resume.

`test_parity`, `test_gradient` and `test_lanes` compare the model `activations` with C MuJoCo.
"""

import mujoco
import numpy as np
import pytest
import torch

import diffsim
from diffsim import FiniteDifferenceMDP
from diffsim.mdp import Scenarios
from diffsim.policies import DeterministicMLP
from diffsim.trainers.experience.rollout import rollout
from diffsim.trainers.pathwise.bptt import BPTT
from diffsim.trainers.pathwise.shac import SHAC
from diffsim.trainers.run.arguments import RunOptions
from tests.trainers.running import assert_resumes_exactly, runner

from .engine import simulator, step, tensors
from .own_tasks import Forearm
from .reference import INTEGRATORS, Stepper, load, moving_states, parts_error, relative_error, smooth_states


@pytest.mark.parametrize("integrator", INTEGRATORS)
def test_activations_of_the_last_evaluation(integrator):
    mj_model = load("activations", integrator)
    state, ctrl, _ = smooth_states(mj_model, 1, 2, 2e-8)
    sim, stepper = simulator(mj_model, 1), Stepper(mj_model)
    last = []
    mujoco.set_mjcb_control(lambda model, data: last.append(data.act.copy()))
    try:
        stepper.step(state[0], ctrl[0], 2)
    finally:
        mujoco.set_mjcb_control(None)
    inputs = tensors(state, ctrl, requires_grad=True)
    act = lambda *inputs: sim.advance(*inputs, num_steps=2)[1].act  # noqa: E731
    assert relative_error(act(*inputs).detach().numpy(), np.array(last[-1:])) <= 1e-12
    assert torch.autograd.gradcheck(act, inputs, eps=1e-6, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("change", ["group", "flag", "clampctrl"])
def test_disabled_actuators_and_clamps(change):
    mj_model = load("activations")
    if change == "group":
        mj_model.actuator_group[::2] = 1
        mj_model.opt.disableactuator = 2
    else:
        name = {"flag": "ACTUATION", "clampctrl": "CLAMPCTRL"}[change]
        mj_model.opt.disableflags |= int(getattr(mujoco.mjtDisableBit, f"mjDSBL_{name}"))
    state, ctrl = moving_states(mj_model, 20)
    expected = Stepper(mj_model).step_batch(state, ctrl, 5)
    assert parts_error(mj_model, step(mj_model, state, ctrl, 5), expected) <= 1e-9
    cut = mj_model.nq + mj_model.nv
    moved = (expected[:, cut:] != state[:, cut:]).any(0)
    assert not moved.any() if change == "flag" else moved.any()


def small_policy(task):
    torch.manual_seed(0)
    return DeterministicMLP(task.observation_space, task.action_space, hidden_sizes=(4,), out_scale=1.0).to(task.dtype)


def test_policy_gradient_by_finite_differences():
    task = diffsim.make(Forearm, num_envs=2)
    scenarios, policy = Scenarios.draw(task, 6, torch.Generator().manual_seed(0)), small_policy(task)
    gradients = []
    for mdp in (task, FiniteDifferenceMDP(task, num_workers=0)):
        value = rollout(mdp, policy, scenarios)[0].reward.sum()
        gradients.append(torch.cat([g.flatten() for g in torch.autograd.grad(value, list(policy.parameters()))]))
    assert gradients[1].norm() > 1e-3
    assert (gradients[0] - gradients[1]).norm() <= 1e-6 * gradients[1].norm()


@pytest.mark.parametrize("algorithm", [SHAC, BPTT])
def test_training_resumes_exactly(algorithm, tmp_path):
    run = runner(RunOptions(task="tests.diffsim.own_tasks:Forearm-v0", evaluate_every=1, evaluate_episodes=1))

    def fresh():
        task = diffsim.make(Forearm, num_envs=3)
        return algorithm(task, small_policy(task), horizon=4)

    rows = assert_resumes_exactly(run, fresh, tmp_path, "policy.network", iterations=2)
    assert all(np.isfinite(row["evaluation/return"]) for row in rows if "evaluation/return" in row)
