"""Compares estimators of the policy gradient at horizons from 1 to 64.

Runs `diffsim gradients` on several tasks, and writes a page of tables, a CSV file and a picture for each task.

    python -m benchmarks.laboratory --tasks Hopper-v5 --seeds 0
"""

from __future__ import annotations

import time
from pathlib import Path

from rich.console import Console

from benchmarks.machine import RESULTS, made_by, make_parser, positive
from diffsim.tasks import TASKS
from diffsim.trainers.gradients.experiment import VALUE_SAMPLES
from diffsim.trainers.gradients.gradients import describe, measure
from diffsim.trainers.gradients.options import GradientOptions, build
from diffsim.trainers.gradients.report import Results, draw, grids, markdown, verdicts, winners, write_csv

DEFAULT_TASKS = ["InvertedDoublePendulum-v5", "Hopper-v5", "HalfCheetah-v5"]


def page(options: GradientOptions, results: Results, minutes: float) -> str:
    """The Markdown page of one task."""
    names = ("horizons", "seeds", "num_envs", "samples", "reference_samples")
    words = " ".join([f"--tasks {options.task}", *(f"--{name} {getattr(options, name)}" for name in names)])
    lines = [
        f"# Estimators of the policy gradient: {options.task}",
        "",
        f"{made_by(f'python -m benchmarks.laboratory {words}')} in {minutes:.0f} minutes.",
        "",
        f"Random Gaussian policies with hidden layers {list(options.hidden_sizes)} and deviation {options.std} before "
        f"squashing, gamma {options.gamma}, {options.samples} samples of each estimator at each horizon in batches of "
        f"{options.num_envs}. The reference is the likelihood ratio with a value baseline, from "
        f"{options.reference_samples} separate samples. `pathwise + value` cuts its roll-outs every {options.window} "
        f"steps. Medians over the seeds {options.seeds}. Time is processor time. The {VALUE_SAMPLES} roll-outs that "
        "the value is fitted to are not in the costs. [Discussion](README.md).",
        "",
        f"![{options.task}]({options.task}.png)",
        "",
        *(f"* {line}" for line in verdicts(results)),
    ]
    for grid in (winners(results), *grids(results)):
        lines += ["", markdown(grid)]
    return "\n".join([*lines, ""])


def main(arguments: list[str] | None = None) -> None:
    """Measures, draws and saves, task by task."""
    parser = make_parser("laboratory", __doc__)
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=DEFAULT_TASKS, metavar="ID")
    parser.add_argument("--horizons", default="1,2,4,8,16,32,64")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--num_envs", type=positive(int), default=256)
    parser.add_argument("--samples", type=positive(int), default=512)
    parser.add_argument("--reference_samples", type=positive(int), default=4096)
    parser.add_argument("--output", type=Path, default=RESULTS / "laboratory", help="folder of page and pictures")
    options = vars(parser.parse_args(arguments))
    tasks, folder = options.pop("tasks"), options.pop("output")
    folder.mkdir(parents=True, exist_ok=True)
    for task in tasks:
        start, setting = time.perf_counter(), GradientOptions(task, **options)
        results = measure(setting, *build(setting), Console())
        write_csv(results, folder / f"{task}.csv")
        draw(results, describe(setting), folder / f"{task}.png")
        (folder / f"{task}.md").write_text(page(setting, results, (time.perf_counter() - start) / 60))
        print(task, *verdicts(results), sep="\n", flush=True)


if __name__ == "__main__":
    main()
