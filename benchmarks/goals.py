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
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml

from benchmarks.bit_flip import BITS
from benchmarks.machine import RESULTS, made_by, make_parser, positive
from benchmarks.runs import CONFIGS, official, read_rows, train, write_rows
from diffsim.trainers.run.run_folder import RunFolder

EPISODES = 100


class Experiment(NamedTuple):
    """A task, and whether it is also learned without hindsight.

    Attributes:
        options: of `diffsim fit`, without seed and folder.
        env_steps: budget of each run.
        with_success: success rate to reach with hindsight.
        without_success: success rate to stay below without hindsight; None if that is not run.
    """

    options: dict[str, Any]
    env_steps: int
    with_success: float
    without_success: float | None = None


def configured(name: str) -> dict[str, Any]:
    """The option `config` for a file of configs/."""
    return {"config": CONFIGS / f"{name}.yaml"}


EXPERIMENTS = {
    "bit_flip": Experiment(
        {
            "task": f"benchmarks.bit_flip:BitFlip{BITS}-v0",
            "algorithm": "DQN",
            "num_envs": 16,
            "hidden_sizes": [256, 256],
            "evaluate_every": 4,
            "evaluate_episodes": 50,
            "gamma": 0.98,
            "target_rate": 0.98,
            "updates_per_step": 0.25,
            "exploration_rate": 0.3,
            "final_exploration_rate": 0.1,
        },
        env_steps=40_000,
        with_success=0.9,
        without_success=0.1,
    ),
    "reacher_goal": Experiment(configured("ddpg_her_reacher_goal"), 40_000, 0.9, 0.3),
    "point_push": Experiment(configured("ddpg_her_point_push"), 150_000, 0.9, 0.3),
    "fetch_reach": Experiment(configured("ddpg_her_fetch_reach"), 20_000, 0.95),
    "fetch_push": Experiment(configured("ddpg_her_fetch_push"), 500_000, 0.8),
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

    @property
    def run(self) -> tuple[str, bool, int, int]:
        """Task, hindsight, seed and env steps."""
        return self.name, self.hindsight, self.seed, self.env_steps


def run(name: str, hindsight: bool, seed: int, env_steps: int | None, runs: Path) -> Result:
    """Trains or resumes a run, or reads a finished one."""
    experiment = EXPERIMENTS[name]
    env_steps = experiment.env_steps if env_steps is None else env_steps
    folder = RunFolder((runs / f"{name}-{'hindsight' if hindsight else 'plain'}-{env_steps}-seed-{seed}").resolve())
    strategy = "future" if hindsight else None
    train(
        folder, {**experiment.options, "seed": seed, "goal_strategy": strategy, "final_episodes": EPISODES}, env_steps
    )
    last = folder.read_metrics()[-1]
    success = float(official(folder, "success").mean())
    return Result(name, hindsight, seed, int(last["env_steps"]), success, last["seconds"] / 60)


def page(results: Iterable[Result]) -> str:
    """The Markdown page: a row per task and budget, with and without hindsight."""
    results = sorted(results, key=attrgetter("seed"))
    lines = [
        "# Goals and hindsight",
        "",
        f"{made_by('python -m benchmarks.goals')}.",
        "",
        f"Success rate of the final policy in {EPISODES} episodes of the official environment, by seed.",
        "",
        "| task | hindsight | env steps | success by seed | mean | to be shown | minutes |",
        "|---|---|---:|---|---:|---|---:|",
    ]
    for name, experiment in EXPERIMENTS.items():
        for plain, env_steps in sorted({(not r.hindsight, r.env_steps) for r in results if r.name == name}):
            hindsight = not plain
            rows = [r for r in results if (r.name, r.hindsight, r.env_steps) == (name, hindsight, env_steps)]
            mean = float(np.mean([r.success for r in rows]))
            least, most = experiment.with_success, experiment.without_success
            bar, shown = (f">= {least}", mean >= least) if hindsight else (f"< {most}", mean < (most or math.inf))
            cells = [
                task_of(experiment),
                "future, 0.8" if hindsight else "none",
                f"{env_steps:,}",
                ", ".join(f"{r.success:.2f}" for r in rows),
                f"{mean:.2f}",
                f"{bar}: {'yes' if shown else 'no'}",
                f"{sum(r.minutes for r in rows):.0f}",
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def task_of(experiment: Experiment) -> str:
    """Gymnasium id of the task, without its module."""
    config = experiment.options.get("config")
    options = experiment.options if config is None else yaml.safe_load(config.read_text())
    return options["task"].split(":")[-1]


def save(results: Iterable[Result], output: Path) -> None:
    """Writes the page, and a CSV row per run."""
    output.mkdir(parents=True, exist_ok=True)
    (output / "goals.md").write_text(page(results))
    write_rows(list(results), output / "runs.csv")


def main(arguments: list[str] | None = None) -> None:
    """Runs what is not finished, and prints and saves after every run."""
    parser = make_parser("goals", __doc__)
    parser.add_argument(
        "--tasks", nargs="+", choices=list(EXPERIMENTS), default=["bit_flip", "reacher_goal"], metavar="TASK"
    )
    parser.add_argument("--seeds", type=positive(int), default=3, help="number of seeds, default 3")
    parser.add_argument("--env_steps", type=positive(int), default=None, help="of each run; default: each task's own")
    parser.add_argument("--runs", type=Path, default=Path("runs/goals"), help="folder of the runs")
    parser.add_argument("--output", type=Path, default=RESULTS / "goals", help="folder of the table")
    options = parser.parse_args(arguments)
    results = {result.run: result for result in read_rows(Result, options.output / "runs.csv")}
    for seed in range(options.seeds):
        for name in options.tasks:
            for hindsight in (True, False):
                if hindsight or EXPERIMENTS[name].without_success is not None:
                    result = run(name, hindsight, seed, options.env_steps, options.runs)
                    results[result.run] = result
                    save(results.values(), options.output)
                    print(result, flush=True)
    print(page(results.values()))


if __name__ == "__main__":
    main()
