"""Actions in every kind of space: inside the bounds to the last bit, of the right type, or refused by name."""

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple

from diffsim.policies import CategoricalMLP, ClipBox, GaussianMLP, HybridMLP, TanhBox
from diffsim.structured_actions import taken

OBS = Box(-1.0, 1.0, (2,))
EDGES = Box(np.float32([-np.inf, 0.0, -np.inf, -3.0]), np.float32([np.inf, np.inf, 5.0, -1.0]))
"""Without bounds, with a lower one, with an upper one, and with both: the centres are 0, 1, 0 and -2."""


@pytest.mark.parametrize("kind", [TanhBox, ClipBox])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_saturated_actions_stay_in_random_boxes(kind, dtype):
    """centre + half_width rounds to a number above `high` in a third of such boxes."""
    random = np.random.default_rng(0)
    low = random.normal(size=500).astype(dtype)
    space = Box(low, low + random.uniform(0.01, 3.0, 500).astype(dtype), dtype=dtype)
    squash, x = kind(space), torch.tensor([[-40.0], [40.0]]).expand(2, 500)
    below, above = squash(x).numpy().astype(np.float64)
    assert (below >= space.low).all() and (above <= space.high).all()
    np.testing.assert_allclose([below, above], [space.low, space.high], atol=1e-6)
    edges = squash.uniform(torch.tensor([[0.0], [1.0]]).expand(2, 500)).numpy().astype(np.float64)
    assert (edges[0] >= space.low).all() and (edges[1] <= space.high).all()
    assert (squash.half_width + squash.center > squash.high).any(), "the test must contain such boxes"


@pytest.mark.parametrize(("kind", "last"), [(TanhBox, -2.0 + np.tanh(0.5)), (ClipBox, -1.5)])
def test_numbers_without_two_bounds_are_not_squashed(kind, last):
    squash = kind(EDGES, unbounded=True).double()
    x = torch.tensor([[7.0, 7.0, 3.0, 0.5], [-7.0, -7.0, 70.0, 0.5]], dtype=torch.float64)
    expected = torch.tensor([[7.0, 8.0, 3.0, last], [-7.0, 0.0, 5.0, last]], dtype=torch.float64)
    torch.testing.assert_close(squash(x), expected)
    torch.testing.assert_close(squash.inverse(squash(x[:1])), x[:1])
    jacobian = torch.autograd.functional.jacobian(squash, x[0])
    torch.testing.assert_close(squash.log_det(x[0]), torch.linalg.slogdet(jacobian).logabsdet)
    policy = GaussianMLP(OBS, EDGES).double()
    action, log_prob = policy.sample(torch.zeros(3, 2).double(), torch.zeros(3, 4).double())
    torch.testing.assert_close(policy.log_prob(torch.zeros(3, 2).double(), action), log_prob)


@pytest.mark.parametrize(
    ("space", "lowest", "counts"),
    [
        (MultiBinary(3), [0, 0, 0], (2, 2, 2)),
        (MultiBinary((1, 2)), [0, 0], (2, 2)),
        (MultiDiscrete([[2, 3], [4, 2]]), [0, 0, 0, 0], (2, 3, 4, 2)),
        (Box(np.array([[-2, 5]]), np.array([[3, 6]]), dtype=np.int16), [-2, 5], (6, 2)),
        (Discrete(4, start=7), [7], (4,)),
    ],
)
def test_choices_reach_every_value_of_the_space(space, lowest, counts):
    policy = CategoricalMLP(OBS, space, out_scale=1.0)
    assert policy.counts == counts
    values = policy.decode(policy(torch.randn(400, 2), torch.randn(400, len(counts)))).numpy().reshape(400, -1)
    for column, low, count in zip(values.T, lowest, counts, strict=True):
        assert sorted(set(column.tolist())) == list(range(low, low + count))
    actions = taken(space, values[:, 0] if isinstance(space, Discrete) else values)
    assert all(space.contains(action) for action in actions)


@pytest.mark.parametrize(
    ("space", "action", "expected"),
    [
        (Box(-1, 1, (1, 1)), [[0.5], [2.0]], np.float32([[[0.5]], [[1.0]]])),
        (Box(-1, 1, ()), [[0.5], [0.25]], np.float32([0.5, 0.25])),
        (Box(0.1, 0.3, (1,), np.float64), np.float32([[0.1], [0.3]]), np.float64([[np.float32(0.1)], [0.3]])),
        (MultiBinary((1, 2)), [[1, 0]], np.int8([[[1, 0]]])),
    ],
)
def test_actions_have_the_shape_and_the_type_of_the_space(space, action, expected):
    found = taken(space, np.array(action))
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == space.dtype and found.shape == expected.shape
    assert all(space.contains(np.asarray(row)) for row in found)


def test_parts_of_structured_actions_have_their_types():
    space = Dict({"gear": Discrete(2, start=3), "push": Tuple((Box(-1, 1, (2,)),))})
    policy = HybridMLP(OBS, space).double()
    action = policy(torch.zeros(1, 2).double(), torch.full((1, 3), 9.0).double()).detach().numpy()
    assert space.contains(taken(space, action[0]))


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (Box(np.float32([0.5, -1.0]), np.float32([0.5, 1.0])), "low < high, got low = 0.5 and high = 0.5 for number 0"),
        (Box(-1, 1, (0,)), "action_space must be a Box with at least one number"),
        (Box(-2, 3, (2,), np.int32), "action_space must be a Box of floats, or for integers use CategoricalMLP, got"),
    ],
)
def test_boxes_without_real_actions_are_refused_by_name(space, message):
    with pytest.raises((TypeError, ValueError), match=message):
        GaussianMLP(OBS, space)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (Box(-(2**31), 2**31 - 1, (1,), np.int32), "action_space must be one with at most 1024 values per integer"),
        (Box(0, 1, (0,), np.int8), "action_space must be one with at least one choice"),
    ],
)
def test_integers_without_few_values_are_refused_by_name(space, message):
    with pytest.raises(ValueError, match=message):
        CategoricalMLP(OBS, space)
