"""Distributions and their policies against torch.distributions, definitions and frequencies."""

import numpy as np
import pytest
import torch
from gymnasium.spaces import Discrete, Text
from torch.distributions import Categorical, Independent, MultivariateNormal, Normal, kl_divergence

from diffsim.policies import CategoricalMLP, ClipBox, DiagonalGaussian, FullGaussian, FullGaussianMLP, GaussianMLP
from tests.policies.kinds import ACTION, CHOICES, KINDS, OBS, make


def normal(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def reference(distribution):
    """The same distribution by torch, as a list of independent factors."""
    if isinstance(distribution, DiagonalGaussian):
        return [Independent(Normal(distribution.mean, distribution.std), 1)]
    if isinstance(distribution, FullGaussian):
        return [MultivariateNormal(distribution.mean, scale_tril=distribution.factor)]
    return [Categorical(logits=log_probs) for log_probs in distribution.log_probs]


def parts(distribution, raw):
    return raw.unbind(-1) if len(reference(distribution)) > 1 else [raw]


@pytest.mark.parametrize("kind", KINDS)
def test_density_entropy_and_divergence_equal_those_of_torch(kind):
    obs = normal(20, 3)
    one, two = (make(kind, seed).raw_distribution(obs) for seed in (0, 1))
    raw = one.sample(normal(20, 2, seed=2))
    first, second = reference(one), reference(two)
    expected = sum(d.log_prob(part) for d, part in zip(first, parts(one, raw), strict=True))
    torch.testing.assert_close(one.log_prob(raw), expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(one.entropy(), sum(d.entropy() for d in first), rtol=1e-12, atol=1e-12)
    divergence = sum(kl_divergence(p, q) for p, q in zip(first, second, strict=True))
    torch.testing.assert_close(one.kl(two), divergence, rtol=1e-10, atol=1e-12)
    assert (one.kl(two) > 0).all() and torch.allclose(one.kl(one), torch.zeros(20, dtype=torch.float64))
    assert not torch.allclose(one.kl(two), two.kl(one), rtol=1e-3), "negative control: the order matters"


@pytest.mark.parametrize("kind", KINDS)
def test_samples_follow_the_density(kind):
    """E[log p] = -entropy, over 40,000 draws: within 4 standard errors."""
    distribution = make(kind).raw_distribution(normal(1, 3).expand(40_000, 3))
    log_prob = distribution.log_prob(distribution.sample(normal(40_000, 2, seed=2)))
    error = (log_prob.mean() + distribution.entropy()[0]) / (log_prob.std() / 200)
    assert error.abs() < 4


def test_indices_occur_with_their_probabilities():
    policy = make("categorical")
    obs = normal(1, 3).expand(40_000, 3)
    actions = policy(obs, normal(40_000, 2, seed=2))
    assert set(actions[:, 0].tolist()) <= {0, 1, 2} and set(actions[:, 1].tolist()) <= {5, 6}
    for f, log_probs in enumerate(policy.raw_distribution(obs[0]).log_probs):
        counts = torch.bincount(actions[:, f] - (0, 5)[f], minlength=len(log_probs))
        p = log_probs.exp()
        assert ((counts / 40_000 - p).abs() < 4 * (p * (1 - p) / 40_000).sqrt()).all()


def test_extreme_noise_chooses_the_first_and_the_last():
    policy, obs = make("categorical"), normal(2, 3)
    extremes = torch.tensor([[-40.0, -40.0], [40.0, 40.0]], dtype=torch.float64)
    assert policy(obs, extremes).tolist() == [[0, 5], [2, 6]]


def test_without_noise_the_action_is_the_mode():
    policy, obs = make("categorical"), normal(50, 3)
    one, two = policy.raw_distribution(obs).log_probs
    assert torch.equal(policy(obs), torch.stack([one.argmax(-1), two.argmax(-1) + 5], -1))
    full = make("full")
    assert torch.equal(full(obs), full.squash(full.network(full.features(obs))))


def test_a_discrete_action_has_no_axis_and_counts_from_start():
    policy = CategoricalMLP(OBS, Discrete(4, start=-1), hidden_sizes=(4,)).double()
    actions = policy(normal(7, 5, 3), normal(7, 5, 1))
    assert actions.shape == (7, 5) and actions.dtype == torch.int64
    assert actions.min() >= -1 and actions.max() <= 2


def test_covariance_of_full_gaussian_samples():
    """The samples have covariance L L': entries within 5 standard errors, at most sqrt(2 s_ii s_jj / n)."""
    policy, count = make("full"), 40_000
    distribution = policy.raw_distribution(normal(1, 3).expand(count, 3))
    expected = distribution.factor @ distribution.factor.T
    error = 5 * (2 * expected.diagonal()[:, None] * expected.diagonal() / count).sqrt()
    assert ((distribution.sample(normal(count, 2, seed=2)).T.cov() - expected).abs() < error).all()
    assert expected[0, 1].abs() > 0.1


def test_clip_box_by_hand():
    clip = ClipBox(ACTION)
    x = torch.tensor([[0.5, -0.5], [7.0, -7.0]])
    assert clip(x).tolist() == [[0.5 + 0.5 * 1.5, -1.0 - 0.5 * 2.0], [2.0, -3.0]]
    torch.testing.assert_close(clip.inverse(clip(x[:1])), x[:1])
    assert clip.log_det(x).tolist() == pytest.approx([np.log(3.0)] * 2)
    policy = GaussianMLP(OBS, ACTION, bounds="clip", initial_std=5.0).double()
    actions = policy(normal(200, 3), normal(200, 2))
    low, high = torch.as_tensor(ACTION.low), torch.as_tensor(ACTION.high)
    assert ((actions >= low) & (actions <= high)).all() and (actions[:, 0] == 2.0).any()


@pytest.mark.parametrize(
    ("build", "kind", "message"),
    [
        (lambda: CategoricalMLP(OBS, ACTION), TypeError, "action_space must be Discrete, MultiDiscrete, .*, got Box"),
        (lambda: CategoricalMLP(Text(3), CHOICES), ValueError, r"observation_space must be a Box, .* got Text"),
        (lambda: FullGaussianMLP(OBS, CHOICES), TypeError, "action_space must be a gymnasium.spaces.Box, got Multi"),
        (lambda: FullGaussianMLP(OBS, ACTION, initial_std=0.0), ValueError, "initial_std must be within"),
        (lambda: GaussianMLP(OBS, ACTION, bounds="fold"), ValueError, "bounds must be one of tanh, clip, got 'fold'"),
        (lambda: make("full")(normal(1, 3), normal(1, 3)), ValueError, "noise must have 2 numbers .* got 3"),
    ],
)
def test_messages_name_argument_rule_and_value(build, kind, message):
    with pytest.raises(kind, match=message):
        build()
