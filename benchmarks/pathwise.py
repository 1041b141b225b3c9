"""Official returns of SHAC after a budget of environment steps.

Each run is `diffsim fit` with a file of configs/, whose learning rates fall to 2 % at the run's budget. The final
policy, the average of the actor's weights, is evaluated with its mean actions in the official Gymnasium environment
(C MuJoCo), over 10 episodes that are not used in training. Env steps count all worlds together. The minutes include
evaluation, the env steps do not. Finished runs with the same config are not repeated, and stopped ones are resumed.

    python -m benchmarks.pathwise --tasks Hopper-v5 --budgets 100000 --seeds 0 1 --jobs 2
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from itertools import product
from operator import attrgetter
from pathlib import Path

import numpy as np

from benchmarks.command import make_parser, page, paragraphs, parse, positive, spread, table
from benchmarks.pictures import draw_curves
from benchmarks.published import published
from benchmarks.runs import config_file, grouped, measured, read_rows, train, write_rows
from diffsim.trainers.run.run_folder import RunFolder, read_yaml

TARGETS = {
    "Ant-v5": {300_000: 2000, 1_000_000: 4000},
    "HalfCheetah-v5": {100_000: 5500, 300_000: 7500, 1_000_000: 9000},
    "Hopper-v5": {100_000: 1500, 300_000: 2800, 1_000_000: 3300},
    "Humanoid-v5": {1_000_000: 2000},
    "InvertedDoublePendulum-v5": {100_000: 9300},
    "Reacher-v5": {100_000: -5},
    "Swimmer-v5": {100_000: 100},
    "Walker2d-v5": {100_000: 1500, 300_000: 3400, 1_000_000: 4500},
}
"""Mean return to reach, by task and budget in env steps."""
HEADER = (
    "task | env steps: | return, mean ± std of seeds: | every seed | target: | met | SAC: | PPO: | TRPO: | "
    "env steps/s: | minutes:"
)


def config(task: str, budget: int) -> Path:
    """The YAML file with the options for a task; there may be another, with larger steps, for a short budget."""
    path = config_file("SHAC", task)
    short = path.with_stem(f"{path.stem}_{budget // 1000}k")
    return short if short.exists() else path


def digest(task: str, budget: int) -> str:
    """A hash of the options in that file: results of other options do not count."""
    options = json.dumps(read_yaml(config(task, budget)), sort_keys=True)
    return hashlib.sha256(options.encode()).hexdigest()[:8]


@dataclass(frozen=True)
class Row:
    """Result of a run."""

    task: str
    budget: int
    seed: int
    config: str
    mean: float
    std: float
    env_steps: int
    seconds: float


def run_folder(runs: Path, task: str, budget: int, seed: int) -> RunFolder:
    """Folder of a run's checkpoint and metrics."""
    return RunFolder(runs.resolve() / f"{task}-{budget}-seed-{seed}-{digest(task, budget)}")


def run(runs: Path, task: str, budget: int, seed: int) -> Row:
    """Trains or resumes a run in a process of its own, or reads a finished one.

    Raises: RuntimeError with the end of the command's error output, if it failed.
    """
    folder = run_folder(runs, task, budget, seed)
    train(folder, {"config": config(task, budget), "seed": seed, "decay_env_steps": budget}, budget)
    return Row(task, budget, seed, digest(task, budget), **measured(folder))


def table_row(task: str, budget: int, rows: Sequence[Row]) -> list[str]:
    """One line of the table."""
    rows = sorted(rows, key=attrgetter("seed"))
    means, target = [row.mean for row in rows], TARGETS[task].get(budget)
    goal = ["", ""] if target is None else [f"{target:,}", "yes" if np.mean(means) >= target else "no"]
    return [
        *(task, f"{budget:,}", spread(means, 1)),
        ", ".join(f"{row.seed}: {row.mean:,.0f} ± {row.std:,.0f}" for row in rows),
        *goal,
        *(published(task, name, budget) for name in ("SAC", "PPO", "TRPO")),
        f"{np.mean([row.env_steps / row.seconds for row in rows]):,.0f}",
        f"{np.mean([row.seconds / 60 for row in rows]):.1f}",
    ]


def results(rows: Sequence[Row]) -> str:
    """A table with one line per task and budget."""
    return table(HEADER, [table_row(*key, rows=group) for key, group in grouped(rows, "task", "budget")])


def report(rows: Sequence[Row], jobs: int) -> str:
    """The Markdown page."""
    used = [(task, path, read_yaml(path)) for task, path in sorted({(r.task, config(r.task, r.budget)) for r in rows})]
    bounds, kwargs = "termination_bounds", "task_kwargs"
    ends = [f"{task}: `{bounds}: {found[bounds]}` of {path.name}" for task, path, found in used if bounds in found]
    parts = sorted({f"{task}: `{found[kwargs]}`" for task, _, found in used if kwargs in found})
    return page(
        "Learning by gradients through the dynamics",
        "pathwise",
        paragraphs(__doc__)[1] + "\nEach seed's number is the mean ± standard deviation of its 10 episodes.",
        results(rows),
        "SAC, PPO, TRPO: Tianshou's published means of 10 seeds at the same number of steps, for scale. The protocols "
        "differ: those agents use no derivatives of the dynamics, ran on the v3 (v2) environments, have a constant "
        "learning rate and one setting for all tasks, and are evaluated at that step of a longer run.",
        f"Terminations in training only: {'; '.join(ends) or 'none'}.",
        f"Options of the official environment, in training and evaluation: {'; '.join(parts) or 'none'}. They choose "
        "the parts of the observation, and change neither dynamics, rewards nor terminations.",
        "\n".join(f"![{task}]({task}.png)" for task in sorted({row.task for row in rows})),
        note=f", {jobs} run(s) at a time, one core each",
    )


def save(rows: Sequence[Row], runs: Path, output: Path, jobs: int) -> None:
    """Writes pathwise.md and runs.csv, and draws the curves of tasks whose run folders exist."""
    ordered = sorted(rows, key=attrgetter("task", "budget", "seed"))
    write_rows(ordered, output / "runs.csv", lambda value: round(value, 2))
    (output / "pathwise.md").write_text(report(rows, jobs))
    for task, group in {task: group for (task, _), group in grouped(rows, "task", "budget")}.items():  # largest budgets
        curves = [np.array(curve(row, runs)).T for row in group]
        if all(map(len, curves)):
            last = min(points[0, -1] for points in curves)
            steps = np.linspace(max(points[0, 0] for points in curves), last, 100)
            mean = np.mean([np.interp(steps, *points) for points in curves], axis=0)
            label = f"SHAC, {len(curves)} seeds and their mean"
            draw_curves(task, curves, np.array([steps, mean]), label, output / f"{task}.png", last)


def curve(row: Row, runs: Path) -> list[tuple[float, float]]:
    """Official returns (env steps, return) during a run and of its final policy; empty if its folder does not exist."""
    lines = run_folder(runs, row.task, row.budget, row.seed).read_metrics()
    points = [(line["env_steps"], line["eval/return"]) for line in lines if "eval/return" in line]
    return [*points, (row.env_steps, row.mean)] if lines else []


def main(arguments: list[str] | None = None) -> None:
    """Runs what is missing, and writes the table after every run."""
    parser = make_parser("pathwise", __doc__, runs=True)
    parser.add_argument("--tasks", nargs="+", choices=list(TARGETS), default=list(TARGETS), metavar="ID")
    parser.add_argument("--budgets", nargs="+", type=positive(int), help="env steps; default: those with a target")
    parser.add_argument("--seeds", nargs="+", type=int, default=list(range(5)), help="default 0 to 4")
    parser.add_argument("--jobs", type=positive(int), default=1, help="runs at a time, one core each; default 1")
    options = parse(parser, arguments)
    rows = [row for row in read_rows(Row, options.output / "runs.csv") if row.config == digest(row.task, row.budget)]
    finished = {(row.task, row.budget, row.seed) for row in rows}
    wanted = [job for id in options.tasks for job in product([id], options.budgets or TARGETS[id], options.seeds)]
    with ThreadPoolExecutor(options.jobs) as pool:
        for future in as_completed([pool.submit(run, options.runs, *job) for job in wanted if job not in finished]):
            row = future.result()
            rows.append(row)
            save(rows, options.runs, options.output, options.jobs)
            print(f"{row.task} {row.budget:,} seed {row.seed}: {row.mean:,.1f} ± {row.std:,.1f}", flush=True)
    if rows:
        save(rows, options.runs, options.output, options.jobs)
        print(results(rows))


if __name__ == "__main__":
    main()
