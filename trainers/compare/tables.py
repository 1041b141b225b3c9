"""Tables of the report of a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from diffsim.trainers.compare.measures import Estimate, improvement, iqm
from diffsim.trainers.compare.page import Cell, Grid, Link
from diffsim.trainers.compare.references import Reference
from diffsim.trainers.compare.results import Result, Results

SECONDS = (10, 30, 100, 300, 1000, 3000, 10_000, 30_000)
GRADIENTS = {
    "grad_norm": "norm",
    "improver/grad_norm": "norm, on the model",
    "action_grad_growth": "growth over a window",
    "clipped": "fraction clipped",
}
"""Metrics of the gradient, and their column headings."""


def score_table(results: Results, task: str, references: Sequence[Reference]) -> Grid:
    """Scores and areas of a task, best first."""
    rows: list[tuple[float, list[Cell]]] = []
    published = {reference.algorithm: reference for reference in references}
    for label in results.labels:
        runs = results.of(task, label)
        if not runs:
            continue
        done = results.finished(task, label)
        scores = np.array([result.score for result in done])
        sampled = np.array([result.final["sampled"].mean() for result in done if "sampled" in result.final])
        areas = np.array([result.area for result in done])
        reference = published.get(results.algorithm[label])
        cells: list[Cell] = [
            label,
            f"{runs[0].run.env_steps:,}",
            f"{len(done)}/{len(runs)}",
            spread(scores),
            _interval(iqm([scores])) if len(scores) else "",
            spread(sampled),
            spread(areas),
            spread(np.array([result.curve.seconds[-1] for result in done])),
            f"{short(reference.mean)} ± {short(reference.std)}" if reference else "",
        ]
        rows.append((scores.mean() if len(scores) else -np.inf, cells))
    header = ["algorithm", "env steps", "runs", "final return", "interquartile mean", "sampled actions"]
    header += ["area under curve", "seconds", "published"]
    return Grid(f"{task}: mean ± standard deviation over the seeds", header, [cells for _, cells in _best_first(rows)])


def overall_table(results: Results) -> Grid:
    """Scores combined over tasks, best first."""
    rows: list[tuple[float, list[Cell]]] = []
    baseline = results.comparison.baseline
    complete = results.complete()
    for label in complete:
        scores = results.normalized(label)
        final, area = iqm(scores), iqm(results.normalized(label, "area"))
        chance = ""
        if baseline in complete and label != baseline:
            others = results.normalized(baseline)
            chance = _interval(improvement(scores, others))
            if not results.enough_seeds():
                chance += f" of {sum(len(a) * len(b) for a, b in zip(scores, others, strict=True))} pairs"
        rows.append((final.value, [label, str(sum(map(len, scores))), _interval(final), _interval(area), chance]))
    header = ["algorithm", "runs", "final score", "area score", f"P(better than {baseline})"]
    return Grid(
        f"Interquartile means{' and 95% intervals' if results.enough_seeds() else ''}",
        header,
        [cells for _, cells in _best_first(rows)],
    )


def improvement_table(results: Results) -> Grid:
    """Probability that the algorithm of the row is better than that of the column."""
    complete = results.complete()
    scores = {label: results.normalized(label) for label in complete}
    rows = []
    for label in complete:
        chances = {other: improvement(scores[label], scores[other], bounds=False).value for other in complete}
        rows.append([label, *("" if other == label else f"{chance:.2f}" for other, chance in chances.items())])
    return Grid("Probability that the row is better than the column", ["", *complete], rows)


def progress_tables(results: Results, task: str) -> list[Grid]:
    """Mean returns at the last evaluation before given numbers of env steps, and of seconds of training."""
    runs = [result for result in results.all if result.run.task == task]
    budgets = {result.run.env_steps for result in runs if result.run.env_steps}
    intervals = [result.run.options.get("evaluate_every_steps", 1) for result in runs]
    steps = sorted(budgets | {budget // 4 for budget in budgets if budget // 4 >= max(intervals, default=1)})
    longest = max((curve.seconds[-1] for result in runs if len((curve := result.curve).seconds)), default=0.0)
    grids = []
    for name, places in (("env_steps", steps), ("seconds", [second for second in SECONDS if second <= longest])):
        rows = []
        for label in results.labels:
            cells = [_at(results.of(task, label), name, place) for place in places]
            if any(cells):
                rows.append([label, *cells])
        unit = "env steps" if name == "env_steps" else "s"
        if rows:
            title = f"{task}: official return by {'env steps' if unit != 's' else 'seconds of training'}"
            grids.append(Grid(title, ["algorithm", *(f"{place:,} {unit}" for place in places)], rows))
    return grids


def threshold_table(results: Results, task: str) -> Grid | None:
    """Env steps and seconds until the evaluated return first reaches each threshold; None without thresholds."""
    thresholds = results.comparison.thresholds.get(task, [])
    if not thresholds:
        return None
    rows = []
    for label in results.labels:
        curves = [curve for result in results.of(task, label) if len((curve := result.curve).mean)]
        if curves:
            cells = []
            for threshold in thresholds:
                reached = [(curve, np.argmax(above)) for curve in curves if (above := curve.mean >= threshold).any()]
                for name, form in (("env_steps", ",.0f"), ("seconds", ",.1f")):
                    values = [getattr(curve, name)[k] for curve, k in reached]
                    cells.append(_median_of_all(values, len(curves), form))
                cells.append(f"{len(reached)}/{len(curves)}")
            rows.append([label, *cells])
    header = [
        f"{name}{'' if 'reached' in name else ' to'} {threshold:,}"
        for threshold in thresholds
        for name in ("env steps", "seconds", "seeds that reached")
    ]
    return Grid(f"{task}: median over the seeds until a return is reached", ["algorithm", *header], rows)


def gradient_table(results: Results, task: str) -> Grid | None:
    """Medians and 5th to 95th percentiles of logged gradient metrics; None if none are logged."""
    rows = []
    for label in results.labels:
        cells = []
        for name in GRADIENTS:
            values = [row[name] for result in results.of(task, label) for row in result.rows if name in row]
            low, middle, high = np.percentile(values, [5, 50, 95]) if values else (0, 0, 0)
            cells.append(f"{middle:.2g} ({low:.2g} to {high:.2g})" if values else "")
        if any(cells):
            rows.append([label, *cells])
    title = f"{task}: gradient, median (5th to 95th percentile) over iterations and seeds"
    return Grid(title, ["algorithm", *GRADIENTS.values()], rows) if rows else None


def run_table(results: Results, page: Path) -> Grid:
    """Every run, with a link to its folder."""
    rows: list[list[Cell]] = []
    for result in results.all:
        folder = result.run.folder
        steps = f"{result.rows[-1]['env_steps']:,.0f}" if result.rows else ""
        score = short(result.score) if result.final else ""
        target = f"../runs/{folder.path.name}/"
        name = Link(folder.path.name, target) if folder.path.exists() else folder.path.name
        rows.append([name, result.state, steps, score, result.error[:300]])
    return Grid("Runs", ["run", "state", "env steps", "final return", "error"], rows, words=4)


def _at(runs: Sequence[Result], name: str, place: float) -> str:
    """Mean over the seeds of the return at the last evaluation up to `place`; empty if a seed has not reached it."""
    curves = [curve for result in runs if len((curve := result.curve).mean)]
    if not curves or any(getattr(curve, name)[-1] < place for curve in curves):
        return ""
    found = [curve.mean[np.searchsorted(getattr(curve, name), place, side="right") - 1] for curve in curves]
    return spread(np.array(found))


def _median_of_all(values: Sequence[float], count: int, form: str) -> str:
    """The median over all seeds; those without a value count as infinite."""
    middle = np.median([*values, *[np.inf] * (count - len(values))])
    return format(middle, form) if np.isfinite(middle) else "-"


def _best_first(rows: list[tuple[float, list[Cell]]]) -> list[tuple[float, list[Cell]]]:
    return sorted(rows, key=lambda row: -row[0])


def spread(values: np.ndarray) -> str:
    """Mean and standard deviation; empty without values."""
    return f"{short(values.mean())} ± {short(values.std())}" if len(values) else ""


def _interval(found: Estimate) -> str:
    middle = short(found.value)
    return middle if np.isnan(found.low) else f"{middle} [{short(found.low)}, {short(found.high)}]"


def short(number: float) -> str:
    """The number with three significant digits, or as an integer."""
    size = abs(number)
    return f"{number:,.0f}" if size >= 100 else f"{number:.1f}" if size >= 10 else f"{number:.2f}"
