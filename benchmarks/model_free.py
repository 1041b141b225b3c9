"""Our model-free algorithms beside those of Stable-Baselines3 and sb3-contrib: returns and speed at equal env steps.

Both learn in Gymnasium's environments (C MuJoCo), on one core, with the same number of copies and of steps of each
between updates, and with normalised observations and rewards; what else there is to choose is each library's own
default. The trained policies' mean actions are judged in 10 episodes that training
never saw. Speed is env steps per second of training, without evaluation. Runs that are finished are not repeated.

    python -m benchmarks.model_free --tasks HalfCheetah-v5 --algorithms TRPO PPO --budgets 100000 --seeds 0 1 2

Stable-Baselines3 comes with `pip install -e ".[bench]"`. Where it should have an environment of its own (`pip install
stable-baselines3 sb3-contrib mujoco imageio packaging`), name that one's interpreter with --peer_python.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from benchmarks.machine import RESULTS, describe_machine, positive
from benchmarks.published import RETURNS, STEPS
from trainers.fit import evaluate
from trainers.run_folder import RunFolder

ROOT = Path(__file__).parents[1]
TASKS = ("HalfCheetah-v5", "Hopper-v5", "Walker2d-v5", "InvertedDoublePendulum-v5", "Swimmer-v5")
PEERS = ("TRPO", "A2C", "PPO")
"""Algorithms that both have."""
ALONE = ("Reinforce", "NaturalGradient")
"""Ours, to put beside published curves."""
BUDGETS = (100_000, 300_000)
COPIES = {"A2C": 16, "Reinforce": 10, "DDPG": 1, "TD3": 1, "SAC": 1}
"""Copies of the environment; 8 for the others."""
EPISODES, FIRST_EPISODE = 10, 1_000_000
RATE = {"ours": 2000.0, "theirs": 1000.0}
"""Env steps per second to expect, for telling how long it takes."""


@dataclass(frozen=True)
class Job:
    """One training run."""

    library: str
    task: str
    algorithm: str
    budget: int
    seed: int


@dataclass(frozen=True)
class Row:
    """What came of a run."""

    library: str
    task: str
    algorithm: str
    budget: int
    seed: int
    mean: float
    std: float
    env_steps: int
    seconds: float


def run_ours(job: Job, runs: Path, **more: Any) -> Row:
    """Trains by `diffsim fit`, with `more` options, in a process of its own, and judges what came of it.

    Raises: RuntimeError with the command's last words if it failed.
    """
    folder = RunFolder.fresh(runs / f"{job.task}-{job.algorithm}-{job.budget}-seed-{job.seed}")
    options = {
        "task": job.task,
        "algorithm": job.algorithm,
        "num_envs": COPIES.get(job.algorithm, 8),
        "env_steps": job.budget,
        "seed": job.seed,
        "evaluate_every": 10**9,
        "run": folder.path / "run",
        **more,
    }
    words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
    call([sys.executable, "-m", "trainers.cli", "fit", *words])
    trained = RunFolder(folder.path / "run")
    returns = evaluate(str(trained.path), EPISODES, FIRST_EPISODE, False, Console(file=io.StringIO()))
    last = trained.read_metrics()[-1]
    return Row(
        **asdict(job),
        mean=float(returns.mean()),
        std=float(returns.std()),
        env_steps=int(last["env_steps"]),
        seconds=last["seconds"],
    )


def run_theirs(job: Job, python: str, **more: Any) -> Row:
    """Trains and judges by Stable-Baselines3, with `more` options, in a process of `python`.

    Raises: RuntimeError with the command's last words if it failed.
    """
    options = {
        "task": job.task,
        "algorithm": job.algorithm,
        "num_envs": COPIES.get(job.algorithm, 8),
        "env_steps": job.budget,
        "seed": job.seed,
        "episodes": EPISODES,
        "first_episode": FIRST_EPISODE,
        **more,
    }
    words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
    script = Path(__file__).with_name("stable_baselines.py")
    found = json.loads(call([python, str(script), *words]).splitlines()[-1])
    return Row(**asdict(job), **found)


def call(command: Sequence[str]) -> str:
    """Output of a command.

    Raises: RuntimeError with its last words if it failed.
    """
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return done.stdout


def read_rows(path: Path) -> list[Row]:
    """Rows of an earlier benchmark; none if there is no file."""
    if not path.exists():
        return []
    kinds = {field.name: {"str": str, "int": int, "float": float}[str(field.type)] for field in fields(Row)}
    with path.open(newline="") as file:
        return [Row(**{name: kinds[name](text) for name, text in row.items()}) for row in csv.DictReader(file)]


def write_rows(rows: Sequence[Row], path: Path) -> None:
    """Writes all rows, in order."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)])
        writer.writeheader()
        for row in sorted(rows, key=lambda row: (row.task, row.algorithm, row.budget, row.library, row.seed)):
            numbers = {name: round(value, 2) for name, value in asdict(row).items() if isinstance(value, float)}
            writer.writerow({**asdict(row), **numbers})


def table(rows: Sequence[Row]) -> list[str]:
    """One line per task, algorithm and budget."""
    lines = [
        "| task | algorithm | env steps | seeds | ours | theirs | not below | steps/s | theirs | ratio | published |",
        "|---|---|---:|---|---:|---:|---|---:|---:|---:|---:|",
    ]
    for task, algorithm, budget in sorted({(row.task, row.algorithm, row.budget) for row in rows}):
        group = [row for row in rows if (row.task, row.algorithm, row.budget) == (task, algorithm, budget)]
        ours, theirs = ([row for row in group if row.library == library] for library in ("ours", "theirs"))
        verdict = ratio = ""
        if ours and theirs:
            spread = float(np.std([row.mean for row in theirs]))
            lowest = np.mean([row.mean for row in theirs]) - spread
            verdict = "yes" if np.mean([row.mean for row in ours]) >= lowest else "no"
            ratio = f"{speed(ours) / speed(theirs):.2f}"
        cells = [
            *(task, algorithm, f"{budget:,}", f"{len(ours)}, {len(theirs)}", score(ours), score(theirs), verdict),
            *(f"{speed(part):,.0f}" if part else "" for part in (ours, theirs)),
            *(ratio, published(task, algorithm, budget)),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def score(rows: Sequence[Row]) -> str:
    """Mean and standard deviation over the seeds of the mean returns."""
    means = [row.mean for row in rows]
    return f"{np.mean(means):,.0f} ± {np.std(means):,.0f}" if rows else ""


def speed(rows: Sequence[Row]) -> float:
    """Env steps per second, of all runs together."""
    return sum(row.env_steps for row in rows) / sum(row.seconds for row in rows)


def published(task: str, algorithm: str, budget: int) -> str:
    """Tianshou's mean return, if it is known."""
    curve = RETURNS.get(task, {}).get(algorithm)
    return f"{curve[STEPS.index(budget)]:,}" if curve and budget in STEPS else ""


def report(rows: Sequence[Row]) -> str:
    """The Markdown page."""
    hours = sum(row.seconds for row in rows) / 3600
    return "\n".join(
        [
            "# Model-free algorithms beside Stable-Baselines3",
            "",
            f"{datetime.now(UTC):%Y-%m-%d}, {describe_machine()}. Made by `python -m benchmarks.model_free`; "
            f"{len(rows)} runs, {hours:.2f} hours of training.",
            "",
            *(__doc__ or "").split("\n\n")[1].splitlines(),
            "",
            *table(rows),
            "",
            "Ours, theirs: mean ± standard deviation over the seeds. Not below: our mean is at least theirs minus "
            "their spread. Published: Tianshou's mean of 10 seeds (`benchmarks/published.py`), with other settings.",
            "",
        ]
    )


def main(arguments: list[str] | None = None) -> None:
    """Runs what is not there yet, and writes the table after every run."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.model_free", description=(__doc__ or "").split("\n\n")[0]
    )
    algorithms = (*PEERS, *ALONE)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=TASKS, metavar="ID")
    parser.add_argument("--algorithms", nargs="+", choices=algorithms, default=algorithms, metavar="NAME")
    parser.add_argument("--budgets", nargs="+", type=positive(int), default=BUDGETS, help="env steps")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="default 0 1 2")
    parser.add_argument("--libraries", nargs="+", choices=list(RATE), default=list(RATE))
    parser.add_argument("--peer_python", default=sys.executable, help="interpreter with Stable-Baselines3")
    parser.add_argument("--runs", type=Path, default=Path("runs/model_free"), help="folder of our runs")
    parser.add_argument("--output", type=Path, default=RESULTS / "model_free", help="folder of the table")
    options = parser.parse_args(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    rows = read_rows(options.output / "runs.csv")
    wanted = [
        Job(library, task, algorithm, budget, seed)
        for seed in options.seeds
        for budget in options.budgets
        for task in options.tasks
        for algorithm in options.algorithms
        for library in options.libraries
        if library == "ours" or algorithm in PEERS
    ]
    finished = {(row.library, row.task, row.algorithm, row.budget, row.seed) for row in rows}
    missing = [job for job in wanted if tuple(asdict(job).values()) not in finished]
    minutes = sum(job.budget / RATE[job.library] for job in missing) / 60
    print(f"{len(missing)} runs to do, about {minutes:.0f} minutes on one core", flush=True)
    for job in missing:
        rows.append(run_ours(job, options.runs) if job.library == "ours" else run_theirs(job, options.peer_python))
        write_rows(rows, options.output / "runs.csv")
        (options.output / "model_free.md").write_text(report(rows))
        row = rows[-1]
        print(f"{job}: {row.mean:,.1f} ± {row.std:,.1f}, {row.env_steps / row.seconds:,.0f} steps/s", flush=True)
    print("\n".join(table(rows)))


if __name__ == "__main__":
    main()
