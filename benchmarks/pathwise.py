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
from operator import attrgetter
from pathlib import Path

import numpy as np
import yaml

from benchmarks.curves import draw
from benchmarks.machine import RESULTS, made_by, make_parser, paragraphs, positive
from benchmarks.published import RETURNS, STEPS
from benchmarks.runs import CONFIGS, measured, read_rows, train, two_digits, write_rows
from diffsim.trainers.run.run_folder import RunFolder

CONFIG = {
    "Ant-v5": "shac_ant",
    "HalfCheetah-v5": "shac_half_cheetah",
    "Hopper-v5": "shac_hopper",
    "Humanoid-v5": "shac_humanoid",
    "InvertedDoublePendulum-v5": "shac_inverted_double_pendulum",
    "Reacher-v5": "shac_reacher",
    "Swimmer-v5": "shac_swimmer",
    "Walker2d-v5": "shac_walker2d",
}
SHORT = {
    ("Hopper-v5", 100_000): "shac_hopper_100k",
    ("Walker2d-v5", 100_000): "shac_walker2d_100k",
}
"""Configs with larger steps, for budgets that are too short for small ones."""

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


def config(task: str, budget: int) -> Path:
    """The YAML file with the options for a task and a budget."""
    return CONFIGS / f"{SHORT.get((task, budget), CONFIG[task])}.yaml"


def digest(task: str, budget: int) -> str:
    """A hash of the options in that file: results of other options do not count."""
    options = yaml.safe_load(config(task, budget).read_text())
    return hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()[:8]


@dataclass(frozen=True)
class Job:
    """One training run."""

    task: str
    budget: int
    seed: int

    def folder(self, runs: Path) -> RunFolder:
        """Folder of its checkpoint and metrics."""
        return RunFolder(runs / f"{self.task}-{self.budget}-seed-{self.seed}-{digest(self.task, self.budget)}")


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


def run(job: Job, runs: Path) -> Row:
    """Trains or resumes a run in a process of its own, or reads a finished one.

    Raises: RuntimeError with the end of the command's error output, if it failed.
    """
    folder = job.folder(runs.resolve())
    options = {"config": config(job.task, job.budget), "seed": job.seed, "decay_env_steps": job.budget}
    train(folder, options, job.budget)
    return Row(job.task, job.budget, job.seed, digest(job.task, job.budget), **measured(folder))


def table(rows: Sequence[Row]) -> list[str]:
    """One line per task and budget."""
    lines = [
        "| task | env steps | return, mean ± std of seeds | every seed | target | met | SAC | PPO | TRPO "
        "| env steps/s | minutes |",
        "|---|---:|---:|---|---:|---|---:|---:|---:|---:|---:|",
    ]
    for task, budget in sorted({(row.task, row.budget) for row in rows}):
        group = sorted((row for row in rows if (row.task, row.budget) == (task, budget)), key=lambda row: row.seed)
        means = np.array([row.mean for row in group])
        each = ", ".join(f"{row.seed}: {row.mean:,.0f} ± {row.std:,.0f}" for row in group)
        target = TARGETS[task].get(budget)
        verdict = "" if target is None else "yes" if means.mean() >= target else "no"
        column = STEPS.index(budget) if budget in STEPS else None
        published = [
            f"{RETURNS[task][name][column]:,}" if column is not None else "" for name in ("SAC", "PPO", "TRPO")
        ]
        rate = np.mean([row.env_steps / row.seconds for row in group])
        minutes = np.mean([row.seconds / 60 for row in group])
        result = f"{means.mean():,.1f} ± {means.std():,.1f}"
        goal = "" if target is None else f"{target:,}"
        cells = [task, f"{budget:,}", result, each, goal, verdict, *published, f"{rate:,.0f}", f"{minutes:.1f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def report(rows: Sequence[Row], jobs: int) -> str:
    """The Markdown page."""
    tasks = sorted({row.task for row in rows})
    used = sorted({(row.task, config(row.task, row.budget)) for row in rows})
    chosen = [(task, path, yaml.safe_load(path.read_text())) for task, path in used]
    ends = [
        f"{task}: `termination_bounds: {options['termination_bounds']}` of {path.name}"
        for task, path, options in chosen
        if "termination_bounds" in options
    ]
    kwargs = sorted({f"{task}: `{options['task_kwargs']}`" for task, _, options in chosen if "task_kwargs" in options})
    return "\n".join(
        [
            "# Learning by gradients through the dynamics",
            "",
            f"{made_by('python -m benchmarks.pathwise')}, {jobs} run(s) at a time, one core each.",
            "",
            *paragraphs(__doc__)[1].splitlines(),
            "Each seed's number is the mean ± standard deviation of its 10 episodes.",
            "",
            *table(rows),
            "",
            "SAC, PPO, TRPO: Tianshou's published means of 10 seeds at the same number of steps, for scale. The "
            "protocols differ: those agents use no derivatives of the dynamics, ran on the v3 (v2) environments, have "
            "a constant learning rate and one setting for all tasks, and are evaluated at that step of a longer run.",
            "",
            "Terminations in training only: " + ("; ".join(ends) if ends else "none") + ".",
            "",
            "Options of the official environment, in training and evaluation: "
            + ("; ".join(kwargs) if kwargs else "none")
            + ". They choose the parts of the observation, and change neither dynamics, rewards nor terminations.",
            "",
            *(f"![{task}]({task}.png)" for task in tasks),
            "",
        ]
    )


def save(rows: Sequence[Row], runs: Path, output: Path, jobs: int) -> None:
    """Writes pathwise.md and runs.csv, and draws the curves of tasks whose run folders exist."""
    write_rows(sorted(rows, key=attrgetter("task", "budget", "seed")), output / "runs.csv", two_digits)
    (output / "pathwise.md").write_text(report(rows, jobs))
    for task in sorted({row.task for row in rows}):
        budget = max(row.budget for row in rows if row.task == task)
        curves = [curve(row, runs) for row in rows if (row.task, row.budget) == (task, budget)]
        if all(map(len, curves)):
            draw(task, curves, output / f"{task}.png")


def curve(row: Row, runs: Path) -> list[tuple[float, float]]:
    """Official returns (env steps, return) during a run and of its final policy; empty if its folder does not exist."""
    lines = Job(row.task, row.budget, row.seed).folder(runs).read_metrics()
    points = [(line["env_steps"], line["eval/return"]) for line in lines if "eval/return" in line]
    return [*points, (row.env_steps, row.mean)] if lines else []


def main(arguments: list[str] | None = None) -> None:
    """Runs what is missing, and writes the table after every run."""
    parser = make_parser("pathwise", __doc__)
    parser.add_argument("--tasks", nargs="+", choices=list(CONFIG), default=list(CONFIG), metavar="ID")
    parser.add_argument("--budgets", nargs="+", type=positive(int), help="env steps; default: those with a target")
    parser.add_argument("--seeds", nargs="+", type=int, default=list(range(5)), help="default 0 to 4")
    parser.add_argument("--jobs", type=positive(int), default=1, help="runs at a time, one core each; default 1")
    parser.add_argument("--runs", type=Path, default=Path("runs/pathwise"), help="folder of the runs")
    parser.add_argument("--output", type=Path, default=RESULTS / "pathwise", help="folder of table and pictures")
    options = parser.parse_args(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    rows = [row for row in read_rows(Row, options.output / "runs.csv") if row.config == digest(row.task, row.budget)]
    wanted = [
        Job(task, budget, seed)
        for task in options.tasks
        for budget in options.budgets or TARGETS[task]
        for seed in options.seeds
    ]
    finished = {(row.task, row.budget, row.seed) for row in rows}
    missing = [job for job in wanted if (job.task, job.budget, job.seed) not in finished]
    with ThreadPoolExecutor(options.jobs) as pool:
        for future in as_completed([pool.submit(run, job, options.runs) for job in missing]):
            row = future.result()
            rows.append(row)
            save(rows, options.runs, options.output, options.jobs)
            print(f"{row.task} {row.budget:,} seed {row.seed}: {row.mean:,.1f} ± {row.std:,.1f}", flush=True)
    if rows:
        save(rows, options.runs, options.output, options.jobs)
        print("\n".join(table(rows)))


if __name__ == "__main__":
    main()
