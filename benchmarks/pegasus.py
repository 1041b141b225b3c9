"""Generalisation gap of PEGASUS: returns on its training scenarios minus fresh ones, against their number m."""

from __future__ import annotations

import tempfile
import time
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

import diffsim
from benchmarks.command import arguments_of, make_parser, page, parse, positive, spread, table
from benchmarks.pictures import BLUE, GREY, ORANGE, powers_of_two, save, two_panels
from benchmarks.runs import grouped
from diffsim.policies import DeterministicMLP
from diffsim.trainers.pathwise.pegasus import Pegasus
from diffsim.trainers.run.api import fit

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
    spaces = mdp.observation_space, mdp.action_space
    policy = DeterministicMLP(*spaces, hidden_sizes=HIDDEN_SIZES, normalize=False).to(mdp.dtype)
    algorithm = Pegasus(mdp, policy, seed=seed, gap_every=iterations + 1, num_fresh=1)
    with tempfile.TemporaryDirectory() as folder:
        fit(algorithm, folder=f"{folder}/run", iterations=iterations, evaluate_every=iterations, progress=False)
    env_steps, own = algorithm.env_steps, algorithm.value().item()
    fresh_mdp = diffsim.make(TASK, num_envs=NUM_FRESH, process_noise=PROCESS_NOISE)
    fresh = Pegasus(fresh_mdp, policy, seed=FRESH_SEED).value().item()
    return Result(num_scenarios, seed, own, fresh, env_steps, time.perf_counter() - start)


def report(results: list[Result], command: str, iterations: int) -> str:
    """The Markdown page."""
    lines = []
    for m, rows in grouped(results, "num_scenarios"):
        columns = (spread([getattr(r, name) for r in rows], 2) for name in ("own", "fresh", "gap"))
        steps, seconds = np.mean([r.env_steps for r in rows]), np.mean([r.seconds for r in rows])
        lines.append([m, *columns, ", ".join(f"{r.gap:.2f}" for r in rows), f"{steps:,.0f}", f"{seconds:.0f}"])
    return page(
        "PEGASUS: the generalisation gap",
        command,
        f"{TASK} with process noise of {PROCESS_NOISE} N m on each joint (N on the target's slides). A perceptron with "
        f"hidden layers {HIDDEN_SIZES} maximises the return of m fixed scenarios, whole episodes of 50 steps, by "
        f"{iterations} iterations of L-BFGS through the physics. Own: mean return on these scenarios. Fresh: on "
        f"{NUM_FRESH} others, the same for all rows. Mean ± standard deviation over {len({r.seed for r in results})} "
        "seeds, which draw the scenarios and the initial weights.",
        table("m: | own: | fresh: | gap: | gap of each seed | env steps: | seconds:", lines),
        "![The gap against m](pegasus.png)",
    )


def draw(results: list[Result], path: Path) -> None:
    """Returns and gap against m; writes a PNG."""
    figure, left, right = two_panels(f"PEGASUS on {TASK}")
    groups = grouped(results, "num_scenarios")
    sizes = [m for m, _ in groups]
    for name, color, axes, label in (
        ("own", BLUE, left, "own scenarios"),
        ("fresh", ORANGE, left, "fresh scenarios"),
        ("gap", BLUE, right, "gap, mean of seeds"),
    ):
        axes.plot(sizes, [np.mean([getattr(r, name) for r in rows]) for _, rows in groups], color=color, label=label)
        points = [(r.num_scenarios, getattr(r, name)) for r in results]
        axes.scatter(*zip(*points, strict=True), s=14, color=color, alpha=0.5)
    first = float(np.mean([r.gap for r in groups[0][1]]))
    guide = [first * (sizes[0] / m) ** 0.5 for m in sizes]
    right.plot(sizes, guide, color=GREY, linewidth=1, linestyle="--", label="proportional to 1 / sqrt(m)")
    for axes, label in ((left, "return"), (right, "own minus fresh return")):
        powers_of_two(axes, sizes)
        axes.set(xlabel="number of scenarios m", ylabel=label)
    save(figure, path)


def main(arguments: list[str] | None = None) -> None:
    """Measures, prints, draws and saves."""
    parser = make_parser("pegasus", __doc__)
    parser.add_argument("--scenarios", nargs="+", type=positive(int), default=[1, 4, 16, 64], help="m: 1 4 16 64")
    parser.add_argument("--seeds", type=positive(int), default=5, help="number of seeds, default 5")
    parser.add_argument("--iterations", type=positive(int), default=60, help="of L-BFGS, default 60")
    options = parse(parser, arguments)
    command, results = f"pegasus {arguments_of(options, 'seeds', 'iterations')}", []
    for seed, num_scenarios in product(range(options.seeds), options.scenarios):
        results.append(measure(num_scenarios, seed, options.iterations))
        print(results[-1], f"gap={results[-1].gap:.3f}", flush=True)
        (options.output / "pegasus.md").write_text(report(results, command, options.iterations))
        draw(results, options.output / "pegasus.png")


if __name__ == "__main__":
    main()
