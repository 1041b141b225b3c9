"""Success rates with and without hindsight, on tasks with goals and sparse rewards.

Each run is `diffsim fit` in a folder of its own under `--runs`. Finished runs are not repeated, and interrupted ones
are resumed from their last checkpoint: repeat the command until it prints the whole table.

    python -m benchmarks.goals --tasks bit_flip reacher_goal --seeds 3

The page keeps the rows of earlier calls for other tasks, seeds and budgets.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from operator import attrgetter
from pathlib import Path

import numpy as np

from benchmarks.command import make_parser, page, parse, positive, table
from benchmarks.runs import CONFIGS, grouped, official, read_rows, train, write_rows
from diffsim.trainers.run.run_folder import RunFolder, read_yaml

EPISODES = 100
TARGETS = {
    "bit_flip": (0.9, 0.1),
    "reacher_goal": (0.9, 0.3),
    "point_push": (0.9, 0.3),
    "fetch_reach": (0.95, None),
    "fetch_push": (0.8, None),
}
"""Success rates to reach with hindsight, and to stay below without hindsight; None if that is not run."""


def config(name: str) -> Path:
    """The YAML file with the options for a task."""
    return CONFIGS / f"{'dqn' if name == 'bit_flip' else 'ddpg'}_her_{name}.yaml"


@dataclass(frozen=True)
class Result:
    """A finished run."""

    name: str
    hindsight: bool
    seed: int
    env_steps: int
    success: float
    minutes: float


def run(name: str, hindsight: bool, seed: int, env_steps: int | None, runs: Path) -> Result:
    """Trains or resumes a run, or reads a finished one."""
    env_steps = env_steps or int(read_yaml(config(name))["env_steps"])
    folder = RunFolder((runs / f"{name}-{'hindsight' if hindsight else 'plain'}-{env_steps}-seed-{seed}").resolve())
    options = {"seed": seed, "goal_strategy": "future" if hindsight else None, "final_episodes": EPISODES}
    train(folder, {"config": config(name), **options}, env_steps)
    last = folder.read_metrics()[-1]
    success = float(official(folder, "success").mean())
    return Result(name, hindsight, seed, int(last["env_steps"]), success, last["seconds"] / 60)


def table_row(name: str, hindsight: bool, env_steps: int, rows: list[Result]) -> list[str]:
    """One line of the table."""
    mean, (least, most) = float(np.mean([r.success for r in rows])), TARGETS[name]
    bar, shown = (f">= {least}", mean >= least) if hindsight else (f"< {most}", mean < (most or math.inf))
    task = read_yaml(config(name))["task"].split(":")[-1]
    return [
        *(task, "future, 0.8" if hindsight else "none", f"{env_steps:,}"),
        *(", ".join(f"{r.success:.2f}" for r in rows), f"{mean:.2f}"),
        *(f"{bar}: {'yes' if shown else 'no'}", f"{sum(r.minutes for r in rows):.0f}"),
    ]


def report(results: Iterable[Result]) -> str:
    """The Markdown page: a row per task and budget, with and without hindsight."""
    groups = grouped(sorted(results, key=attrgetter("seed")), "name", "hindsight", "env_steps")
    groups.sort(key=lambda group: ([*TARGETS].index(group[0][0]), not group[0][1]))
    header = "task | hindsight | env steps: | success by seed | mean: | to be shown | minutes:"
    return page(
        "Goals and hindsight",
        "goals",
        f"Success rate of the final policy in {EPISODES} episodes of the official environment, by seed.",
        table(header, [table_row(*key, rows=rows) for key, rows in groups]),
    )


def save(results: Iterable[Result], output: Path) -> None:
    """Writes the page, and a CSV row per run."""
    (output / "goals.md").write_text(report(results))
    write_rows(list(results), output / "runs.csv")


def main(arguments: list[str] | None = None) -> None:
    """Runs what is not finished, and prints and saves after every run."""
    parser = make_parser("goals", __doc__, runs=True)
    default = ["bit_flip", "reacher_goal"]
    parser.add_argument("--tasks", nargs="+", choices=list(TARGETS), default=default, metavar="TASK")
    parser.add_argument("--seeds", type=positive(int), default=3, help="number of seeds, default 3")
    parser.add_argument("--env_steps", type=positive(int), help="of each run; default: each task's own")
    options = parse(parser, arguments)
    key = attrgetter("name", "hindsight", "seed", "env_steps")
    results = {key(result): result for result in read_rows(Result, options.output / "runs.csv")}
    wanted = [(seed, name) for seed in range(options.seeds) for name in options.tasks]
    for (seed, name), hindsight in product(wanted, (True, False)):
        if hindsight or TARGETS[name][1] is not None:
            result = run(name, hindsight, seed, options.env_steps, options.runs)
            results[key(result)] = result
            save(results.values(), options.output)
            print(result, flush=True)
    print(report(results.values()))


if __name__ == "__main__":
    main()
