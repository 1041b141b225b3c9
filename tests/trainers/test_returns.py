"""Sums of rewards, against their definitions and by hand."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from diffsim.trainers.maths.returns import discount_weights, episode_returns, first_episode, lambda_returns

ENDED = torch.tensor([[0, 0], [1, 0], [0, 0], [0, 1]], dtype=torch.bool)


def test_discount_weights_by_hand():
    # Copy 0 ends at t = 1, so t = 2 starts a new episode. Copy 1 ends only at the last step.
    expected = torch.tensor([[1.0, 1.0], [0.5, 0.5], [1.0, 0.25], [0.5, 0.125]])
    assert torch.equal(discount_weights(ENDED, 0.5), expected)


@given(st.integers(0, 2**16), st.floats(0.1, 1.0))
def test_discount_weights_are_gamma_to_the_power_of_the_age(seed, gamma):
    ended = torch.rand(7, 3, generator=torch.Generator().manual_seed(seed)) < 0.3
    weights = discount_weights(ended, gamma)
    for t in range(7):
        for n in range(3):
            starts = [0] + [s + 1 for s in range(t) if ended[s, n]]
            assert weights[t, n].item() == pytest.approx(gamma ** (t - max(starts)), rel=1e-5)


@pytest.mark.parametrize("gamma", [0.0, -0.1, 1.1, float("nan")])
def test_discount_out_of_range_is_refused(gamma):
    with pytest.raises(ValueError, match=r"gamma must be in \(0, 1\], got "):
        discount_weights(ENDED, gamma)


def test_first_episode_includes_its_end():
    expected = torch.tensor([[1, 1], [1, 1], [0, 1], [0, 1]], dtype=torch.bool)
    assert torch.equal(first_episode(ENDED), expected)


def test_episode_returns_by_hand():
    reward = torch.tensor([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0], [4.0, 40.0]])
    finished, running = episode_returns(reward, ENDED, torch.tensor([100.0, 1000.0]))
    # Copy 0: 100 + 1 + 2 at t = 1. Copy 1: 1000 + 10 + 20 + 30 + 40 at t = 3. Copy 0 continues with 3 + 4.
    assert finished.tolist() == [103.0, 1100.0]
    assert running.tolist() == [7.0, 0.0]


def test_two_windows_give_the_returns_of_one():
    generator = torch.Generator().manual_seed(0)
    reward, ended = torch.rand(20, 4, generator=generator), torch.rand(20, 4, generator=generator) < 0.2
    whole, last = episode_returns(reward, ended, torch.zeros(4))
    first, running = episode_returns(reward[:9], ended[:9], torch.zeros(4))
    second, running = episode_returns(reward[9:], ended[9:], running)
    assert torch.equal(torch.cat([first, second]), whole) and torch.equal(running, last)


def test_shapes_are_checked():
    with pytest.raises(ValueError, match=r"got \(4, 2\), \(4, 2\) and \(3,\)"):
        episode_returns(torch.zeros(4, 2), ENDED, torch.zeros(3))


@pytest.mark.parametrize(
    ("lam", "expected"),
    [
        # Copy 0 ends at t = 1. By hand, with gamma = 0.5, from the last step backwards:
        # lam = 0: r + V / 2 everywhere.
        (0.0, [[1 + 5, 2 + 10, 3 + 15, 4 + 20], [1 + 5, 2 + 10, 3 + 15, 4 + 20]]),
        # lam = 1: 4 + 20 = 24, 3 + 24 / 2 = 15; new episode: 2 + 10 = 12, 1 + 12 / 2 = 7.
        (1.0, [[7, 12, 15, 24], [1 + 4.75, 2 + 7.5, 3 + 12, 4 + 20]]),
        # lam = 1/2: 24; 3 + (30 + 24) / 4 = 16.5; end: 12; 1 + (10 + 12) / 4 = 6.5. Copy 1: 2 + (20 + 16.5) / 4.
        (0.5, [[6.5, 12, 16.5, 24], [1 + (10 + 11.125) / 4, 2 + (20 + 16.5) / 4, 16.5, 24]]),
    ],
)
def test_lambda_returns_by_hand(lam, expected):
    reward = torch.tensor([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0], [4.0, 4.0]])
    returns = lambda_returns(reward, 10 * reward, ENDED, 0.5, lam)
    torch.testing.assert_close(returns, torch.tensor(expected, dtype=returns.dtype).T)


def n_step_return(reward, next_value, ended, gamma, t, n):
    """r_t + ... + gamma^{n-1} r_{t+n-1} + gamma^n V, stopped where the episode or the window does."""
    total = 0.0
    for k in range(n):
        total += gamma**k * reward[t + k]
        if ended[t + k] or k == n - 1:
            return total + gamma ** (k + 1) * next_value[t + k]
    raise AssertionError


@given(st.integers(0, 2**16), st.floats(0.1, 1.0), st.floats(0.0, 1.0))
def test_lambda_returns_are_the_mixture_of_n_step_returns(seed, gamma, lam):
    generator = torch.Generator().manual_seed(seed)
    reward, next_value = torch.randn(2, 7, 1, generator=generator, dtype=torch.float64)
    ended = torch.rand(7, 1, generator=generator) < 0.3
    returns = lambda_returns(reward, next_value, ended, gamma, lam)
    r, v, e = reward[:, 0].tolist(), next_value[:, 0].tolist(), ended[:, 0].tolist()
    for t in range(7):
        last = next((k for k in range(t, 7) if e[k]), 6) - t + 1  # steps left in episode or window
        mixture = sum((1 - lam) * lam ** (n - 1) * n_step_return(r, v, e, gamma, t, n) for n in range(1, last))
        mixture += lam ** (last - 1) * n_step_return(r, v, e, gamma, t, last)
        assert returns[t, 0].item() == pytest.approx(mixture, rel=1e-9, abs=1e-9)


def test_lambda_returns_bootstrap_at_time_outs():
    # With a constant reward and V = r / (1 - gamma), the lambda-return equals V wherever episodes are truncated.
    reward, value = torch.ones(5, 3), torch.full((5, 3), 10.0)
    time_outs = torch.rand(5, 3, generator=torch.Generator().manual_seed(0)) < 0.6
    torch.testing.assert_close(lambda_returns(reward, value, time_outs, 0.9, 0.7), value)
    # Negative control: time-outs treated as terminal states give smaller returns.
    wrong = lambda_returns(reward, value.masked_fill(time_outs, 0.0), time_outs, 0.9, 0.7)
    assert time_outs.any(0).all() and (wrong[0] < 9.5).all()


def test_lambda_returns_check_their_arguments():
    zeros, ended = torch.zeros(4, 2), ENDED
    with pytest.raises(ValueError, match=r"got reward \(4, 2\), next_value \(4, 3\), ended"):
        lambda_returns(zeros, torch.zeros(4, 3), ended, 0.9, 0.9)
    with pytest.raises(ValueError, match=r"gamma must be in \(0, 1\], got 0.0"):
        lambda_returns(zeros, zeros, ended, 0.0, 0.9)
    with pytest.raises(ValueError, match=r"lam must be in \[0, 1\], got 1.1"):
        lambda_returns(zeros, zeros, ended, 0.9, 1.1)
