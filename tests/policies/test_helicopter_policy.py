"""The structured policy of the helicopter, by hand."""

import math

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box

from diffsim.policies import HelicopterPolicy
from diffsim.policies.helicopter import back_to_level

OBS, ACTION = Box(-np.inf, np.inf, (12,), np.float64), Box(-1.0, 1.0, (4,), np.float32)
THETA = [0.01 * k for k in range(1, 13)]


def policy(**options):
    return HelicopterPolicy(OBS, ACTION, **options).double()


def test_the_lectures_formulas_by_hand():
    velocity, position, rate = [0.3, -0.2, 0.1], [1.0, 2.0, -3.0], [0.05, -0.06, 0.07]
    angle = 0.2
    vector = [math.sin(angle / 2), 0.0, 0.0]  # rolled to the right
    act = policy(theta=THETA, trim=(0.01, 0.02, 0.03, 0.2), width=2.0)
    f = lambda e: 2.0 * math.tanh(e / 2.0)  # noqa: E731
    expected = [
        0.01 + 0.07 * f(-2.0) + 0.08 * f(-0.2) + 0.09 * 0.05 + 0.10 * -angle,
        0.02 + 0.03 * f(-1.0) + 0.04 * f(0.3) + 0.05 * -0.06,
        0.03 + 0.11 * 0.07,
        0.20 + 0.01 * f(3.0) + 0.02 * 0.1,
    ]
    obs = torch.tensor([*velocity, *position, *rate, *vector], dtype=torch.float64)
    torch.testing.assert_close(act(obs), torch.tensor(expected, dtype=torch.float64), rtol=1e-6, atol=1e-7)
    assert sum(p.numel() for p in act.parameters()) == 21


def test_actions_are_clipped_and_zero_gains_hold_the_trim():
    obs = torch.randn(5, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(policy()(obs), torch.tensor([[0.0, 0.0, 0.0, 0.2327]]).double().expand(5, 4))
    assert policy(theta=[100.0] * 12)(obs).abs().max() == 1.0


def test_the_rotation_vector_and_its_gradient():
    axis = torch.tensor([2.0, -1.0, 2.0], dtype=torch.float64) / 3
    vectors = torch.stack([math.sin(angle / 2) * axis for angle in (0.0, 0.3, 1.0)]).requires_grad_()
    expected = torch.stack([-angle * axis for angle in (0.0, 0.3, 1.0)])
    torch.testing.assert_close(back_to_level(vectors), expected)
    assert torch.autograd.gradcheck(back_to_level, vectors)


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"observation_space must be Box \[12\]"):
        HelicopterPolicy(Box(-1.0, 1.0, (11,)), ACTION)
    with pytest.raises(ValueError, match=r"action_space must be Box \[4\]"):
        HelicopterPolicy(OBS, Box(-1.0, 1.0, (3,)))
    with pytest.raises(ValueError, match="theta must be 12 numbers or None"):
        policy(theta=[1.0])
    with pytest.raises(ValueError, match="width must be finite and > 0, got 0"):
        policy(width=0.0)
    with pytest.raises(ValueError, match="noise must be None for a deterministic policy"):
        policy()(torch.zeros(12).double(), torch.zeros(1))
