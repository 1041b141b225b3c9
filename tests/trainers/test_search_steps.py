"""Reward-weighted regression and relative entropy policy search on single steps."""

import math

import pytest
import torch
from gymnasium.spaces import Box, Discrete

from diffsim.policies import CategoricalMLP, GaussianMLP
from diffsim.trainers.black_box import step_reps, step_rwr
from diffsim.trainers.black_box.step_reps import StepREPS, step_features
from diffsim.trainers.black_box.step_rwr import StepRWR
from diffsim.trainers.experience.rollout import Trajectory
from diffsim.trainers.maths.weighted_regression import weighted_regression
from diffsim.trainers.run.arguments import RunOptions
from tests.trainers.running import assert_resumes_exactly, runner
from tests.trainers.small_envs import Target, vector

OBS = Box(-1.0, 1.0, (1,))


def test_weighted_regression_gives_choices_their_weights_as_probabilities():
    policy = CategoricalMLP(OBS, Discrete(3), hidden_sizes=(), normalize=False).double()
    raw, weight = torch.tensor([[0], [1], [1], [2]]), torch.tensor([2.0, 1.0, 2.0, 5.0]).double()
    before, after = weighted_regression(policy, torch.zeros(4, 1).double(), raw, weight, 100)
    (log_prob,) = policy.raw_distribution(torch.zeros(1, 1).double()).log_probs
    torch.testing.assert_close(log_prob.exp()[0], torch.tensor([0.2, 0.3, 0.5]).double(), rtol=1e-4, atol=1e-4)
    assert after.item() == pytest.approx(0.2 * math.log(0.2) + 0.3 * math.log(0.3) + 0.5 * math.log(0.5), abs=1e-6)
    assert before < after


def test_weighted_regression_fits_mean_and_deviation():
    policy = GaussianMLP(OBS, Box(-1.0, 1.0, (1,)), hidden_sizes=(), normalize=False).double()
    raw, weight = torch.tensor([[0.0], [1.0], [5.0]]).double(), torch.tensor([1.0, 3.0, 0.0]).double()
    weighted_regression(policy, torch.zeros(3, 1).double(), raw, weight, 100)
    fitted = policy.raw_distribution(torch.zeros(1).double())
    # Mean 3/4, variance (9/16 + 3/16) / 4 = 3/16.
    assert fitted.mean.item() == pytest.approx(0.75, abs=1e-4)
    assert fitted.std.item() == pytest.approx(math.sqrt(3 / 16), abs=1e-4)


def test_features_by_hand():
    found = step_features(torch.tensor([2.0, -30.0]))
    assert found.tolist() == [1.0, 2.0, -10.0, 4.0, -20.0, 100.0]  # all products of 1, 2, -10


def make(cls, **options):
    env = vector(Target, 4, discrete=True)
    torch.manual_seed(0)
    policy = CategoricalMLP(env.single_observation_space, env.single_action_space, hidden_sizes=(8,)).double()
    return cls(env, policy, **{"horizon": 32, "gamma": 0.5, **options})


def test_transitions_of_whole_episodes_are_stationary():
    """Equal weights of all steps, terminal ones included, keep the mass of every episode, and start it again."""
    algorithm = make(StepREPS, gamma=0.75)
    obs = torch.randn(4, 1, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ends = torch.tensor([[False], [True], [False], [True]])
    trajectory = Trajectory(
        obs, torch.zeros(4, 1), torch.ones(4, 1).double(), obs.roll(-1, 0), ends, torch.zeros_like(ends)
    )
    algorithm.at_start = torch.ones(1, dtype=torch.bool)
    reward, change = algorithm.transitions(trajectory)
    assert reward.tolist() == [1.0] * 4 + [0.0] * 6  # 3 terminal steps for each of 2 episodes
    assert change[:, 0].sum().item() == pytest.approx(0.0)  # the feature 1
    start = step_features(obs[[0, 2], 0]).mean(0)
    torch.testing.assert_close(change[0], 0.75 * step_features(obs[1, 0]) + 0.25 * start - step_features(obs[0, 0]))
    torch.testing.assert_close(change[1], 0.25 * start - step_features(obs[1, 0]))
    torch.testing.assert_close(change[9], 0.25 * start)


@pytest.mark.parametrize("cls", [StepREPS, StepRWR])
def test_good_actions_are_learned_and_not_from_shuffled_weights(cls, monkeypatch):
    module = {StepREPS: step_reps, StepRWR: step_rwr}[cls]

    def shuffled(policy, obs, raw, weight, iterations):
        order = torch.randperm(len(weight), generator=torch.Generator().manual_seed(0))
        return weighted_regression(policy, obs, raw, weight[order], iterations)

    found = []
    for regression in (weighted_regression, shuffled):
        monkeypatch.setattr(module, "weighted_regression", regression)
        algorithm = make(cls, **({"value_epochs": 2} if cls is StepRWR else {}))
        returns = [algorithm.train_iteration()["return"] for _ in range(25)]
        found.append(sum(returns[-5:]) / 5)
    assert found[0] > 1.8 and found[1] < 1.3, found  # at best 2, at random 2 / 3


def test_step_reps_meets_its_bound():
    algorithm = make(StepREPS, epsilon=0.3)
    for _ in range(5):
        metrics = algorithm.train_iteration()
        assert metrics["kl"] <= 0.3 + 1e-9 and metrics["likelihood_gain"] >= 0.0


@pytest.mark.parametrize("cls", [StepREPS, StepRWR])
def test_resuming_is_exact(cls, tmp_path):
    run = runner(RunOptions(task="target", evaluate_every=2))
    assert_resumes_exactly(run, lambda: make(cls), tmp_path, "policy.network.0.weight", 4)
