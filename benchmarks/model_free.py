"""Our model-free algorithms beside those of Stable-Baselines3 and sb3-contrib: returns and speed at equal env steps.

Both learn in Gymnasium's environments (C MuJoCo), with normalised observations and rewards, networks of two layers of
64 tanh units, constant learning rates and the same number of copies. One run gives the returns after each budget: the
mean actions of the trained policy, in 10 episodes that are not used in training. Two runs go on at the same time, a
pair if there is one, each on one core; they swap cores from seed to seed. Speed is env steps per second of training,
without evaluation; where there is a peer, only runs that were made as pairs count. Finished runs are not repeated.

    python -m benchmarks.model_free --tasks HalfCheetah-v5 --algorithms TRPO PPO --seeds 0 1 2

Ours has the settings of the task's file in configs/, or the defaults where there is none. Theirs has the defaults.
`--equal` gives ours the settings of theirs, and so compares the implementations, in a separate table.

MuJoCo's time per step depends on the policy. So the speeds of runs that learned differently also differ by MuJoCo's
time. `--equal --algorithms A2C PPO --learning_rate 1e-12` keeps both policies as initialised, and compares the rest.

Reinforce and NaturalGradient have no peer, and are compared with published curves: `--algorithms Reinforce
NaturalGradient`. `pip install -e ".[bench]"` installs Stable-Baselines3. If it has its own environment (`pip install
stable-baselines3 sb3-contrib mujoco imageio packaging`), give that environment's interpreter by --peer_python.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from operator import attrgetter
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box

from benchmarks.command import make_parser, page, paragraphs, parse, positive, spread, table
from benchmarks.published import published
from benchmarks.runs import call, config_file, fit_arguments, grouped, measured, read_rows, train, write_rows
from diffsim.trainers.run.run_folder import RunFolder

TASKS = ("HalfCheetah-v5", "Hopper-v5", "Walker2d-v5", "InvertedDoublePendulum-v5", "Swimmer-v5")
PEERS = ("TRPO", "A2C", "PPO")
"""Algorithms of both libraries."""
ALONE = ("Reinforce", "NaturalGradient")
"""Algorithms of ours only, compared with published curves."""
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
"""Options of theirs, and with `--equal` of both: the defaults of both, except the KL and damping of our TRPO."""
TUNED = (
    "Theirs has the options below: its defaults, with 8 copies of 256 steps in place of 2,048 steps of one copy. Ours "
    "has the settings of the task's file in `configs/` (the defaults where there is none). They were chosen with seeds "
    "from 100 on, except those of HalfCheetah-v5, which are older, and those that `docs/results.md` names. So this "
    "table shows what a user gets. Equal settings (`--equal`) compare the implementations."
)
EQUAL = (
    "Both have the options below. Stable-Baselines3's TRPO takes the mean of the KL divergence over the dimensions of "
    "an action, and ours takes the sum. So ours has the bound and the damping times the number of dimensions, which "
    "gives the same step."
)
LIBRARIES = ["ours", "theirs"]
PEER = Path(__file__).with_name("stable_baselines.py")


@dataclass(frozen=True)
class Job:
    """One training run through all budgets."""

    library: str
    task: str
    algorithm: str
    seed: int


@dataclass(frozen=True)
class Row:
    """Result of a run at one budget. `seconds` is NaN if its peer did not run at the same time."""

    library: str
    task: str
    algorithm: str
    budget: int
    seed: int
    mean: float
    std: float
    env_steps: int
    seconds: float

    @property
    def run(self) -> tuple[Job, int]:
        """The job, and the budget."""
        return Job(self.library, self.task, self.algorithm, self.seed), self.budget


def run_together(
    jobs: Sequence[Job], budgets: Sequence[int], runs: Path, peer_python: str, more: Callable[[Job], Mapping[str, Any]]
) -> list[Row]:
    """Trains and evaluates at the same time, each job on its own core if there are enough.

    Args:
        jobs: the runs. One of ours that was stopped is repeated: the seconds of two parts are not comparable.
        budgets: env steps after which the policy is evaluated.
        runs: folder of our runs.
        peer_python: interpreter that has Stable-Baselines3, for `benchmarks/stable_baselines.py`.
        more: returns further options of a run.

    Raises: RuntimeError with the end of the command's error output, if one failed.
    """
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [None]
    budgets = sorted(budgets)

    def run(job: Job, core: int | None) -> list[Row]:
        options = {"task": job.task, "algorithm": job.algorithm, "num_envs": COPIES.get(job.algorithm, 8)}
        options |= {"seed": job.seed, **more(job)}
        if job.library == "ours":
            folder, found = RunFolder(runs / f"{job.task}-{job.algorithm}-seed-{job.seed}"), []
            shutil.rmtree(folder.path, ignore_errors=True)
            for budget in budgets:
                train(folder, {"evaluate_every": 10**9, **options}, budget, core)
                found.append(measured(folder))
        else:
            command = [peer_python, str(PEER), *fit_arguments({**options, "budgets": budgets})]
            found = json.loads(call(command, core).splitlines()[-1])
        return [Row(**asdict(job), budget=budget, **part) for budget, part in zip(budgets, found, strict=True)]

    with ThreadPoolExecutor(len(jobs)) as pool:
        parts = pool.map(run, jobs, [cores[(jobs[0].seed + k) % len(cores)] for k in range(len(jobs))])
        return [row for part in parts for row in part]


HALF_DEVIATION = ("A2C", "A3C", "NaturalGradient", "PPO", "TRPO")
"""Algorithms whose initial standard deviation is 0.5 by default, where other libraries have 1."""


def tuned(job: Job) -> dict[str, Any]:
    """The task's file in configs/ for our runs, if there is one."""
    path = config_file(job.algorithm, job.task)
    return {"config": path} if job.library == "ours" and path.exists() else {}


def equal(job: Job) -> dict[str, Any]:
    """Options of ours that are not defaults: the initial deviation, and the bound and damping of TRPO's step."""
    if job.library != "ours" or job.algorithm not in HALF_DEVIATION:
        return {}
    with gymnasium.make(job.task) as env:
        space = env.action_space
    if not isinstance(space, Box):
        return {}
    own = {"max_kl": 0.01 * space.shape[0], "damping": 0.1 * space.shape[0]} if job.algorithm == "TRPO" else {}
    return {"initial_std": 1.0, **own}


def save_rows(rows: Sequence[Row], folder: Path) -> None:
    """Writes runs.csv, sorted."""
    order = attrgetter("task", "algorithm", "budget", "library", "seed")
    write_rows(sorted(rows, key=order), folder / "runs.csv", lambda value: round(value, 2))


HEADER = (
    "task | algorithm | env steps: | seeds | ours: | theirs: | difference: | ours is | steps/s: | theirs: | ratio: | "
    "published:"
)


def table_row(task: str, algorithm: str, budget: int, rows: Sequence[Row]) -> list[str]:
    """One line of the table."""
    ours, theirs = ([row for row in rows if row.library == library] for library in ("ours", "theirs"))
    means, others = (np.array([row.mean for row in group]) for group in (ours, theirs))
    below = ["", ""]
    if ours and theirs:
        below = [difference(means, others), verdict(means, others)]
    speeds = [speed(ours), speed(theirs)]
    return [
        *(task, algorithm, f"{budget:,}", f"{len(ours)}, {len(theirs)}", spread(means), spread(others), *below),
        *("" if np.isnan(value) else f"{value:,.0f}" for value in speeds),
        "" if np.isnan(speeds).any() else f"{speeds[0] / speeds[1]:.2f}",
        published(task, algorithm, budget),
    ]


def results(rows: Sequence[Row]) -> str:
    """A table with one line per task, algorithm and budget."""
    return table(HEADER, [table_row(*key, rows=group) for key, group in grouped(rows, "task", "algorithm", "budget")])


def difference(ours: np.ndarray, theirs: np.ndarray) -> str:
    """Difference of the means over seeds; with its standard error where both have several seeds (Welch, 1947)."""
    apart, error = f"{ours.mean() - theirs.mean():+,.0f}", standard_error(ours, theirs)
    return apart if np.isnan(error) else f"{apart} ± {error:,.0f}"


def standard_error(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Of the difference of the means over seeds (Welch, 1947); NaN unless both have several seeds."""
    if min(len(ours), len(theirs)) < 2:
        return np.nan
    return float(np.sqrt(sum(means.var(ddof=1) / len(means) for means in (ours, theirs))))


def verdict(ours: np.ndarray, theirs: np.ndarray) -> str:
    """Whether our mean is "above" or "below" theirs by more than two standard errors; otherwise it is "undecided"."""
    apart, error = ours.mean() - theirs.mean(), standard_error(ours, theirs)
    if not abs(apart) > 2 * error:
        return "undecided"
    return "above" if apart > 0 else "below"


def speed(rows: Sequence[Row]) -> float:
    """Env steps per second of all timed runs together; NaN if there is none."""
    timed = [row for row in rows if not np.isnan(row.seconds)]
    return sum(row.env_steps for row in timed) / sum(row.seconds for row in timed) if timed else np.nan


def report(rows: Sequence[Row], settings: str) -> str:
    """The Markdown page, with a paragraph on the settings."""
    last = {row.run[0]: row.seconds for row in sorted(rows, key=attrgetter("budget"))}
    hours = np.nansum(list(last.values())) / 3600
    return page(
        "Model-free algorithms beside Stable-Baselines3",
        "model_free",
        *(paragraphs(__doc__)[1], settings, results(rows)),
        "\n".join(f"* {name}: {options}." for name, options in OPTIONS.items()),
        "Ours, theirs: mean ± standard deviation over the seeds. Difference: of these means, ± its standard error. "
        "Above, below: by more than two standard errors. Published: Tianshou's mean of 10 seeds "
        "(`benchmarks/published.py`), with other settings.",
        note=f"; {len(last)} runs; those that are timed took {hours:.2f} hours",
    )


def parse_options(arguments: list[str] | None) -> argparse.Namespace:
    """Options of the command line, checked; `algorithms` is never None."""
    parser = make_parser("model_free", __doc__, runs=True)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=TASKS, metavar="ID")
    parser.add_argument("--algorithms", nargs="+", choices=(*PEERS, *ALONE), metavar="NAME", help="default: all")
    parser.add_argument("--budgets", nargs="+", type=positive(int), default=BUDGETS, help="env steps")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="default 0 1 2")
    parser.add_argument("--libraries", nargs="+", choices=LIBRARIES, default=LIBRARIES)
    parser.add_argument("--equal", action="store_true", help="ours with the settings of theirs, in a subfolder")
    parser.add_argument("--learning_rate", type=positive(float), help="of A2C and PPO, on both sides, with --equal")
    parser.add_argument("--peer_python", default=sys.executable, help="interpreter with Stable-Baselines3")
    options = parse(parser, arguments)
    rate = options.learning_rate
    options.algorithms = options.algorithms or (PEERS if options.equal else (*PEERS, *ALONE))
    if rate is not None and not options.equal:
        parser.error(f"--learning_rate must be left out without --equal, got {rate}")
    if rate is not None and (others := {*options.algorithms} - {"A2C", "PPO"}):
        parser.error(f"--learning_rate must be left out unless --algorithms are A2C and PPO, got {sorted(others)}")
    if options.equal and (others := {*options.algorithms} - {*PEERS}):
        parser.error(f"--equal must be left out unless --algorithms are among {list(PEERS)}, got {sorted(others)}")
    if options.equal:
        name = "equal" if rate is None else "still"
        options.runs, options.output = options.runs / name, options.output / name
        options.output.mkdir(exist_ok=True)
    return options


def to_do(options: argparse.Namespace, rows: Sequence[Row]) -> list[list[Job]]:
    """Runs that are not among the rows, in groups that run at the same time: first pairs, then runs without a peer."""
    finished = {row.run for row in rows}
    groups = [
        [
            job
            for library in options.libraries
            if library == "ours" or algorithm in PEERS
            for job in [Job(library, task, algorithm, seed)]
            if not {(job, budget) for budget in options.budgets} <= finished
        ]
        for seed in options.seeds
        for task in options.tasks
        for algorithm in options.algorithms
    ]
    alone = [jobs[0] for jobs in groups if len(jobs) == 1]
    return [jobs for jobs in groups if len(jobs) > 1] + [alone[k : k + 2] for k in range(0, len(alone), 2)]


def main(arguments: list[str] | None = None) -> None:
    """Runs what is missing, and writes the table after every run."""
    options = parse_options(arguments)
    rate, settings = options.learning_rate, EQUAL if options.equal else TUNED
    chosen = (equal if options.equal else tuned) if rate is None else lambda job: {**equal(job), "learning_rate": rate}
    if rate is not None:
        settings += f"\n\nLearning rates of {rate}: the policies stay as initialised, so only the speeds count."
    rows = read_rows(Row, options.output / "runs.csv")
    groups = to_do(options, rows)
    print(f"{sum(map(len, groups))} runs to do, in {len(groups)} groups", flush=True)
    for jobs in groups:
        new = run_together(jobs, options.budgets, options.runs.resolve(), options.peer_python, chosen)
        for row in new:
            print(f"{row}: {row.env_steps / row.seconds:,.0f} steps/s", flush=True)
        if len({replace(job, library="") for job in jobs}) == len(jobs):  # no pair
            new = [replace(row, seconds=np.nan) if row.algorithm in PEERS else row for row in new]
        rows = [*{row.run: row for row in (*rows, *new)}.values()]
        save_rows(rows, options.output)
        (options.output / "model_free.md").write_text(report(rows, settings))
    print(results(rows))


if __name__ == "__main__":
    main()
