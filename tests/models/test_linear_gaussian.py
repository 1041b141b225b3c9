"""Models fitted to a linear system with Gaussian noise, where parameters and policy gradient are known."""

import pytest
import torch

from diffsim.mdp import Scenarios
from diffsim.models import LearnedMDP, ModelFit
from diffsim.trainers.experience.rollout import rollout
from tests.models.linear_system import (
    NOISE,
    LinearGaussianSystem,
    linear_model,
    matrices,
    perfect_model,
    system_data,
)
from tests.trainers.linear import NoisyLinearPolicy

COUNT = 5_000
GAIN = (0.0, 0.5)  # far from the best one, where the gradient is large


@pytest.fixture(scope="module")
def fitted():
    data = system_data(COUNT)
    train, validation = data.split(0.2, torch.Generator().manual_seed(0))
    model = linear_model()
    for rate in (0.1, 0.01, 0.001):  # each fit continues from the last one
        options = {"batch_size": len(train), "learning_rate": rate, "weight_decay": 0.0, "bootstrap": False}
        stop = {"patience": 20, "min_gain": 1e-6, "max_epochs": 50}
        ModelFit(model, train, train, torch.Generator().manual_seed(0), **options, **stop).run()
    return model, train, validation


def least_squares(data):
    """A, B and deviations of the residuals by the normal equations: the maximum of the likelihood."""
    x = torch.cat([data.obs, data.action, torch.ones(len(data), 1, dtype=torch.float64)], dim=1)
    solution = torch.linalg.lstsq(x, data.next_obs).solution
    residual = data.next_obs - x @ solution
    covariance = torch.linalg.inv(x.T @ x)
    return solution.T, residual.square().mean(0).sqrt(), covariance.diagonal().sqrt()


def test_recovers_the_matrices_and_the_noise_to_sampling_error(fitted):
    model, train, _ = fitted
    system, (A, B, std) = LinearGaussianSystem(1), matrices(model)
    _, _, spread = least_squares(train)
    # Each entry's standard error is the noise times the root of (X'X)^-1; of a deviation, std / sqrt(2 M).
    errors = torch.cat([A - system.A, B - system.B], dim=1) / (NOISE[:, None] * spread[:3])
    assert errors.abs().max() < 4.0
    assert ((std - NOISE) / (NOISE / (2 * len(train)) ** 0.5)).abs().max() < 4.0


def test_is_the_least_squares_solution(fitted):
    """The difference is much smaller than the sampling error: the optimizer has converged."""
    model, train, _ = fitted
    solution, deviation, spread = least_squares(train)
    A, B, std = matrices(model)
    assert ((torch.cat([A, B], dim=1) - solution[:, :3]) / (NOISE[:, None] * spread[:3])).abs().max() < 0.5
    torch.testing.assert_close(std, deviation, rtol=2e-3, atol=0)


def test_coverage_of_intervals_is_nominal_within_two_percent(fitted):
    model, _, validation = fitted
    mean, std = model.step(validation.obs, validation.action, torch.zeros(len(validation), dtype=torch.int64))
    for level in (0.5, 0.8, 0.9, 0.95):
        half_width = torch.distributions.Normal(0.0, 1.0).icdf(torch.tensor((1 + level) / 2)) * std
        covered = ((validation.next_obs - mean).abs() <= half_width).double().mean(0)
        assert (covered - level).abs().max() < 0.02, level


def gain_gradient(mdp, horizon, *, noisy=True, gain=GAIN):
    """d/dK of the mean return of `horizon` steps, [1, 2], on fixed noises, and the start states."""
    policy, generator = NoisyLinearPolicy(gain), torch.Generator().manual_seed(5)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    start, noise = draw(mdp.num_envs, 2), noisy * draw(horizon, mdp.num_envs, 2)
    state = mdp.state(start, torch.zeros(len(start), dtype=torch.int64)) if isinstance(mdp, LearnedMDP) else start
    scenarios = Scenarios(state, state[None], noise, 0.5 * noisy * draw(horizon, mdp.num_envs, 1))
    trajectory, _ = rollout(mdp, policy, scenarios)
    return torch.autograd.grad(trajectory.reward.sum(0).mean(), policy.K)[0], start


def learned(model, data, num_envs):
    system = LinearGaussianSystem(1)
    return LearnedMDP(model, data, system.observation_space, system.action_space, num_envs=num_envs)


@pytest.mark.parametrize("horizon", [1, 5, 20])
def test_policy_gradient_through_a_perfect_model_equals_the_systems_to_rounding(horizon):
    ours, _ = gain_gradient(learned(perfect_model(), system_data(100), 50), horizon)
    theirs, _ = gain_gradient(LinearGaussianSystem(50), horizon)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=0)


def test_policy_gradient_converges_to_the_closed_form_of_the_lqr():
    """The relative error falls like M^-1/2: with 64 times the data to about 1 / 8 (rms over 8 data sets)."""

    def error(count, seed):
        data, model = system_data(count, seed=seed), linear_model()
        solution, _, _ = least_squares(data)
        with torch.no_grad():
            layer = model.dynamics.network[-1]
            layer.weight.copy_((solution[:, :3] - torch.eye(2, 3, dtype=torch.float64)).T)
            layer.bias.copy_(solution[:, 3])
        ours, start = gain_gradient(learned(model, data, 50), 10, noisy=False)
        exact = LinearGaussianSystem(1).gain_gradient(torch.tensor([GAIN], dtype=torch.float64), start, 10)
        return (ours - exact).norm() / exact.norm()

    few, many = (
        torch.stack([error(count, seed) for seed in range(8)]).square().mean().sqrt() for count in (250, 16_000)
    )
    assert few < 0.5 and many < 0.05 and 1 / 16 < many / few < 1 / 4, (few, many)


def test_policy_gradient_through_the_fitted_model(fitted):
    model, train, _ = fitted
    exact, _ = gain_gradient(LinearGaussianSystem(500), 10)
    ours, _ = gain_gradient(learned(model, train, 500), 10)
    assert float((ours - exact).norm() / exact.norm()) < 0.1
    wrong = perfect_model()
    with torch.no_grad():
        wrong.dynamics.network[-1].weight[0, 2] *= -1  # negative control: B with the wrong sign
    other, _ = gain_gradient(learned(wrong, train, 500), 10)
    assert float((other - exact).norm() / exact.norm()) > 1.0
