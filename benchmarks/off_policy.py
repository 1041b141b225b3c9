"""DDPG, TD3 and SAC beside Stable-Baselines3's: returns at equal env steps, and updates per second.

Both learn in Gymnasium's environments (C MuJoCo), on one core, one copy, one update per step, with the same networks
(256-256, relu), batches (256), rates, target networks, warm-up and exploration noise. The mean actions of the trained
policies are evaluated in 10 episodes that are not used in training. Both of a pair run at the same time, and updates
are not compiled. Other work on the machine slows both, so only the ratio of their speeds counts; a run without its
peer has no speed. Returns are mean ± deviation over seeds, differences of means ± their standard error. Finished runs
are not repeated, so the command can be stopped and called again.

    python -m benchmarks.off_policy                     # everything: hours
    python -m benchmarks.off_policy --only updates      # updates per CPU second, minutes

A few updates of ours and of theirs are timed in turns, on a replay buffer of 2,000 steps of HalfCheetah-v5, by the CPU
time of each process. The table has the medians of all turns, and their ratio. Ours are timed with and without
`--compile_updates true`.

If Stable-Baselines3 has its own environment, give that environment's interpreter by --peer_python.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.command import make_parser, page, paragraphs, parse, positive, table
from benchmarks.model_free import LIBRARIES, PEER, Job, Row, results, run_together, save_rows
from benchmarks.runs import fit_arguments, read_rows
from diffsim.trainers.run.arguments import RunOptions, parse_fit, pick
from diffsim.trainers.run.build import build
from diffsim.trainers.value_gradient.off_policy import OffPolicy

ALGORITHMS = ("DDPG", "TD3", "SAC")
TASKS = {"Pendulum-v1": (20_000, 3), "Hopper-v5": (100_000, 4), "HalfCheetah-v5": (100_000, 2)}
"""Env steps and number of seeds."""
WARMUP = {"Pendulum-v1": 1000}
"""Random steps at the start; 10,000 on the other tasks."""
SETTINGS: dict[str, Any] = {"hidden_sizes": [256, 256], "critic_hidden_sizes": [256, 256]}
SETTINGS |= {"batch_size": 256, "target_rate": 0.995}
DETERMINISTIC = {"learning_rate": 1e-3, "critic_learning_rate": 1e-3, "exploration": "gaussian", "exploration_std": 0.1}
OWN = {"DDPG": {**DETERMINISTIC, "critic_weight_decay": 0.0}, "TD3": DETERMINISTIC, "SAC": {}}
TIMED_TASK, FILLED = "HalfCheetah-v5", 2000


def settings(job: Job) -> dict[str, Any]:
    """Options that give our run and theirs the same settings."""
    warmup = {"warmup_steps": WARMUP.get(job.task, 10_000)}
    return {**SETTINGS, **OWN[job.algorithm], **warmup} if job.library == "ours" else warmup


def our_updates(algorithm: str, compile_updates: bool) -> Callable[[int], float]:
    """A function from a number of updates to their CPU seconds."""
    job = Job("ours", TIMED_TASK, algorithm, 0)
    named = {**settings(job), "task": job.task, "algorithm": algorithm, "warmup_steps": FILLED, "steps": FILLED}
    named["compile_updates"] = compile_updates
    values = parse_fit(fit_arguments(named)).as_dict()
    learner = build(RunOptions(**pick(values, RunOptions)), values)
    assert isinstance(learner, OffPolicy)
    learner.iterate()

    def timed(count: int) -> float:
        began = time.process_time()
        for _ in range(count):
            learner.updates += 1
            learner.update(learner.batch())
        return time.process_time() - began

    return timed


def compare_updates(algorithm: str, compiled: bool, python: str, turns: int, count: int) -> list[str]:
    """A line of the table: updates per CPU second, ours and theirs."""
    options = {"task": TIMED_TASK, "algorithm": algorithm, "num_envs": 1, "budgets": [FILLED], "seed": 0}
    command = [python, str(PEER), *fit_arguments(options), "--time_updates"]
    seconds: list[tuple[float, float]] = []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as peer:
        assert peer.stdin is not None and peer.stdout is not None
        ours = our_updates(algorithm, compiled)
        while (line := peer.stdout.readline()).strip() != "ready":
            if not line:
                raise RuntimeError(f"{' '.join(command)} ended before it was ready")
        for _ in range(turns + 1):
            mine = ours(count)
            print(count, file=peer.stdin, flush=True)
            seconds.append((mine, float(peer.stdout.readline())))
        peer.stdin.close()
    rates = count / np.median(seconds[1:], axis=0)  # the first turn warms up
    return [algorithm, "yes" if compiled else "no", *(f"{rate:.0f}" for rate in rates), f"{rates[0] / rates[1]:.2f}"]


def write_page(folder: Path, rows: Sequence[Row]) -> None:
    """The Markdown page of all results so far."""
    path = folder / "updates.md"
    updates = path.read_text().strip() if path.exists() else ""
    found = results(rows) if rows else "No runs yet."
    text = page("Off-policy algorithms beside Stable-Baselines3", "off_policy", paragraphs(__doc__)[1], found, updates)
    (folder / "off_policy.md").write_text(text)


def main(arguments: list[str] | None = None) -> None:
    """Measures what is missing, and writes the page after every run."""
    parser = make_parser("off_policy", __doc__, runs=True)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS), metavar="ID")
    parser.add_argument("--algorithms", nargs="+", choices=ALGORITHMS, default=ALGORITHMS, metavar="NAME")
    parser.add_argument("--seeds", nargs="+", type=int, help="in place of each task's own, 0 and up")
    parser.add_argument("--env_steps", type=positive(int), help="in place of each task's own")
    parser.add_argument("--only", choices=("returns", "updates"))
    parser.add_argument("--turns", type=positive(int), default=15, help="of updates to time")
    parser.add_argument("--updates", type=positive(int), default=20, help="per turn")
    parser.add_argument("--peer_python", default=sys.executable, help="interpreter with Stable-Baselines3")
    parser.add_argument("--libraries", nargs="+", choices=LIBRARIES, default=LIBRARIES)
    options = parse(parser, arguments)
    rows = read_rows(Row, options.output / "runs.csv")
    if options.only != "returns":
        how = options.peer_python, options.turns, options.updates
        lines = [compare_updates(*job, *how) for job in product(options.algorithms, (False, True))]
        text = table("algorithm | compiled | updates per CPU second: | theirs: | ratio:", lines)
        (options.output / "updates.md").write_text(f"{text}\n")
    finished = {row.run for row in rows}
    for task in options.tasks if options.only != "updates" else ():
        budget, seeds = options.env_steps or TASKS[task][0], options.seeds or range(TASKS[task][1])
        for seed, algorithm in ((seed, name) for seed in seeds for name in options.algorithms):
            jobs = [Job(library, task, algorithm, seed) for library in options.libraries]
            jobs = [job for job in jobs if (job, budget) not in finished]
            new = run_together(jobs, [budget], options.runs.resolve(), options.peer_python, settings) if jobs else []
            if len(jobs) == 1:  # faster than beside its peer
                new = [replace(row, seconds=np.nan) for row in new]
            rows += new
            save_rows(rows, options.output)
            write_page(options.output, rows)
            print(*new, sep="\n", flush=True)
    write_page(options.output, rows)
    print((options.output / "off_policy.md").read_text())


if __name__ == "__main__":
    main()
