"""Policies: bounds, densities against torch.distributions, reparameterised gradients, and error messages."""

import inspect
import math

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import AffineTransform, Independent, Normal, TanhTransform, TransformedDistribution

from diffsim.policies import (
    CategoricalMLP,
    DeterministicMLP,
    FullGaussianMLP,
    GaussianMLP,
    ObservationNormalizer,
    TanhBox,
    ValueMLP,
    mlp,
)

OBS = Box(-np.inf, np.inf, (3,), np.float64)
ACTION = Box(np.array([-1.0, -3.0], np.float32), np.array([2.0, 1.0], np.float32))
STDS = ("fixed", "learned", "state")


def gaussian(std="learned", **kwargs):
    torch.manual_seed(0)
    return GaussianMLP(OBS, ACTION, std=std, **kwargs).double()


def batch(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def reference(policy, obs):
    """The policy's distribution, built from torch's own transforms."""
    mean, std = policy.distribution(obs)
    low, high = torch.as_tensor(ACTION.low).double(), torch.as_tensor(ACTION.high).double()
    squash = [TanhTransform(), AffineTransform((high + low) / 2, (high - low) / 2)]
    return Independent(TransformedDistribution(Normal(mean, std), squash), 1)


@pytest.mark.parametrize("std", STDS)
def test_log_prob_equals_torch_distributions(std):
    policy, obs = gaussian(std, out_scale=1.0), batch(50, 3)
    action = policy(obs, batch(50, 2, seed=2))
    expected = reference(policy, obs).log_prob(action)
    torch.testing.assert_close(policy.log_prob(obs, action), expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("std", STDS)
def test_sample_agrees_with_action_and_log_prob(std):
    policy, obs, noise = gaussian(std), batch(50, 3), batch(50, 2, seed=2)
    action, log_prob = policy.sample(obs, noise)
    assert torch.equal(action, policy(obs, noise))
    torch.testing.assert_close(log_prob, policy.log_prob(obs, action), rtol=1e-7, atol=1e-7)


def test_density_integrates_to_one():
    torch.manual_seed(0)
    policy = GaussianMLP(OBS, Box(-1.0, 3.0, (1,), np.float32), initial_std=1.0).double()
    grid = torch.linspace(-1.0, 3.0, 200_001, dtype=torch.float64)[1:-1, None]
    density = policy.log_prob(batch(1, 3).expand(len(grid), 3), grid).exp()
    # A Riemann sum of a smooth function that vanishes at the bounds: error far below the tolerance of 1e-4.
    assert density.sum().item() * 4.0 / 200_000 == pytest.approx(1.0, abs=1e-4)


def test_log_prob_stays_finite_where_tanh_saturates():
    policy = GaussianMLP(OBS, ACTION, initial_std=1.0)
    action, log_prob = policy.sample(torch.zeros(1, 3), torch.full((1, 2), 40.0))
    assert torch.equal(action, torch.as_tensor(ACTION.high)[None])
    # Far out, log(1 - tanh(x)^2) -> 2 log 2 - 2 x, here at x = 40, and the half widths are 1.5 and 2.
    normal = 2 * (-0.5 * 40.0**2 - 0.5 * math.log(2 * math.pi))
    expected = normal - 2 * (2 * math.log(2) - 80.0) - math.log(1.5) - math.log(2.0)
    assert log_prob.item() == pytest.approx(expected, rel=1e-5)
    assert policy.log_prob(torch.zeros(1, 3), action).isfinite().all()


@pytest.mark.parametrize("policy_class", [DeterministicMLP, GaussianMLP])
def test_without_noise_the_action_is_the_squashed_network_output(policy_class):
    policy = policy_class(OBS, ACTION, normalize=False, out_scale=1.0)
    obs = torch.randn(5, 3)
    center, half = torch.tensor([0.5, -1.0]), torch.tensor([1.5, 2.0])
    torch.testing.assert_close(policy(obs), center + half * torch.tanh(policy.network(obs)[:, :2]))


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=2, max_size=2))
def test_actions_are_inside_the_space_for_every_input(x):
    action = TanhBox(ACTION)(torch.tensor(x))
    assert ACTION.contains(action.numpy())


def test_inverse_inverts():
    squash, x = TanhBox(ACTION).double(), batch(100, 2)
    torch.testing.assert_close(squash.inverse(squash(x)), x, rtol=1e-9, atol=1e-9)


def test_log_det_equals_that_of_the_jacobian():
    squash, x = TanhBox(ACTION).double(), batch(2)
    jacobian = torch.autograd.functional.jacobian(squash, x)
    assert squash.log_det(x).item() == pytest.approx(torch.logdet(jacobian).item(), rel=1e-12)


def test_noise_is_reparameterized():
    policy, obs, noise = gaussian("learned"), batch(7, 3), batch(7, 2, seed=2)
    action = policy(obs, noise)
    (gradient,) = torch.autograd.grad(action.sum(), policy.log_std)
    mean, std = policy.distribution(obs)
    x = mean + std * noise
    derivative = policy.squash.half_width * (1 - torch.tanh(x) ** 2)
    torch.testing.assert_close(gradient, (derivative * std * noise).sum(0))


@pytest.mark.parametrize(("std", "learned"), [("fixed", False), ("learned", True), ("state", False)])
def test_only_a_learned_std_is_a_parameter(std, learned):
    policy = gaussian(std, initial_std=0.3)
    assert ("log_std" in dict(policy.named_parameters())) == learned
    deviation = policy.distribution(batch(4, 3))[1]
    assert (deviation[0] == deviation[1]).all().item() == (std != "state")
    if std != "state":
        torch.testing.assert_close(deviation, torch.full_like(deviation, 0.3))


@pytest.mark.parametrize("kind", ["learned", "state", "full"])
def test_a_learned_deviation_stays_between_its_bounds(kind):
    """exp(-5) and exp(2), however far training moves the parameters; inside, the deviation is as it was."""
    policy = FullGaussianMLP(OBS, ACTION).double() if kind == "full" else gaussian(kind)
    parameter = policy.log_diagonal if kind == "full" else policy.log_std if kind == "learned" else None
    for shift, expected in ((-50.0, math.exp(-5)), (50.0, math.exp(2)), (0.1, None)):
        with torch.no_grad():
            if parameter is None:
                policy.network[-1].weight[2:] = 0.0
                policy.network[-1].bias[2:] = shift
            else:
                parameter.fill_(math.log(0.5) + shift)
        raw = policy.raw_distribution(batch(4, 3))
        std = raw.factor.diagonal() if kind == "full" else raw.std
        torch.testing.assert_close(std, torch.full_like(std, expected or 0.5 * math.exp(shift)), rtol=1e-6, atol=0.0)


def test_normalizer_merges_the_statistics_of_all_batches():
    normalizer, data = ObservationNormalizer(3).double(), 5.0 + 3.0 * batch(6, 10, 3)
    untouched = data[0].clone()
    assert torch.equal(normalizer(untouched), untouched / math.sqrt(1 + 1e-4))
    for part in (data[:1], data[1:4], data[4:], data[:0]):
        normalizer.update(part)
    flat = data.reshape(-1, 3)
    torch.testing.assert_close(normalizer.mean, flat.mean(0))
    torch.testing.assert_close(normalizer.variance, flat.var(0, correction=0))
    assert normalizer.count.item() == 60
    normalised = normalizer(flat)
    torch.testing.assert_close(normalised.var(0, correction=0), torch.ones(3).double(), rtol=1e-4, atol=0)


def test_with_clip_obs_small_deviations_are_not_damped_by_epsilon():
    normalizer = ObservationNormalizer(2, clip_obs=3.0).double()
    normalizer.update(torch.tensor([[0.999, 5.0], [1.001, 5.0]]).double())  # deviations 0.001 and 0
    normalised = normalizer(torch.tensor([[1.0005, 5.0], [1.1, 5.1], [0.9, 4.9]]).double())
    torch.testing.assert_close(
        normalised, torch.tensor([[0.5, 0.0], [3.0, 3.0], [-3.0, -3.0]]).double(), rtol=0.01, atol=0
    )


@pytest.mark.parametrize("kind", [GaussianMLP, FullGaussianMLP, CategoricalMLP])
def test_initial_weights_are_orthogonal_and_scaled(kind):
    space = Discrete(3) if kind is CategoricalMLP else ACTION
    policy = kind(OBS, space, hidden_sizes=(16, 16), clip_obs=10.0, hidden_scale=2**0.5, out_scale=0.01)
    first, second, last = (layer.weight for layer in policy.network if hasattr(layer, "weight"))
    torch.testing.assert_close(first.T @ first, 2.0 * torch.eye(3))
    torch.testing.assert_close(second @ second.T, 2.0 * torch.eye(16))
    torch.testing.assert_close(last @ last.T, 1e-4 * torch.eye(len(last)), rtol=1e-5, atol=1e-9)
    assert policy.normalizer is not None and policy.normalizer.clip_obs == 10.0


def test_normalizer_changes_only_in_update():
    policy = DeterministicMLP(OBS, ACTION)
    assert policy.normalizer is not None
    before = policy.normalizer.mean.clone()
    policy(torch.randn(5, 3) + 10)
    assert torch.equal(policy.normalizer.mean, before) and {"normalizer.mean"} <= set(policy.state_dict())
    assert not any(name.startswith("normalizer") for name, _ in policy.named_parameters())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: mlp(3, (0,), 1), "must be >= 1, got 0"),
        (lambda: mlp(3, (), 1, activation="sin"), "activation must be one of tanh, .*, got 'sin'"),
        (lambda: ObservationNormalizer(3, epsilon=0.0), "epsilon must be > 0, got 0.0"),
        (lambda: GaussianMLP(OBS, ACTION, clip_obs=0.0), "clip_obs must be > 0, got 0.0"),
        (lambda: GaussianMLP(OBS, ACTION, clip_obs=0.0, normalize=False), "clip_obs must be > 0, got 0.0"),
        (
            lambda: TanhBox(Box(-np.inf, np.inf, (2,))),
            "action_space must be one with finite bounds, got",
        ),
        (lambda: GaussianMLP(OBS, ACTION, std="big"), "std must be one of fixed, learned, state, got 'big'"),
        (lambda: GaussianMLP(OBS, ACTION, initial_std=0.0), "initial_std must be > 0, got 0.0"),
        (lambda: GaussianMLP(OBS, ACTION, initial_std=9.0), r"initial_std must be within .*, got 9.0"),
        (lambda: DeterministicMLP(OBS, ACTION)(torch.zeros(4, 2)), "obs must have 3 numbers .* got 2"),
        (lambda: DeterministicMLP(OBS, ACTION)(torch.zeros(4, 3), torch.zeros(4, 2)), "noise must be None"),
        (lambda: gaussian()(batch(4, 3), batch(4, 3)), "noise must have 2 numbers .* got 3"),
        (lambda: gaussian().log_prob(batch(4, 3), batch(4, 1)), "action must have 2 numbers, got 1"),
    ],
)
def test_messages_name_argument_rule_and_value(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_discrete_actions_are_refused():
    with pytest.raises(TypeError, match="must be a gymnasium.spaces.Box, got Discrete"):
        TanhBox(Discrete(3))


def test_layer_norm_makes_hidden_layers_invariant_to_the_scale_of_their_input():
    torch.manual_seed(0)
    plain, normed = (mlp(3, (8,), 1, activation="relu", layer_norm=flag).double() for flag in (False, True))
    obs = batch(20, 3)
    torch.testing.assert_close(normed(1000 * obs), normed(100 * obs), rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(plain(1000 * obs), 10 * plain(100 * obs))
    assert mlp(3, (), 2)(torch.ones(4, 3)).shape == (4, 2)


def test_a_value_shares_the_normalizer_it_is_given():
    normalizer = ObservationNormalizer(3)
    torch.manual_seed(0)
    value, obs = ValueMLP(3, normalizer), batch(50, 3).float() * 7 + 2
    before = value(obs)
    assert before.shape == (50,)
    normalizer.update(obs)
    torch.testing.assert_close(
        value(obs), value.network((obs - obs.mean(0)) / obs.std(0, correction=0)).squeeze(-1), rtol=1e-3, atol=1e-4
    )
    assert not torch.allclose(value(obs), before)


@pytest.mark.parametrize("cls", [DeterministicMLP, GaussianMLP, CategoricalMLP])
def test_signature_shows_the_shared_options_with_the_defaults_of_the_class(cls):
    parameters = inspect.signature(cls).parameters
    assert list(parameters)[:2] == ["observation_space", "action_space"]
    assert {"hidden_sizes", "activation", "normalize", "convolutions"} <= set(parameters)
    assert parameters["out_scale"].default == (0.01 if cls is CategoricalMLP else 0.1)
    assert not {"options", "squash", "out_size"} & set(parameters)


def test_unknown_option_of_a_policy_is_refused():
    with pytest.raises(TypeError, match="hiden_sizes"):
        GaussianMLP(OBS, ACTION, hiden_sizes=(8,))
