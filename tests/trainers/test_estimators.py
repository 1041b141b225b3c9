"""Estimators of the policy gradient, on problems whose gradient is known: unbiased, and as noisy as theory says."""

from functools import cache

import pytest
import torch

from diffsim.mdp import Scenarios
from tests.trainers.linear_gaussian import Bandit, LinearGaussian, NoisyLinearQuadratic
from trainers.estimators import (
    OffsetPolicy,
    average_baseline,
    counted_rewards,
    difference_gradients,
    draw_directions,
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
from trainers.laboratory.black_box import finite_difference_gradients, likelihood_ratio_gradients
from trainers.laboratory.pathwise import pathwise_gradients, total_propagation, windowed_gradients
from trainers.returns import reward_to_go
from trainers.rollout import rollout

SAMPLES = 100_000
FORMS = ("reinforce", "gpomdp")
BASELINES = ("none", "average", "optimal", "time", "value")
LIKELIHOOD_RATIOS = [f"{form} {baseline}" for form in FORMS for baseline in BASELINES]
DIFFERENCES = ["differences common", "differences independent", "differences common coordinates"]
NAMES = ["pathwise", "windows", *LIKELIHOOD_RATIOS, *DIFFERENCES, "mixture", "total propagation"]


class Problem:
    """An MDP, a policy, their exact gradient and value, and one estimate of each kind per copy."""

    def __init__(self, mdp, policy, horizon, exact, value, seed=0):
        self.mdp, self.policy, self.exact, self.value = mdp, policy, exact, value
        self.generator = torch.Generator().manual_seed(seed)
        self.scenarios, self.others = (Scenarios.draw(mdp, horizon, self.generator, action_noise_size=1) for _ in "ab")
        with torch.no_grad():
            self.trajectory, _ = rollout(mdp, policy, self.scenarios)

    @cache  # noqa: B019 the problems live as long as the tests
    def estimate(self, name):
        """[N, D]."""
        setting = (self.mdp, self.policy, self.scenarios)
        if name == "pathwise":
            return pathwise_gradients(*setting, 1.0)
        if name == "windows":
            return windowed_gradients(*setting, 1.0, 1, self.value)
        if name == "mixture":
            return mix_by_variance(self.estimate("pathwise"), self.estimate("gpomdp time"))
        if name == "total propagation":
            return total_propagation(*setting, 1.0)
        kind, *words = name.split()
        if kind in FORMS:
            noise = self.scenarios.action_noise
            return likelihood_ratio_gradients(self.policy, self.trajectory, noise, 1.0, kind, words[0], self.value)
        others = self.scenarios if words[0] == "common" else self.others
        size = sum(p.numel() for p in self.policy.parameters())
        directions = draw_directions((*words, "sphere")[1], self.mdp.num_envs, size, self.generator, torch.float64)
        return finite_difference_gradients(*setting, others, 1.0, directions, 0.05)

    def variance(self, name):
        return self.estimate(name).var(0).sum().item()


@cache
def bandit(offset=-3.0):
    mdp, policy = Bandit(SAMPLES, offset=offset), LinearGaussian([[0.5]])

    def value(obs, time):
        return (time < 1) * (offset - (0.5 - mdp.target) ** 2 - 0.25).expand_as(time)

    offset = torch.tensor(offset, dtype=torch.float64)
    return Problem(mdp, policy, 1, mdp.exact_gradient(policy), value)


@cache
def lqr(horizon=3, samples=SAMPLES, noise_std=0.3, offset=0.0, gain=(-1.0, -1.5)):
    mdp, policy = NoisyLinearQuadratic(samples, noise_std=noise_std, offset=offset), LinearGaussian([gain])
    exact, value = mdp.exact_gradient(policy, horizon), mdp.exact_value(policy, horizon)
    return Problem(mdp, policy, horizon, exact, value)


PROBLEMS = {"bandit": bandit, "3-step LQR": lqr, "10-step LQR": lambda: lqr(10, 40_000)}


def errors_in_standard_errors(gradients, exact):
    """How far the mean of [N, D] is from `exact` [D], in standard errors of the mean: the largest of D."""
    standard_error = gradients.std(0) / len(gradients) ** 0.5
    return ((gradients.mean(0) - exact).abs() / standard_error).max().item()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("problem", PROBLEMS)
def test_unbiased(problem, name):
    problem = PROBLEMS[problem]()
    assert errors_in_standard_errors(problem.estimate(name), problem.exact) < 4


@pytest.mark.parametrize("problem", PROBLEMS)
def test_a_gradient_without_the_noise_is_caught(problem):
    """Negative control: the deviation's part of the action, std * noise, is cut from the graph."""
    problem = PROBLEMS[problem]()

    class Broken(LinearGaussian):
        def forward(self, obs, noise=None):
            mean, std = self.distribution(obs)
            return mean + (std * noise).detach() + 0.0 * std

    broken = Broken(problem.policy.K.tolist())
    gradients = pathwise_gradients(problem.mdp, broken, problem.scenarios, 1.0)
    assert errors_in_standard_errors(gradients, problem.exact) > 4


def test_a_gradient_cut_at_the_process_noise_is_caught():
    """Negative control: the noisy next state is taken as drawn, not as a function of state and action."""
    problem = lqr()

    class Broken(NoisyLinearQuadratic):
        def transition(self, state, action, noise=None):
            return super().transition(state, action, noise).detach()

    gradients = pathwise_gradients(Broken(SAMPLES), problem.policy, problem.scenarios, 1.0)
    assert errors_in_standard_errors(gradients, problem.exact) > 20


@pytest.mark.parametrize("problem", PROBLEMS)
def test_a_baseline_that_depends_on_the_action_is_caught(problem):
    """Negative control: b = 5 u^2."""
    problem = PROBLEMS[problem]()
    trajectory = problem.trajectory
    weights = reward_to_go(trajectory.reward, trajectory.ended, 1.0) - 5 * trajectory.action[..., 0].square()
    inputs = (trajectory.obs, problem.scenarios.action_noise, weights)
    gradients = per_sample_gradients(problem.policy, score_objective, *inputs)
    assert errors_in_standard_errors(gradients, problem.exact) > 20


def test_the_own_return_in_the_average_is_caught():
    """Negative control: an average over all of 4 copies, the own one too, makes the gradient short by 1 / 4."""
    problem = bandit()
    reward = problem.trajectory.reward.reshape(1, -1, 4)  # [H, groups, N]
    averages = {"others": average_baseline(reward, torch.ones_like(reward)), "all": reward.mean(-1, keepdim=True)}
    for name, share in (("others", 1.0), ("all", 0.75)):
        weights = (reward - averages[name]).reshape(1, -1)
        inputs = (problem.trajectory.obs, problem.scenarios.action_noise, weights)
        gradients = per_sample_gradients(problem.policy, score_objective, *inputs)
        assert errors_in_standard_errors(gradients, share * problem.exact) < 4
        assert share == 1.0 or errors_in_standard_errors(gradients, problem.exact) > 4


def test_baselines_lower_the_variance_in_the_order_of_theory():
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


def test_one_constant_per_parameter_beats_one_for_all_beats_the_average():
    problem = lqr(10, 40_000, offset=-5.0)
    gradient = problem.estimate("gpomdp none")
    alive = torch.ones_like(problem.trajectory.reward)
    inputs = (problem.trajectory.obs, problem.scenarios.action_noise, alive)
    score = per_sample_gradients(problem.policy, score_objective, *inputs)
    scalar = gradient - optimal_baseline(gradient, score, per_parameter=False) * score
    assert errors_in_standard_errors(scalar, problem.exact) < 4
    assert problem.variance("gpomdp optimal") < scalar.var(0).sum() < problem.variance("gpomdp average")


def test_the_optimal_baseline_of_the_bandit_by_hand():
    # The score of K is z / std, of log_std z^2 - 1. E[z^2 r] / E[z^2] with r = offset - (m + std z)^2, m = K - target:
    # offset - m^2 - 3 std^2.   E[(z^2 - 1)^2 r] / E[(z^2 - 1)^2] = offset - m^2 - 5 std^2, as E[(z^2 - 1)^2 z^2] = 10.
    problem = bandit()
    score = per_sample_gradients(
        problem.policy, score_objective, problem.trajectory.obs, problem.scenarios.action_noise, torch.ones(1, SAMPLES)
    )
    baseline = optimal_baseline(problem.estimate("reinforce none"), score).mean(0)
    expected = [-3 - 1.0 - 3 * 0.25, -3 - 1.0 - 5 * 0.25]
    assert baseline.tolist() == pytest.approx(expected, rel=0.03)


def test_the_temporal_form_is_less_noisy_than_the_whole_return():
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


def test_common_random_numbers_take_most_of_the_noise_out():
    problem = lqr(10, 40_000)
    assert problem.variance("differences independent") > 100 * problem.variance("differences common")
    # Along a uniform direction, E|D v v'g|^2 = D |g|^2: D times the second moment of the pathwise gradient.
    pathwise = problem.estimate("pathwise")
    second_moment = problem.estimate("differences common").square().sum(1).mean().item()
    assert second_moment == pytest.approx(3 * pathwise.square().sum(1).mean().item(), rel=0.05)


def test_all_coordinates_with_common_random_numbers_are_the_pathwise_gradient():
    problem = lqr(10, 40_000)
    columns = []
    for i in range(3):
        directions = torch.eye(3, dtype=torch.float64)[i].expand(40_000, 3)
        setting = (problem.mdp, problem.policy, problem.scenarios, problem.scenarios)
        columns.append(finite_difference_gradients(*setting, 1.0, directions, 1e-5)[:, i] / 3)
    torch.testing.assert_close(torch.stack(columns, 1), problem.estimate("pathwise"), rtol=1e-6, atol=1e-6)


def test_mixtures_are_no_noisier_than_either_part():
    for problem in (lqr(), lqr(10, 40_000), lqr(24, 4000, gain=(0.0, 3.0))):
        best = min(problem.variance("pathwise"), problem.variance("gpomdp time"))
        assert problem.variance("mixture") < 1.1 * best
        assert problem.variance("total propagation") < 1.1 * best


def test_total_propagation_by_hand():
    """Two steps of LQR: what is mixed at the second action is what travels back to the first one."""
    problem = lqr(2, 8)
    mdp, K, std = problem.mdp, problem.policy.K.detach(), 0.5
    obs, action, reward = (x.detach() for x in problem.trajectory[:3])
    z = problem.scenarios.action_noise
    returns = reward.flip(0).cumsum(0).flip(0)
    weights = (returns - time_baseline(returns, torch.ones_like(returns, dtype=torch.bool)))[..., None]
    by_mean, by_std = z / std * weights, (z.square() - 1) / std * weights  # the likelihood ratio's, [2, N, 1]

    by_action = -2 * action[1] @ mdp.R  # dG/du_1
    mean_1, std_1 = mix_by_variance(by_action, by_mean[1]), mix_by_variance(by_action * z[1], by_std[1])
    by_state = -2 * obs[1] @ mdp.Q + mean_1 @ K  # the second action answers through its mean
    by_action = -2 * action[0] @ mdp.R + by_state @ mdp.B
    mean_0, std_0 = mix_by_variance(by_action, by_mean[0]), mix_by_variance(by_action * z[0], by_std[0])
    expected = torch.cat([mean_0 * obs[0] + mean_1 * obs[1], std * (std_0 + std_1)], dim=1)
    torch.testing.assert_close(problem.estimate("total propagation"), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("window", [3, 4, 10])
def test_windows_of_any_length_are_unbiased_with_the_exact_value(window):
    problem = lqr(10, 40_000)

    def value(obs, time):  # which knows nothing of the horizon's end: nothing may be read there
        return torch.where(time < 10, problem.value(obs, time), 100 * obs.square().sum(-1))

    gradients = windowed_gradients(problem.mdp, problem.policy, problem.scenarios, 1.0, window, value)
    assert errors_in_standard_errors(gradients, problem.exact) < 4


def test_a_wrong_value_makes_windows_biased():
    """Negative control: the value of half of what follows."""
    problem = lqr(10, 40_000)

    def half(obs, time):
        return 0.5 * problem.value(obs, time)

    gradients = windowed_gradients(problem.mdp, problem.policy, problem.scenarios, 1.0, 1, half)
    assert errors_in_standard_errors(gradients, problem.exact) > 20


def test_windows_after_the_first_end_do_not_count():
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


def test_mixing_by_hand():
    # Second half: variances 2 and 8, so the first half takes alpha = 8 / 10. First half: 0 and 2, so alpha = 1.
    pathwise = torch.tensor([[1.0], [1.0], [3.0], [5.0]])
    ratio = torch.tensor([[0.0], [2.0], [2.0], [6.0]])
    assert mix_by_variance(pathwise, ratio).flatten().tolist() == pytest.approx([0.8, 1.2, 3.0, 5.0])
    with pytest.raises(ValueError, match="copies must be >= 4 to mix by variance, got 3"):
        mix_by_variance(pathwise[:3], ratio[:3])


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


def test_a_trainer_gets_the_same_gradient_from_the_objective():
    """The mean objective's gradient is the mean of the per-sample gradients."""
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
    """Estimates of another policy's return from the problem's roll-outs, [N]."""
    x, old = problem.trajectory.action, problem.policy.distribution(problem.trajectory.obs)
    log_probs = [
        torch.distributions.Normal(*pair).log_prob(x).sum(-1)
        for pair in (other.distribution(problem.trajectory.obs), old)
    ]
    return importance_objective(*log_probs, problem.trajectory.reward.sum(0))


def test_importance_sampling_tells_return_and_gradient_of_other_parameters():
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


def test_only_the_first_episode_counts():
    reward = torch.tensor([[1.0], [2.0], [4.0], [8.0]])
    ended = torch.tensor([[False], [True], [False], [False]])
    counted, alive = counted_rewards(reward, ended, 0.5)
    assert counted.flatten().tolist() == [1, 1, 0, 0] and alive.flatten().tolist() == [True, True, False, False]


def test_the_value_stands_at_the_first_end_by_hand():
    reward, next_value = torch.tensor([[1.0, 1.0], [2.0, 2.0]]), torch.tensor([[10.0, 10.0], [20.0, 20.0]])
    ended = torch.tensor([[True, False], [False, False]])
    # Copy 0 is cut short at t = 0: 1 + 0.5 * 10. Copy 1 goes on to the window's end: 1 + 0.5 * 2 + 0.25 * 20.
    assert pathwise_objective(reward, ended, 0.5, next_value).tolist() == [6.0, 7.0]


def test_baselines_leave_the_own_copy_and_the_dead_out():
    returns = torch.tensor([[3.0, 6.0, 9.0], [1.0, 2.0, 50.0]])
    alive = torch.tensor([[True, True, True], [True, True, False]])
    assert time_baseline(returns, alive).tolist() == [[7.5, 6.0, 4.5], [2.0, 1.0, 1.5]]
    # Sums of the living: 4, 8, 9; steps: 2, 2, 1.
    assert average_baseline(returns, alive).flatten().tolist() == pytest.approx([17 / 3, 13 / 3, 12 / 4])
    assert time_baseline(returns[:, :1], alive[:, :1]).tolist() == [[0.0], [0.0]]


def test_the_score_is_exact_where_squashing_saturates():
    from policies import GaussianMLP

    mdp = NoisyLinearQuadratic(1)
    policy = GaussianMLP(mdp.observation_space, mdp.action_space, hidden_sizes=(), std="fixed", initial_std=0.5)
    policy.network[0].bias.data[:] = 40.0  # far beyond what tanh can tell from 1
    obs, noise = torch.zeros(1, 2), torch.tensor([[0.7]])
    (gradient,) = torch.autograd.grad(log_prob_of_noise(policy, obs, noise).sum(), policy.network[0].bias)
    assert gradient.item() == pytest.approx(0.7 / 0.5, rel=1e-5)


def test_offset_policies_move_their_own_copy_only():
    policy = LinearGaussian([[1.0, 2.0]])
    offsets = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    actions = OffsetPolicy(policy, offsets)(torch.ones(3, 2).double(), torch.ones(3, 1).double())
    assert actions.flatten().tolist() == pytest.approx([3.5, 4.5, 3 + 0.5 * 2.718281828])
    with pytest.raises(ValueError, match=r"offsets must be \[N, 3\], one number per parameter, got \(3, 2\)"):
        OffsetPolicy(policy, offsets[:, :2])


def test_directions_see_every_parameter_alike():
    generator = torch.Generator().manual_seed(0)
    for kind in ("sphere", "coordinates"):
        directions = draw_directions(kind, 50_000, 4, generator, torch.float64)
        torch.testing.assert_close(4 * directions.T @ directions / 50_000, torch.eye(4).double(), rtol=0, atol=0.05)
        assert directions.norm(dim=1).sub(1).abs().max() < 1e-12
    with pytest.raises(ValueError, match="kind must be one of sphere, coordinates, got 'cube'"):
        draw_directions("cube", 2, 2, generator, torch.float64)


def test_differences_by_hand():
    # 2 * (5 - 3) / (2 * 0.5) * [0.6, 0.8]
    gradient = difference_gradients(torch.tensor([5.0]), torch.tensor([3.0]), torch.tensor([[0.6, 0.8]]), 0.5)
    assert gradient.flatten().tolist() == pytest.approx([2.4, 3.2])
