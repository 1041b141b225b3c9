"""The policy that is linear in features of the actions, by hand and in Tetris."""

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete

from diffsim.policies import LinearChoice
from diffsim.tetris import DELLACHERIE_WEIGHTS, TetrisVectorEnv, greedy_lines

OBS = Box(-np.inf, np.inf, (9,), np.float64)  # three actions with two features each


def policy(**options):
    made = LinearChoice(OBS, Discrete(3), **options).double()
    with torch.no_grad():
        made.weights.copy_(torch.tensor([1.0, -2.0]))
    return made


def test_values_and_probabilities_by_hand():
    """Values 3 - 2 * 1 = 1 and 2 - 2 * 0.25 = 1.5; the best action, of value 9, is not legal."""
    obs = torch.tensor([[1.0, 3.0, 1.0, 0.0, 9.0, 0.0, 1.0, 2.0, 0.25]], dtype=torch.float64)
    act = policy(temperature=0.5)
    assert act(obs).tolist() == [2]
    odds = np.exp((1.5 - 1.0) / 0.5)
    expected = torch.tensor([[1 / (1 + odds), 0.0, odds / (1 + odds)]], dtype=torch.float64)
    distribution = act.raw_distribution(obs)
    torch.testing.assert_close(distribution.log_probs[0].exp(), expected)
    torch.testing.assert_close(distribution.entropy(), -(expected * expected.clamp_min(1e-300).log()).sum(-1))
    sampled = act(obs.expand(4000, -1), torch.randn(4000, 1, dtype=torch.float64))
    assert set(sampled.tolist()) == {0, 2}
    assert abs((sampled == 2).double().mean() - expected[0, 2]) < 4 * 0.5 / 4000**0.5


def test_the_gradient_is_the_difference_of_features():
    """d log p(k) / dw = f_k - sum_j p_j f_j: the features of Kakade's natural gradient."""
    obs = torch.randn(1, 9, dtype=torch.float64).index_fill(1, torch.tensor([0, 3, 6]), 1.0)
    act = policy()
    act.raw_distribution(obs).log_prob(torch.tensor([[1]])).sum().backward()
    features = obs.view(3, 3)[:, 1:]
    p = act.raw_distribution(obs).log_probs[0].exp()
    torch.testing.assert_close(act.weights.grad, features[1] - (p @ features)[0].detach())


def test_the_policy_plays_tetris_as_the_kernel_does():
    env = TetrisVectorEnv(4, "dellacherie")
    act = LinearChoice(env.single_observation_space, env.single_action_space)
    assert [name for name, _ in act.named_parameters()] == ["weights"]
    with torch.no_grad():
        act.weights.copy_(torch.tensor(DELLACHERIE_WEIGHTS))
    obs, info = env.reset(seed=0)
    for _ in range(60):
        obs, _, _, _, info = env.step(act(torch.as_tensor(obs)).detach().numpy())
    lines = greedy_lines(act.weights.detach().expand(4, -1), env.games.seed, features="dellacherie", max_placements=60)
    assert info["lines"].tolist() == lines.tolist() and lines.min() > 15


def test_bad_arguments():
    with pytest.raises(TypeError, match="action_space must be Discrete, got Box"):
        LinearChoice(OBS, Box(-1.0, 1.0, (2,)))
    with pytest.raises(ValueError, match=r"observation_space must be \[K \* \(1 \+ F\)\] with K = 4 .*, got \[9\]"):
        LinearChoice(OBS, Discrete(4))
    with pytest.raises(ValueError, match="observation_space must be"):
        LinearChoice(OBS, Discrete(9))
    with pytest.raises(ValueError, match="temperature must be finite and > 0, got 0"):
        LinearChoice(OBS, Discrete(3), temperature=0)
