"""TRPO trained on our simulator's Hopper-v5 beside TRPO trained on Gymnasium's: returns, and speed of collection.

    python -m benchmarks.simulated --budget 300000 --seeds 0 1 2

Both have the same options, and are evaluated in Gymnasium's environment (C MuJoCo). Speed is measured while a trained
policy collects windows, without learning, in turns of both environments within one process.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch

import diffsim
from benchmarks.machine import RESULTS, made_by, make_parser, paragraphs, positive
from benchmarks.runs import measured
from benchmarks.runs import train as train_run
from diffsim.policies import StochasticPolicy
from diffsim.trainers.experience.rollout import collect
from diffsim.trainers.experience.vector_env import ResumableEnv, make_env
from diffsim.trainers.run.arguments import RunOptions, pick
from diffsim.trainers.run.build import build_policy
from diffsim.trainers.run.checkpoint import load_weights, read_checkpoint
from diffsim.trainers.run.run_folder import RunFolder, read_yaml

WORLDS = ("diffsim/Hopper-v5", "Hopper-v5")
NUM_ENVS, HORIZON = 32, 64
TURNS = 10


def train(world: str, budget: int, seed: int, folder: RunFolder) -> dict[str, Any]:
    """Trains and evaluates in a process of its own: mean, std, env_steps and seconds."""
    shutil.rmtree(folder.path, ignore_errors=True)  # a run that was stopped
    options = {"task": world, "algorithm": "TRPO", "num_envs": NUM_ENVS, "horizon": HORIZON, "seed": seed}
    train_run(folder, {**options, "evaluate_every": 10**9}, budget)
    return measured(folder)


def trained_policy(folder: RunFolder) -> StochasticPolicy:
    """The policy of a finished run."""
    values = read_yaml(folder.config)
    env = gymnasium.make("Hopper-v5")
    policy = build_policy(env.observation_space, env.action_space, RunOptions(**pick(values, RunOptions)), values)
    load_weights(policy, read_checkpoint(folder.checkpoint), "policy.", folder.checkpoint)
    assert isinstance(policy, StochasticPolicy)
    return policy.to(diffsim.dtype)


def collecting(policy: StochasticPolicy, num_envs: int) -> dict[str, float]:
    """Env steps per second of `collect` in each environment: the median over alternating turns."""
    envs = {world: make_env(world, num_envs) for world in WORLDS}
    seconds: dict[str, list[float]] = {world: [] for world in WORLDS}
    for _ in range(TURNS + 1):
        for world, env in envs.items():
            seconds[world].append(window_seconds(env, policy))
    return {world: num_envs * HORIZON / float(np.median(times[1:])) for world, times in seconds.items()}


def window_seconds(env: ResumableEnv, policy: StochasticPolicy) -> float:
    """Seconds to collect a window."""
    noise = torch.randn(HORIZON, env.num_envs, policy.noise_size, dtype=diffsim.dtype)
    began = time.perf_counter()
    collect(env, policy, env.obs, noise)
    return time.perf_counter() - began


def report(runs: dict[str, dict[str, Any]], speeds: dict[int, dict[str, float]]) -> str:
    """The Markdown page."""
    lines = ["| trained on | env steps | return of each seed | mean ± deviation |", "|---|---:|---|---:|"]
    for world in WORLDS:
        found = {name.rsplit(" ", 1)[1]: run for name, run in runs.items() if name.rsplit(" ", 1)[0] == world}
        means = [run["mean"] for run in found.values()]
        if found:
            each = ", ".join(f"{seed}: {run['mean']:,.0f}" for seed, run in found.items())
            steps = max(run["env_steps"] for run in found.values())
            lines.append(f"| {world} | {steps:,} | {each} | {np.mean(means):,.0f} ± {np.std(means):,.0f} |")
    lines += ["", "| copies | diffsim/Hopper-v5, steps/s | Hopper-v5, steps/s | ratio |", "|---:|---:|---:|---:|"]
    for num_envs, speed in speeds.items():
        ours, theirs = (speed[world] for world in WORLDS)
        lines.append(f"| {num_envs} | {ours:,.0f} | {theirs:,.0f} | {ours / theirs:.2f} |")
    return "\n".join(
        [
            "# TRPO on our simulator and on Gymnasium's Hopper-v5",
            "",
            f"{made_by('python -m benchmarks.simulated')}.",
            "",
            *paragraphs(__doc__)[-1].splitlines(),
            "",
            *lines,
            "",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs what is missing, measures the speed of collection, and writes the page."""
    parser = make_parser("simulated", __doc__)
    parser.add_argument("--budget", type=positive(int), default=300_000, help="env steps of each run")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="default 0 1 2")
    parser.add_argument("--copies", nargs="+", type=positive(int), default=[NUM_ENVS, 256], help="to time collection")
    parser.add_argument("--runs", type=Path, default=Path("runs/simulated"), help="folder of the runs")
    parser.add_argument("--output", type=Path, default=RESULTS / "simulated", help="folder of the page")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    options.output.mkdir(parents=True, exist_ok=True)
    runs_folder = options.runs.resolve()
    record = options.output / "runs.json"
    runs: dict[str, dict[str, Any]] = json.loads(record.read_text()) if record.exists() else {}
    for seed in options.seeds:
        for world in WORLDS:
            if f"{world} {seed}" not in runs:
                folder = RunFolder(runs_folder / f"{world.replace('/', '-')}-seed-{seed}")
                runs[f"{world} {seed}"] = train(world, options.budget, seed, folder)
                record.write_text(json.dumps(runs, indent=1))
                print(f"{world}, seed {seed}: {runs[f'{world} {seed}']}", flush=True)
    policy = trained_policy(RunFolder(runs_folder / f"Hopper-v5-seed-{options.seeds[0]}"))
    speeds = {num_envs: collecting(policy, num_envs) for num_envs in options.copies}
    (options.output / "simulated.md").write_text(report(runs, speeds))
    print((options.output / "simulated.md").read_text())


if __name__ == "__main__":
    main()
