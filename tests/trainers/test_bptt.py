"""BPTT on a linear system: its objective and gradient, initial states of windows, and exact resuming."""

import pytest
import torch

from diffsim.mdp import Scenarios
from diffsim.policies import GaussianMLP
from diffsim.trainers.errors import NonFiniteError
from diffsim.trainers.experience.rollout import Trajectory, rollout
from diffsim.trainers.pathwise.bptt import BPTT
from diffsim.trainers.run.arguments import RunOptions
from diffsim.trainers.run.checkpoint import read_checkpoint
from diffsim.trainers.run.run_folder import RunFolder
from tests.trainers.linear import LinearPolicy, LinearQuadratic
from tests.trainers.running import assert_resumes_exactly, runner

OPTIONS = RunOptions(task="linear", evaluate_every=5)


run = runner(OPTIONS)


def test_objective_is_the_mean_discounted_reward_by_hand():
    algorithm = BPTT(LinearQuadratic(1), LinearPolicy(), horizon=3, gamma=0.5)
    reward = torch.tensor([[1.0], [2.0], [4.0]])
    ended = torch.tensor([[False], [True], [False]])
    trajectory = Trajectory(None, None, reward, None, ended, torch.zeros_like(ended))
    # Carried: 1 + 0.5 * 2, then a new episode: 4. Three steps, one world.
    assert algorithm.objective(trajectory).item() == pytest.approx((1 + 0.5 * 2 + 4) / 3)
    algorithm.start = "per_iteration"
    assert algorithm.objective(trajectory).item() == pytest.approx((1 + 0.5 * 2) / 3)


def test_first_step_follows_the_closed_form_gradient(tmp_path):
    mdp, policy = LinearQuadratic(4), LinearPolicy()
    algorithm = BPTT(mdp, policy, horizon=10, start="per_iteration", max_norm=0.01)
    before = policy.K.detach().clone()
    run(algorithm, tmp_path, 1)
    scenarios = Scenarios.draw(mdp, 10, torch.Generator().manual_seed(0))
    expected = mdp.gain_gradient(before, scenarios.initial, 10) / 10
    # Adam's first step is lr * g / (|g| + eps): the sign of the gradient.
    torch.testing.assert_close(policy.K.detach() - before, 3e-3 * expected.sign(), rtol=1e-5, atol=0)
    assert algorithm.metrics["grad_norm"] == pytest.approx(expected.norm().item(), rel=1e-9)


def test_adam_does_not_learn_without_a_gradient(tmp_path):
    """Negative control: without gradients through dynamics and reward, the policy does not change."""

    class Cut(LinearQuadratic):
        def transition(self, state, action, noise=None):
            return super().transition(state, action, noise).detach()

        def reward(self, state, action, next_state):
            return super().reward(state, action * 0.0, next_state)

    policy = LinearPolicy()
    run(BPTT(Cut(4), policy, horizon=5), tmp_path, 3)
    assert torch.equal(policy.K.detach(), LinearPolicy().K.detach())


def test_carried_windows_start_where_the_last_one_ended(tmp_path):
    mdp = LinearQuadratic(3, noise_std=0.1)
    algorithm = run(BPTT(mdp, LinearPolicy(), horizon=4, max_age=6, learning_rate=1e-9), tmp_path, 1)
    generator = torch.Generator().manual_seed(0)
    _, worlds = rollout(mdp, LinearPolicy(), Scenarios.draw(mdp, 4, generator), max_age=6)
    assert torch.equal(algorithm.state, worlds.state) and algorithm.age.tolist() == [4, 4, 4]
    scenarios, age = algorithm.next_scenarios()
    assert torch.equal(scenarios.initial, algorithm.state) and age.tolist() == [4, 4, 4]
    assert not scenarios.initial.requires_grad


def test_start_per_iteration_draws_new_states():
    algorithm = BPTT(LinearQuadratic(3), LinearPolicy(), start="per_iteration")
    first, second = algorithm.next_scenarios()[0], algorithm.next_scenarios()[0]
    assert not torch.equal(first.initial, second.initial)


def test_learning_rate_falls_linearly(tmp_path):
    run(BPTT(LinearQuadratic(2), LinearPolicy(), learning_rate=0.1, decay_iterations=4), tmp_path, 5)
    rates = [row["learning_rate"] for row in RunFolder(tmp_path).read_metrics()]
    assert rates == pytest.approx([0.1, 0.075, 0.05, 0.025, 0.0])


@pytest.mark.parametrize(
    "kwargs",
    [
        {"start": "carried", "max_age": 7, "decay_iterations": 25},
        {"start": "per_iteration"},
    ],
    ids=["carried", "per_iteration"],
)
def test_resuming_is_bitwise_exact(tmp_path, kwargs):
    def fresh():
        torch.manual_seed(3)
        mdp = LinearQuadratic(3, noise_std=0.1, bound=1.5)
        policy = GaussianMLP(mdp.observation_space, mdp.action_space, hidden_sizes=(8,)).double()
        return BPTT(mdp, policy, horizon=5, seed=4, **kwargs)

    assert_resumes_exactly(run, fresh, tmp_path, "network", iterations=20)


def test_resume_needs_the_generator_too(tmp_path):
    """Negative control: resuming with another generator state gives other weights."""

    def fresh():
        return BPTT(LinearQuadratic(3, noise_std=0.1), LinearPolicy(), horizon=5)

    whole = run(fresh(), tmp_path / "whole", 6)
    run(fresh(), tmp_path / "parts", 3)
    path = RunFolder(tmp_path / "parts").checkpoint
    checkpoint = read_checkpoint(path)
    checkpoint["diffsim"]["generator"] = torch.Generator().manual_seed(99).get_state()
    torch.save(checkpoint, path)
    parts = run(fresh(), tmp_path / "parts", 6, resume=True)
    assert not torch.equal(whole.policy.K, parts.policy.K)


class Kinked(LinearQuadratic):
    """Dynamics whose derivative is nan in world 1 at time step 2 of a window of 5."""

    calls = 0

    def transition(self, state, action, noise=None):
        self.calls += 1
        kink = torch.zeros(self.num_envs, 1, dtype=self.dtype)
        if self.calls % 5 == 3:
            kink[1] = torch.sqrt(action[1] * 0.0)
        return super().transition(state, action) + kink


def test_nonfinite_gradient_raises_before_the_update(tmp_path):
    policy = LinearPolicy()
    message = "gradient norm must be finite, got nan; .* in world 1 at time step 2 of the window"
    with pytest.raises(NonFiniteError, match=message):
        run(BPTT(Kinked(3), policy, horizon=5), tmp_path, 2)
    assert torch.equal(policy.K.detach(), LinearPolicy().K.detach())


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"horizon": 0}, "horizon must be >= 1, got 0"),
        ({"max_age": 0}, "max_age must be >= 1, got 0"),
        ({"decay_iterations": 0}, "decay_iterations must be >= 1, got 0"),
        ({"gamma": 1.2}, r"gamma must be in \(0, 1\], got 1.2"),
        ({"learning_rate": 0.0}, "learning_rate must be > 0, got 0.0"),
        ({"max_norm": -1.0}, "max_norm must be > 0, got -1.0"),
        ({"start": "here"}, "start must be one of carried, per_iteration, got 'here'"),
        ({"seed": -1}, "seed must be >= 0, got -1"),
    ],
)
def test_errors_name_argument_rule_and_value(kwargs, message):
    with pytest.raises(ValueError, match=message):
        BPTT(LinearQuadratic(), LinearPolicy(), **kwargs)
