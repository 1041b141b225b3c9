"""Learning curves of all seeds of a task, with published returns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from benchmarks.pictures import BLUE
from benchmarks.published import RETURNS, STEPS

MARKERS = {"SAC": "o", "PPO": "s", "TRPO": "^"}


def draw(task: str, curves: Sequence[Sequence[tuple[float, float]]], path: Path) -> None:
    """Draws official returns against env steps, one curve (steps, return) per seed, and their mean; writes a PNG."""
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    for curve in curves:
        axes.plot(*zip(*curve, strict=True), color=BLUE, alpha=0.35, linewidth=1)
    last = min(curve[-1][0] for curve in curves)
    steps = np.linspace(max(curve[0][0] for curve in curves), last, 100)
    mean = np.mean([np.interp(steps, [s for s, _ in curve], [r for _, r in curve]) for curve in curves], axis=0)
    axes.plot(steps, mean, color=BLUE, linewidth=2.2, label=f"SHAC, {len(curves)} seeds and their mean")
    for name, marker in MARKERS.items():
        points = [(s, r) for s, r in zip(STEPS, RETURNS[task][name], strict=True) if s <= 1.02 * last]
        if points:
            label = f"{name} (Tianshou, 10 seeds)"
            axes.plot(*zip(*points, strict=True), color="#555555", marker=marker, linestyle=":", label=label)
    axes.set(title=task, xlabel="environment steps", ylabel="return per official episode")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.legend(fontsize=8, frameon=False)
    figure.savefig(path, dpi=120)
