"""Our model-free algorithms beside those of Stable-Baselines3 and sb3-contrib: returns and speed at equal env steps.

Both learn in Gymnasium's environments (C MuJoCo), with normalised observations and rewards, networks of two layers of
64 tanh units, constant learning rates and as many copies. One run gives the returns after each budget: the trained
policies' mean actions, in 10 episodes that training never saw. Two runs go on at the same time, a pair if there is one,
each on one core, and change cores from seed to seed. Speed is env steps per second of training, without evaluation;
where there is a peer, of runs made as pairs. Runs that are finished are not repeated.

    python -m benchmarks.model_free --tasks HalfCheetah-v5 --algorithms TRPO PPO --seeds 0 1 2

Ours has the settings of the task's file in configs/, or its defaults where there is none, and theirs has its defaults.
`--equal` gives ours what theirs has, and compares how they are written, in a table of its own.

How long MuJoCo takes depends on what policies do, so of runs that learned differently it compares that as well.
`--equal --algorithms A2C PPO --learning_rate 1e-12` holds both at what they do at first, and compares the rest.

Reinforce and NaturalGradient have no peer there and stand beside published curves: `--algorithms Reinforce
NaturalGradient`. Stable-Baselines3 comes with `pip install -e ".[bench]"`. Where it should have an environment of its
own (`pip install stable-baselines3 sb3-contrib mujoco imageio packaging`), name that one's interpreter with
--peer_python.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from benchmarks.machine import RESULTS, describe_machine, positive
from benchmarks.ours import EPISODES, FIRST_EPISODE
from benchmarks.published import RETURNS, STEPS

ROOT = Path(__file__).parents[1]
TASKS = ("HalfCheetah-v5", "Hopper-v5", "Walker2d-v5", "InvertedDoublePendulum-v5", "Swimmer-v5")
PEERS = ("TRPO", "A2C", "PPO")
"""Algorithms that both have."""
ALONE = ("Reinforce", "NaturalGradient")
"""Ours, to put beside published curves."""
BUDGETS = (100_000, 300_000)
COPIES = {"A2C": 16, "Reinforce": 10, "DDPG": 1, "TD3": 1, "SAC": 1}
"""Copies of the environment; 8 for the others."""
OPTIONS = {
    "TRPO": "8 copies x 256 steps, gamma 0.99, lam 0.95, KL 0.01 and damping 0.1 per number of an action, 15 CG steps, "
    "10 backtracks of 0.8; value by Adam 1e-3, 10 epochs of 16 minibatches; advantages standardised",
    "A2C": "16 copies x 5 steps, gamma 0.99, lam 1, RMSprop 7e-4 (alpha 0.99, eps 1e-5), value weight 0.5, "
    "gradient norm <= 0.5",
    "PPO": "8 copies x 256 steps, gamma 0.99, lam 0.95, clip 0.2, 10 epochs of 32 minibatches, Adam 3e-4, value "
    "weight 0.5, gradient norm <= 0.5; advantages standardised",
}
"""Of theirs, and with `--equal` of both: the defaults of both, but for the KL and damping of our TRPO."""
TUNED = (
    "Theirs has the options below: its defaults, with 8 copies of 256 steps for 2,048 of one. Ours has the settings of "
    "the task's file in `configs/` (its defaults where there is none), chosen with seeds from 100 on but for those of "
    "HalfCheetah-v5, which are older, and what the README names. So it tells what one gets; how the algorithms are "
    "written is compared with equal settings (`--equal`)."
)
EQUAL = (
    "Both have the options below. Stable-Baselines3's TRPO takes the mean of the KL divergence over the numbers of an "
    "action, where ours takes the sum: ours is given that many times the bound and the damping, which makes the same "
    "step of it."
)
RATE = {"ours": 5000.0, "theirs": 4000.0}
"""Env steps per second to expect on a core of an AMD EPYC, for telling how long it takes."""


@dataclass(frozen=True)
class Job:
    """One training run, which passes all budgets."""

    library: str
    task: str
    algorithm: str
    seed: int


@dataclass(frozen=True)
class Row:
    """What came of a run; of one that had a peer, but did not go on at the same time, no seconds (NaN)."""

    library: str
    task: str
    algorithm: str
    budget: int
    seed: int
    mean: float
    std: float
    env_steps: int
    seconds: float


def run(
    job: Job, budgets: Sequence[int], runs: Path, peer_python: str, core: int | None, more: Mapping[str, Any]
) -> list[Row]:
    """Trains and judges in a process of its own: by `benchmarks.ours` or by `benchmarks.stable_baselines`.

    `more`: options of that side.

    Raises: RuntimeError with the command's last words if it failed.
    """
    num_envs, budgets = COPIES.get(job.algorithm, 8), sorted(budgets)
    options = {"task": job.task, "algorithm": job.algorithm, "num_envs": num_envs, "seed": job.seed}
    if job.library == "ours":
        folder = runs / f"{job.task}-{job.algorithm}-seed-{job.seed}"
        command = [sys.executable, "-m", "benchmarks.ours", *words({"run": folder, "budgets": budgets})]
        command += ["--", *words({**options, "evaluate_every": 10**9, **more})]
    else:
        script = str(Path(__file__).with_name("stable_baselines.py"))
        judging = {"budgets": budgets, "episodes": EPISODES, "first_episode": FIRST_EPISODE}
        command = [peer_python, script, *words({**options, **judging, **more})]
    found = json.loads(call(command, core).splitlines()[-1])
    return [Row(**asdict(job), budget=budget, **part) for budget, part in zip(budgets, found, strict=True)]


def tuned(job: Job) -> dict[str, Any]:
    """Ours as one gets it: by the task's file in configs/, if there is one."""
    names = (job.algorithm, job.task.split("-")[0])
    stem = "_".join(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name) for name in names).lower()
    path = ROOT / "configs" / f"{stem}.yaml"
    return {"config": path} if job.library == "ours" and path.exists() else {}


def equal(job: Job) -> dict[str, Any]:
    """Ours that are not defaults: what makes TRPO's step theirs."""
    if job.library != "ours" or job.algorithm != "TRPO":
        return {}
    with gymnasium.make(job.task) as env:
        shape = env.action_space.shape
    assert shape is not None
    return {"max_kl": 0.01 * shape[0], "damping": 0.1 * shape[0]}


def words(options: Mapping[str, Any]) -> list[str]:
    """Options as a command line has them; those with several values have several words."""
    values = {name: value if isinstance(value, list) else [value] for name, value in options.items()}
    return [str(word) for name, several in values.items() for word in (f"--{name}", *several)]


def run_together(
    jobs: Sequence[Job],
    budgets: Sequence[int],
    runs: Path,
    peer_python: str,
    more: Callable[[Job], Mapping[str, Any]] = lambda _: {},
) -> list[Row]:
    """Runs at the same time, each on a core of its own as long as there are enough, with `more` options of each."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    with ThreadPoolExecutor(len(jobs)) as pool:
        chosen = [cores[(jobs[0].seed + k) % len(cores)] if cores else None for k in range(len(jobs))]
        parts = pool.map(lambda job, core: run(job, budgets, runs, peer_python, core, more(job)), jobs, chosen)
        return [row for part in parts for row in part]


def call(command: Sequence[str], core: int | None = None) -> str:
    """Output of a command, held on a core.

    Raises: RuntimeError with its last words if it failed.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    if core is not None:
        os.sched_setaffinity(process.pid, {core})
    try:
        output, errors = process.communicate()
    finally:
        process.kill()  # after Ctrl-C
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed:\n{errors[-2000:]}")
    return output


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
        "| task | algorithm | env steps | seeds | ours | theirs | difference | not below | steps/s | theirs | ratio | "
        "published |",
        "|---|---|---:|---|---:|---:|---:|---|---:|---:|---:|---:|",
    ]
    for task, algorithm, budget in sorted({(row.task, row.algorithm, row.budget) for row in rows}):
        group = [row for row in rows if (row.task, row.algorithm, row.budget) == (task, algorithm, budget)]
        ours, theirs = ([row for row in group if row.library == library] for library in ("ours", "theirs"))
        verdict, apart, ratio = "", "", speed(ours) / speed(theirs)
        if ours and theirs:
            spread = float(np.std([row.mean for row in theirs]))
            lowest = np.mean([row.mean for row in theirs]) - spread
            verdict = "yes" if np.mean([row.mean for row in ours]) >= lowest else "no"
            apart = difference(ours, theirs)
        cells = [
            *(task, algorithm, f"{budget:,}", f"{len(ours)}, {len(theirs)}"),
            *(score(ours), score(theirs), apart, verdict),
            *("" if np.isnan(speed(part)) else f"{speed(part):,.0f}" for part in (ours, theirs)),
            *("" if np.isnan(ratio) else f"{ratio:.2f}", published(task, algorithm, budget)),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def by_budget(row: Row) -> int:
    """For sorting."""
    return row.budget


def score(rows: Sequence[Row]) -> str:
    """Mean and standard deviation over the seeds of the mean returns."""
    means = [row.mean for row in rows]
    return f"{np.mean(means):,.0f} ± {np.std(means):,.0f}" if rows else ""


def difference(ours: Sequence[Row], theirs: Sequence[Row]) -> str:
    """Of the means of the seeds, with its standard error where both have several (Welch, 1947)."""
    groups = [np.array([row.mean for row in rows]) for rows in (ours, theirs)]
    apart = f"{groups[0].mean() - groups[1].mean():+,.0f}"
    if min(map(len, groups)) < 2:
        return apart
    return f"{apart} ± {np.sqrt(sum(means.var(ddof=1) / len(means) for means in groups)):,.0f}"


def speed(rows: Sequence[Row]) -> float:
    """Env steps per second, of all runs together that were timed; NaN if none was."""
    timed = [row for row in rows if not np.isnan(row.seconds)]
    return sum(row.env_steps for row in timed) / sum(row.seconds for row in timed) if timed else np.nan


def published(task: str, algorithm: str, budget: int) -> str:
    """Tianshou's mean return, if it is known."""
    curve = RETURNS.get(task, {}).get(algorithm)
    return f"{curve[STEPS.index(budget)]:,}" if curve and budget in STEPS else ""


def report(rows: Sequence[Row], told: str) -> str:
    """The Markdown page, with what is told of the settings."""
    last = {(row.library, row.task, row.algorithm, row.seed): row.seconds for row in sorted(rows, key=by_budget)}
    hours = np.nansum(list(last.values())) / 3600
    return "\n".join(
        [
            "# Model-free algorithms beside Stable-Baselines3",
            "",
            f"{datetime.now(UTC):%Y-%m-%d}, {describe_machine()}. Made by `python -m benchmarks.model_free`; "
            f"{len(last)} runs; those that are timed took {hours:.2f} hours.",
            "",
            *(__doc__ or "").split("\n\n")[1].splitlines(),
            "",
            told,
            "",
            *table(rows),
            "",
            *(f"* {name}: {options}." for name, options in OPTIONS.items()),
            "",
            "Ours, theirs: mean ± standard deviation over the seeds. Difference: of these means, ± its standard error. "
            "Not below: our mean is at least theirs minus their deviation. Published: Tianshou's mean of 10 seeds "
            "(`benchmarks/published.py`), with other settings.",
            "",
        ]
    )


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Options of the command line, checked; `algorithms`, `runs` and `output` are never None."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.model_free", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=TASKS, metavar="ID")
    parser.add_argument("--algorithms", nargs="+", choices=(*PEERS, *ALONE), metavar="NAME", help="default: all")
    parser.add_argument("--budgets", nargs="+", type=positive(int), default=BUDGETS, help="env steps")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="default 0 1 2")
    parser.add_argument("--libraries", nargs="+", choices=list(RATE), default=list(RATE))
    parser.add_argument("--equal", action="store_true", help="ours with the settings of theirs")
    parser.add_argument("--learning_rate", type=positive(float), help="of A2C and PPO, on both sides, with --equal")
    parser.add_argument("--peer_python", default=sys.executable, help="interpreter with Stable-Baselines3")
    parser.add_argument("--runs", type=Path, help="folder of our runs; default runs/model_free[/equal|/still]")
    parser.add_argument("--output", type=Path, help="default: benchmarks/results/model_free[/equal|/still]")
    options = parser.parse_args(arguments)
    rate = options.learning_rate
    options.algorithms = options.algorithms or (PEERS if options.equal else (*PEERS, *ALONE))
    if rate is not None and not options.equal:
        parser.error(f"--learning_rate must be left out without --equal, got {rate}")
    if rate is not None and (others := {*options.algorithms} - {"A2C", "PPO"}):
        parser.error(f"--learning_rate must be left out unless --algorithms are A2C and PPO, got {sorted(others)}")
    if options.equal and (others := {*options.algorithms} - {*PEERS}):
        parser.error(f"--equal must be left out unless --algorithms are among {list(PEERS)}, got {sorted(others)}")
    name = "model_free" + ("" if not options.equal else "/equal" if rate is None else "/still")
    options.runs, options.output = options.runs or Path("runs") / name, options.output or RESULTS / name
    return options


def to_do(options: argparse.Namespace, rows: Sequence[Row]) -> list[list[Job]]:
    """What is not among the rows yet, as groups that run at the same time: first pairs, then runs without a peer."""
    finished = {(row.library, row.task, row.algorithm, row.seed, row.budget) for row in rows}
    groups = [
        [
            job
            for library in options.libraries
            if library == "ours" or algorithm in PEERS
            for job in [Job(library, task, algorithm, seed)]
            if not {(*asdict(job).values(), budget) for budget in options.budgets} <= finished
        ]
        for seed in options.seeds
        for task in options.tasks
        for algorithm in options.algorithms
    ]
    alone = [jobs[0] for jobs in groups if len(jobs) == 1]
    return [jobs for jobs in groups if len(jobs) > 1] + [alone[k : k + 2] for k in range(0, len(alone), 2)]


def main(arguments: list[str] | None = None) -> None:
    """Runs what is not there yet, and writes the table after every run."""
    options = parse(arguments)
    rate, told = options.learning_rate, EQUAL if options.equal else TUNED
    chosen = (equal if options.equal else tuned) if rate is None else lambda _: {"learning_rate": rate}
    if rate is not None:
        told += f"\n\nLearning rates of {rate}, and the same first policies on all tasks: for speed alone."
    options.output.mkdir(parents=True, exist_ok=True)
    rows = read_rows(options.output / "runs.csv")
    groups = to_do(options, rows)
    minutes = sum(max(max(options.budgets) / RATE[job.library] for job in jobs) for jobs in groups) / 60
    count = sum(map(len, groups))
    print(f"{count} runs to do, in {len(groups)} groups, about {minutes:.0f} minutes on idle cores", flush=True)
    for jobs in groups:
        new = run_together(jobs, options.budgets, options.runs.resolve(), options.peer_python, chosen)
        for row in new:
            print(f"{row}: {row.env_steps / row.seconds:,.0f} steps/s", flush=True)
        if len({replace(job, library="") for job in jobs}) == len(jobs):  # no pair
            new = [replace(row, seconds=np.nan) if row.algorithm in PEERS else row for row in new]
        replaced = {(row.library, row.task, row.algorithm, row.seed, row.budget) for row in new}
        rows = [
            row for row in rows if (row.library, row.task, row.algorithm, row.seed, row.budget) not in replaced
        ] + new
        write_rows(rows, options.output / "runs.csv")
        (options.output / "model_free.md").write_text(report(rows, told))
    print("\n".join(table(rows)))


if __name__ == "__main__":
    main()
