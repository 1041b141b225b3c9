"""One picture per task: errors of the gradient, and growth of the product of Jacobians."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

BLUE, ORANGE, GREY = "#2a6f97", "#e07a1f", "#8a8a8a"


def draw(id: str, error: np.ndarray, own_error: np.ndarray, smooth: np.ndarray, norm: np.ndarray, path: Path) -> None:
    """Draws errors [N], with states away from switching marked by `smooth` [N], and norms [R, H]; writes a PNG."""
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    figure.suptitle(id, fontweight="bold")
    _draw_errors(left, error, own_error, smooth)
    _draw_growth(right, norm)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25, linewidth=0.6)
    figure.savefig(path, dpi=110)


def _draw_errors(axes: Axes, error: np.ndarray, own_error: np.ndarray, smooth: np.ndarray) -> None:
    """Sorted errors, beside the errors of the differences themselves."""
    order = np.argsort(error)
    share = (np.arange(len(error)) + 0.5) / len(error)
    floor = 1.5e-12
    axes.scatter(share, np.maximum(own_error[order], floor), s=6, color=GREY, alpha=0.5, linewidths=0)
    axes.scatter([], [], s=16, color=GREY, label="error of the differences themselves")
    for which, color, label in (
        (smooth, BLUE, "other states"),
        (~smooth, ORANGE, "set apart: kink within reach, or iterated contact"),
    ):
        chosen = which[order]
        name = f"{label} ({chosen.sum()} states)"
        axes.scatter(share[chosen], np.maximum(error[order][chosen], floor), s=14, color=color, label=name, zorder=3)
    axes.set_yscale("log")
    axes.set_xlim(0, 1)
    axes.set_ylim(1e-12, max(10.0, 3 * error.max()))  # the same for most tasks, so that pictures compare
    axes.set_xlabel("share of visited states with a smaller error")
    axes.set_ylabel("relative error")
    axes.set_title("Jacobian of one environment step, against differences of C MuJoCo", fontsize=9)
    axes.legend(fontsize=8, frameon=False, loc="upper left")


def _draw_growth(axes: Axes, norm: np.ndarray) -> None:
    """Median, quartiles and largest norm by environment steps, both axes logarithmic."""
    steps = np.arange(1, norm.shape[1] + 1)
    low, middle, high = np.quantile(norm, [0.25, 0.5, 0.75], axis=0)
    axes.fill_between(steps, low, high, color=BLUE, alpha=0.2, linewidth=0, label="quartiles")
    axes.plot(steps, middle, color=BLUE, linewidth=2, label="median")
    axes.plot(steps, norm.max(axis=0), color=ORANGE, linewidth=1.3, label="largest")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    ticks = [2**k for k in range(12) if 2**k <= len(steps)]
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.set_xlabel("environment steps")
    axes.set_ylabel("spectral norm")
    axes.set_title(f"Product of Jacobians, {len(norm)} roll-outs with random actions", fontsize=9)
    axes.legend(fontsize=8, frameon=False, loc="upper left")
