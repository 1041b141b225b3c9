"""Finite differences of C MuJoCo: the simulator's policy gradients, any model, and the processes."""

import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest
import torch

import diffsim
from diffsim import FiniteDifferenceMDP
from diffsim.mdp import Scenarios
from diffsim.policies import DeterministicMLP
from diffsim.tasks import Task
from diffsim.trainers.experience.rollout import rollout
from tests.processes import run

from .engine import tensors
from .official import official, random_transitions

ROOT = Path(__file__).parents[2]


def small_policy(mdp):
    torch.manual_seed(0)
    return DeterministicMLP(mdp.observation_space, mdp.action_space, hidden_sizes=(4,), out_scale=1.0).to(mdp.dtype)


def policy_gradient(mdp, policy, scenarios):
    """Return, and its gradient with respect to the policy's parameters as one vector."""
    value = rollout(mdp, policy, scenarios)[0].reward.sum()
    gradient = torch.autograd.grad(value, list(policy.parameters()))
    return value.detach(), torch.cat([g.flatten() for g in gradient])


# Without the quantities that both hold constant, the humanoid's observation is a smooth function of the state.
SMOOTH = {f"include_{name}_in_observation": False for name in ("cinert", "cvel", "qfrc_actuator", "cfrc_ext")}
CASES = [
    ("InvertedDoublePendulum-v5", {}),
    ("Reacher-v5", {}),
    ("Swimmer-v5", {}),
    ("Hopper-v5", {}),
    ("Walker2d-v5", {}),
    ("HalfCheetah-v5", {}),
    ("Ant-v5", {}),
    ("Pusher-v5", {}),
    ("Humanoid-v5", SMOOTH),
]


@pytest.mark.parametrize(("id", "options"), CASES, ids=[id for id, _ in CASES])
def test_the_same_policy_gradient_as_the_simulator(id, options):
    task = diffsim.make(id, num_envs=2, process_noise=0.1, **options)
    black_box = FiniteDifferenceMDP(task, num_workers=0)
    policy = small_policy(task)
    scenarios = Scenarios.draw(task, 4, torch.Generator().manual_seed(0))
    (value, gradient), (expected, expected_gradient) = (
        policy_gradient(mdp, policy, scenarios) for mdp in (black_box, task)
    )
    assert value.item() == pytest.approx(expected.item(), rel=1e-6)
    assert torch.cosine_similarity(gradient, expected_gradient, dim=0) > 0.999
    error = (gradient - expected_gradient).norm() / expected_gradient.norm()
    assert error < 1e-5  # found: 5e-11 to 1.2e-6
    # Negative control: other noises, another gradient.
    other = policy_gradient(task, policy, Scenarios.draw(task, 4, torch.Generator().manual_seed(1)))[1]
    assert (gradient - other).norm() / other.norm() > 1e-2


@pytest.mark.parametrize("id", ["InvertedDoublePendulum-v5", "Reacher-v5", "Ant-v5", "Humanoid-v5", "Pusher-v5"])
def test_transitions_with_extras_equal_gymnasiums(id):
    rows = random_transitions(official(id), 30)
    mdp = FiniteDifferenceMDP(diffsim.make(id, num_envs=30), num_workers=0)
    qpos, qvel, action = tensors(*np.split(rows.state, [mdp.task.mj_model.nq], axis=1), rows.action)
    state = mdp.task.state_at(qpos, qvel)
    reached = mdp.transition(state, action)
    # The humanoid's solver does 50 sweeps without convergence, so its result depends on the start; see `Humanoid`.
    tolerance = 1e-3 if "Humanoid" in id else 1e-6
    for actual, expected in ((mdp.observation(reached), rows.obs), (mdp.reward(state, action, reached), rows.reward)):
        scale = np.maximum(1, np.abs(expected).max(axis=0))
        np.testing.assert_array_less(np.abs(actual.numpy() - expected) / scale, tolerance)
    np.testing.assert_array_equal(mdp.terminal(reached).numpy(), rows.terminated)


# ------------------------------------------------------------------------------------------------ other models

SPATIAL_TENDON = """
<mujoco>
  <option timestep="0.01" integrator="RK4"><flag diagexact="enable"/></option>
  <worldbody>
    <site name="anchor" pos="0.5 0 1"/>
    <body pos="0 0 1">
      <joint name="pin" type="ball" damping="0.1"/>
      <geom type="capsule" size="0.05" fromto="0 0 0 0 0 -0.5"/>
      <site name="tip" pos="0 0 -0.5"/>
    </body>
  </worldbody>
  <tendon><spatial name="cable" stiffness="20"><site site="anchor"/><site site="tip"/></spatial></tendon>
  <actuator>
    <motor joint="pin" gear="1 0 0" ctrlrange="-1 1"/>
    <motor joint="pin" gear="0 1 0" ctrlrange="-1 1"/>
  </actuator>
</mujoco>
"""


class Cable(Task):
    """A rod on a ball joint with a spatial tendon, and an option that the simulator does not support."""

    simulated, num_extras = False, 1

    def __init__(self, path, num_envs):
        super().__init__(num_envs, "cpu", xml_file=path, frame_skip=3)
        self.observation_space = diffsim.tasks.task.unbounded(7)

    def reset_model(self, generator):
        qpos = self.init_qpos + self.uniform(4, 0.3, generator)
        return qpos / qpos.norm(dim=1, keepdim=True), self.normal(3, 0.5, generator)

    def extras(self, evaluation):
        return self.simulator.site_xpos(evaluation.qpos, ["tip"])[:, 0, :1]

    def observation(self, state):
        return state[:, :7]

    def reward(self, state, action, next_state):
        return next_state[:, 7] - 0.1 * action.square().sum(1)

    def terminal(self, state):
        return torch.zeros(self.num_envs, dtype=torch.bool)


@pytest.fixture
def cable(tmp_path):
    path = tmp_path / "cable.xml"
    path.write_text(SPATIAL_TENDON)
    return path


def test_policy_gradient_of_a_model_that_the_simulator_does_not_support(cable):
    mdp = FiniteDifferenceMDP(Cable(cable, 2), num_workers=0)
    policy = small_policy(mdp)
    scenarios = Scenarios.draw(mdp, 5, torch.Generator().manual_seed(0))
    _, gradient = policy_gradient(mdp, policy, scenarios)
    parameters, direction = list(policy.parameters()), torch.randn_like(gradient)
    start, ends = torch.nn.utils.parameters_to_vector(parameters).detach(), []
    with torch.no_grad():
        for sign in (1, -1):
            torch.nn.utils.vector_to_parameters(start + sign * 1e-5 * direction, parameters)
            ends.append(rollout(mdp, policy, scenarios)[0].reward.sum())
    assert (gradient @ direction).item() == pytest.approx((ends[0] - ends[1]).item() / 2e-5, rel=1e-5)
    Cable.simulated = True
    try:
        with pytest.raises(diffsim.UnsupportedModelError, match="diagexact"):
            Cable(cable, 2)
    finally:
        Cable.simulated = False


# ------------------------------------------------------------------------------------------------ processes


def test_processes_give_the_same_bits_pass_errors_on_and_end():
    task = diffsim.make("Hopper-v5", num_envs=5, process_noise=0.5)
    policy, scenarios = small_policy(task), Scenarios.draw(task, 2, torch.Generator().manual_seed(0))
    alone = policy_gradient(FiniteDifferenceMDP(task, num_workers=0), policy, scenarios)
    with FiniteDifferenceMDP(task, num_workers=2) as mdp:
        shared = policy_gradient(mdp, policy, scenarios)
        assert len(multiprocessing.active_children()) == 2
        state = mdp.initial(torch.Generator().manual_seed(0))
        state[3, 6:] = 1e12
        with pytest.raises(FloatingPointError, match="physics diverged: .* in world 3"):
            mdp.transition(state, torch.zeros(5, 3, dtype=mdp.dtype), torch.zeros(5, 6, dtype=mdp.dtype))
        again = policy_gradient(mdp, policy, scenarios)  # an error does not end the processes
    for one, other in ((alone, shared), (alone, again)):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert not multiprocessing.active_children()


LEFT_OPEN = """
import os, torch, diffsim

if __name__ == "__main__":
    mdp = diffsim.FiniteDifferenceMDP(diffsim.make("Reacher-v5", num_envs=2), num_workers=1)
    state = mdp.initial(torch.Generator().manual_seed(0))
    mdp.transition(state, torch.zeros(2, 2, dtype=mdp.dtype))
    print(*mdp.simulator.pool.executor._processes)
"""


def test_processes_end_with_the_program(tmp_path):
    (tmp_path / "script.py").write_text(LEFT_OPEN)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = run(tmp_path / "script.py", env=environment, check=True)
    process = int(done.stdout.split()[-1])
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
    assert not (tmp_path / "MUJOCO_LOG.TXT").exists()


# ------------------------------------------------------------------------------------------------ wrong input


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"num_workers": -1}, "num_workers must be an int >= 0, got -1"),
        ({"num_workers": 1.5}, "num_workers must be an int >= 0, got 1.5"),
        ({"perturbation": 0.0}, "perturbation must be finite and > 0, got 0.0"),
        ({"perturbation": float("nan")}, "perturbation must be finite and > 0, got nan"),
    ],
)
def test_bad_arguments_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        FiniteDifferenceMDP(diffsim.make("Reacher-v5"), **kwargs)


def test_bad_inputs_are_named(cable):
    mdp = FiniteDifferenceMDP(Cable(cable, 2), num_workers=0)
    state, action = mdp.initial(torch.Generator().manual_seed(0)), torch.zeros(2, 2, dtype=mdp.dtype)
    with pytest.raises(ValueError, match=r"action must have shape \(2, 2\), got \(2, 1\)"):
        mdp.transition(state, action[:, :1])
    action[1, 0] = float("inf")
    with pytest.raises(ValueError, match="ctrl must be finite, got inf at world 1, index 0"):
        mdp.transition(state, action)
