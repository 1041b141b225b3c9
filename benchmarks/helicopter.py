"""Hovering a helicopter: policies found by PEGASUS, BPTT, CEM and evolution strategies, on fresh scenarios.

All begin with the gains of the competition's controller, except BPTT, which begins with gains of zero, and flies a
perceptron too. The last picture is the flight of the best structured policy, with and without wind.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

import diffsim
from benchmarks.command import make_parser, page, parse, positive, table
from benchmarks.pictures import BLUE, GREY, ORANGE, save
from benchmarks.runs import read_rows, write_rows
from diffsim.policies import DeterministicMLP, HelicopterPolicy, Policy
from diffsim.trainers.algorithm import Algorithm
from diffsim.trainers.black_box.cem import CEM
from diffsim.trainers.black_box.evolution_strategies import EvolutionStrategies
from diffsim.trainers.experience.vector_env import make_env
from diffsim.trainers.pathwise.bptt import BPTT
from diffsim.trainers.pathwise.pegasus import Pegasus

TASK, SCENARIOS, FRESH = "HelicopterHover-v0", 30, 100
HORIZON, GAMMA = 350, 0.9995
START: dict[str, Any] = {
    "theta": [-0.0513, 0.1348, 0.0185, -0.0322, 0.0, -0.3952, 0.0196, -0.0367, 0.0, 0.37375, 0.0, 0.09845],
    "trim": [0.02, 0.0, 0.0, 0.23],
}
"""Gains of the competition's controller, which reads the quaternion: half the rotation vector."""
MEMBERS = 50
Controller = Callable[[Tensor], Tensor]
WINDS = {"no wind": (0.0, 0.0), "wind of 2.5 m/s from the north": (2.5, 0.0)}


def pegasus(seed: int, **options: Any) -> Algorithm:
    """PEGASUS on 30 scenarios of 35 s, as Ng et al. had them."""
    mdp = diffsim.make(TASK, num_envs=SCENARIOS)
    return Pegasus(mdp, structured(**START), horizon=HORIZON, gamma=GAMMA, seed=seed, gap_every=10**6, **options)


def bptt(seed: int, perceptron: bool) -> Algorithm:
    """BPTT over windows of 5 s that continue one another, from gains of zero or random weights."""
    torch.manual_seed(seed)
    mdp = diffsim.make(TASK, num_envs=SCENARIOS)
    spaces = mdp.observation_space, mdp.action_space
    policy = DeterministicMLP(*spaces, hidden_sizes=(32,), normalize=False) if perceptron else structured()
    return BPTT(mdp, policy.to(mdp.dtype), horizon=50, learning_rate=0.003 if perceptron else 0.01, seed=seed)


def search(seed: int, method: Callable[..., Algorithm], **options: Any) -> Algorithm:
    """A search without gradients: an episode of 35 s for each member, the same noises for all of a generation."""
    env = make_env(f"diffsim/{TASK}", MEMBERS, seed=seed)
    shared = {"horizon": HORIZON, "gamma": GAMMA, "common_numbers": "generation", "seed": seed}
    return method(env, structured(**START), population=MEMBERS, **shared, **options)


METHODS: dict[str, tuple[Callable[[int], Algorithm], int]] = {
    "PEGASUS, L-BFGS by gradients": (pegasus, 30),
    "PEGASUS, L-BFGS by finite differences": (partial(pegasus, gradient="finite_differences", perturbation=1e-3), 3),
    "PEGASUS, coordinate ascent": (partial(pegasus, optimizer="coordinate", learning_rate=0.02), 5),
    "BPTT": (partial(bptt, perceptron=False), 200),
    "BPTT, perceptron": (partial(bptt, perceptron=True), 300),
    "CEM": (partial(search, method=CEM, init_std=0.03, elite_fraction=0.2), 60),
    "EvolutionStrategies": (
        partial(search, method=EvolutionStrategies, sigma=0.01, learning_rate=0.01, weight_decay=0.0),
        60,
    ),
}
"""How each method is made from a seed, and its iterations."""


@dataclass
class Row:
    """A policy on 100 fresh scenarios of 6,000 steps; env steps and seconds of a core of its training."""

    method: str
    seed: int
    mean: float
    std: float
    worst: float
    crashes: int
    windy: float
    windy_crashes: int
    env_steps: int
    seconds: float


def structured(**options: Any) -> HelicopterPolicy:
    """The lectures' policy."""
    mdp = diffsim.make(TASK)
    return HelicopterPolicy(mdp.observation_space, mdp.action_space, **options).to(mdp.dtype)


def competition_controller(obs: Tensor) -> Tensor:
    """The "weak" controller that came with the RL competition: actions [N, 4] for observations [N, 12]."""
    u, v, w, x, y, z, _, _, _, qx, qy, qz = obs.unbind(-1)
    aileron = -0.0196 * y - 0.0367 * v - 0.7475 * qx + 0.02
    elevator = -0.0185 * x - 0.0322 * u + 0.7904 * qy
    return torch.stack([aileron, elevator, -0.1969 * qz, 0.0513 * z + 0.1348 * w + 0.23], dim=-1)


class Flights:
    """First episodes of N copies of the task.

    Attributes:
        returns: [N].
        crashed: bool [N].
        position: [steps, N, 3], north, east, down, m.
    """

    @torch.no_grad()
    def __init__(self, policy: Controller, count: int, wind: tuple[float, float], seed: int = 10**6) -> None:
        mdp = diffsim.make(TASK, num_envs=count, wind=wind)
        generator = torch.Generator().manual_seed(seed)
        state, self.returns = mdp.initial(generator), torch.zeros(count)
        self.crashed, path = torch.zeros(count, dtype=torch.bool), []
        for _ in range(mdp.max_episode_steps):
            noise = torch.randn(count, mdp.noise_size, generator=generator, dtype=mdp.dtype)
            action = policy(mdp.observation(state))
            reached = mdp.transition(state, action, noise)
            self.returns += torch.where(self.crashed, 0.0, mdp.reward(state, action, reached))
            state = torch.where(self.crashed[:, None], state, reached)
            self.crashed |= mdp.terminal(reached)
            path.append(mdp.split(state).position)
        self.position = torch.stack(path)


def evaluate(policy: Controller, method: str, seed: int, env_steps: int = 0, seconds: float = 0.0) -> Row:
    """Flies the fresh scenarios, the same for all policies, without wind and with it."""
    still, windy = (Flights(policy, FRESH, wind) for wind in WINDS.values())
    return Row(
        method,
        seed,
        mean=float(still.returns.mean()),
        std=float(still.returns.std(correction=0)),
        worst=float(still.returns.min()),
        crashes=int(still.crashed.sum()),
        windy=float(windy.returns.mean()),
        windy_crashes=int(windy.crashed.sum()),
        env_steps=env_steps,
        seconds=seconds,
    )


def train(method: str, seed: int) -> tuple[Policy, Row]:
    """Trains and evaluates a policy."""
    make, iterations = METHODS[method]
    algorithm = make(seed)
    start = time.process_time()
    for _ in range(iterations):
        algorithm.train_iteration()
    seconds = time.process_time() - start
    return algorithm.policy, evaluate(algorithm.policy, method, seed, algorithm.env_steps, seconds)


def report(rows: list[Row], command: str) -> str:
    """The Markdown page."""
    lines = [
        [
            *(row.method, row.seed, f"{row.mean:,.0f} ± {row.std:,.0f}", f"{row.worst:,.0f}", row.crashes),
            *(f"{row.windy:,.0f}", row.windy_crashes, f"{row.env_steps:,}", f"{row.seconds:.0f}"),
        ]
        for row in rows
    ]
    return page(
        "Helicopter hover",
        command,
        f"{TASK}: {FRESH} fresh scenarios of 6,000 steps (10 minutes), mean ± standard deviation of the return, the "
        f"worst return, and crashes; and the mean return and crashes in a wind of 2.5 m/s, for which no policy was "
        f"trained. PEGASUS: {SCENARIOS} scenarios of 35 s. CEM and evolution strategies: {MEMBERS} members, an episode "
        "of 35 s each. Seconds are those of one core.",
        table("method | seed: | return: | worst: | crashes: | in wind: | crashes: | env steps: | seconds:", lines),
        "![The flight](flight.png)",
    )


def draw(policy: Policy, path: Path) -> None:
    """Position against time of one flight without wind and one with wind; writes a PNG."""
    figure = Figure(figsize=(10, 5.2), layout="constrained")
    figure.suptitle("Helicopter: flight of a structured policy", fontweight="bold")
    panels: list[Any] = figure.subplots(2, 2, sharex="col")
    for row, (name, wind) in zip(panels, WINDS.items(), strict=True):
        position = Flights(policy, 1, wind).position[:, 0].numpy()
        seconds = 0.1 * np.arange(1, len(position) + 1)
        for axes, shown in zip(row, (300, 6000), strict=True):
            for k, (label, color) in enumerate((("north", BLUE), ("east", ORANGE), ("down", GREY))):
                axes.plot(seconds[:shown], position[:shown, k], color=color, linewidth=1, label=label)
            axes.set(ylabel="position, m", title=name)
    for axes in panels[1]:
        axes.set_xlabel("time, s")
    save(figure, path)


def main(arguments: list[str] | None = None) -> None:
    """Trains, evaluates, draws and saves. Rows of an earlier call are kept."""
    parser = make_parser("helicopter", __doc__)
    parser.add_argument("--methods", nargs="*", choices=METHODS, default=list(METHODS), help="default: all")
    parser.add_argument("--seeds", type=positive(int), default=1, help="number of seeds, default 1")
    options = parse(parser, arguments)
    path = options.output / "helicopter.csv"
    rows = read_rows(Row, path)

    def add(row: Row) -> None:
        rows.append(row)
        print(row, flush=True)
        write_rows(rows, path)
        (options.output / "helicopter.md").write_text(report(rows, f"helicopter --seeds {options.seeds}"))

    if not rows:
        add(evaluate(competition_controller, "the competition's controller", 0))
    for method in options.methods:
        for seed in range(options.seeds):
            if not any((row.method, row.seed) == (method, seed) for row in rows):
                policy, row = train(method, seed)
                best = max((r.mean for r in rows if "perceptron" not in r.method), default=-np.inf)
                add(row)
                if isinstance(policy, HelicopterPolicy) and row.mean >= best:
                    draw(policy, options.output / "flight.png")


if __name__ == "__main__":
    main()
