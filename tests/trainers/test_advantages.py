"""Reward-to-go, n-step returns and advantages, against their definitions on random arrays with random ends."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diffsim.trainers.maths.returns import generalized_advantages, n_step_returns, reward_to_go

H, N = 7, 3
seeds = st.integers(0, 2**16)
discounts = st.floats(0.1, 1.0)


def arrays(seed):
    """Reward, value, next value and ends; the next value is zero at some of the ends, which are terminations."""
    generator = torch.Generator().manual_seed(seed)
    reward, value, next_value = torch.randn(3, H, N, generator=generator, dtype=torch.float64)
    ended = torch.rand(H, N, generator=generator) < 0.3
    terminated = ended & (torch.rand(H, N, generator=generator) < 0.5)
    return reward, value, torch.where(terminated, 0.0, next_value), ended


def last_step(ended, t, n):
    """The step that ends the episode of step t, or the window."""
    return next((k for k in range(t, H) if ended[k, n]), H - 1)


@settings(deadline=None)
@given(seeds, discounts)
def test_reward_to_go_equals_its_definition(seed, gamma):
    reward, _, _, ended = arrays(seed)
    returns = reward_to_go(reward, ended, gamma)
    for t in range(H):
        for n in range(N):
            steps = range(t, last_step(ended, t, n) + 1)
            assert returns[t, n].item() == pytest.approx(sum(gamma ** (k - t) * reward[k, n].item() for k in steps))


@settings(deadline=None)
@given(seeds, discounts, st.integers(1, H + 2))
def test_n_step_returns_equal_their_definition(seed, gamma, num_steps):
    reward, _, next_value, ended = arrays(seed)
    returns = n_step_returns(reward, next_value, ended, gamma, num_steps)
    for t in range(H):
        for n in range(N):
            m = min(num_steps, last_step(ended, t, n) + 1 - t)
            expected = sum(gamma**k * reward[t + k, n].item() for k in range(m))
            expected += gamma**m * next_value[t + m - 1, n].item()
            assert returns[t, n].item() == pytest.approx(expected)


@settings(deadline=None)
@given(seeds, discounts, st.floats(0.0, 1.0))
def test_advantages_are_discounted_sums_of_td_errors(seed, gamma, lam):
    reward, value, next_value, ended = arrays(seed)
    advantages = generalized_advantages(reward, value, next_value, ended, gamma, lam)
    for t in range(H):
        for n in range(N):
            expected = 0.0
            for k in range(t, last_step(ended, t, n) + 1):
                surprise = reward[k, n] + gamma * next_value[k, n] - value[k, n]
                expected += (gamma * lam) ** (k - t) * surprise.item()
            assert advantages[t, n].item() == pytest.approx(expected)


@settings(deadline=None)
@given(seeds, discounts)
def test_lambda_zero_is_one_step_and_lambda_one_is_monte_carlo(seed, gamma):
    reward, value, next_value, ended = arrays(seed)
    # Within an episode the next value equals the value of the next step, so that the sum telescopes.
    next_value[:-1] = torch.where(ended[:-1], next_value[:-1], value[1:])
    for lam, num_steps in ((0.0, 1), (1.0, H)):
        advantages = generalized_advantages(reward, value, next_value, ended, gamma, lam)
        returns = n_step_returns(reward, next_value, ended, gamma, num_steps)
        torch.testing.assert_close(advantages + value, returns, rtol=1e-12, atol=1e-12)


def test_by_hand():
    reward = torch.tensor([[1.0], [2.0], [4.0]])
    next_value = torch.tensor([[10.0], [20.0], [30.0]])
    ended = torch.tensor([[False], [True], [False]])
    assert reward_to_go(reward, ended, 0.5).flatten().tolist() == [1 + 0.5 * 2, 2, 4]
    # The episode is truncated at t = 1: it bootstraps with the next value, not with the next episode.
    two_steps = [1 + 0.5 * 2 + 0.25 * 20, 2 + 0.5 * 20, 4 + 0.5 * 30]
    assert n_step_returns(reward, next_value, ended, 0.5, 2).flatten().tolist() == two_steps


def test_messages_name_argument_rule_and_value():
    zeros, ended = torch.zeros(4, 2), torch.zeros(4, 2, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"reward, ended must have one shape, got reward \(4, 2\), ended \(3, 2\)"):
        reward_to_go(zeros, ended[:3], 1.0)
    with pytest.raises(ValueError, match=r"gamma must be in \(0, 1\], got 0.0"):
        reward_to_go(zeros, ended, 0.0)
    with pytest.raises(ValueError, match="num_steps must be >= 1, got 0"):
        n_step_returns(zeros, zeros, ended, 1.0, 0)
    with pytest.raises(ValueError, match=r"lam must be in \[0, 1\], got 1.5"):
        generalized_advantages(zeros, zeros, zeros, ended, 1.0, 1.5)
