"""What hindsight is worth: rates of success with and without it, on tasks with goals and sparse rewards.

Every run is one of `diffsim fit`, in a folder of its own under `--runs`. A run that is finished is not run again, one
that was stopped goes on from its last checkpoint: repeat the command until it prints the whole table.

    python -m benchmarks.goals --tasks bit_flip reacher_goal --seeds 3

The page keeps the rows of earlier calls, for other tasks, seeds and budgets.
"""

from __future__ import annotations

import argparse
import csv
import io
import math
from collections.abc import Iterable
from datetime import UTC, datetime
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from diffsim.trainers.run.fit import evaluate, fit
from rich.console import Console

from benchmarks.machine import RESULTS, describe_machine, positive
from diffsim.trainers.run.arguments import read_yaml
from diffsim.trainers.run.checkpoint import read_checkpoint
from diffsim.trainers.run.run_folder import RunFolder

CONFIGS = Path(__file__).parents[1] / "configs"
BITS = 15
EPISODES = 100
SEED = 1_000_000  # of the first episode by which a run is judged


class Experiment(NamedTuple):
    """A task, and whether it is to be learned without hindsight too.

    Attributes:
        options: of `diffsim fit`, beside seed and folder.
        env_steps: of each run.
        with_success: what is to be shown with hindsight.
        without_success: what is to be shown without, at most; None if that is not run.
    """

    options: dict[str, Any]
    env_steps: int
    with_success: float
    without_success: float | None = None


EXPERIMENTS = {
    "bit_flip": Experiment(
        {
            "task": f"BitFlip{BITS}-v0",
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
    "reacher_goal": Experiment({"config": "ddpg_her_reacher_goal.yaml"}, 40_000, 0.9, 0.3),
    "point_push": Experiment({"config": "ddpg_her_point_push.yaml"}, 150_000, 0.9, 0.3),
    "fetch_reach": Experiment({"config": "ddpg_her_fetch_reach.yaml"}, 20_000, 0.95),
    "fetch_push": Experiment({"config": "ddpg_her_fetch_push.yaml"}, 500_000, 0.8),
}


class Result(NamedTuple):
    """A finished run."""

    name: str
    hindsight: bool
    seed: int
    env_steps: int
    success: float
    minutes: float


def arguments_of(experiment: Experiment, hindsight: bool, seed: int, env_steps: int, folder: Path) -> list[str]:
    """What is said to `diffsim fit`."""
    options = {**experiment.options, "seed": seed, "env_steps": env_steps, "run": str(folder)}
    config = options.pop("config", None)
    words = [] if config is None else ["--config", str(CONFIGS / config)]
    options["goal_strategy"] = "future" if hindsight else "null"
    return words + [f"--{name}={value}" for name, value in options.items()]


def run(name: str, hindsight: bool, seed: int, env_steps: int | None, runs: Path) -> Result:
    """Trains, or goes on, or finds what is there; then judges the policy by episodes of its own."""
    experiment = EXPERIMENTS[name]
    env_steps = experiment.env_steps if env_steps is None else env_steps
    folder = RunFolder(runs / f"{name}-{'hindsight' if hindsight else 'plain'}-{env_steps}-seed-{seed}")
    console = Console(file=io.StringIO())
    if not folder.checkpoint.exists():
        discard(folder.path)
        fit(arguments_of(experiment, hindsight, seed, env_steps, folder.path), console)
    elif read_checkpoint(folder.checkpoint)["diffsim"]["env_steps"] < env_steps:
        fit(["--resume", str(folder.path)], console)
    last = folder.read_metrics()[-1]
    return Result(name, hindsight, seed, int(last["env_steps"]), success_of(folder), last["seconds"] / 60)


def discard(path: Path) -> None:
    """Moves what a run left that was stopped before its first checkpoint out of the way."""
    if path.exists():
        count = len(list(path.parent.glob(f"{path.name}.stopped-*")))
        path.rename(path.with_name(f"{path.name}.stopped-{count}"))


def success_of(folder: RunFolder) -> float:
    """Rate of success of a finished run's policy, in the official environment."""
    output = io.StringIO()
    evaluate(str(folder.path), EPISODES, SEED, False, Console(file=output, width=200))
    (line,) = [line for line in output.getvalue().splitlines() if line.startswith("success rate")]
    return float(line.split()[-1].rstrip("%")) / 100


def register_bit_flip() -> None:
    """Lets `diffsim fit` know the task of flipping bits."""
    if f"BitFlip{BITS}-v0" not in gymnasium.registry:
        gymnasium.register(f"BitFlip{BITS}-v0", "tests.trainers.small_envs:BitFlip", kwargs={"n": BITS})


def page(results: Iterable[Result]) -> str:
    """The Markdown page: a row per task and budget, with and without hindsight."""
    results = sorted(results, key=attrgetter("seed"))
    lines = [
        "# Goals and hindsight",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, {describe_machine()}. Made by `python -m benchmarks.goals`.",
        "",
        f"Rate of success of the final policy in {EPISODES} episodes of the official environment, by seed.",
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
    """The id of what is learned."""
    config = experiment.options.get("config")
    values = {} if config is None else read_yaml(CONFIGS / config)
    return {**values, **experiment.options}["task"]


def read(output: Path) -> dict[tuple[str, bool, int, int], Result]:
    """Results of earlier calls, by task, hindsight, seed and env steps."""
    path = output / "runs.csv"
    if not path.exists():
        return {}
    with path.open(newline="") as file:
        results = [
            Result(name, hindsight == "True", int(seed), int(env_steps), float(success), float(minutes))
            for name, hindsight, seed, env_steps, success, minutes in list(csv.reader(file))[1:]
        ]
    return {result[:4]: result for result in results}


def save(results: Iterable[Result], output: Path) -> None:
    """Writes the page, and a CSV row per run."""
    output.mkdir(parents=True, exist_ok=True)
    (output / "goals.md").write_text(page(results))
    with (output / "runs.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(Result._fields)
        writer.writerows(results)


def main(arguments: list[str] | None = None) -> None:
    """Runs what is not finished, and prints and saves after every run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.goals", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument(
        "--tasks", nargs="+", choices=list(EXPERIMENTS), default=["bit_flip", "reacher_goal"], metavar="TASK"
    )
    parser.add_argument("--seeds", type=positive(int), default=3, help="number of them, default 3")
    parser.add_argument("--env_steps", type=positive(int), default=None, help="of each run; default: each task's own")
    parser.add_argument("--runs", type=Path, default=Path("runs/goals"), help="folder of the runs")
    parser.add_argument("--output", type=Path, default=RESULTS / "goals", help="folder of the table")
    options = parser.parse_args(arguments)
    register_bit_flip()
    results = read(options.output)
    for seed in range(options.seeds):
        for name in options.tasks:
            for hindsight in (True, False):
                if hindsight or EXPERIMENTS[name].without_success is not None:
                    result = run(name, hindsight, seed, options.env_steps, options.runs)
                    results[result[:4]] = result
                    save(results.values(), options.output)
                    print(result, flush=True)
    print(page(results.values()))


if __name__ == "__main__":
    main()
