"""Policy gradients on discrete tasks: returns after a few minutes, against the bars by which the tasks count as solved.

    python -m benchmarks.discrete --tasks CartPole-v1 Acrobot-v1 --algorithms Reinforce A2C TRPO PPO --seeds 0 1 2

Each run is `diffsim fit` with the algorithm's config for the task, if there is one in `configs/`, otherwise with its
defaults. The trained policies' likeliest actions are judged in 10 episodes that training never saw. Runs that are
finished are not repeated.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from benchmarks.machine import RESULTS, describe_machine
from benchmarks.model_free import ROOT, call

BARS = {"CartPole-v1": 475.0, "Acrobot-v1": -100.0}
"""Mean return from which on a task counts as solved."""
BUDGETS = {"CartPole-v1": 100_000, "Acrobot-v1": 150_000}
"""Env steps."""
ALGORITHMS = ("Reinforce", "A2C", "TRPO", "PPO")
SNAKE = {"CartPole-v1": "cart_pole", "Acrobot-v1": "acrobot"}


@dataclass(frozen=True)
class Row:
    """What came of a run."""

    task: str
    algorithm: str
    seed: int
    mean: float
    std: float
    env_steps: int
    seconds: float


def config(task: str, algorithm: str) -> Path:
    """Where a config for the task would be."""
    return ROOT / "configs" / f"{algorithm.lower()}_{SNAKE[task]}.yaml"


def run(task: str, algorithm: str, seed: int, budget: int, runs: Path) -> Row:
    """Trains and judges in a process of its own.

    Raises: RuntimeError with the command's last words if it failed.
    """
    path = config(task, algorithm)
    options = ["--config", path] if path.exists() else ["--task", task, "--algorithm", algorithm]
    folder = runs / f"{task}-{algorithm}-seed-{seed}"
    command = [sys.executable, "-m", "benchmarks.ours", "--budgets", budget, "--run", folder, "--", *options]
    command += ["--seed", seed, "--evaluate_every", 10**9]
    (found,) = json.loads(call([str(word) for word in command]).splitlines()[-1])
    return Row(task, algorithm, seed, **found)


def table(rows: Sequence[Row]) -> list[str]:
    """One line per task and algorithm."""
    lines = [
        "| task | algorithm | env steps | return of each seed | mean | solved | seconds each |",
        "|---|---|---:|---|---:|---|---:|",
    ]
    for task, algorithm in sorted({(row.task, row.algorithm) for row in rows}):
        group = sorted(
            (row for row in rows if (row.task, row.algorithm) == (task, algorithm)), key=lambda row: row.seed
        )
        means = [row.mean for row in group]
        cells = [
            *(task, algorithm, f"{max(row.env_steps for row in group):,}"),
            *(", ".join(f"{row.seed}: {row.mean:,.0f}" for row in group), f"{np.mean(means):,.0f}"),
            f"{sum(mean >= BARS[task] for mean in means)} of {len(means)}",
            f"{np.mean([row.seconds for row in group]):,.0f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def main(arguments: list[str] | None = None) -> None:
    """Runs what is not there yet, and writes the table after every run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.discrete", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--tasks", nargs="+", choices=list(BARS), default=list(BARS), metavar="ID")
    parser.add_argument("--algorithms", nargs="+", choices=ALGORITHMS, default=ALGORITHMS, metavar="NAME")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="default 0 1 2")
    parser.add_argument(
        "--env_steps", type=int, help="of each run; by default 100,000 for CartPole, 150,000 for Acrobot"
    )
    parser.add_argument("--runs", type=Path, default=Path("runs/discrete"), help="folder of the runs")
    parser.add_argument("--output", type=Path, default=RESULTS / "discrete", help="folder of the table")
    options = parser.parse_args(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    runs_folder = options.runs.resolve()
    record = options.output / "runs.json"
    rows = [Row(**part) for part in json.loads(record.read_text())] if record.exists() else []
    finished = {(row.task, row.algorithm, row.seed) for row in rows}
    for seed in options.seeds:
        for task in options.tasks:
            for algorithm in options.algorithms:
                if (task, algorithm, seed) in finished:
                    continue
                rows.append(run(task, algorithm, seed, options.env_steps or BUDGETS[task], runs_folder))
                record.write_text(json.dumps([asdict(row) for row in rows], indent=1))
                (options.output / "discrete.md").write_text(report(rows))
                print(rows[-1], flush=True)
    print("\n".join(table(rows)))


def report(rows: Sequence[Row]) -> str:
    """The Markdown page."""
    bars = ", ".join(f"{task} {bar:g}" for task, bar in BARS.items())
    return "\n".join(
        [
            "# Policy gradients on discrete tasks",
            "",
            f"{datetime.now(UTC):%Y-%m-%d}, {describe_machine()}. Made by `python -m benchmarks.discrete`. "
            f"Solved is a mean return of 10 episodes of at least: {bars}.",
            "",
            *table(rows),
            "",
        ]
    )


if __name__ == "__main__":
    main()
