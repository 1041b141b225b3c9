"""Parts of estimators, by hand arithmetic."""

import pytest
import torch

from diffsim.policies import GaussianMLP
from diffsim.trainers.maths.estimators import (
    OffsetPolicy,
    average_baseline,
    counted_rewards,
    difference_gradients,
    draw_directions,
    log_prob_of_noise,
    mix_by_variance,
    pathwise_objective,
    time_baseline,
)
from tests.trainers.linear_gaussian import LinearGaussian, NoisyLinearQuadratic


def test_mix_by_variance_by_hand():
    # Second half: variances 2 and 8, so the first half uses alpha = 8 / 10. First half: 0 and 2, so alpha = 1.
    pathwise = torch.tensor([[1.0], [1.0], [3.0], [5.0]])
    ratio = torch.tensor([[0.0], [2.0], [2.0], [6.0]])
    assert mix_by_variance(pathwise, ratio).flatten().tolist() == pytest.approx([0.8, 1.2, 3.0, 5.0])
    with pytest.raises(ValueError, match="copies must be >= 4 to mix by variance, got 3"):
        mix_by_variance(pathwise[:3], ratio[:3])


def test_only_the_first_episode_counts():
    reward = torch.tensor([[1.0], [2.0], [4.0], [8.0]])
    ended = torch.tensor([[False], [True], [False], [False]])
    counted, alive = counted_rewards(reward, ended, 0.5)
    assert counted.flatten().tolist() == [1, 1, 0, 0] and alive.flatten().tolist() == [True, True, False, False]


def test_pathwise_objective_bootstraps_at_the_first_end():
    reward, next_value = torch.tensor([[1.0, 1.0], [2.0, 2.0]]), torch.tensor([[10.0, 10.0], [20.0, 20.0]])
    ended = torch.tensor([[True, False], [False, False]])
    # Copy 0 is truncated at t = 0: 1 + 0.5 * 10. Copy 1 continues to the end of the window: 1 + 0.5 * 2 + 0.25 * 20.
    assert pathwise_objective(reward, ended, 0.5, next_value).tolist() == [6.0, 7.0]


def test_baselines_exclude_the_own_copy_and_ended_copies():
    returns = torch.tensor([[3.0, 6.0, 9.0], [1.0, 2.0, 50.0]])
    alive = torch.tensor([[True, True, True], [True, True, False]])
    assert time_baseline(returns, alive).tolist() == [[7.5, 6.0, 4.5], [2.0, 1.0, 1.5]]
    # Sums over the copies in their first episode: 4, 8, 9; steps: 2, 2, 1.
    assert average_baseline(returns, alive).flatten().tolist() == pytest.approx([17 / 3, 13 / 3, 12 / 4])
    assert time_baseline(returns[:, :1], alive[:, :1]).tolist() == [[0.0], [0.0]]


def test_the_score_is_exact_where_squashing_saturates():
    mdp = NoisyLinearQuadratic(1)
    policy = GaussianMLP(mdp.observation_space, mdp.action_space, hidden_sizes=(), std="fixed", initial_std=0.5)
    policy.network[0].bias.data[:] = 40.0  # so large that tanh is 1 in floating point
    obs, noise = torch.zeros(1, 2), torch.tensor([[0.7]])
    (gradient,) = torch.autograd.grad(log_prob_of_noise(policy, obs, noise).sum(), policy.network[0].bias)
    assert gradient.item() == pytest.approx(0.7 / 0.5, rel=1e-5)


def test_offset_policy_changes_each_copy_by_its_own_offset():
    policy = LinearGaussian([[1.0, 2.0]])
    offsets = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    actions = OffsetPolicy(policy, offsets)(torch.ones(3, 2).double(), torch.ones(3, 1).double())
    assert actions.flatten().tolist() == pytest.approx([3.5, 4.5, 3 + 0.5 * 2.718281828])
    with pytest.raises(ValueError, match=r"offsets must be \[N, 3\], one number per parameter, got \(3, 2\)"):
        OffsetPolicy(policy, offsets[:, :2])


def test_directions_are_isotropic():
    generator = torch.Generator().manual_seed(0)
    for kind in ("sphere", "coordinates"):
        directions = draw_directions(kind, 50_000, 4, generator, torch.float64)
        torch.testing.assert_close(4 * directions.T @ directions / 50_000, torch.eye(4).double(), rtol=0, atol=0.05)
        assert directions.norm(dim=1).sub(1).abs().max() < 1e-12
    with pytest.raises(ValueError, match="kind must be one of sphere, coordinates, got 'cube'"):
        draw_directions("cube", 2, 2, generator, torch.float64)


def test_difference_gradients_by_hand():
    # 2 * (5 - 3) / (2 * 0.5) * [0.6, 0.8]
    gradient = difference_gradients(torch.tensor([5.0]), torch.tensor([3.0]), torch.tensor([[0.6, 0.8]]), 0.5)
    assert gradient.flatten().tolist() == pytest.approx([2.4, 3.2])
