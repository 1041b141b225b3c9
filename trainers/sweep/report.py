"""The report of a sweep: its trials, best first, a picture, and the best options as a file for `diffsim fit`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from diffsim.trainers.compare.page import Block, Grid, Heading, Pictures, Text, html, markdown
from diffsim.trainers.run.run_folder import write_table
from diffsim.trainers.sweep.sweep_file import Sweep

COLUMNS = 3  # of panels
BEST = "best.yaml"


def write_sweep_report(study: Any, sweep: Sweep, output: Path) -> Path:
    """Writes report.md, report.html, trials.csv, sweep.png and best.yaml to a folder. Returns the page.

    Args:
        study: of Optuna, with trials that have numbers, states, parameters and values.
        sweep: the search.
        output: the folder.
    """
    done = sorted((trial for trial in study.trials if trial.value is not None), key=lambda trial: -trial.value)
    states = [trial.state.name.lower() for trial in study.trials]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    seeds = ", ".join(map(str, sweep.seeds))
    blocks: list[Block] = [
        Heading(f"Sweep {sweep.name}", 1),
        Text(f"{sweep.options['algorithm']} on {sweep.options['task']}, seeds {seeds}: {counts or 'no trials'}."),
        Text("The score of a trial is the mean over its seeds of the mean return of the final official episodes."),
    ]
    if done:
        best = {**sweep.options, **done[0].params}
        (output / BEST).write_text(yaml.safe_dump(best, sort_keys=False))
        draw(done, sweep, output / "sweep.png")
        rows = [{"trial": trial.number, "score": trial.value, **_texts(trial.params)} for trial in done]
        write_table(output / "trials.csv", rows)
        blocks += [
            Text(
                f"The best options are in {BEST}: diffsim fit --config {output / BEST} --seed 100. Their score is the "
                f"best of {len(done)}, and therefore too good: run them again with other seeds."
            ),
            Pictures([(output / "sweep.png", "scores by trial and by option")]),
            Grid("Trials, best first", ["trial", "score", *sweep.search], [_row(trial, sweep) for trial in done]),
        ]
    (output / "report.md").write_text(markdown(blocks))
    page = output / "report.html"
    page.write_text(html(f"Sweep {sweep.name}", blocks))
    return page


def draw(done: list[Any], sweep: Sweep, path: Path) -> None:
    """Draws the scores in the order of the trials, with the best so far, and against each searched option."""
    count = 1 + len(sweep.search)
    columns = min(count, COLUMNS)
    lines = math.ceil(count / columns)
    figure = Figure(figsize=(4.2 * columns, 3.2 * lines), layout="constrained")
    panels = list(figure.subplots(lines, columns, squeeze=False).flat)
    for axes in panels[count:]:
        axes.set_axis_off()
    ordered = sorted(done, key=lambda trial: trial.number)
    numbers, scores = [trial.number for trial in ordered], np.array([trial.value for trial in ordered])
    panels[0].plot(numbers, scores, "o", color="#0072b2", markersize=4, label="trial")
    panels[0].step(numbers, np.maximum.accumulate(scores), where="post", color="#d55e00", label="best so far")
    panels[0].legend(fontsize=8)
    panels[0].set_xlabel("trial")
    for axes, (name, space) in zip(panels[1:], sweep.search.items(), strict=False):
        draw_option(axes, name, space, ordered)
    for axes in panels[:count]:
        axes.set_ylabel("return")
        axes.grid(alpha=0.25, linewidth=0.6)
    figure.savefig(path, dpi=120)


def draw_option(axes: Axes, name: str, space: Any, trials: list[Any]) -> None:
    """Draws the scores against one option."""
    values, scores = [trial.params[name] for trial in trials], [trial.value for trial in trials]
    if isinstance(space, list):
        axes.plot([space.index(value) for value in values], scores, "o", color="#0072b2", markersize=4)
        axes.set_xticks(range(len(space)), list(map(str, space)))
        axes.set_xlim(-0.5, len(space) - 0.5)
    else:
        axes.plot(values, scores, "o", color="#0072b2", markersize=4)
        axes.set_xscale("log" if space.get("log") else "linear")
    axes.set_xlabel(name)


def _texts(params: dict[str, Any]) -> dict[str, Any]:
    """Options as numbers or text."""
    return {name: value if isinstance(value, int | float | str) else str(value) for name, value in params.items()}


def _row(trial: Any, sweep: Sweep) -> list[str]:
    shown = (trial.params[name] for name in sweep.search)
    return [str(trial.number), f"{trial.value:,.2f}", *(f"{v:.4g}" if isinstance(v, float) else str(v) for v in shown)]
