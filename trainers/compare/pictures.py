"""Pictures of the report: learning curves, scores, performance profiles and gradients.

An algorithm has the same colour and marker in all of them (`styles`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from diffsim.trainers.compare.measures import Estimate, iqm, profile
from diffsim.trainers.compare.references import Reference
from diffsim.trainers.compare.results import Results
from diffsim.trainers.compare.styles import Style

GREY = "#c9ced4"
PANEL, SHARED, DPI = (5.0, 3.7), (9.0, 4.8), 140
MOST_BANDS = 6  # algorithms in a panel with bands
LEVELS = np.linspace(0.0, 1.0, 101)
POINTS = 200  # of the mean curve of seeds that were evaluated at different times


def draw_curves(
    results: Results,
    task: str,
    labels: Sequence[str],
    against: str,
    references: Sequence[Reference],
    path: Path,
    title: str,
) -> None:
    """Draws official returns of some algorithms on a task, against "env_steps" or "seconds"; writes a PNG.

    Line: mean over the seeds, of mean actions; dotted: of sampled actions. Band: from the lowest to the highest seed.
    In a panel of all algorithms only lines, if there are many. Grey: means of all other algorithms. Dashed: published
    returns for that task and budget.
    """
    everyone = set(labels) >= set(results.labels)
    figure, axes = panel(title, SHARED if everyone else PANEL)
    others = [mean_curve(results, task, label, against) for label in results.labels if label not in labels]
    for k, line in enumerate(filter(None, others)):
        words: dict[str, Any] = {} if k else {"label": "other algorithms"}
        axes.plot(line[0], line[1].mean(0), color=GREY, linewidth=0.8, zorder=1, **words)
    for label in labels:
        line = mean_curve(results, task, label, against)
        if line is None:
            continue
        at, heights, sampled = line
        style = results.styles[label]
        look = {**style._asdict(), "markevery": max(len(at) // 6, 1)}
        axes.plot(at, heights.mean(0), linewidth=1.8, markersize=4, label=label, zorder=3, **look)
        if not everyone or len(labels) <= MOST_BANDS:
            axes.fill_between(at, heights.min(0), heights.max(0), color=style.color, alpha=0.13, linewidth=0)
            axes.plot(at, sampled.mean(0), ":", color=style.color, linewidth=1.0, zorder=2)
        for reference in references if against == "env_steps" else ():
            if reference.algorithm == results.algorithm[label]:
                reference_words = f"{reference.algorithm}, {reference.source}"
                axes.axhline(reference.mean, color=style.color, linestyle="--", linewidth=1.1, label=reference_words)
    axes.set_xlabel("env steps" if against == "env_steps" else "seconds of training")
    axes.set_ylabel("official return")
    axes.set_ylim(*common_range(results, task, references))
    if against == "seconds":
        logarithmic_from_zero(axes, 1.0)
    elif budgets_differ(results, task, labels):
        logarithmic_from_zero(axes, 1000.0)
    finish(figure, axes, path)


def logarithmic_from_zero(axes: Axes, linear_until: float) -> None:
    """Makes the horizontal axis logarithmic, but with 0 at its left end. The data must not be negative.

    Args:
        axes: with all lines drawn.
        linear_until: a power of ten, in units of the axis; the axis is linear from 0 to it.
    """
    axes.set_xscale("symlog", linthresh=linear_until, linscale=0.5)
    end = max(axes.dataLim.x1, linear_until)
    powers = np.arange(np.log10(linear_until), np.log10(end) + 1e-9)
    axes.set_xticks([0.0, *10.0**powers])
    axes.minorticks_off()
    axes.set_xlim(-0.1 * linear_until, 1.1 * end)


def common_range(results: Results, task: str, references: Sequence[Reference]) -> tuple[float, float]:
    """Limits of the vertical axis, for all pictures of a task: the range of all evaluations of mean actions."""
    curves = [result.curve.mean for result in results.all if result.run.task == task]
    heights = np.concatenate([*curves, [reference.mean for reference in references], np.zeros(0)])
    if not len(heights):
        return 0.0, 1.0
    low, high = heights.min(), heights.max()
    margin = 0.05 * (high - low) or 1.0
    return float(low - margin), float(high + margin)


def budgets_differ(results: Results, task: str, labels: Sequence[str]) -> bool:
    """Whether one budget is more than four times another."""
    budgets = [result.run.env_steps or 0 for label in labels for result in results.of(task, label)]
    return bool(budgets) and max(budgets) > 4 * max(min(budgets), 1)


def mean_curve(
    results: Results, task: str, label: str, against: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Env steps or seconds [P], and returns of mean and of sampled actions [seeds, P], up to the shortest run."""
    curves = [curve for result in results.of(task, label) if len((curve := result.curve).mean)]
    if not curves:
        return None
    places = [getattr(curve, against) for curve in curves]
    end = min(place[-1] for place in places)
    at = np.unique(np.concatenate(places)) if against == "env_steps" else np.linspace(0.0, end, POINTS)
    at = at[at <= end]
    means, samples = (
        np.array([np.interp(at, place, getattr(curve, name)) for place, curve in zip(places, curves, strict=True)])
        for name in ("mean", "sampled")
    )
    return at, means, samples


Row = tuple[str, Style, Estimate]
"""Of a picture of scores: label, style and estimate of an algorithm."""


def draw_scores(rows: Sequence[Row], title: str, label: str, path: Path) -> None:
    """Draws estimates with their intervals, one row per algorithm, best on top; writes a PNG.

    `label` is that of the axis.
    """
    figure = Figure(figsize=(5.0, 0.9 + 0.22 * len(rows)), layout="constrained")
    axes = figure.subplots()
    score_panel(axes, rows, title, label)
    figure.savefig(path, dpi=DPI)


def draw_summary(panels: Sequence[tuple[str, str, Sequence[Row]]], path: Path) -> None:
    """Draws several panels like `draw_scores` side by side, from their titles, labels and rows; writes a PNG."""
    height = 0.9 + 0.24 * max(len(rows) for _, _, rows in panels)
    figure = Figure(figsize=(3.9 * len(panels), height), layout="constrained")
    grid = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (title, label, rows) in zip(grid, panels, strict=True):
        score_panel(axes, rows, title, label)
    figure.savefig(path, dpi=DPI)


def score_panel(axes: Axes, rows: Sequence[Row], title: str, label: str) -> None:
    """Draws one panel of scores."""
    rows = sorted(rows, key=lambda row: row[2].value)
    for height, (_, style, found) in enumerate(rows):
        if np.isfinite(found.low):
            axes.plot([found.low, found.high], [height, height], color=style.color, linewidth=5, alpha=0.3)
        axes.plot(found.value, height, style.marker, color=style.color, markersize=5)
    axes.set_yticks(range(len(rows)), [row[0] for row in rows], fontsize=8)
    axes.set_ylim(-0.7, max(len(rows), 1) - 0.3)
    axes.set_title(title, fontsize=10, fontweight="bold")
    axes.set_xlabel(label, fontsize=8)
    clean(axes)


def draw_profiles(results: Results, labels: Sequence[str], title: str, path: Path) -> None:
    """Draws performance profiles: the fraction of runs above each score, over all tasks; writes a PNG."""
    figure, axes = panel(title)
    for i, label in enumerate(labels):
        share, low, high = profile(results.normalized(label), LEVELS)
        style = results.styles[label]
        look = {**style._asdict(), "markevery": (5 * i % 40, 40)}
        axes.plot(LEVELS, share, label=label, linewidth=1.8, markersize=4, **look)
        axes.fill_between(LEVELS, low, high, color=style.color, alpha=0.1, linewidth=0)
    axes.set(xlabel="score s", ylabel="fraction of runs with a score above s", ylim=(-0.03, 1.03), xlim=(0, 1))
    finish(figure, axes, path)


def draw_gradients(results: Results, task: str, path: Path) -> bool:
    """Draws gradient norms against env steps, of one seed of each algorithm; writes a PNG, if any are logged."""
    figure, axes = panel(task)
    number = 0
    for label in results.labels:
        for result in results.of(task, label)[:1]:
            points = [(row["env_steps"], row["grad_norm"]) for row in result.rows if row.get("grad_norm", 0) > 0]
            if len(points) > 1:
                at, norm = np.array(points).T
                width = max(len(norm) // 40, 1)
                smooth = [np.median(norm[max(0, k - width) : k + width + 1]) for k in range(len(norm))]
                look = {**results.styles[label]._asdict(), "markevery": max(len(at) // 6, 1)}
                axes.plot(at, smooth, linewidth=1.4, markersize=4, label=label, **look)
                number += 1
    if not number:
        return False
    axes.set(xlabel="env steps", ylabel="norm of the gradient", yscale="log")
    finish(figure, axes, path)
    return True


def panel(title: str, size: tuple[float, float] = PANEL) -> tuple[Figure, Axes]:
    """An empty figure with a title."""
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, fontsize=10, fontweight="bold")
    return figure, axes


def finish(figure: Figure, axes: Axes, path: Path) -> None:
    """Adds the legend and the grid, and writes the figure."""
    clean(axes)
    handles, labels = axes.get_legend_handles_labels()
    columns = 4 if figure.get_figwidth() > PANEL[0] else 3
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=columns, fontsize=7.5, frameon=False)
    figure.savefig(path, dpi=DPI)


def clean(axes: Axes) -> None:
    """Removes the frame and adds a grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25, linewidth=0.6)


def overall(results: Results, quantity: str = "score") -> list[Row]:
    """Interquartile means over all tasks, of the algorithms with finished runs on every task."""
    return [(label, results.styles[label], iqm(results.normalized(label, quantity))) for label in results.complete()]


def by_task(results: Results, task: str, quantity: str = "score") -> list[Row]:
    """Interquartile means over the seeds of one task, in units of return. Labels have budgets, if these differ."""
    found = {label: [getattr(result, quantity) for result in results.finished(task, label)] for label in results.labels}
    budgets = results.budgets(task)
    differ = len(set(budgets.values())) > 1
    words = {label: f"{label}, {budget:,} steps" if differ else label for label, budget in budgets.items()}
    return [
        (words.get(label, label), results.styles[label], iqm([np.array(values)]))
        for label, values in found.items()
        if values
    ]
