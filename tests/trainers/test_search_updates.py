"""Updates of the searches without gradients, against their formulas worked by hand."""

import math
from functools import partial

import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from hypothesis import given
from hypothesis import strategies as st

from diffsim.policies import LinearPolicy
from diffsim.trainers.black_box.candidates import Perturbations
from diffsim.trainers.black_box.cem import CEM
from diffsim.trainers.black_box.evolution_strategies import EvolutionStrategies, centered_ranks
from diffsim.trainers.black_box.finite_differences import FiniteDifferences
from diffsim.trainers.black_box.gaussian import weighted_spread
from diffsim.trainers.black_box.mu_lambda_es import MuLambdaES
from diffsim.trainers.black_box.pi2 import PI2, path_integral_step, path_probabilities
from diffsim.trainers.black_box.power import PoWER
from diffsim.trainers.black_box.reps import REPS
from diffsim.trainers.black_box.rwr import RWR, effective_members
from diffsim.trainers.black_box.shares import Answer, Steps
from diffsim.trainers.maths.relative_entropy import entropic_weights, minimise_dual, relative_entropy
from tests.trainers.search_problems import advance, quadratic, searcher, tell
from tests.trainers.small_envs import Counter


def close(actual, expected):
    torch.testing.assert_close(actual, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-12)


# ------------------------------------------------------------------------------------------------ CEM

MEMBERS = [[0.0, 0.0], [1.0, 2.0], [3.0, 4.0], [5.0, 5.0], [9.0, 9.0]]
RETURNS = [0.0, 5.0, 7.0, 1.0, 2.0]


@pytest.mark.parametrize(("decay", "first"), [(None, 4.0), (8, 4.0 * 7 / 8), (1, 0.0)])
def test_cem_fits_the_elites_and_adds_the_noise(decay, first):
    algorithm = searcher(CEM, [0.0, 0.0], population=5, elite_fraction=0.4, extra_std=2.0, extra_decay=decay)
    tell(algorithm, MEMBERS, RETURNS)
    # Elites (3, 4) and (1, 2): mean (2, 3), variances ((3-2)^2 + (1-2)^2) / 2 = 1.
    close(algorithm.mean, [2.0, 3.0])
    close(algorithm.spread, [1.0 + first, 1.0 + first])
    close(algorithm.policy.theta.detach(), [2.0, 3.0])


def test_cem_with_full_covariance_and_smoothing():
    options = {"population": 5, "elite_fraction": 0.4, "covariance": "full"}
    algorithm = searcher(CEM, [0.0, 0.0], **options, smoothing=0.5, spread_smoothing=0.8, smoothing_power=2.0)
    algorithm.iteration = 1
    tell(algorithm, MEMBERS, RETURNS)
    # Second generation: b (1 - (1 - 1/2)^2) = 0.8 * 3/4 = 0.6 of the covariance of ones, 0.4 of the identity.
    close(algorithm.mean, [1.0, 1.5])
    close(algorithm.spread, [[1.0, 0.6], [0.6, 1.0]])


def test_the_full_covariance_is_that_of_the_members():
    algorithm = searcher(CEM, [1.0, -1.0], population=50_000, elite_fraction=0.5, covariance="full")
    covariance = torch.tensor([[2.0, -1.2], [-1.2, 1.0]], dtype=torch.float64)
    algorithm.set_distribution(algorithm.mean, covariance)
    found = torch.cov(algorithm.ask().vectors().T)
    torch.testing.assert_close(found, covariance, rtol=0.03, atol=0.03)


def test_min_std_bounds_variances_along_the_axes_of_the_covariance():
    algorithm = searcher(CEM, [0.0, 0.0], population=4, elite_fraction=0.5, covariance="full", min_std=0.5)
    tell(algorithm, [[1.0, 1.0], [-1.0, -1.0], [9.0, 0.0], [0.0, 9.0]], [1.0, 1.0, 0.0, 0.0])
    # Covariance of ones: eigenvalues 2 along (1, 1), and 0 along (1, -1), which becomes 1/4.
    close(algorithm.spread, [[1.125, 0.875], [0.875, 1.125]])


# ------------------------------------------------------------------------------------------------ RWR, REPS


def test_rwr_with_linear_weights():
    algorithm = searcher(RWR, [0.0], population=3)
    metrics = tell(algorithm, [[0.0], [1.0], [2.0]], [1.0, 2.0, 5.0])
    # w = (0, 1/4, 1), sum 5/4, mean (1/4 + 2) / (5/4) = 9/5.
    # Z = 5/4 - (1/16 + 1) / (5/4) = 2/5; variance (1/4 * 16/25 + 1/25) / Z = (1/5) / (2/5) = 1/2.
    close(algorithm.mean, [1.8])
    close(algorithm.spread, [0.5])
    assert metrics["effective_members"].item() == pytest.approx((5 / 4) ** 2 / (17 / 16))


def test_rwr_with_exponential_weights():
    algorithm = searcher(RWR, [0.0], population=3, weights="exponential", temperature=4 * math.log(2))
    tell(algorithm, [[0.0], [1.0], [2.0]], [1.0, 2.0, 5.0])
    close(algorithm.mean, [(1 / 8 + 2) / (1 / 16 + 1 / 8 + 1)])  # w = 2^(4 (u - 1)) of u = 0, 1/4, 1


def test_unbiased_weighted_variance_is_that_of_equal_samples():
    theta = torch.randn(7, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weight = torch.full((7,), 2.0, dtype=torch.float64)
    for full, expected in ((False, theta.var(0)), (True, torch.cov(theta.T))):
        found = weighted_spread(theta, weight, theta.mean(0), full=full, unbiased=True)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    alone = weighted_spread(theta, torch.eye(7, dtype=torch.float64)[0], theta[0], full=True, unbiased=True)
    assert torch.equal(alone, torch.zeros(3, 3, dtype=torch.float64))


def test_reps_weights_and_temperature():
    # p = (1/4, 3/4) at eta = 1 / log 3, whose relative entropy is 1/4 log(1/2) + 3/4 log(3/2).
    epsilon = 0.25 * math.log(0.5) + 0.75 * math.log(1.5)
    weight, eta, kl = entropic_weights(torch.tensor([0.0, 1.0], dtype=torch.float64), epsilon)
    torch.testing.assert_close(weight, torch.tensor([0.25, 0.75], dtype=torch.float64))
    assert eta.item() == pytest.approx(1 / math.log(3)) and kl.item() == pytest.approx(epsilon)
    algorithm = searcher(REPS, [0.0], population=2, epsilon=epsilon)
    tell(algorithm, [[4.0], [8.0]], [3.0, 4.0])
    close(algorithm.mean, [7.0])
    close(algorithm.spread, [(0.25 * 9 + 0.75) / (1 - (1 + 9) / 16)])


@given(
    st.lists(st.integers(-(10**6), 10**6), min_size=2, max_size=30, unique=True),
    st.floats(0.01, 5.0),
)
def test_reps_meets_its_bound_at_the_minimum_of_its_dual(values, epsilon):
    value = torch.tensor(values, dtype=torch.float64)
    weight, eta, kl = entropic_weights(value, epsilon)
    assert kl <= epsilon + 1e-9 and weight.sum().item() == pytest.approx(1.0)
    if eta == 0.0:
        assert weight.max() == 1.0 and math.log(len(values)) <= epsilon
        return
    assert kl.item() == pytest.approx(epsilon, abs=1e-6)

    def dual(eta):
        scaled = (value - value.max()) / eta
        return eta * epsilon + eta * (torch.logsumexp(scaled, 0) - math.log(len(values))) + value.max()

    assert dual(eta) <= dual(eta * 1.01) + 1e-9 and dual(eta) <= dual(eta * 0.99) + 1e-9
    # Strong duality: the dual's minimum is the weighted mean.
    assert dual(eta).item() == pytest.approx((weight @ value).item(), rel=1e-6, abs=1e-6)


def test_reps_keeps_only_the_best_if_the_bound_allows_it():
    weight, eta, kl = entropic_weights(torch.tensor([1.0, 3.0, 3.0, 2.0], dtype=torch.float64), 5.0)
    assert eta == 0.0 and kl.item() == pytest.approx(math.log(2))
    close(weight, [0.0, 0.5, 0.5, 0.0])


def test_the_dual_with_features_makes_their_mean_change_vanish():
    generator = torch.Generator().manual_seed(3)
    reward = torch.randn(200, generator=generator, dtype=torch.float64)
    change = torch.randn(200, 2, generator=generator, dtype=torch.float64) + reward[:, None] * 0.5
    start = torch.tensor([15.0, 0.0, 0.0], dtype=torch.float64)
    solution = minimise_dual(reward, change, 0.3, start, 500)
    weight = torch.softmax((reward + change @ solution[1:]) / solution[0], 0)
    assert (weight @ change).norm() < 1e-3 < change.mean(0).norm()
    assert relative_entropy(weight).item() == pytest.approx(0.3, abs=1e-3)
    assert weight @ reward > reward.mean()


# ------------------------------------------------------------------------------------------------ PoWER, PI2


def test_power_weighs_exploration_by_returns_and_reuses_the_best():
    algorithm = searcher(PoWER, [0.0], population=3, kept=2, variance_kept=3, shift=False)
    tell(algorithm, [[1.0], [-1.0], [2.0]], [4.0, 2.0, 1.0])
    close(algorithm.mean, [(4 * 1 + 2 * -1) / 6])  # the best two
    close(algorithm.spread, [(4 * 1 + 2 * 1 + 1 * 4) / 7])  # all three
    tell(algorithm, [[2.0], [0.0], [0.0]], [6.0, 0.0, 0.0])
    # The best two are 2, drawn with variance 10/7, and 1, drawn with variance 1. The mean was 1/3.
    new, old = 6 * 7 / 10, 4 * 1
    close(algorithm.mean, [1 / 3 + (new * 5 / 3 + old * 2 / 3) / (new + old)])
    close(algorithm.memory_return, [6.0, 4.0, 2.0])


def test_power_shifts_returns_by_the_worst_in_memory_and_bounds_its_variances():
    algorithm = searcher(PoWER, [0.0], population=3, kept=2, variance_kept=3)
    tell(algorithm, [[100.0], [-1.0], [2.0]], [-1.0, -3.0, -5.0])
    close(algorithm.mean, [(4 * 100 + 2 * -1) / 6])
    close(algorithm.spread, [10.0])


def test_pi2_averages_perturbations_by_exponential_weights():
    algorithm = searcher(PI2, [1.0], population=3, h=math.log(4), adaptation=0.5, decay=0.5, min_std=0.0)
    tell(algorithm, [[1.0 + 7], [1.0 - 7], [1.0 + 14]], [2.0, 1.0, 0.0])
    # Costs scaled to 0, 1/2, 1: P = (4, 2, 1) / 7.
    close(algorithm.mean, [1.0 + 4 - 2 + 2])
    close(algorithm.spread, [0.25 * (0.5 * 1 + 0.5 * (4 * 49 + 2 * 49 + 196) / 7)])


def test_path_probabilities_of_equal_costs_are_equal():
    cost = torch.tensor([[1.0, 1.0], [0.0, 2.0]], dtype=torch.float64)
    close(path_probabilities(cost, math.log(3)), [[0.5, 0.5], [0.75, 0.25]])


def test_pi2_by_time_uses_costs_to_go_and_active_features():
    to_go = torch.tensor([[2.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    features = torch.eye(2, dtype=torch.float64)[:, None].expand(2, 2, 2)  # feature t acts at time t
    eps = torch.tensor([[[4.0, 8.0]], [[8.0, 0.0]]], dtype=torch.float64)
    # P_0 = (1/4, 3/4), P_1 = (3/4, 1/4): parameter 0 changes by 1/4 4 + 3/4 8, parameter 1 by 3/4 8.
    close(path_integral_step(to_go, features, eps, math.log(3)), [[7.0, 6.0]])
    # One feature that always acts: both steps change it, the first with weight T - t = 2.
    close(
        path_integral_step(to_go, torch.full((2, 2, 1), 3.0).double(), eps[..., :1], math.log(3)), [[(2 * 7 + 5) / 3]]
    )


def test_pi2_by_time_projects_on_the_features():
    eps = torch.tensor([[[1.0, 0.0], [0.0, 5.0]]], dtype=torch.float64)  # one roll-out, two outputs
    features = torch.tensor([[[3.0, 4.0]]], dtype=torch.float64)
    # g (g' eps) / g'g: 3/25 (3, 4) and 20/25 (3, 4).
    found = path_integral_step(torch.zeros(1, 1, dtype=torch.float64), features, eps, 10.0)
    close(found, [[9 / 25, 12 / 25], [60 / 25, 80 / 25]])


def test_pi2_by_time_ignores_features_after_the_end_of_an_episode():
    env = SyncVectorEnv([partial(Counter, 2)] * 2, autoreset_mode=AutoresetMode.DISABLED)
    policy = LinearPolicy(env.single_observation_space, env.single_action_space).double()
    algorithm = PI2(env, policy, population=2, form="time_step", h=math.log(3))
    steps = Steps(
        torch.tensor([[[1.0, 0.0], [2.0, 0.0]], [[0.0, 0.0], [2.0, 1.0]]], dtype=torch.float64),
        torch.tensor([[1.0, 0.0], [0.0, 3.0]], dtype=torch.float64),
    )
    answer = Answer(torch.zeros(2, 1), torch.tensor([[1], [2]]), None, steps)
    eps = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], dtype=torch.float64)
    # The first roll-out ended after one step: its feature of ones is zero in the second.
    features = torch.tensor([[[1.0, 0, 1], [2.0, 0, 1]], [[0.0, 0, 0], [2.0, 1, 1]]], dtype=torch.float64)
    to_go = -torch.tensor([[1.0, 3.0], [0.0, 3.0]], dtype=torch.float64)
    expected = path_integral_step(to_go, features, eps[:, None], math.log(3))
    assert torch.equal(algorithm.step_by_time(eps, answer), expected.flatten())


# ------------------------------------------------------------------------------------------------ gradients


def test_centered_ranks_by_hand():
    close(centered_ranks(torch.tensor([10.0, -5.0, 7.0, 100.0, 8.0])), [0.25, -0.5, -0.25, 0.5, 0.0])
    close(centered_ranks(torch.tensor([1.0, 1.0, 0.0])), [0.25, 0.25, -0.5])


def test_evolution_strategies_take_a_step_of_adam_on_ranked_noise():
    algorithm = searcher(EvolutionStrategies, [0.5, -1.0, 2.0], population=4, sigma=0.3, learning_rate=0.1)
    candidates = algorithm.ask()
    theta = candidates.vectors()
    close((theta[0] + theta[1]) / 2, [0.5, -1.0, 2.0])  # mirrored
    first, second = (theta[0] - theta[1]) / 0.6, (theta[2] - theta[3]) / 0.6
    algorithm.tell(candidates, torch.tensor([3.0, 0.0, 1.0, 2.0], dtype=torch.float64), None)
    # Ranks 1/2, -1/2, -1/6, 1/6.
    gradient = ((0.5 + 0.5) * first + (-1 / 6 - 1 / 6) * second) / 4
    expected = torch.nn.Parameter(torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64))
    adam = torch.optim.Adam([expected], lr=0.1, weight_decay=0.005)
    expected.grad = -gradient
    adam.step()
    close(algorithm.policy.theta.detach(), expected.tolist())


@pytest.mark.parametrize("mirrored", [True, False])
def test_evolution_strategies_estimate_the_gradient_of_a_quadratic(mirrored, monkeypatch):
    options = {"population": 20_000, "sigma": 0.1, "ranks": False, "mirrored": mirrored}
    algorithm = searcher(EvolutionStrategies, [0.0, 0.0], **options)
    found = []
    monkeypatch.setattr(algorithm, "ascend", lambda gradient: found.append(gradient) or {})
    advance(algorithm, quadratic, 1)
    # The smoothed quadratic has the gradient of the quadratic itself, -2 (0 - 1) and -2 (0 - 2).
    torch.testing.assert_close(found[0], torch.tensor([2.0, 4.0], dtype=torch.float64), rtol=0.05, atol=0.05)


def test_perturbations_are_drawn_from_their_seeds_alone():
    whole = Perturbations(torch.zeros(5, dtype=torch.float64), 2.0, [7, 7, 9], [1.0, -1.0, 1.0])
    part = whole.part(1, 3)
    assert torch.equal(part.vectors(), whole.vectors()[1:]) and part.count == 2
    generator = torch.Generator().manual_seed(9)
    assert torch.equal(part.vectors()[1], 2 * torch.randn(5, generator=generator, dtype=torch.float64))
    assert torch.equal(whole.vectors()[0], -whole.vectors()[1])


def test_finite_differences_are_exact_for_a_quadratic():
    algorithm = searcher(FiniteDifferences, [0.0, 5.0], optimizer="sgd", learning_rate=0.25, perturbation=0.7)
    advance(algorithm, quadratic, 1)
    close(algorithm.policy.theta.detach(), [0.0 + 0.25 * 2, 5.0 - 0.25 * 6])


def test_mu_lambda_keeps_the_best_offspring_with_their_step_sizes():
    algorithm = searcher(MuLambdaES, [0.0], population=4, mu=2, init_std=0.1)
    theta = algorithm.ask().vectors()
    sizes = algorithm.offspring_log_sigma.clone()
    tell(algorithm, theta.tolist(), [1.0, 4.0, 2.0, 3.0])
    close(algorithm.parents, theta[[1, 3]].tolist())
    close(algorithm.log_sigma, sizes[[1, 3]].tolist())
    close(algorithm.policy.theta.detach(), [theta[[1, 3]].mean().item()])
    assert sizes.std() > 0


def test_mu_lambda_without_recombination_takes_the_best_parent():
    algorithm = searcher(MuLambdaES, [0.0], population=40, mu=2, init_std=0.01, recombination=False, adapt=False)
    algorithm.ask()
    tell(algorithm, [[3.0], [8.0], *[[0.0]] * 38], [1.0, 5.0, *[0.0] * 38])
    close(algorithm.policy.theta.detach(), [8.0])
    close(algorithm.parents, [[8.0], [3.0]])
    offspring = algorithm.ask().vectors()
    assert ((offspring - 8.0).abs() < 0.1).logical_or((offspring - 3.0).abs() < 0.1).all()
    assert 5 < (offspring > 5.0).sum() < 35


def test_effective_members():
    assert effective_members(torch.tensor([1.0, 1.0, 0.0])).item() == 2.0
    assert effective_members(torch.tensor([0.0, 3.0, 0.0])).item() == 1.0
