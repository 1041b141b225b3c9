"""Sums of rewards: against their definition, and by hand."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainers.returns import discount_weights, episode_returns, first_episode

ENDED = torch.tensor([[0, 0], [1, 0], [0, 0], [0, 1]], dtype=torch.bool)


def test_discount_weights_by_hand():
    # Copy 0 ends at t = 1, so t = 2 starts anew. Copy 1 ends only at the last step.
    expected = torch.tensor([[1.0, 1.0], [0.5, 0.5], [1.0, 0.25], [0.5, 0.125]])
    assert torch.equal(discount_weights(ENDED, 0.5), expected)


@given(st.integers(0, 2**16), st.floats(0.1, 1.0))
def test_discount_weights_are_gamma_to_the_steps_since_the_start(seed, gamma):
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
    # Copy 0: 100 + 1 + 2 at t = 1. Copy 1: 1000 + 10 + 20 + 30 + 40 at t = 3. Copy 0 goes on with 3 + 4.
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
