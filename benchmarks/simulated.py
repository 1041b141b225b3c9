"""TRPO trained on our simulator's Hopper-v5 beside TRPO trained on Gymnasium's: returns, and speed of collection.

    python -m benchmarks.simulated --budget 300000 --seeds 0 1 2

Both learn by the same options and are judged in Gymnasium's environment (C MuJoCo). Speed is that of collecting
windows with a trained policy, without learning, in turns of both environments within one process.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch

import diffsim
from benchmarks.machine import RESULTS, describe_machine, positive
from benchmarks.model_free import call
from diffsim.policies import StochasticPolicy
from diffsim.trainers.experience.rollout import collect
from diffsim.trainers.experience.vector_env import ResumableEnv, make_env
from diffsim.trainers.run.arguments import RunOptions, pick, read_yaml
from diffsim.trainers.run.build import build_policy
from diffsim.trainers.run.checkpoint import load_weights, read_checkpoint
from diffsim.trainers.run.run_folder import RunFolder

WORLDS = ("diffsim/Hopper-v5", "Hopper-v5")
NUM_ENVS, HORIZON = 32, 64
TURNS = 10


def train(world: str, budget: int, seed: int, folder: Path) -> dict[str, Any]:
    """Trains and judges in a process of its own: mean, std, env_steps and seconds."""
    options = ["--task", world, "--algorithm", "TRPO", "--num_envs", NUM_ENVS, "--horizon", HORIZON, "--seed", seed]
    command = [sys.executable, "-m", "benchmarks.ours", "--budgets", budget, "--run", folder, "--"]
    words = [str(word) for word in [*command, *options, "--evaluate_every", 10**9]]
    (found,) = json.loads(call(words).splitlines()[-1])
    return found


def trained_policy(folder: RunFolder) -> StochasticPolicy:
    """The policy that a run has left."""
    values = read_yaml(folder.config)
    env = gymnasium.make("Hopper-v5")
    policy = build_policy(env.observation_space, env.action_space, RunOptions(**pick(values, RunOptions)), values)
    load_weights(policy, read_checkpoint(folder.checkpoint), "policy.", folder.checkpoint)
    assert isinstance(policy, StochasticPolicy)
    return policy.to(diffsim.dtype)


def collecting(policy: StochasticPolicy, num_envs: int) -> dict[str, float]:
    """Env steps per second of `collect` in each world: the median of turns that follow each other."""
    envs = {world: make_env(world, num_envs) for world in WORLDS}
    seconds: dict[str, list[float]] = {world: [] for world in WORLDS}
    for _ in range(TURNS + 1):
        for world, env in envs.items():
            seconds[world].append(window_seconds(env, policy))
    return {world: num_envs * HORIZON / float(np.median(times[1:])) for world, times in seconds.items()}


def window_seconds(env: ResumableEnv, policy: StochasticPolicy) -> float:
    """Seconds for a window."""
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
            f"{datetime.now(UTC):%Y-%m-%d}, {describe_machine()}. Made by `python -m benchmarks.simulated`.",
            "",
            *(__doc__ or "").strip().split("\n\n")[-1].splitlines(),
            "",
            *lines,
            "",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs what is not there yet, measures the collection, and writes the page."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.simulated", description=(__doc__ or "").split("\n\n")[0]
    )
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
                folder = runs_folder / f"{world.replace('/', '-')}-seed-{seed}"
                runs[f"{world} {seed}"] = train(world, options.budget, seed, folder)
                record.write_text(json.dumps(runs, indent=1))
                print(f"{world}, seed {seed}: {runs[f'{world} {seed}']}", flush=True)
    policy = trained_policy(RunFolder(runs_folder / f"Hopper-v5-seed-{options.seeds[0]}"))
    speeds = {num_envs: collecting(policy, num_envs) for num_envs in options.copies}
    (options.output / "simulated.md").write_text(report(runs, speeds))
    print((options.output / "simulated.md").read_text())


if __name__ == "__main__":
    main()
