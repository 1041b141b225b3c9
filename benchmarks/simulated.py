"""TRPO trained on our simulator's Hopper-v5 beside TRPO trained on Gymnasium's: returns, and speed of collection.

    python -m benchmarks.simulated --budget 300000 --seeds 0 1 2

Both have the same options, and are evaluated in Gymnasium's environment (C MuJoCo). Speed is measured while a trained
policy collects windows, without learning, in turns of both environments within one process.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch

import diffsim
from benchmarks.command import make_parser, page, paragraphs, parse, positive, spread, table
from benchmarks.runs import grouped, measured, read_rows, train, write_rows
from diffsim.policies import StochasticPolicy
from diffsim.trainers.experience.rollout import collect
from diffsim.trainers.experience.vector_env import ResumableEnv, make_env
from diffsim.trainers.run.collect_command import trained_policy
from diffsim.trainers.run.run_folder import RunFolder

WORLDS = ("diffsim/Hopper-v5", "Hopper-v5")
NUM_ENVS, HORIZON = 32, 64
TURNS = 10


@dataclass(frozen=True)
class Row:
    """Result of a run."""

    world: str
    seed: int
    mean: float
    std: float
    env_steps: int
    seconds: float


def collecting(policy: StochasticPolicy, num_envs: int) -> list[float]:
    """Env steps per second of `collect` in each of WORLDS: the median over alternating turns."""
    envs = [make_env(world, num_envs) for world in WORLDS]

    def seconds(env: ResumableEnv) -> float:
        noise = torch.randn(HORIZON, num_envs, policy.noise_size, dtype=diffsim.dtype)
        began = time.perf_counter()
        collect(env, policy, env.obs, noise)
        return time.perf_counter() - began

    turns = [list(map(seconds, envs)) for _ in range(TURNS + 1)]
    return (num_envs * HORIZON / np.median(turns[1:], axis=0)).tolist()  # the first turn warms up


def report(rows: Sequence[Row], speeds: Mapping[int, Sequence[float]]) -> str:
    """The Markdown page."""
    lines = []
    for world, group in reversed(grouped(rows, "world")):
        each = ", ".join(f"{row.seed}: {row.mean:,.0f}" for row in group)
        lines.append([world, f"{max(row.env_steps for row in group):,}", each, spread(row.mean for row in group)])
    rates = [(num, f"{ours:,.0f}", f"{theirs:,.0f}", f"{ours / theirs:.2f}") for num, (ours, theirs) in speeds.items()]
    return page(
        "TRPO on our simulator and on Gymnasium's Hopper-v5",
        "simulated",
        paragraphs(__doc__)[-1],
        table("trained on | env steps: | return of each seed | mean ± deviation:", lines),
        table("copies: | diffsim/Hopper-v5, steps/s: | Hopper-v5, steps/s: | ratio:", rates),
    )


def main(arguments: list[str] | None = None) -> None:
    """Runs what is missing, measures the speed of collection, and writes the page."""
    parser = make_parser("simulated", __doc__, runs=True)
    parser.add_argument("--budget", type=positive(int), default=300_000, help="env steps of each run")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="default 0 1 2")
    parser.add_argument("--copies", nargs="+", type=positive(int), default=[NUM_ENVS, 256], help="to time collection")
    options = parse(parser, arguments)
    rows = read_rows(Row, options.output / "runs.csv")
    finished = {(row.seed, row.world) for row in rows}
    folders = {
        (seed, world): RunFolder(options.runs.resolve() / f"{world.replace('/', '-')}-seed-{seed}")
        for seed, world in product(options.seeds, WORLDS)
    }
    fixed = {"algorithm": "TRPO", "num_envs": NUM_ENVS, "horizon": HORIZON, "evaluate_every": 10**9}
    for (seed, world), folder in folders.items():
        if (seed, world) not in finished:
            shutil.rmtree(folder.path, ignore_errors=True)  # a run that was stopped
            train(folder, {"task": world, "seed": seed, **fixed}, options.budget)
            rows.append(Row(world, seed, **measured(folder)))
            write_rows(rows, options.output / "runs.csv")
            print(rows[-1], flush=True)
    env, run = make_env("Hopper-v5", 1), folders[options.seeds[0], "Hopper-v5"]
    policy = trained_policy(str(run.path), env.single_observation_space, env.single_action_space).to(diffsim.dtype)
    assert isinstance(policy, StochasticPolicy)
    text = report(rows, {num_envs: collecting(policy, num_envs) for num_envs in options.copies})
    (options.output / "simulated.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
