"""Policies that are linear in features: their formulas, and what they refuse."""

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete, MultiDiscrete

from diffsim.policies import FeaturePolicy, LinearPolicy, RBFPolicy

OBS = Box(-np.inf, np.inf, (2,), np.float64)
ACTION = Box(np.array([-1.0, -3.0], np.float32), np.array([2.0, 1.0], np.float32))


def set_weight(policy, rows):
    policy.double()
    with torch.no_grad():
        policy.weight.copy_(torch.tensor(rows))
    return policy


def test_linear_policy_by_hand():
    policy = set_weight(LinearPolicy(OBS, ACTION), [[0.1, 0.2, 0.3], [1.0, 1.0, 0.0]])
    obs = torch.tensor([[1.0, 2.0], [0.0, -0.5]], dtype=torch.float64)
    # x = (0.8, 3), (0.2, -0.5), clipped to [-1, 1]; center (0.5, -1), half width (1.5, 2).
    expected = torch.tensor([[0.5 + 1.5 * 0.8, 1.0], [0.5 + 1.5 * 0.2, -2.0]], dtype=torch.float64)
    torch.testing.assert_close(policy(obs), expected)
    without = set_weight(LinearPolicy(OBS, ACTION, bias=False), [[0.1, 0.2], [0.0, 0.0]])
    torch.testing.assert_close(without(obs)[:, 0], torch.tensor([0.5 + 1.5 * 0.5, 0.5 - 1.5 * 0.1]).double())


def test_discrete_actions_are_those_of_the_largest_output():
    obs = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    policy = set_weight(LinearPolicy(OBS, Discrete(3, start=5), bias=False), [[0.0, 1.0], [2.0, 0.0], [1.0, 0.5]])
    assert policy(obs).tolist() == [6, 5]
    policy = set_weight(LinearPolicy(OBS, MultiDiscrete([2, 2]), bias=False), [[0, 1.0], [1, 0], [0, 0], [-1, 1]])
    assert policy(obs).tolist() == [[1, 0], [0, 1]]


def test_a_new_policy_takes_the_middle_action():
    obs = torch.randn(4, 2)
    assert torch.equal(LinearPolicy(OBS, ACTION)(obs), torch.tensor([[0.5, -1.0]] * 4))


def test_radial_basis_functions_by_hand():
    policy = RBFPolicy(OBS, ACTION, num_centers=2, width=2.0, normalize=False).double()
    policy.centers.copy_(torch.tensor([[0.0, 0.0], [1.0, 2.0]]))
    found = policy.basis(torch.tensor([[[1.0, 2.0]]], dtype=torch.float64))
    torch.testing.assert_close(found, torch.tensor([[[np.exp(-5 / 8), 1.0]]], dtype=torch.float64))
    assert policy.weight.shape == (2, 2)


def test_features_are_of_the_normalised_observation():
    policy = LinearPolicy(OBS, ACTION, normalize=True, clip_obs=1.0).double()
    policy.normalizer.update(torch.tensor([[0.0, 0.0], [2.0, 4.0]], dtype=torch.float64))
    found = policy.basis(torch.tensor([[3.0, 1.0]], dtype=torch.float64))
    torch.testing.assert_close(found, torch.tensor([[1.0, -0.5, 1.0]], dtype=torch.float64))


def test_own_features():
    class Product(FeaturePolicy):
        def __init__(self, observation_space, action_space):
            super().__init__(observation_space, action_space, 1)

        def basis(self, obs):
            return obs.prod(-1, keepdim=True)

    policy = set_weight(Product(OBS, ACTION), [[0.1], [0.2]])
    expected = torch.tensor([0.5 + 1.5 * 0.2, -1.0 + 2.0 * 0.4], dtype=torch.float64)
    torch.testing.assert_close(policy(torch.tensor([1.0, 2.0]).double()), expected)


def test_errors():
    with pytest.raises(ValueError, match="observation_space must be a vector Box"):
        LinearPolicy(Box(0, 255, (8, 8, 3), np.uint8), ACTION)
    with pytest.raises(ValueError, match="noise must be None for a deterministic policy"):
        LinearPolicy(OBS, ACTION)(torch.zeros(1, 2), torch.zeros(1, 2))
    with pytest.raises(ValueError, match="num_centers must be >= 1, got 0"):
        RBFPolicy(OBS, ACTION, num_centers=0)
    with pytest.raises(ValueError, match="width must be finite and > 0, got 0.0"):
        RBFPolicy(OBS, ACTION, width=0.0)
    with pytest.raises(ValueError, match="obs must have 2 numbers in its last axis, got 3"):
        LinearPolicy(OBS, ACTION)(torch.zeros(1, 3))
