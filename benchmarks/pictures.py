"""Pictures of the benchmarks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.published import curve
from diffsim.trainers.compare.pictures import clean

BLUE, ORANGE, GREY = "#2a6f97", "#e07a1f", "#8a8a8a"
MARKERS = {"SAC": "o", "PPO": "s", "TRPO": "^"}


def save(figure: Figure, path: Path, legend: Literal["best", "upper left"] = "best") -> None:
    """Adds a grid and a legend to every panel, and writes a PNG."""
    for axes in figure.axes:
        clean(axes)
        axes.legend(fontsize=8, frameon=False, loc=legend)
    figure.savefig(path, dpi=115)


def two_panels(title: str) -> tuple[Figure, Axes, Axes]:
    """A figure with two panels side by side."""
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    figure.suptitle(title, fontweight="bold")
    return figure, *figure.subplots(1, 2)


def draw_curves(
    title: str, curves: Sequence[np.ndarray], mean: np.ndarray, label: str, path: Path, published: float = 0.0
) -> None:
    """Draws learning curves and their mean, each env steps and returns [2, points]; writes a PNG.

    If `title` is a task, published curves are drawn up to `published` env steps. `label` is that of the mean.
    """
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    for points in curves:
        axes.plot(*points, color=BLUE, alpha=0.35, linewidth=1)
    axes.plot(*mean, color=BLUE, linewidth=2.2, label=label)
    for name, marker in MARKERS.items():
        points = [point for point in curve(title, name).items() if point[0] <= 1.02 * published]
        if points:
            label = f"{name} (Tianshou, 10 seeds)"
            axes.plot(*zip(*points, strict=True), color="#555555", marker=marker, linestyle=":", label=label)
    axes.set(title=title, xlabel="environment steps", ylabel="return of an episode")
    save(figure, path)


def draw_gradients(
    id: str, error: np.ndarray, own_error: np.ndarray, smooth: np.ndarray, norm: np.ndarray, path: Path
) -> None:
    """Draws errors [N], with states away from switching marked by `smooth` [N], and norms [R, H]; writes a PNG."""
    figure, left, right = two_panels(id)
    _draw_errors(left, error, own_error, smooth)
    _draw_growth(right, norm)
    save(figure, path, "upper left")


def _draw_errors(axes: Axes, error: np.ndarray, own_error: np.ndarray, smooth: np.ndarray) -> None:
    """Sorted errors, beside the errors of the differences themselves."""
    order = np.argsort(error)
    share = (np.arange(len(error)) + 0.5) / len(error)
    error, own_error = (np.maximum(values[order], 1.5e-12) for values in (error, own_error))
    axes.scatter(share, own_error, s=6, color=GREY, alpha=0.5, linewidths=0)
    axes.scatter([], [], s=16, color=GREY, label="error of the differences themselves")
    apart = "set apart: kink within reach, or iterated contact"
    for which, color, label in ((smooth[order], BLUE, "other states"), (~smooth[order], ORANGE, apart)):
        name = f"{label} ({which.sum()} states)"
        axes.scatter(share[which], error[which], s=14, color=color, label=name, zorder=3)
    # the same range for most tasks, so that pictures compare
    axes.set(xlim=(0, 1), ylim=(1e-12, max(10.0, 3 * error.max())), yscale="log", ylabel="relative error")
    axes.set_xlabel("share of visited states with a smaller error")
    axes.set_title("Jacobian of one environment step, against differences of C MuJoCo", fontsize=9)


def _draw_growth(axes: Axes, norm: np.ndarray) -> None:
    """Median, quartiles and largest norm by environment steps, both axes logarithmic."""
    steps = np.arange(1, norm.shape[1] + 1)
    low, middle, high = np.quantile(norm, [0.25, 0.5, 0.75], axis=0)
    axes.fill_between(steps, low, high, color=BLUE, alpha=0.2, linewidth=0, label="quartiles")
    axes.plot(steps, middle, color=BLUE, linewidth=2, label="median")
    axes.plot(steps, norm.max(axis=0), color=ORANGE, linewidth=1.3, label="largest")
    powers_of_two(axes, [2**k for k in range(12) if 2**k <= len(steps)])
    axes.set(xlabel="environment steps", ylabel="spectral norm", yscale="log")
    axes.set_title(f"Product of Jacobians, {len(norm)} roll-outs with random actions", fontsize=9)


def powers_of_two(axes: Axes, ticks: Sequence[int]) -> None:
    """Makes the horizontal axis logarithmic, with these ticks."""
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, map(str, ticks))
