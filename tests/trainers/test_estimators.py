"""Bias and variance of the policy-gradient estimators, on problems whose gradient is known."""

import pytest
import torch

from diffsim.mdp import Scenarios
from diffsim.trainers.experience.rollout import rollout
from diffsim.trainers.gradients.black_box import finite_difference_gradients
from diffsim.trainers.gradients.pathwise import pathwise_gradients, windowed_gradients
from diffsim.trainers.maths.estimators import (
    average_baseline,
    counted_rewards,
    importance_objective,
    likelihood_ratio_objective,
    log_prob_of_noise,
    mix_by_variance,
    optimal_baseline,
    pathwise_objective,
    per_sample_gradients,
    score_objective,
    surrogate_objective,
    time_baseline,
)
from diffsim.trainers.maths.returns import reward_to_go
from tests.trainers.known_gradients import (
    BASELINES,
    FORMS,
    NAMES,
    PROBLEMS,
    SAMPLES,
    bandit,
    errors_in_standard_errors,
    lqr,
)
from tests.trainers.linear_gaussian import LinearGaussian, NoisyLinearQuadratic


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("problem", PROBLEMS)
def test_unbiased(problem, name):
    problem = PROBLEMS[problem]()
    assert errors_in_standard_errors(problem.estimate(name), problem.exact) < 4


@pytest.mark.parametrize("problem", PROBLEMS)
def test_bias_is_detected_if_the_action_noise_is_detached(problem):
    """Negative control: std * noise is detached from the graph."""
    problem = PROBLEMS[problem]()

    class Broken(LinearGaussian):
        def forward(self, obs, noise=None):
            mean, std = self.distribution(obs)
            return mean + (std * noise).detach() + 0.0 * std

    broken = Broken(problem.policy.K.tolist())
    gradients = pathwise_gradients(problem.mdp, broken, problem.scenarios, 1.0)
    assert errors_in_standard_errors(gradients, problem.exact) > 4


def test_bias_is_detected_if_the_noisy_state_is_detached():
    """Negative control: the noisy next state is a constant, not a function of state and action."""
    problem = lqr()

    class Broken(NoisyLinearQuadratic):
        def transition(self, state, action, noise=None):
            return super().transition(state, action, noise).detach()

    gradients = pathwise_gradients(Broken(SAMPLES), problem.policy, problem.scenarios, 1.0)
    assert errors_in_standard_errors(gradients, problem.exact) > 20


@pytest.mark.parametrize("problem", PROBLEMS)
def test_bias_is_detected_if_the_baseline_depends_on_the_action(problem):
    """Negative control: b = 5 u^2."""
    problem = PROBLEMS[problem]()
    trajectory = problem.trajectory
    weights = reward_to_go(trajectory.reward, trajectory.ended, 1.0) - 5 * trajectory.action[..., 0].square()
    inputs = (trajectory.obs, problem.scenarios.action_noise, weights)
    gradients = per_sample_gradients(problem.policy, score_objective, *inputs)
    assert errors_in_standard_errors(gradients, problem.exact) > 20


def test_bias_is_detected_if_the_average_includes_the_own_return():
    """Negative control: an average over all 4 copies scales the gradient by 1 - 1 / 4."""
    problem = bandit()
    reward = problem.trajectory.reward.reshape(1, -1, 4)  # [H, groups, N]
    averages = {"others": average_baseline(reward, torch.ones_like(reward)), "all": reward.mean(-1, keepdim=True)}
    for name, share in (("others", 1.0), ("all", 0.75)):
        weights = (reward - averages[name]).reshape(1, -1)
        inputs = (problem.trajectory.obs, problem.scenarios.action_noise, weights)
        gradients = per_sample_gradients(problem.policy, score_objective, *inputs)
        assert errors_in_standard_errors(gradients, share * problem.exact) < 4
        assert share == 1.0 or errors_in_standard_errors(gradients, problem.exact) > 4


def test_baselines_reduce_the_variance_in_the_order_of_theory():
    for problem in (bandit(), lqr(offset=-5.0), lqr(10, 40_000, offset=-5.0)):
        for form in FORMS:
            none, average, optimal = (problem.variance(f"{form} {b}") for b in ("none", "average", "optimal"))
            assert none > 1.5 * average
            # The optimum is estimated from the same N samples, which adds about 1 / N.
            assert optimal < average * (1 + 100 / problem.mdp.num_envs)
    problem = lqr(10, 40_000, offset=-5.0)
    names = ("none", "average", "time", "value")
    none, average, time, value = (problem.variance(f"gpomdp {baseline}") for baseline in names)
    assert none > average > time > value


def test_variance_is_least_with_one_optimal_constant_per_parameter():
    problem = lqr(10, 40_000, offset=-5.0)
    gradient = problem.estimate("gpomdp none")
    alive = torch.ones_like(problem.trajectory.reward)
    inputs = (problem.trajectory.obs, problem.scenarios.action_noise, alive)
    score = per_sample_gradients(problem.policy, score_objective, *inputs)
    scalar = gradient - optimal_baseline(gradient, score, per_parameter=False) * score
    assert errors_in_standard_errors(scalar, problem.exact) < 4
    assert problem.variance("gpomdp optimal") < scalar.var(0).sum() < problem.variance("gpomdp average")


def test_the_optimal_baseline_of_the_bandit_by_hand():
    # Scores: of K z / std, of log_std z^2 - 1. E[z^2 r] / E[z^2] with r = offset - (m + std z)^2, m = K - target:
    # offset - m^2 - 3 std^2.   E[(z^2 - 1)^2 r] / E[(z^2 - 1)^2] = offset - m^2 - 5 std^2, as E[(z^2 - 1)^2 z^2] = 10.
    problem = bandit()
    score = per_sample_gradients(
        problem.policy, score_objective, problem.trajectory.obs, problem.scenarios.action_noise, torch.ones(1, SAMPLES)
    )
    baseline = optimal_baseline(problem.estimate("reinforce none"), score).mean(0)
    expected = [-3 - 1.0 - 3 * 0.25, -3 - 1.0 - 5 * 0.25]
    assert baseline.tolist() == pytest.approx(expected, rel=0.03)


def test_gpomdp_has_less_variance_than_reinforce():
    problem = lqr(10, 40_000)
    for baseline in BASELINES:
        assert problem.variance(f"gpomdp {baseline}") < problem.variance(f"reinforce {baseline}")


def test_pathwise_variance_grows_as_the_fourth_power_of_the_unstable_root():
    """Of a quadratic cost, G and dG/dK are of second order in a state that grows as rho^t: variance as rho^(4 H)."""
    gain = (0.0, 3.0)  # A + BK = [[1, 0.1], [0.3, 1.3]]
    rho = torch.linalg.eigvals(torch.tensor([[1.0, 0.1], [0.3, 1.3]])).abs().max().item()
    short, long = (lqr(h, 4000, gain=gain).variance("pathwise") for h in (24, 32))
    # dG/dK is a sum of about t like terms, which adds a factor of (32 / 24)^2 or less.
    growth = long / short
    assert rho ** (4 * 8) < growth < rho ** (4 * 8) * (32 / 24) ** 2.5


def test_common_random_numbers_remove_most_of_the_variance():
    problem = lqr(10, 40_000)
    assert problem.variance("differences independent") > 100 * problem.variance("differences common")
    # Along a uniform direction, E|D v v'g|^2 = D |g|^2: D times the second moment of the pathwise gradient.
    pathwise = problem.estimate("pathwise")
    second_moment = problem.estimate("differences common").square().sum(1).mean().item()
    assert second_moment == pytest.approx(3 * pathwise.square().sum(1).mean().item(), rel=0.05)


def test_differences_along_all_coordinates_equal_the_pathwise_gradient():
    problem = lqr(10, 40_000)
    columns = []
    for i in range(3):
        directions = torch.eye(3, dtype=torch.float64)[i].expand(40_000, 3)
        setting = (problem.mdp, problem.policy, problem.scenarios, problem.scenarios)
        columns.append(finite_difference_gradients(*setting, 1.0, directions, 1e-5)[:, i] / 3)
    torch.testing.assert_close(torch.stack(columns, 1), problem.estimate("pathwise"), rtol=1e-6, atol=1e-6)


def test_mixtures_have_no_more_variance_than_either_part():
    for problem in (lqr(), lqr(10, 40_000), lqr(24, 4000, gain=(0.0, 3.0))):
        best = min(problem.variance("pathwise"), problem.variance("gpomdp time"))
        assert problem.variance("mixture") < 1.1 * best
        assert problem.variance("total propagation") < 1.1 * best


def test_total_propagation_by_hand():
    """Two steps of LQR: the mixed gradient of the second action is backpropagated to the first one."""
    problem = lqr(2, 8)
    mdp, K, std = problem.mdp, problem.policy.K.detach(), 0.5
    obs, action, reward = (x.detach() for x in problem.trajectory[:3])
    z = problem.scenarios.action_noise
    returns = reward.flip(0).cumsum(0).flip(0)
    weights = (returns - time_baseline(returns, torch.ones_like(returns, dtype=torch.bool)))[..., None]
    by_mean, by_std = z / std * weights, (z.square() - 1) / std * weights  # the likelihood ratio's, [2, N, 1]

    by_action = -2 * action[1] @ mdp.R  # dG/du_1
    mean_1, std_1 = mix_by_variance(by_action, by_mean[1]), mix_by_variance(by_action * z[1], by_std[1])
    by_state = -2 * obs[1] @ mdp.Q + mean_1 @ K  # through the mean of the second action
    by_action = -2 * action[0] @ mdp.R + by_state @ mdp.B
    mean_0, std_0 = mix_by_variance(by_action, by_mean[0]), mix_by_variance(by_action * z[0], by_std[0])
    expected = torch.cat([mean_0 * obs[0] + mean_1 * obs[1], std * (std_0 + std_1)], dim=1)
    torch.testing.assert_close(problem.estimate("total propagation"), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("window", [3, 4, 10])
def test_windows_of_any_length_are_unbiased_with_the_exact_value(window):
    problem = lqr(10, 40_000)

    def value(obs, time):  # wrong at the end of the horizon, where it must not be used
        return torch.where(time < 10, problem.value(obs, time), 100 * obs.square().sum(-1))

    gradients = windowed_gradients(problem.mdp, problem.policy, problem.scenarios, 1.0, window, value)
    assert errors_in_standard_errors(gradients, problem.exact) < 4


def test_a_wrong_value_makes_windows_biased():
    """Negative control: half the exact value."""
    problem = lqr(10, 40_000)

    def half(obs, time):
        return 0.5 * problem.value(obs, time)

    gradients = windowed_gradients(problem.mdp, problem.policy, problem.scenarios, 1.0, 1, half)
    assert errors_in_standard_errors(gradients, problem.exact) > 20


def test_windows_ignore_steps_after_the_first_end():
    mdp = NoisyLinearQuadratic(200)
    mdp.bound = 1.0
    policy, generator = LinearGaussian([[-1.0, -1.5]]), torch.Generator().manual_seed(0)
    scenarios = Scenarios.draw(mdp, 6, generator, action_noise_size=1)
    trajectory, _ = rollout(mdp, policy, scenarios)
    early = trajectory.ended[:2].any(0)
    assert 20 < early.sum() < 180

    def no_value(obs, time):
        return torch.zeros_like(obs[..., 0])

    windows = windowed_gradients(mdp, policy, scenarios, 0.9, 2, no_value)
    whole = pathwise_gradients(mdp, policy, scenarios, 0.9)
    torch.testing.assert_close(windows[early], whole[early])
    assert not torch.isclose(windows[~early], whole[~early]).all(), "the others are cut between windows"


def test_per_sample_gradients_are_the_gradients_of_samples():
    problem = lqr(samples=5)
    objective, _ = counted_rewards(*rollout_with_graph(problem), 1.0)
    for n, sample in enumerate(objective.sum(0)):
        gradients = torch.autograd.grad(sample, list(problem.policy.parameters()), retain_graph=True)
        expected = torch.cat([g.flatten() for g in gradients])
        torch.testing.assert_close(problem.estimate("pathwise")[n], expected, rtol=1e-10, atol=1e-12)


def rollout_with_graph(problem):
    trajectory, _ = rollout(problem.mdp, problem.policy, problem.scenarios)
    return trajectory.reward, trajectory.ended


def test_gradient_of_the_mean_objective_is_the_mean_of_per_sample_gradients():
    problem = lqr(samples=50)
    parameters = list(problem.policy.parameters())

    def gradient(objective):
        return torch.cat([g.flatten() for g in torch.autograd.grad(objective.mean(), parameters, retain_graph=True)])

    log_prob = log_prob_of_noise(problem.policy, problem.trajectory.obs, problem.scenarios.action_noise)
    weights = reward_to_go(problem.trajectory.reward, problem.trajectory.ended, 1.0)
    for objective in (likelihood_ratio_objective(log_prob, weights), surrogate_objective(log_prob, log_prob, weights)):
        torch.testing.assert_close(gradient(objective), problem.estimate("gpomdp none").mean(0))
    whole = importance_objective(log_prob, log_prob, problem.trajectory.reward.sum(0))
    torch.testing.assert_close(gradient(whole), problem.estimate("reinforce none").mean(0))
    pathwise = pathwise_objective(*rollout_with_graph(problem), 1.0)
    torch.testing.assert_close(gradient(pathwise), problem.estimate("pathwise").mean(0))


def importance_estimates(problem, other):
    """Estimates another policy's return from the problem's roll-outs, [N]."""
    x, old = problem.trajectory.action, problem.policy.distribution(problem.trajectory.obs)
    log_probs = [
        torch.distributions.Normal(*pair).log_prob(x).sum(-1)
        for pair in (other.distribution(problem.trajectory.obs), old)
    ]
    return importance_objective(*log_probs, problem.trajectory.reward.sum(0))


def test_importance_sampling_gives_return_and_gradient_at_other_parameters():
    problem, other = bandit(), LinearGaussian([[0.8]], std=0.45)
    estimates = importance_estimates(problem, other)
    noise = estimates.std() / SAMPLES**0.5
    # J = offset - (K - target)^2 - std^2
    assert (estimates.mean() - (-3 - 0.7**2 - 0.45**2)).abs() < 4 * noise
    assert (problem.trajectory.reward.mean() - estimates.mean()).abs() > 50 * noise, "the policies must differ"
    (gradient,) = torch.autograd.grad(estimates.mean(), other.K)
    assert gradient.item() == pytest.approx(2 * 0.7, rel=0.05)

    problem, other = lqr(), LinearGaussian([[-0.9, -1.6]], std=0.45)
    estimates, truth = importance_estimates(problem, other), rollout(problem.mdp, other, problem.others)[0]
    returns = truth.reward.sum(0)
    assert (estimates.mean() - returns.mean()).abs() < 4 * ((estimates.var() + returns.var()) / SAMPLES).sqrt()
