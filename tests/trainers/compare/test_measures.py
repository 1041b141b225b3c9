"""Measures against hand arithmetic, scipy's functions and their properties."""

import numpy as np
import pytest
from scipy import stats

from diffsim.trainers.compare.measures import Estimate, improvement, iqm, profile, wins


def test_interquartile_mean_by_hand():
    """Of 1, 2, 3, 4 | 100, 200, 300, 400 the middle half is 3, 4, 100, 200: their mean is 307 / 4."""
    found = iqm([np.array([1.0, 2, 3, 4]), np.array([100.0, 200, 300, 400])])
    assert found.value == pytest.approx(307 / 4)
    assert 3 < found.low < found.value < found.high < 300


def test_intervals_resample_within_tasks():
    """If all seeds of a task are equal, resampling within tasks does not change the mean."""
    found = iqm([np.array([1.0, 1, 1]), np.array([5.0, 5, 5])])
    assert found == Estimate(3.0, 3.0, 3.0)
    mixed = stats.bootstrap((np.array([1.0, 1, 1, 5, 5, 5]),), np.mean, method="percentile", rng=0).confidence_interval
    assert mixed.low < 3.0 < mixed.high, "negative control: resampling the union changes it"


def test_one_seed_has_no_interval():
    found = iqm([np.array([2.0])])
    assert found.value == 2.0 and np.isnan(found.low) and np.isnan(found.high)


def test_interval_of_a_mean_is_about_two_standard_errors():
    """For 400 normal numbers, the standard error of the mean of the middle half is about 1.1 / sqrt(400)."""
    sample = np.random.default_rng(1).normal(size=400)
    found = iqm([sample])
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * 1.1 / 20, rel=0.15)


def test_improvement_by_hand():
    """Task one: 3 beats 1 and 2, 2 beats 1 and ties 2: 3.5 of 4. Task two: none of 1. Mean: 0.4375."""
    scores, others = [np.array([3.0, 2]), np.array([0.0])], [np.array([1.0, 2]), np.array([1.0])]
    assert improvement(scores, others).value == pytest.approx((3.5 / 4 + 0) / 2)
    assert improvement(others, scores).value == pytest.approx(1 - 0.4375), "the two probabilities add up to 1"


def test_wins_equal_the_mann_whitney_statistic():
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 5, 7).astype(float), rng.integers(1, 6, 4).astype(float)
    assert wins(x, y) == pytest.approx(stats.mannwhitneyu(x, y).statistic / 28)


def test_improvement_is_one_for_a_better_group_and_half_for_the_same():
    better, worse = [np.array([2.0, 3, 4])], [np.array([-1.0, 0, 1])]
    assert improvement(better, worse) == Estimate(1.0, 1.0, 1.0)
    even = improvement(better, better)
    assert even.value == 0.5 and even.low < 0.5 < even.high


def test_profile_by_hand():
    """Scores 0.2, 0.2, 0.6, 0.6 and, on the other task, 0.5, 0.5, 0.5, 0.9: above 0.5 are 1/2 and 1/4, averaged."""
    levels = np.array([0.0, 0.5, 0.8, 1.0])
    share, low, high = profile([np.array([0.2, 0.2, 0.6, 0.6]), np.array([0.5, 0.5, 0.5, 0.9])], levels)
    np.testing.assert_allclose(share, [1.0, (0.5 + 0.25) / 2, (0 + 0.25) / 2, 0.0])
    assert (np.diff(share) <= 0).all() and (low <= share).all() and (share <= high).all() and low[1] < high[1]
