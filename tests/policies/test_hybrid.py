"""Policies for actions with continuous and discrete parts: layout, densities, gradients."""

import itertools

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete, Tuple

from diffsim.policies import Categoricals, DiagonalGaussian, HybridMLP, Mixed

OBS = Box(-np.inf, np.inf, (3,), np.float64)
LEGS = Box(np.array([-1.0, -3.0], np.float32), np.array([2.0, 1.0], np.float32))
SPACES = {
    "tuple": Tuple((LEGS, Discrete(3, start=5))),
    "dict": Dict(gear=Discrete(3, start=5), legs=LEGS),  # sorted by name
    "nested": Tuple((Discrete(2), Dict(a=Box(0.0, 1.0, (1,)), b=Discrete(3, start=5)), LEGS)),
}


def make(space, **options):
    torch.manual_seed(0)
    return HybridMLP(OBS, space, hidden_sizes=(8,), out_scale=1.0, **options).double()


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("bounds", ["tanh", "clip"])
def test_actions_are_in_the_space_with_the_numbers_in_the_order_of_its_parts(name, bounds):
    space, generator = SPACES[name], torch.Generator().manual_seed(0)
    policy = make(space, bounds=bounds)
    obs = torch.randn(200, 3, generator=generator, dtype=torch.float64)
    action = policy(obs, torch.randn(200, policy.noise_size, generator=generator, dtype=torch.float64)).detach().numpy()
    legs = {"tuple": slice(0, 2), "dict": slice(1, 3), "nested": slice(3, 5)}[name]
    gear = {"tuple": 2, "dict": 0, "nested": 2}[name]
    assert (action[:, legs] >= LEGS.low).all() and (action[:, legs] <= LEGS.high).all()
    assert set(action[:, gear]) == {5.0, 6.0, 7.0}
    if name == "nested":
        assert set(action[:, 0]) == {0.0, 1.0} and ((action[:, 1] >= 0) & (action[:, 1] <= 1)).all()
    indices = policy.squash.indices(torch.as_tensor(action))
    torch.testing.assert_close(indices[:, -1], torch.as_tensor(action[:, gear]).long() - 5)


def test_the_density_sums_to_one_and_agrees_with_the_parts():
    policy = make(SPACES["tuple"])
    obs = torch.randn(4, 3, dtype=torch.float64)
    found = policy.raw_distribution(obs)
    raw = torch.randn(4, 2, dtype=torch.float64)
    total = sum(
        found.log_prob(torch.cat([raw, torch.full((4, 1), float(k), dtype=torch.float64)], -1)).exp() for k in range(3)
    )
    torch.testing.assert_close(total, found.numbers.log_prob(raw).exp())
    assert found.mode.shape == (4, 3) and torch.equal(policy(obs), policy.squash(found.mode))


def mixed(seed, count):
    """The same distribution in all rows."""
    torch.manual_seed(seed)
    mean, std, logits = (torch.randn(1, size, dtype=torch.float64).expand(count, -1) for size in (2, 2, 3))
    return Mixed(DiagonalGaussian(mean, std.exp()), Categoricals((logits.log_softmax(-1),)))


def test_entropy_and_divergence_are_means_of_log_densities():
    first, second = mixed(0, 200_000), mixed(1, 200_000)
    noise = torch.randn(200_000, 3, dtype=torch.float64)
    raw = first.sample(noise)
    log_prob, other = first.log_prob(raw), second.log_prob(raw)
    for exact, each in ((first.entropy(), -log_prob), (first.kl(second), log_prob - other)):
        assert (each.mean() - exact[0]).abs() < 4 * each.std() / len(each) ** 0.5


def test_only_the_continuous_part_has_a_gradient():
    policy = make(SPACES["tuple"])
    obs = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    action = policy(obs, torch.randn(5, 3, dtype=torch.float64))
    legs, gear = (torch.autograd.grad(part.sum(), obs, retain_graph=True)[0] for part in (action[:, :2], action[:, 2]))
    assert legs.norm() > 0.1 and gear.norm() == 0


@pytest.mark.parametrize(
    ("space", "error", "message"),
    [
        (LEGS, TypeError, "action_space must be Tuple or Dict, got Box"),
        (Tuple((LEGS,)), ValueError, "action_space must be one with Box and Discrete parts"),
        (Tuple((Discrete(2),)), ValueError, "action_space must be one with Box and Discrete parts"),
        (Tuple((LEGS, MultiDiscrete([2, 2]))), ValueError, "parts of action_space must be vector Box or Discrete"),
        (Tuple((Box(0, 2, (1,), np.int32), Discrete(2))), TypeError, "action_space must be a Box of floats"),
    ],
)
def test_other_spaces_are_refused(space, error, message):
    with pytest.raises(error, match=message):
        HybridMLP(OBS, space)


def test_choices_are_drawn_with_their_probabilities():
    found = mixed(0, 100_000)
    drawn = found.sample(torch.randn(100_000, 3, dtype=torch.float64))[:, 2]
    probs = found.choices.log_probs[0].exp()[0]
    for k, p in enumerate(probs):
        assert abs((drawn == k).double().mean() - p) < 4 * (p * (1 - p) / 1e5) ** 0.5
    assert set(itertools.chain(drawn.tolist())) <= {0.0, 1.0, 2.0}
