"""Generalisation gap of PEGASUS: returns on its training scenarios minus fresh ones, against their number m."""

from __future__ import annotations

import io
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from rich.console import Console

import diffsim
from benchmarks.machine import RESULTS, made_by, make_parser, positive
from benchmarks.pictures import BLUE, GREY, ORANGE
from diffsim.policies import DeterministicMLP
from diffsim.trainers.pathwise.pegasus import Pegasus
from diffsim.trainers.run.arguments import RunOptions
from diffsim.trainers.run.fit_command import budget
from diffsim.trainers.run.run_folder import RunFolder
from diffsim.trainers.run.train import train

TASK, PROCESS_NOISE = "Reacher-v5", 0.01
HIDDEN_SIZES = (32, 32)
NUM_FRESH, FRESH_SEED = 1024, 1_000_000


class Result(NamedTuple):
    """Returns of one trained policy, env steps of its training, and seconds."""

    num_scenarios: int
    seed: int
    own: float
    fresh: float
    env_steps: int
    seconds: float

    @property
    def gap(self) -> float:
        """Return on the training scenarios minus return on fresh ones."""
        return self.own - self.fresh


def measure(num_scenarios: int, seed: int, iterations: int) -> Result:
    """Trains on m scenarios, and evaluates on them and on fresh ones."""
    start = time.perf_counter()
    mdp = diffsim.make(TASK, num_envs=num_scenarios, process_noise=PROCESS_NOISE)
    torch.manual_seed(seed)
    policy = DeterministicMLP(mdp.observation_space, mdp.action_space, hidden_sizes=HIDDEN_SIZES, normalize=False).to(
        mdp.dtype
    )
    algorithm = Pegasus(mdp, policy, seed=seed, gap_every=iterations + 1, num_fresh=1)
    options = RunOptions(task=TASK, iterations=iterations, evaluate_every=iterations)
    with tempfile.TemporaryDirectory() as folder:
        train(algorithm, budget(options), RunFolder(Path(folder)), Console(file=io.StringIO()))
    env_steps, own = algorithm.env_steps, algorithm.value().item()
    fresh_mdp = diffsim.make(TASK, num_envs=NUM_FRESH, process_noise=PROCESS_NOISE)
    fresh = Pegasus(fresh_mdp, policy, seed=FRESH_SEED).value().item()
    return Result(num_scenarios, seed, own, fresh, env_steps, time.perf_counter() - start)


def spread(values: list[float], digits: int) -> str:
    """Mean and standard deviation over seeds."""
    return f"{np.mean(values):.{digits}f} ± {np.std(values):.{digits}f}"


def report(results: list[Result], command: str, iterations: int) -> str:
    """The Markdown page."""
    lines = []
    for m in sorted({r.num_scenarios for r in results}):
        rows = [r for r in results if r.num_scenarios == m]
        columns = (spread([getattr(r, name) for r in rows], 2) for name in ("own", "fresh", "gap"))
        gaps = ", ".join(f"{r.gap:.2f}" for r in rows)
        steps, seconds = np.mean([r.env_steps for r in rows]), np.mean([r.seconds for r in rows])
        lines.append(f"| {m} | {' | '.join(columns)} | {gaps} | {steps:,.0f} | {seconds:.0f} |")
    return "\n".join(
        [
            "# PEGASUS: the generalisation gap",
            "",
            f"{made_by(command)}.",
            "",
            f"{TASK} with process noise of {PROCESS_NOISE} N m on each joint (N on the target's slides). A perceptron "
            f"with hidden layers {HIDDEN_SIZES} maximises the return of m fixed scenarios, whole episodes of 50 steps, "
            f"by {iterations} iterations of L-BFGS through the physics. Own: mean return on these scenarios. Fresh: on "
            f"{NUM_FRESH} others, the same for all rows. Mean ± standard deviation over "
            f"{len({r.seed for r in results})} seeds, which draw the scenarios and the initial weights.",
            "",
            "| m | own | fresh | gap | gap of each seed | env steps | seconds |",
            "|---:|---:|---:|---:|---|---:|---:|",
            *lines,
            "",
            "![The gap against m](pegasus.png)",
            "",
        ]
    )


def draw(results: list[Result], path: Path) -> None:
    """Returns and gap against m; writes a PNG."""
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    figure.suptitle(f"PEGASUS on {TASK}", fontweight="bold")
    sizes = sorted({r.num_scenarios for r in results})
    for name, color, axes in (("own", BLUE, left), ("fresh", ORANGE, left), ("gap", BLUE, right)):
        label = {"own": "own scenarios", "fresh": "fresh scenarios", "gap": "gap, mean of seeds"}[name]
        means = [np.mean([getattr(r, name) for r in results if r.num_scenarios == m]) for m in sizes]
        axes.plot(sizes, means, color=color, linewidth=2, label=label)
        points = [(r.num_scenarios, getattr(r, name)) for r in results]
        axes.scatter(*zip(*points, strict=True), s=14, color=color, alpha=0.5)
    first = float(np.mean([r.gap for r in results if r.num_scenarios == sizes[0]]))
    guide = [first * (sizes[0] / m) ** 0.5 for m in sizes]
    right.plot(sizes, guide, color=GREY, linewidth=1, linestyle="--", label="proportional to 1 / sqrt(m)")
    left.set_ylabel("return")
    right.set_ylabel("own minus fresh return")
    for axes in (left, right):
        axes.set_xscale("log", base=2)
        axes.set_xticks(sizes, [str(m) for m in sizes])
        axes.set_xlabel("number of scenarios m")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25, linewidth=0.6)
        axes.legend(fontsize=8, frameon=False)
    figure.savefig(path, dpi=110)


def main(arguments: list[str] | None = None) -> None:
    """Measures, prints, draws and saves."""
    parser = make_parser("pegasus", __doc__)
    parser.add_argument("--scenarios", nargs="+", type=positive(int), default=[1, 4, 16, 64], help="m: 1 4 16 64")
    parser.add_argument("--seeds", type=positive(int), default=5, help="number of seeds, default 5")
    parser.add_argument("--iterations", type=positive(int), default=60, help="of L-BFGS, default 60")
    parser.add_argument("--output", type=Path, default=RESULTS / "pegasus", help="folder of table and picture")
    options = parser.parse_args(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    command = f"python -m benchmarks.pegasus --seeds {options.seeds} --iterations {options.iterations}"
    results = []
    for seed in range(options.seeds):
        for num_scenarios in options.scenarios:
            results.append(measure(num_scenarios, seed, options.iterations))
            print(results[-1], f"gap={results[-1].gap:.3f}", flush=True)
            (options.output / "pegasus.md").write_text(report(results, command, options.iterations))
            draw(results, options.output / "pegasus.png")


if __name__ == "__main__":
    main()
