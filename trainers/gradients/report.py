"""Report of `diffsim gradients`: tables, a CSV file, a picture, and the best estimator at each horizon."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.box import SIMPLE
from rich.table import Table

from diffsim.trainers.compare.page import Grid
from diffsim.trainers.gradients.experiment import (
    COMMON,
    ESTIMATORS,
    INDEPENDENT,
    LIKELIHOOD_RATIOS,
    MIXTURE,
    PATHWISE,
    TOTAL_PROPAGATION,
    WINDOWS,
    Row,
)
from diffsim.trainers.gradients.statistics import turning_point

COLUMNS = ("variance", "bias", "bias_floor", "cosine", "noise")
COLORS = ("#0072b2", "#56b4e9", "#e69f00", "#d55e00", "#009e73", "#5e3c99", "#7f7f7f")
"""Of the families of estimators; people tell them apart who do not see red or green."""
FAMILIES = (
    (PATHWISE,),
    (WINDOWS,),
    tuple(name for name in LIKELIHOOD_RATIOS if name.startswith("REINFORCE")),
    tuple(name for name in LIKELIHOOD_RATIOS if not name.startswith("REINFORCE")),
    (MIXTURE,),
    (TOTAL_PROPAGATION,),
    (INDEPENDENT, COMMON),
)
"""Estimators that are drawn in one colour; the last of each has a thick line and a name in the legend."""
COLOR = {name: color for family, color in zip(FAMILIES, COLORS, strict=True) for name in family}
SHOWN = tuple(family[-1] for family in FAMILIES)


class Results:
    """Rows of all seeds, accessed by estimator and horizon.

    Args:
        rows: from `Experiment.run`, for one or more seeds.
        num_envs: N, samples in a batch.
        window: steps per window of the estimator with a value.
    """

    def __init__(self, rows: Sequence[Row], num_envs: int, window: int) -> None:
        self.rows, self.num_envs, self.window = list(rows), num_envs, window
        self.horizons = sorted({row.horizon for row in rows})
        self.seeds = sorted({row.seed for row in rows})

    def values(self, estimator: str, quantity: Callable[[Row], float]) -> np.ndarray:
        """A quantity by seed and horizon: [seeds, horizons]."""
        found = {(row.seed, row.horizon): quantity(row) for row in self.rows if row.estimator == estimator}
        return np.array([[found[seed, horizon] for horizon in self.horizons] for seed in self.seeds])

    def median(self, estimator: str, quantity: Callable[[Row], float]) -> list[float]:
        """Median of a quantity over the seeds, by horizon; nan if it is nan for one of them."""
        return np.median(self.values(estimator, quantity), axis=0).tolist()

    def errors(self, estimator: str, *, per_second: bool) -> list[float]:
        """Relative squared error by horizon, at the env steps or the time of a batch of the pathwise estimator."""
        cost = (lambda row: row.seconds) if per_second else (lambda row: row.env_steps)
        ratio = np.array(self.median(estimator, cost)) / np.array(self.median(PATHWISE, cost))
        columns = [self.values(estimator, lambda row, r=r: row.comparison.error(r))[:, i] for i, r in enumerate(ratio)]
        return [float(np.median(column)) for column in columns]


def grids(results: Results) -> list[Grid]:
    """The tables: variance, bias, cosine, error, seconds and env steps, medians over the seeds."""
    n = results.num_envs
    shown = {
        "Variance of one sample, E|g - Eg|²": lambda row: _short(row.comparison.variance),
        "Bias over |g|; < if below the noise floor": _bias,
        f"Cosine of the mean of {n} samples with the gradient": lambda row: f"{row.comparison.cosine:.2f}",
        f"Squared error of {n} samples over |g|²": lambda row: _short(row.comparison.error()),
        "Milliseconds per sample": lambda row: f"{1000 * row.seconds:.2f}",
        "Env steps per sample": lambda row: f"{row.env_steps:.0f}",
    }
    medians = _median_rows(results)
    rows = {
        title: [[name, *(cell(medians[name, horizon]) for horizon in results.horizons)] for name in ESTIMATORS]
        for title, cell in shown.items()
    }
    return [Grid(title, header(results), cells) for title, cells in rows.items()]


def header(results: Results) -> list[str]:
    """Column headings of a table by horizon."""
    return ["horizon", *map(str, results.horizons)]


def winners(results: Results) -> Grid:
    """The estimator of least squared error at each horizon, at equal env steps and at equal time."""
    lines = []
    for label, per_second in (("equal env steps", False), ("equal time", True)):
        errors = {name: results.errors(name, per_second=per_second) for name in ESTIMATORS}
        best = []
        for i in range(len(results.horizons)):
            candidates = {name: error[i] for name, error in errors.items() if not math.isnan(error[i])}
            if results.horizons[i] <= results.window:
                candidates.pop(WINDOWS, None)  # the same as pathwise
            best.append(min(candidates, key=lambda name: candidates[name]) if candidates else "-")
        lines.append([label, *best])
    return Grid("Least squared error", header(results), lines)


def verdicts(results: Results) -> list[str]:
    """Sentences that say from which horizon on the likelihood ratio beats the pathwise estimators."""
    lines = []
    for label, per_second in (("env steps", False), ("time", True)):
        ratios = np.array([results.errors(name, per_second=per_second) for name in LIKELIHOOD_RATIOS])
        best = ratios.min(axis=0).tolist()
        for name in (PATHWISE, WINDOWS):
            turn = turning_point(results.horizons, results.errors(name, per_second=per_second), best)
            when = f"from horizon {turn} on" if turn else f"at no horizon up to {results.horizons[-1]}"
            lines.append(f"At equal {label}, the best likelihood ratio beats {name} {when}.")
    norms = results.median(PATHWISE, lambda row: row.gradient_norm)
    noisy = [str(h) for h, norm in zip(results.horizons, norms, strict=True) if math.isnan(norm)]
    if noisy:
        lines.append(f"At horizon {', '.join(noisy)} noise dominates the reference: increase reference_samples.")
    return lines


def rich_table(grid: Grid) -> Table:
    """A grid as a table for the terminal."""
    table = Table(title=grid.title, box=SIMPLE, padding=(0, 1, 0, 0))
    for i, words in enumerate(grid.header):
        table.add_column(words, no_wrap=i == 0, justify="right" if i else "left")
    for cells in grid.rows:
        table.add_row(*map(str, cells))
    return table


def write_csv(results: Results, path: Path) -> None:
    """Writes every number of every seed."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["seed", "horizon", "estimator", *COLUMNS, "gradient_norm", "seconds", "env_steps"])
        for row in results.rows:
            numbers = [*(getattr(row.comparison, name) for name in COLUMNS), row.gradient_norm, row.seconds]
            cells = [f"{number:.6g}" for number in (*numbers, row.env_steps)]
            writer.writerow([row.seed, row.horizon, row.estimator, *cells])


def draw(results: Results, title: str, path: Path) -> None:
    """Draws every quantity against the horizon, medians and ranges over the seeds; writes a PNG."""
    figure = Figure(figsize=(13, 7.5), layout="constrained")
    figure.suptitle(title, fontweight="bold")
    panels: dict[str, Callable[[Row], float]] = {
        "variance of one sample": lambda row: row.comparison.variance,
        "bias / |g| (dotted: noise floor)": lambda row: row.comparison.bias,
        f"cosine of the mean of {results.num_envs} samples": lambda row: row.comparison.cosine,
        f"squared error of {results.num_envs} samples / |g|²": lambda row: row.comparison.error(),
        "seconds per sample": lambda row: row.seconds,
        "env steps per sample": lambda row: row.env_steps,
    }
    for axes, (label, quantity) in zip(figure.subplots(2, 3).flat, panels.items(), strict=True):
        _panel(axes, results, label, quantity)
    for line in verdicts(results)[:1]:
        figure.supxlabel(line, fontsize=9)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    legend: dict[str, Any] = {"loc": "outside right upper", "fontsize": 8, "frameon": False, "alignment": "left"}
    figure.legend(handles, labels, title="thin: other baselines or noises\nof the same colour's estimator", **legend)
    figure.savefig(path, dpi=110)


def _panel(axes: Axes, results: Results, label: str, quantity: Callable[[Row], float]) -> None:
    """Draws one quantity of all estimators; zeros leave a gap on a logarithmic axis."""
    cosine = label.startswith("cosine")
    for name in ESTIMATORS:
        values = results.values(name, quantity)
        values = values if cosine else np.where(values > 0, values, np.nan)
        style = "--" if name in ESTIMATORS[-4:] else "-"
        named = name in SHOWN
        look: dict[str, Any] = {"linewidth": 0.8, "alpha": 0.5}
        if named:
            look = {"linewidth": 2.0, "marker": ".", "label": name, "zorder": 3}
        axes.plot(results.horizons, np.median(values, axis=0), style, color=COLOR[name], **look)
        if len(values) > 1 and named:
            low, high = values.min(0), values.max(0)
            axes.fill_between(results.horizons, low, high, color=COLOR[name], alpha=0.1, linewidth=0)
        if label.startswith("bias") and name in (PATHWISE, "GPOMDP, value"):
            floor = results.median(name, lambda row: row.comparison.bias_floor)
            axes.plot(results.horizons, floor, ":", color=COLOR[name], linewidth=1)
    axes.set_title(label, fontsize=9)
    axes.set_xlim(results.horizons[0] / 1.2, results.horizons[-1] * 1.2)
    axes.set_xscale("log", base=2)
    axes.set_xticks(results.horizons, [str(horizon) for horizon in results.horizons])
    if not any(np.isfinite(np.asarray(line.get_ydata())).any() for line in axes.lines):
        axes.text(0.5, 0.5, "noise dominates the reference", transform=axes.transAxes, ha="center", fontsize=9)
    elif not cosine:
        axes.set_yscale("log")
    axes.set_xlabel("horizon", fontsize=8)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def _median_rows(results: Results) -> dict[tuple[str, int], Row]:
    """For each estimator and horizon, a row of medians over the seeds."""
    medians = {}
    for name in ESTIMATORS:
        for horizon in results.horizons:
            rows = [row for row in results.rows if (row.estimator, row.horizon) == (name, horizon)]
            comparison = rows[0].comparison._make(np.median([row.comparison for row in rows], axis=0).tolist())
            costs = np.median([row[-3:] for row in rows], axis=0).tolist()
            medians[name, horizon] = Row(rows[0].seed, horizon, name, comparison, *costs)
    return medians


def _bias(row: Row) -> str:
    """The bias, or `<floor` if it is below the floor."""
    bias, floor = row.comparison.bias, row.comparison.bias_floor
    return f"<{_short(floor)}" if bias == 0 else _short(bias)


def _short(number: float) -> str:
    """The number with two digits."""
    return "-" if math.isnan(number) else f"{number:.2g}"
