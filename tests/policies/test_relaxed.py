"""Reparameterised discrete choices, against frequencies, finite differences and exact expectations."""

import math

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete

from diffsim.policies import BernoulliMLP, RelaxedCategoricalMLP
from diffsim.policies.relaxed import (
    gumbel,
    gumbel_softmax,
    straight_through,
    straight_through_bernoulli,
    straight_through_gumbel,
)

PROBS = torch.tensor([0.05, 0.15, 0.5, 0.3], dtype=torch.float64)
LOG_PROBS = PROBS.log()
OBS = Box(-np.inf, np.inf, (3,), np.float64)
CHOICES = MultiDiscrete([3, 2], start=[0, 5])
CHI_SQUARE_3 = 21.11  # 3 degrees of freedom; exceeded with probability 1e-4
DRAWS = {
    "relaxed": lambda log_probs, noise: gumbel_softmax(log_probs, noise, 1e-4),
    "straight_through_gumbel": lambda log_probs, noise: straight_through_gumbel(log_probs, noise, 0.7),
    "straight_through": straight_through,
}
every_draw = pytest.mark.parametrize("name", DRAWS)


def normal(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def chi_square(counts, probs):
    expected = counts.sum() * probs
    return ((counts - expected) ** 2 / expected).sum().item()


def test_gumbel_noise_has_the_gumbel_distribution_and_stays_finite_in_the_tails():
    samples = gumbel(normal(40_000))
    for point in (-1.0, 0.0, 1.0, 3.0):
        p = math.exp(-math.exp(-point))
        share = (samples < point).double().mean().item()
        assert abs(share - p) < 4 * math.sqrt(p * (1 - p) / 40_000)
    assert gumbel(torch.tensor([-10.0, 8.0])).isfinite().all()


@every_draw
def test_choices_occur_with_their_probabilities(name):
    draws = DRAWS[name](LOG_PROBS.expand(20_000, 4), normal(20_000, 4))
    hard = draws if name != "relaxed" else draws.round()
    # At temperature 1e-4 all but a few draws are close to one-hot.
    assert (draws.sum(-1) - 1).abs().max() < 1e-12 and ((draws > 0.999).any(-1)).double().mean() > 0.998
    if name != "relaxed":
        assert set(draws.unique().tolist()) == {0.0, 1.0}
    counts = hard.sum(0)
    assert chi_square(counts, PROBS) < CHI_SQUARE_3
    assert chi_square(counts, PROBS.roll(1)) > 1000, "negative control: other probabilities"


def test_the_largest_entry_has_the_right_distribution_at_any_temperature():
    relaxed = gumbel_softmax(LOG_PROBS.expand(20_000, 4), normal(20_000, 4), 5.0)
    assert relaxed.max() < 0.9
    assert chi_square(torch.bincount(relaxed.argmax(-1), minlength=4), PROBS) < CHI_SQUARE_3


def test_bits_occur_with_their_probabilities():
    logits = torch.tensor([-2.0, 0.0, 1.5], dtype=torch.float64)
    bits = straight_through_bernoulli(logits.expand(20_000, 3), normal(20_000, 3))
    assert set(bits.unique().tolist()) == {0.0, 1.0}
    for count, p in zip(bits.sum(0), logits.sigmoid(), strict=True):
        two = torch.stack([count, 20_000 - count])
        assert chi_square(two, torch.stack([p, 1 - p])) < 15.14  # 1 degree of freedom, probability 1e-4


def payoff(u):
    """A smooth function with cross terms, of vectors [..., 4]."""
    a = torch.tensor([0.3, -1.0, 2.0, 0.5], dtype=u.dtype)
    return torch.sin(u @ a) + u[..., 0] * u[..., 3] - (u - 0.2).square() @ a.flip(0)


def differences(objective, point, step=1e-6):
    moves = step * torch.eye(point.numel(), dtype=point.dtype)
    return torch.stack([(objective(point + move) - objective(point - move)) / (2 * step) for move in moves])


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_the_relaxed_gradient_is_that_of_the_relaxed_objective(temperature):
    noise, logits = normal(50, 4), LOG_PROBS.clone().requires_grad_()

    def objective(logits):
        return payoff(gumbel_softmax(logits.log_softmax(-1), noise, temperature)).mean()

    (actual,) = torch.autograd.grad(objective(logits), logits)
    torch.testing.assert_close(actual, differences(objective, logits.detach()), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", ["straight_through_gumbel", "straight_through", "bernoulli"])
def test_straight_through_gradient_is_that_of_the_relaxed_choice_at_the_sampled_one(name):
    # Expected: the payoff's gradient at the sampled choice times the Jacobian of the relaxed choice.
    noise, logits = normal(50, 4), LOG_PROBS.clone().requires_grad_()

    def draw(logits):
        if name == "bernoulli":
            return straight_through_bernoulli(logits.expand(50, 4), noise)
        return DRAWS[name](logits.log_softmax(-1).expand(50, 4), noise)

    def relaxed(logits):
        if name == "bernoulli":
            return logits.sigmoid().expand(50, 4)
        probs = logits.softmax(-1).expand(50, 4)
        return probs if name == "straight_through" else gumbel_softmax(probs.log(), noise, 0.7)

    (actual,) = torch.autograd.grad(payoff(draw(logits)).mean(), logits)
    hard = draw(logits).detach().requires_grad_()
    (payoff_gradient,) = torch.autograd.grad(payoff(hard).mean(), hard)
    expected = differences(lambda logits: (payoff_gradient * relaxed(logits)).sum(), logits.detach())
    torch.testing.assert_close(actual, expected, rtol=1e-7, atol=1e-9)
    assert actual.abs().min() > 1e-4


def test_straight_through_is_unbiased_for_linear_payoffs_and_biased_for_others():
    # d/dlogit_k of sum_j p_j r_j is p_k (r_k - sum_j p_j r_j).
    pay = torch.tensor([1.0, -0.5, 0.3, 2.0], dtype=torch.float64)
    logits = LOG_PROBS.expand(20_000, 4).clone().requires_grad_()

    def gradients(function, corners):
        exact = PROBS * (corners - PROBS @ corners)
        (g,) = torch.autograd.grad(function(straight_through(logits.log_softmax(-1), normal(20_000, 4))).sum(), logits)
        error = 4 * g.std(0) / math.sqrt(20_000) + 1e-12
        return (g.mean(0) - exact).abs(), error

    difference, error = gradients(lambda u: u @ pay, pay)
    assert (difference < error).all()
    corners = payoff(torch.eye(4, dtype=torch.float64))
    difference, error = gradients(payoff, corners)
    assert (difference > 3 * error).any()


def test_bits_are_unbiased_for_linear_payoffs():
    logits = torch.tensor([0.4, -1.0], dtype=torch.float64, requires_grad=True)
    pay = torch.tensor([1.0, -3.0], dtype=torch.float64)
    (g,) = torch.autograd.grad(straight_through_bernoulli(logits, normal(2)) @ pay, logits)
    p = logits.detach().sigmoid()
    torch.testing.assert_close(g, pay * p * (1 - p), rtol=1e-12, atol=0)


def make(estimator="straight_through_gumbel", **kwargs):
    torch.manual_seed(0)
    return RelaxedCategoricalMLP(OBS, CHOICES, hidden_sizes=(8,), estimator=estimator, out_scale=1.0, **kwargs).double()


@pytest.mark.parametrize("estimator", ["gumbel_softmax", "straight_through_gumbel", "straight_through"])
def test_policy_returns_vectors_that_decode_to_indices_of_the_space(estimator):
    policy, obs = make(estimator), normal(200, 3)
    assert policy.noise_size == policy.action_size == 5
    action = policy(obs, normal(200, 5, seed=2))
    assert action.shape == (200, 5) and action.requires_grad
    torch.testing.assert_close(action[:, :3].sum(-1), torch.ones(200, dtype=torch.float64))
    decoded = policy.decode(action)
    assert all(CHOICES.contains(row) for row in decoded.numpy())
    assert set(decoded[:, 0].tolist()) == {0, 1, 2} and set(decoded[:, 1].tolist()) == {5, 6}
    likeliest = policy(obs)
    assert set(likeliest.unique().tolist()) == {0.0, 1.0} and likeliest.requires_grad
    expected = torch.stack([part.argmax(-1) for part in policy.distribution(obs).log_probs], -1)
    assert torch.equal(policy.decode(likeliest), expected + torch.tensor([0, 5]))
    single = RelaxedCategoricalMLP(OBS, Discrete(4, start=2), estimator=estimator).double()
    assert single.decode(single(obs[0], normal(4))).shape == ()


def test_temperature_is_annealed_geometrically_and_saved():
    policy = make(temperature=2.0, final_temperature=0.5, anneal_env_steps=1000)
    found = []
    for env_steps in (0, 500, 1000, 5000):
        policy.anneal(env_steps)
        found.append(policy.temperature.item())
    assert found == pytest.approx([2.0, 1.0, 0.5, 0.5])
    assert policy.state_dict()["temperature"].item() == 0.5
    fixed = make(temperature=2.0)
    fixed.anneal(10**9)
    assert fixed.temperature.item() == 2.0


@pytest.mark.parametrize("estimator", ["gumbel_softmax", "straight_through_gumbel", "straight_through"])
def test_a_categorical_bandit_is_solved(estimator):
    # Each of two observations has its own best arm.
    torch.manual_seed(0)
    space = Box(-1.0, 1.0, (1,), np.float64)
    policy = RelaxedCategoricalMLP(space, Discrete(4), hidden_sizes=(), estimator=estimator, normalize=False).double()
    policy.temperature.fill_(0.5)
    obs = torch.tensor([[-1.0], [1.0]], dtype=torch.float64).repeat(50, 1)
    pay = torch.tensor([[0.0, 0.2, 1.0, 0.5], [0.9, 0.1, 0.3, 0.0]], dtype=torch.float64).repeat(50, 1)
    optimizer = torch.optim.Adam(policy.parameters(), lr=0.1)
    before = policy.distribution(obs[:2]).log_probs[0].exp()
    assert before.max() < 0.3
    for k in range(150):
        loss = -(policy(obs, normal(100, 4, seed=k)) * pay).sum(-1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    probs = policy.distribution(obs[:2]).log_probs[0].exp()
    assert probs[0, 2] > 0.95 and probs[1, 0] > 0.95


def test_a_bandit_of_bits_is_solved():
    torch.manual_seed(0)
    space, best = Box(-1.0, 1.0, (1,), np.float64), torch.tensor([1.0, 0.0, 0.0, 1.0, 1.0], dtype=torch.float64)
    policy = BernoulliMLP(space, MultiBinary(5), hidden_sizes=(), normalize=False).double()
    obs = torch.ones(64, 1, dtype=torch.float64)
    optimizer = torch.optim.Adam(policy.parameters(), lr=0.1)
    for k in range(100):
        loss = (policy(obs, normal(64, 5, seed=k)) - best).square().sum(-1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert torch.equal(policy(obs[:1])[0].detach(), best)
    assert policy.decode(policy(obs)).dtype == torch.int8 and MultiBinary(5).contains(
        policy.decode(policy(obs))[0].numpy()
    )
    assert loss < 0.2


def test_messages_name_argument_rule_and_value():
    with pytest.raises(ValueError, match="estimator must be one of gumbel_softmax, .*, got 'gumbel'"):
        make("gumbel")
    with pytest.raises(ValueError, match="temperature must be finite and > 0, got 0"):
        make(temperature=0.0)
    with pytest.raises(ValueError, match="final_temperature must be finite and > 0, got -1"):
        make(final_temperature=-1.0)
    with pytest.raises(ValueError, match="anneal_env_steps must be >= 1, got 0"):
        make(anneal_env_steps=0)
    with pytest.raises(TypeError, match="action_space must be Discrete, MultiDiscrete, .*, got Box"):
        RelaxedCategoricalMLP(OBS, OBS)
    with pytest.raises(TypeError, match="action_space must be MultiBinary, got Discrete"):
        BernoulliMLP(OBS, Discrete(2))
    with pytest.raises(ValueError, match="noise must have 5 numbers in its last axis, got 2"):
        make()(normal(3, 3), normal(3, 2))
