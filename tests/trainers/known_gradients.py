"""Problems with a known policy gradient, and an estimate per copy for each estimator."""

from functools import cache

import torch

from diffsim.mdp import Scenarios
from diffsim.trainers.experience.rollout import rollout
from diffsim.trainers.gradients.black_box import finite_difference_gradients, likelihood_ratio_gradients
from diffsim.trainers.gradients.pathwise import pathwise_gradients, total_propagation, windowed_gradients
from diffsim.trainers.maths.estimators import draw_directions, mix_by_variance
from tests.trainers.linear_gaussian import Bandit, LinearGaussian, NoisyLinearQuadratic

SAMPLES = 100_000
FORMS = ("reinforce", "gpomdp")
BASELINES = ("none", "average", "optimal", "time", "value")
LIKELIHOOD_RATIOS = [f"{form} {baseline}" for form in FORMS for baseline in BASELINES]
DIFFERENCES = ["differences common", "differences independent", "differences common coordinates"]
NAMES = ["pathwise", "windows", *LIKELIHOOD_RATIOS, *DIFFERENCES, "mixture", "total propagation"]


class Problem:
    """An MDP, a policy, their exact gradient and value, and an estimate per copy for each estimator."""

    def __init__(self, mdp, policy, horizon, exact, value, seed=0):
        self.mdp, self.policy, self.exact, self.value = mdp, policy, exact, value
        self.generator = torch.Generator().manual_seed(seed)
        self.scenarios, self.others = (Scenarios.draw(mdp, horizon, self.generator, action_noise_size=1) for _ in "ab")
        with torch.no_grad():
            self.trajectory, _ = rollout(mdp, policy, self.scenarios)

    @cache  # noqa: B019 the problems exist as long as the tests
    def estimate(self, name):
        """Gradients of one estimator: [N, D]."""
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
    """Largest distance of the mean of [N, D] from `exact` [D], in standard errors of the mean."""
    standard_error = gradients.std(0) / len(gradients) ** 0.5
    return ((gradients.mean(0) - exact).abs() / standard_error).max().item()
