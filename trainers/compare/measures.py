"""Measures of Agarwal et al. (2021) over runs and tasks, with scipy's statistics.

Their package, rliable, is not used: it depends on pandas, statsmodels, arch and seaborn, and its last release is from
2024. The measures are a trimmed mean, a fraction of pairs and a survival function; the intervals are scipy's percentile
bootstraps, which resample the seeds of each task.

A group of scores is a list of arrays [seeds], one per task.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

Scores = Sequence[np.ndarray]
CONFIDENCE = 0.95
RESAMPLES = 2000
LEAST_SEEDS = 3
"""Seeds that an interval needs. Two seeds resampled give at most three different numbers, which say nothing."""


class Estimate(NamedTuple):
    """A number and the ends of its interval, which are nan if a task has fewer than three runs."""

    value: float
    low: float
    high: float


def interquartile_mean(*samples: np.ndarray, axis: int = -1) -> Any:
    """Mean of the middle half of all runs of all tasks."""
    return stats.trim_mean(np.concatenate(samples, axis), 0.25, axis=axis)


def iqm(scores: Scores) -> Estimate:
    """Interquartile mean over all runs of all tasks, and its interval.

    Source: Agarwal et al. (2021), "Deep reinforcement learning at the edge of the statistical precipice", section 4.3.
    """
    return estimate(scores, interquartile_mean)


def improvement(scores: Scores, others: Scores, *, bounds: bool = True) -> Estimate:
    """Probability that a run of the first group is better than one of the second, averaged over tasks; ties count half.

        P = 1 / tasks * sum_task U(x_task, y_task) / (n m),   U Mann and Whitney's statistic

    Args:
        scores: of the first group, by task.
        others: of the second group, by task.
        bounds: whether to compute the interval.

    Source: Agarwal et al. (2021), section 4.3.
    """
    half = len(scores)

    def statistic(*samples: np.ndarray, axis: int = -1) -> Any:
        pairs = zip(samples[:half], samples[half:], strict=True)
        chances = [wins(np.moveaxis(x, axis, -1), np.moveaxis(y, axis, -1)) for x, y in pairs]
        return np.mean(chances, axis=0)

    samples = [*scores, *others]
    return estimate(samples, statistic) if bounds else Estimate(float(statistic(*samples)), np.nan, np.nan)


def rank_correlation(x: Sequence[float], y: Sequence[float]) -> float:
    """Spearman's correlation of the ranks of two lists; nan for fewer than three numbers, or if one is constant."""
    if len(x) < 3 or len(set(x)) == 1 or len(set(y)) == 1:
        return np.nan
    return float(np.corrcoef(stats.rankdata(x), stats.rankdata(y))[0, 1])


def wins(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Fraction of pairs of `x` [..., n] and `y` [..., m] in which x is larger; ties count half: [...]."""
    difference = x[..., :, None] - y[..., None, :]
    return 0.5 * (1.0 + np.sign(difference)).mean((-2, -1))


def profile(scores: Scores, levels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fraction of runs whose score is above each level, averaged over tasks, and its interval.

    Args:
        scores: by task.
        levels: [L], increasing.

    Returns: fraction, low and high ends, each [L]; the ends are nan if a task has fewer than three runs.
    Source: Agarwal et al. (2021), section 4.2.
    """

    def statistic(*samples: np.ndarray, axis: int = -1) -> Any:
        above = [(np.moveaxis(x, axis, -1)[..., None, :] > levels[:, None]).mean(-1) for x in samples]
        return np.moveaxis(np.mean(above, axis=0), -1, 0)

    share = statistic(*scores)
    low, high = interval(scores, statistic)
    return share, np.broadcast_to(low, share.shape), np.broadcast_to(high, share.shape)


def estimate(samples: Scores, statistic: Callable[..., Any]) -> Estimate:
    """A statistic of all samples with its interval."""
    low, high = interval(samples, statistic)
    return Estimate(float(statistic(*samples)), float(low), float(high))


def interval(samples: Scores, statistic: Callable[..., Any]) -> tuple[Any, Any]:
    """Ends of the stratified-bootstrap interval, which resamples each sample by itself, with a fixed seed.

    They are nan if a sample has fewer than three numbers.
    """
    if min(len(sample) for sample in samples) < LEAST_SEEDS:
        return np.nan, np.nan
    settings = {"n_resamples": RESAMPLES, "confidence_level": CONFIDENCE, "method": "percentile", "vectorized": True}
    result = stats.bootstrap(tuple(samples), statistic, rng=np.random.default_rng(0), **settings)
    return result.confidence_interval.low, result.confidence_interval.high
