"""Compares estimators of the policy gradient at horizons from 1 to 64.

Runs `diffsim gradients` on several tasks, and writes a page of tables, a CSV file and a picture for each task.

    python -m benchmarks.laboratory --tasks Hopper-v5 --seeds 0
"""

from __future__ import annotations

import time

from rich.console import Console

from benchmarks.command import arguments_of, make_parser, page, parse, positive
from diffsim.tasks import TASKS
from diffsim.trainers.compare.page import markdown
from diffsim.trainers.gradients.experiment import VALUE_SAMPLES
from diffsim.trainers.gradients.gradients import describe, measure
from diffsim.trainers.gradients.options import GradientOptions, build
from diffsim.trainers.gradients.report import Results, draw, grids, verdicts, winners, write_csv

DEFAULT_TASKS = ["InvertedDoublePendulum-v5", "Hopper-v5", "HalfCheetah-v5"]


def report(options: GradientOptions, results: Results, minutes: float) -> str:
    """The Markdown page of one task."""
    names = "horizons", "seeds", "num_envs", "samples", "reference_samples"
    return page(
        f"Estimators of the policy gradient: {options.task}",
        f"laboratory --tasks {options.task} {arguments_of(options, *names)}",
        f"Random Gaussian policies with hidden layers {list(options.hidden_sizes)} and deviation {options.std} before "
        f"squashing, gamma {options.gamma}, {options.samples} samples of each estimator at each horizon in batches of "
        f"{options.num_envs}. The reference is the likelihood ratio with a value baseline, from "
        f"{options.reference_samples} separate samples. `pathwise + value` cuts its roll-outs every {options.window} "
        f"steps. Medians over the seeds {options.seeds}. Time is processor time. The {VALUE_SAMPLES} roll-outs that "
        "the value is fitted to are not in the costs. [Discussion](README.md).",
        f"![{options.task}]({options.task}.png)",
        "\n".join(f"* {line}" for line in verdicts(results)),
        markdown([winners(results), *grids(results)]).rstrip(),
        note=f" in {minutes:.0f} minutes",
    )


def main(arguments: list[str] | None = None) -> None:
    """Measures, draws and saves, task by task."""
    parser = make_parser("laboratory", __doc__)
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=DEFAULT_TASKS, metavar="ID")
    parser.add_argument("--horizons", default="1,2,4,8,16,32,64")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--num_envs", type=positive(int), default=256)
    parser.add_argument("--samples", type=positive(int), default=512)
    parser.add_argument("--reference_samples", type=positive(int), default=4096)
    options = vars(parse(parser, arguments))
    tasks, folder = options.pop("tasks"), options.pop("output")
    for task in tasks:
        start, setting = time.perf_counter(), GradientOptions(task, **options)
        results = measure(setting, *build(setting), Console())
        write_csv(results, folder / f"{task}.csv")
        draw(results, describe(setting), folder / f"{task}.png")
        (folder / f"{task}.md").write_text(report(setting, results, (time.perf_counter() - start) / 60))
        print(task, *verdicts(results), sep="\n", flush=True)


if __name__ == "__main__":
    main()
