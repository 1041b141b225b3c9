"""Fisher-vector products, conjugate gradient and the line search, in double precision against autograd."""

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from torch.func import functional_call, hessian

from diffsim.trainers.errors import NonFiniteError
from diffsim.trainers.experience.on_policy_batch import OnPolicyBatch
from diffsim.trainers.likelihood_ratio.reinforce import raw_objective
from diffsim.trainers.maths.estimators import per_sample_gradients
from diffsim.trainers.maths.natural_step import (
    conjugate_gradient,
    fisher_vector_product,
    flat,
    line_search,
    natural_direction,
    surrogate,
    surrogate_gradient,
    trainable,
    trust_region_step,
)
from tests.policies.kinds import KINDS, make

OBS = Box(-np.inf, np.inf, (3,), np.float64)


def experience(policy, count=64, seed=0):
    """A batch [B] of samples from the policy, with random advantages."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    obs = normal(count, 3)
    with torch.no_grad():
        distribution = policy.raw_distribution(obs)
        raw = distribution.sample(normal(count, 2))
        zeros = torch.zeros(count, dtype=torch.float64)
        return OnPolicyBatch(obs, raw, distribution.log_prob(raw), zeros, normal(count), zeros)


def matrix(product, size):
    return torch.stack([product(row) for row in torch.eye(size, dtype=torch.float64)])


def fisher(policy, obs):
    """The Fisher matrix as the Hessian of the mean divergence, by forward-over-reverse differentiation."""
    names = [name for name, value in policy.named_parameters() if value.requires_grad]
    values = dict(policy.named_parameters())
    old = policy.raw_distribution(obs).detach()
    sizes = [values[name].numel() for name in names]

    class Divergence(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.policy = policy

        def forward(self):
            return old.kl(self.policy.raw_distribution(obs)).mean()

    module = Divergence()

    def divergence(vector):
        new = {f"policy.{n}": part.view_as(values[n]) for n, part in zip(names, vector.split(sizes), strict=True)}
        return functional_call(module, new, ())

    return hessian(divergence)(flat(trainable(policy)).detach())


@pytest.mark.parametrize("kind", KINDS)
def test_fisher_vector_products_are_the_hessian_of_the_divergence(kind):
    policy = make(kind)
    obs = experience(policy, 10).obs
    expected = fisher(policy, obs)
    size = len(expected)
    torch.testing.assert_close(matrix(fisher_vector_product(policy, obs), size), expected, rtol=1e-9, atol=1e-11)
    damped = matrix(fisher_vector_product(policy, obs, 0.3), size)
    torch.testing.assert_close(damped - expected, 0.3 * torch.eye(size, dtype=torch.float64), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_the_fisher_information_is_the_second_moment_of_the_score(kind):
    """v' F v = E[(score . v)^2] over 20,000 samples at each of 2 observations: within 4 standard errors."""
    policy, count = make(kind), 20_000
    batch = experience(policy, 2 * count)
    obs = batch.obs[:2].repeat_interleave(count, 0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        noise = torch.randn(2 * count, 2, generator=generator, dtype=torch.float64)
        raw = policy.raw_distribution(obs).sample(noise)
    ones = torch.ones(1, 2 * count, dtype=torch.float64)
    score = per_sample_gradients(policy, raw_objective, obs[None], raw[None], ones)
    direction = torch.randn(score.shape[1], generator=generator, dtype=torch.float64)
    squares = (score @ direction).square()
    expected = direction @ fisher_vector_product(policy, batch.obs[:2])(direction)
    deviation = squares.view(2, count).std(1).square().mean().sqrt()
    assert abs(squares.mean() - expected) < 4 * deviation / (2 * count) ** 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_the_surrogate_gradient_is_the_policy_gradient(kind):
    policy = make(kind)
    batch = experience(policy)
    log_prob = policy.raw_distribution(batch.obs).log_prob(batch.raw)
    expected = flat(torch.autograd.grad((log_prob * batch.advantage).mean(), trainable(policy)))
    torch.testing.assert_close(surrogate_gradient(policy, batch), expected, rtol=1e-10, atol=1e-13)


def test_conjugate_gradient_solves_in_as_many_iterations_as_unknowns():
    generator = torch.Generator().manual_seed(0)
    half = torch.randn(6, 6, generator=generator, dtype=torch.float64)
    target = torch.randn(6, generator=generator, dtype=torch.float64)
    A = half @ half.T + torch.eye(6, dtype=torch.float64)
    solution = conjugate_gradient(lambda x: A @ x, target, 6, tolerance=0.0)
    torch.testing.assert_close(solution, torch.linalg.solve(A, target), rtol=1e-8, atol=1e-10)
    early = conjugate_gradient(lambda x: A @ x, target, 3)
    assert (early - solution).norm() > 1e-3 * solution.norm(), "negative control"
    assert not conjugate_gradient(lambda x: A @ x, torch.zeros_like(target), 6).any()


def test_conjugate_gradient_stops_before_a_direction_without_curvature():
    """F = diag(2, 1, 0), also turned by rounding: the solution along the other two, found by hand. No NaN."""
    F, target = torch.diag(torch.tensor([2.0, 1.0, 0.0])), torch.tensor([1.0, 0.0, 3.0])
    solution = conjugate_gradient(lambda x: F @ x, target, 10)
    torch.testing.assert_close(F @ solution, torch.tensor([10.0, 0.0, 0.0]))  # 10: x = (g'g / g'Fg) g, once
    assert not conjugate_gradient(lambda x: F @ x, torch.tensor([0.0, 0.0, 3.0]), 10).any()
    spin = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0))).Q
    turned = spin @ F @ spin.T
    consistent = turned @ torch.tensor([1.0, 2.0, 3.0])
    solution = conjugate_gradient(lambda x: turned @ x, consistent, 10)
    torch.testing.assert_close(solution, torch.linalg.pinv(turned, rtol=1e-4) @ consistent, rtol=1e-4, atol=1e-5)


def test_a_fisher_information_without_curvature_along_the_gradient_is_an_error():
    """Before, the step was NaN, and zero in silence."""
    policy = make("learned")
    batch = experience(policy)
    gradient, direction, _ = natural_direction(policy, batch, 0.0, 10)
    assert gradient.any() and direction.isfinite().all()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("diffsim.trainers.maths.natural_step.fisher_vector_product", lambda *_: lambda v: 0.0 * v)
        with pytest.raises(NonFiniteError, match="set damping above 0, got curvature 0.0"):
            natural_direction(policy, batch, 0.0, 10)


def test_the_divergence_of_the_step_is_max_kl_to_second_order():
    """The shorter the step, the better the true divergence agrees."""
    policy = make("learned")
    batch = experience(policy)
    product = fisher_vector_product(policy, batch.obs)
    direction = conjugate_gradient(product, surrogate_gradient(policy, batch), 10)
    errors = []
    for max_kl in (1e-2, 1e-4, 1e-6):
        step = trust_region_step(direction, product(direction), max_kl)
        assert (step @ product(step) / 2).item() == pytest.approx(max_kl, rel=1e-9)
        moved = make("learned")
        assert line_search(moved, batch, step, max_kl=1.0, backtracks=1, shrink=0.5)[0] == 1.0
        kl = policy.raw_distribution(batch.obs).kl(moved.raw_distribution(batch.obs)).mean().item()
        errors.append(abs(kl / max_kl - 1))
    assert errors[2] < errors[1] < errors[0] and errors[2] < 1e-2
    assert not trust_region_step(torch.zeros(5), torch.zeros(5), 0.01).any()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("factor", [1.0, 100.0])
def test_the_line_search_finds_a_step_within_the_bound_that_raises_the_surrogate(kind, factor):
    policy, max_kl = make(kind), 0.01
    batch = experience(policy)
    product = fisher_vector_product(policy, batch.obs, 0.1)
    direction = conjugate_gradient(product, surrogate_gradient(policy, batch), 10)
    step = factor * trust_region_step(direction, product(direction), max_kl)
    before, old = surrogate(policy, batch).item(), policy.raw_distribution(batch.obs).detach()
    taken, gain, kl = line_search(policy, batch, step, max_kl=max_kl, backtracks=60, shrink=0.8)
    assert 0 < taken <= 1 and (factor == 1.0 or taken < 0.1)
    assert surrogate(policy, batch).item() - before == pytest.approx(gain.item(), rel=1e-9) and gain > 0
    measured = old.kl(policy.raw_distribution(batch.obs)).mean().item()
    assert measured == pytest.approx(kl.item(), rel=1e-9) and measured <= max_kl


@pytest.mark.parametrize("spoil", ["too long", "downhill"])
def test_the_line_search_refuses_a_bad_step(spoil):
    policy = make("learned")
    batch = experience(policy)
    gradient = surrogate_gradient(policy, batch)
    step = 1e3 * gradient if spoil == "too long" else -1e-3 * gradient
    start = flat(trainable(policy)).clone()
    taken, gain, kl = line_search(policy, batch, step, max_kl=0.01, backtracks=3, shrink=0.8)
    assert (taken, gain.item(), kl.item()) == (0.0, 0.0, 0.0)
    assert torch.equal(flat(trainable(policy)), start)


def test_the_fisher_information_of_a_gaussian_mean_in_closed_form():
    """F = 1 / std^2 for the mean of a Gaussian with fixed std: here the bias of the last layer."""
    policy = make("fixed")
    obs = experience(policy, 5).obs
    bias = policy.network[-1].bias
    size = len(flat(trainable(policy)))
    product = matrix(fisher_vector_product(policy, obs), size)
    first = size - bias.numel()
    variance = policy.log_std.exp().square()
    torch.testing.assert_close(product[first:, first:], torch.diag(1 / variance), rtol=1e-12, atol=1e-12)


def test_per_sample_scores_equal_the_scores_one_by_one():
    policy = make("categorical")
    batch = experience(policy, 3)
    each = per_sample_gradients(policy, raw_objective, *(x[None] for x in (batch.obs, batch.raw, batch.advantage)))
    for n in range(3):
        loss = policy.raw_distribution(batch.obs[n]).log_prob(batch.raw[n]) * batch.advantage[n]
        torch.testing.assert_close(each[n], flat(torch.autograd.grad(loss, trainable(policy))), rtol=1e-10, atol=1e-13)
