"""Observations of every kind of space as vectors and images, and numbers so large that float32 rounds them away."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple
from gymnasium.vector.utils import batch_space

from diffsim.policies import DeterministicMLP, GaussianMLP, Observations, as_tensor

ARM = Box(-1.0, 1.0, (2,), np.float64)
NESTED = Dict({"eye": Box(0, 255, (1, 2), np.uint8), "body": Dict({"arm": ARM, "mode": Discrete(3, start=4)})})
ACTION = Box(-1.0, 1.0, (2,), np.float32)


@pytest.mark.parametrize(
    "space",
    [
        Box(-np.inf, np.inf, (2, 3), np.float32),
        Box(0.0, 1.0, (), np.float64),
        Discrete(5, start=-2),
        MultiBinary((2, 2)),
        MultiDiscrete([[3, 2], [2, 4]], start=[[1, 0], [0, -1]]),
        NESTED,
        Tuple((Discrete(2), Tuple((ARM, MultiDiscrete([2, 2]))))),
    ],
    ids=str,
)
def test_vectors_are_gymnasiums_also_of_batches(space):
    seen = Observations(space)
    space.seed(0)
    for _ in range(5):
        obs = space.sample()
        np.testing.assert_array_equal(seen.flat(obs), gymnasium.spaces.flatten(space, obs))
    batch = batch_space(space, 4)
    obs = batch.sample()
    rows = gymnasium.vector.utils.iterate(batch, obs)
    expected = [gymnasium.spaces.flatten(space, row) for row in rows]
    np.testing.assert_array_equal(seen.flat(obs), expected)
    assert seen.flat(obs).shape[1:] == seen.space.shape == gymnasium.spaces.flatten_space(space).shape


def test_names_of_parts_are_kept():
    """Gymnasium sorts the names of a dict: body before eye, arm before mode."""
    columns = Observations(NESTED).columns
    assert {name: (part.start, part.stop) for name, part in columns.items()} == {
        **{"body": (0, 5), "body.arm": (0, 2), "body.mode": (2, 5), "eye": (5, 7)}
    }
    assert list(Observations(Tuple((ARM, NESTED))).columns)[:3] == ["0", "1", "1.body"]


def test_float_images_are_scaled_by_their_bounds_and_reach_the_convolutions():
    policy = DeterministicMLP(Box(-4.0, 2.0, (1, 3, 3), np.float64), ACTION, convolutions=[[1, 3, 1]]).double()
    assert policy.encoder is not None and policy.normalizer is None
    convolution = policy.encoder.network[0]
    image = torch.full((1, 1, 3, 3), -2.0, dtype=torch.float64)
    expected = (-0.5 * convolution.weight.sum() + convolution.bias).clamp_min(0)
    torch.testing.assert_close(policy.features(image), expected.view(1, 1))


def test_unsigned_integers_without_operations_in_torch_become_signed():
    seen = Observations(Box(0, 60_000, (9, 9), np.uint16))
    assert seen.flat(np.full((9, 9), 60_000, np.uint16)).dtype == seen.space.dtype == np.int32


FAR = np.array([[1e9 + 0.25, 0.5, -3e12], [1e9 - 1, -0.5, -3e12 + 1]])


def test_large_numbers_are_centred_before_they_are_cast():
    """float32 cannot tell 1e9 from 1e9 + 1; without the origin both rows would be equal."""
    policy = GaussianMLP(Box(-np.inf, np.inf, (3,), np.float64), ACTION)
    assert len(as_tensor(policy, FAR).unique(dim=0)) == 2 and as_tensor(policy, FAR)[:, 0].unique().numel() == 1
    policy.center(FAR)
    assert as_tensor(policy, FAR).tolist() == [[0.25, 0.5, 0.0], [-1.0, -0.5, 1.0]]
    other = GaussianMLP(Box(-np.inf, np.inf, (3,), np.float64), ACTION)
    other.load_state_dict(policy.state_dict())
    assert torch.equal(as_tensor(other, FAR), as_tensor(policy, FAR)), "a checkpoint holds the origin"
    before = {name: value for name, value in policy.state_dict().items() if name != "origin"}
    policy.load_state_dict(before)
    assert policy.origin is None, "older checkpoints have none, and their policies saw the numbers as they are"


@pytest.mark.parametrize("obs", [FAR[:, 1:2], FAR.astype(np.float32), np.full((2, 1), np.inf)])
def test_other_numbers_have_no_origin(obs):
    policy = GaussianMLP(Box(-np.inf, np.inf, obs.shape[1:], obs.dtype.type), ACTION)
    policy.center(obs)
    assert policy.origin is None and "origin" not in policy.state_dict()
