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
from typing import Any, NamedTuple

import numpy as np

from benchmarks.bit_flip import BITS
from benchmarks.command import make_parser, page, parse, positive, table
from benchmarks.runs import CONFIGS, grouped, official, read_rows, train, write_rows
from diffsim.trainers.run.run_folder import RunFolder, read_yaml

EPISODES = 100


class Experiment(NamedTuple):
    """A task, and whether it is also learned without hindsight.

    Attributes:
        options: of `diffsim fit`, without seed and folder; or the name of a file of configs/.
        env_steps: budget of each run.
        with_success: success rate to reach with hindsight.
        without_success: success rate to stay below without hindsight; None if that is not run.
    """

    options: dict[str, Any] | str
    env_steps: int
    with_success: float
    without_success: float | None = None

    @property
    def arguments(self) -> dict[str, Any]:
        """Options of `diffsim fit`, without seed and folder."""
        return {"config": CONFIGS / self.options} if isinstance(self.options, str) else self.options

    @property
    def task(self) -> str:
        """Gymnasium id, without its module."""
        options = read_yaml(CONFIGS / self.options) if isinstance(self.options, str) else self.options
        return options["task"].split(":")[-1]


BIT_FLIP = {"task": f"benchmarks.bit_flip:BitFlip{BITS}-v0", "algorithm": "DQN", "num_envs": 16}
BIT_FLIP |= {"hidden_sizes": [256, 256], "evaluate_every": 4, "evaluate_episodes": 50, "gamma": 0.98}
BIT_FLIP |= {"target_rate": 0.98, "updates_per_step": 0.25, "exploration_rate": 0.3, "final_exploration_rate": 0.1}
EXPERIMENTS = {
    "bit_flip": Experiment(BIT_FLIP, 40_000, 0.9, 0.1),
    "reacher_goal": Experiment("ddpg_her_reacher_goal.yaml", 40_000, 0.9, 0.3),
    "point_push": Experiment("ddpg_her_point_push.yaml", 150_000, 0.9, 0.3),
    "fetch_reach": Experiment("ddpg_her_fetch_reach.yaml", 20_000, 0.95),
    "fetch_push": Experiment("ddpg_her_fetch_push.yaml", 500_000, 0.8),
}


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
    env_steps = env_steps or EXPERIMENTS[name].env_steps
    folder = RunFolder((runs / f"{name}-{'hindsight' if hindsight else 'plain'}-{env_steps}-seed-{seed}").resolve())
    options = {"seed": seed, "goal_strategy": "future" if hindsight else None, "final_episodes": EPISODES}
    train(folder, {**EXPERIMENTS[name].arguments, **options}, env_steps)
    last = folder.read_metrics()[-1]
    success = float(official(folder, "success").mean())
    return Result(name, hindsight, seed, int(last["env_steps"]), success, last["seconds"] / 60)


def table_row(name: str, hindsight: bool, env_steps: int, rows: list[Result]) -> list[str]:
    """One line of the table."""
    mean, experiment = float(np.mean([r.success for r in rows])), EXPERIMENTS[name]
    least, most = experiment.with_success, experiment.without_success
    bar, shown = (f">= {least}", mean >= least) if hindsight else (f"< {most}", mean < (most or math.inf))
    return [
        *(experiment.task, "future, 0.8" if hindsight else "none", f"{env_steps:,}"),
        *(", ".join(f"{r.success:.2f}" for r in rows), f"{mean:.2f}"),
        *(f"{bar}: {'yes' if shown else 'no'}", f"{sum(r.minutes for r in rows):.0f}"),
    ]


def report(results: Iterable[Result]) -> str:
    """The Markdown page: a row per task and budget, with and without hindsight."""
    groups = grouped(sorted(results, key=attrgetter("seed")), "name", "hindsight", "env_steps")
    groups.sort(key=lambda group: ([*EXPERIMENTS].index(group[0][0]), not group[0][1]))
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
    parser.add_argument("--tasks", nargs="+", choices=list(EXPERIMENTS), default=default, metavar="TASK")
    parser.add_argument("--seeds", type=positive(int), default=3, help="number of seeds, default 3")
    parser.add_argument("--env_steps", type=positive(int), help="of each run; default: each task's own")
    options = parse(parser, arguments)
    key = attrgetter("name", "hindsight", "seed", "env_steps")
    results = {key(result): result for result in read_rows(Result, options.output / "runs.csv")}
    wanted = [(seed, name) for seed in range(options.seeds) for name in options.tasks]
    for (seed, name), hindsight in product(wanted, (True, False)):
        if hindsight or EXPERIMENTS[name].without_success is not None:
            result = run(name, hindsight, seed, options.env_steps, options.runs)
            results[key(result)] = result
            save(results.values(), options.output)
            print(result, flush=True)
    print(report(results.values()))


if __name__ == "__main__":
    main()
