"""The part of a comparison's report that shows a published table beside our results."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from diffsim.trainers.compare.measures import rank_correlation
from diffsim.trainers.compare.page import Block, Cell, Grid, Heading, Text
from diffsim.trainers.compare.published import PublishedTable
from diffsim.trainers.compare.results import Result, Results
from diffsim.trainers.compare.tables import short, spread

RANDOM = "Random"
"""Column of a policy that draws random actions, which is no method to rank."""
MEASURES: dict[str, Callable[[Result], float]] = {
    "mean return of all episodes of all iterations of training, the published measure": lambda r: r.training_return,
    "final policy, mean return of the official evaluation": lambda r: r.score,
}
"""What the two tables show of a finished run."""


def published_blocks(results: Results, published: PublishedTable) -> list[Block]:
    """Both measures of every task and method, the published numbers beside, and how far the orders agree."""
    budgets = sorted({result.run.env_steps for result in results.all if result.run.env_steps})
    ours = " to ".join(f"{budget:,}" for budget in dict.fromkeys((budgets[0], budgets[-1])))
    seeds = ", ".join(map(str, results.comparison.seeds))
    words = f"Published: {published.source}; {published.protocol}; {published.env_steps:,} env steps. Ours: {ours} env "
    words += f"steps, seeds {seeds}. A cell is ours, mean ± standard deviation over the seeds, then the published one. "
    words += "Order: Spearman's correlation of our ranks of the methods with the published ranks, over those with both."
    blocks: list[Block] = [Heading("Published table"), Text(words)]
    for title, measure in MEASURES.items():
        correlations = {task: order(results, published, task, measure) for task in results.tasks}
        blocks.append(table(results, published, title, measure, correlations))
        known = [value for value, _ in correlations.values() if not np.isnan(value)]
        if known:
            count = f"{len(known)} of {len(results.tasks)} tasks"
            blocks.append(Text(f"Mean correlation of the order: {np.mean(known):.2f}, over {count}."))
    return blocks


def table(
    results: Results,
    published: PublishedTable,
    title: str,
    measure: Callable[[Result], float],
    correlations: dict[str, tuple[float, int]],
) -> Grid:
    """One row per task, one column per method."""
    rows: list[list[Cell]] = []
    for task in results.tasks:
        theirs = published.rows.get(task, {})
        cells = []
        for label in results.labels:
            own = spread(measured(results, task, label, measure))
            other = f"{short(theirs[label].mean)} ± {short(theirs[label].std)}" if label in theirs else ""
            cells.append(" / ".join([own or "-", other]) if other else own)
        value, count = correlations[task]
        chance = short(theirs[RANDOM].mean) if RANDOM in theirs else ""
        rows.append([task, chance, *cells, "" if np.isnan(value) else f"{value:.2f} of {count}"])
    header = ["task", "random, published", *results.labels, "order"]
    return Grid(f"{title[0].upper()}{title[1:]}: ours / published", header, rows)


def order(
    results: Results, published: PublishedTable, task: str, measure: Callable[[Result], float]
) -> tuple[float, int]:
    """Spearman's correlation of our order of methods with the published one, and the number of methods."""
    theirs = published.rows.get(task, {})
    ours = {label: measured(results, task, label, measure) for label in results.labels}
    both = [label for label, values in ours.items() if len(values) and label in theirs]
    pairs = [float(np.mean(ours[label])) for label in both], [theirs[label].mean for label in both]
    return rank_correlation(*pairs), len(both)


def measured(results: Results, task: str, label: str, measure: Callable[[Result], float]) -> np.ndarray:
    """A measure of the finished runs of a cell, without those in whose training no episode ended: [seeds]."""
    values = np.array([measure(result) for result in results.finished(task, label)])
    return values[~np.isnan(values)]
