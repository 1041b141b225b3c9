"""What is learned from few real steps, with a learned model, through the simulator, and without a model.

Every run is `diffsim fit` in a process of its own; the trained policy's mean action is judged in 10 official episodes
that training never saw. Env steps are real ones: of the environment, or of the simulator for methods that learn through
it. Runs that are finished are not repeated; stopped by Ctrl-C, the same command goes on.

    python -m benchmarks.world_models --tasks Pendulum-v1 InvertedPendulum-v5 --seeds 0 1 2
"""

from __future__ import annotations

import argparse
import io
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from rich.console import Console

from benchmarks.machine import RESULTS, describe_machine
from benchmarks.model_free import Row, call, read_rows, write_rows
from trainers.fit import evaluate
from trainers.options import ALGORITHMS
from trainers.run_folder import RunFolder

EPISODES, FIRST_EPISODE = 10, 1_000_000
CONFIGS = Path(__file__).parents[1] / "configs"


@dataclass(frozen=True)
class Method:
    """How a task is learned.

    Attributes:
        config: file in configs/, or "" for none.
        options: of `diffsim fit`, over those of the file.
        budget: env steps.
    """

    config: str
    options: dict[str, object]
    budget: int


def through_simulator(config: str, budget: int) -> Method:
    """SHAC through the simulator itself."""
    return Method(config, {"env_steps": budget, "decay_env_steps": budget}, budget)


def without_model(algorithm: str, budget: int) -> Method:
    """A model-free algorithm, in Gymnasium, with its own defaults."""
    return Method("", {"algorithm": algorithm, "num_envs": 1, "env_steps": budget}, budget)


def branched(termination: str, budget: int) -> Method:
    """SHAC in short roll-outs of a learned model with a learned reward, branched from the data."""
    options = {
        "algorithm": "ModelBased",
        "policy": "GaussianMLP",
        "env_steps": budget,
        "evaluate_every": 10,
        "improver_kwargs": "{horizon: 5, gamma: 0.99, average: 0.95, value_epochs: 4}",
        "model_kwargs": f"{{hidden_sizes: [200, 200, 200], termination: {termination}}}",
        "fit_kwargs": "{max_epochs: 10}",
        "num_branches": 256,
        "imagined_steps": 10,
        "initial_steps": 5000,
        "steps_per_iteration": 1000,
        "updates_per_iteration": 100,
        "hidden_sizes": "[128, 128]",
        "activation": "elu",
        "std": "fixed",
        "initial_std": 0.3,
    }
    return Method("", options, budget)


METHODS: dict[str, dict[str, Method]] = {
    "Pendulum-v1": {
        "ModelBased": Method("model_based_pendulum.yaml", {}, 5_000),
        "MBPO": Method("mbpo_pendulum.yaml", {}, 2_000),
        "PETS": Method("pets_pendulum.yaml", {}, 2_000),
        "SAC": without_model("SAC", 5_000),
    },
    "InvertedPendulum-v5": {
        "ModelBased": Method("model_based_inverted_pendulum.yaml", {}, 5_000),
        "SAC": without_model("SAC", 5_000),
    },
    "CartPoleSwingUp-v0": {
        "PETS": Method("pets_cart_pole_swing_up.yaml", {}, 10_000),
        "SAC": without_model("SAC", 10_000),
    },
    "HalfCheetah-v5": {
        "ModelBased": branched("never", 100_000),
        "MBPO": Method("mbpo_half_cheetah.yaml", {}, 100_000),
        "SHAC": through_simulator("shac_half_cheetah.yaml", 100_000),
        "SAC": without_model("SAC", 100_000),
    },
    "Hopper-v5": {
        "ModelBased": branched("learned", 100_000),
        "MBPO": Method("mbpo_hopper.yaml", {}, 100_000),
        "SHAC": through_simulator("shac_hopper_100k.yaml", 100_000),
        "SAC": without_model("SAC", 100_000),
    },
}
"""By task and name."""


def run(task: str, name: str, seed: int, runs: Path) -> Row:
    """Trains by `diffsim fit`, or goes on where that was stopped, and judges what came of it.

    Raises: RuntimeError with the command's last words if it failed.
    """
    method = METHODS[task][name]
    folder = RunFolder(runs / f"{task}-{name}-seed-{seed}")
    command = [sys.executable, "-m", "trainers.cli", "fit"]
    if folder.checkpoint.is_file():
        call([*command, "--resume", str(folder.path)])
    else:
        shutil.rmtree(folder.path, ignore_errors=True)  # stopped before its first checkpoint: nothing to go on from
        path = folder.path
        config = ["--config", str(CONFIGS / method.config)] if method.config else []
        options = {"task": task, **method.options, "seed": seed, "run": path}
        call([*command, *config, *(str(word) for pair in options.items() for word in (f"--{pair[0]}", pair[1]))])
    returns = evaluate(str(folder.path), EPISODES, FIRST_EPISODE, False, Console(file=io.StringIO()))
    last = folder.read_metrics()[-1]
    scores = {"mean": float(returns.mean()), "std": float(returns.std())}
    cost = {"env_steps": int(last["env_steps"]), "seconds": last["seconds"]}
    return Row("ours", task, name, method.budget, seed, **scores, **cost)


def table(rows: Sequence[Row]) -> list[str]:
    """One line per task and method: mean and deviation over the seeds, and every seed."""
    lines = ["| task | method | env steps | seeds | return | each seed |", "|---|---|---:|---:|---:|---|"]
    for task, methods in METHODS.items():
        for name in methods:
            group = [row for row in rows if (row.task, row.algorithm) == (task, name)]
            if group:
                means = [row.mean for row in group]
                each = ", ".join(f"{mean:,.0f}" for mean in means)
                score = f"{np.mean(means):,.0f} ± {np.std(means):,.0f}"
                lines.append(f"| {task} | {name} | {group[0].env_steps:,} | {len(group)} | {score} | {each} |")
    return lines


def report(rows: Sequence[Row]) -> str:
    """The Markdown page."""
    hours = sum(row.seconds for row in rows) / 3600
    head = f"{datetime.now(UTC):%Y-%m-%d}, {describe_machine()}. Made by `python -m benchmarks.world_models`; "
    head += f"{len(rows)} runs, {hours:.2f} hours of training."
    about = (__doc__ or "").split("\n\n")[1].splitlines()
    note = "Rewards are known for ModelBased and PETS on the two pendulums, learned otherwise; see the configs."
    return "\n".join(["# Learned models", "", head, "", *about, "", *table(rows), "", note, ""])


def main(arguments: list[str] | None = None) -> None:
    """Runs what is not there yet, and writes the table after every run."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.world_models", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("--tasks", nargs="+", choices=list(METHODS), default=list(METHODS), metavar="ID")
    parser.add_argument("--methods", nargs="+", default=None, metavar="NAME", help="all of the task's if not given")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="default 0 1 2")
    parser.add_argument("--runs", type=Path, default=Path("runs/world_models"), help="folder of the runs")
    parser.add_argument("--output", type=Path, default=RESULTS / "world_models", help="folder of the table")
    options = parser.parse_args(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    rows = read_rows(options.output / "runs.csv")
    finished = {(row.task, row.algorithm, row.seed) for row in rows}
    for task in options.tasks:
        for name, method in METHODS[task].items():
            algorithm = method.options.get("algorithm", "")
            if options.methods is not None and name not in options.methods:
                continue
            if algorithm and algorithm not in ALGORITHMS:
                print(f"{task}, {name}: skipped, there is no such algorithm here", flush=True)
                continue
            for seed in options.seeds:
                if (task, name, seed) in finished:
                    continue
                rows.append(run(task, name, seed, options.runs))
                write_rows(rows, options.output / "runs.csv")
                (options.output / "world_models.md").write_text(report(rows))
                print(f"{task}, {name}, seed {seed}: {rows[-1].mean:,.1f} ± {rows[-1].std:,.1f}", flush=True)
    print("\n".join(table(rows)))


if __name__ == "__main__":
    main()
