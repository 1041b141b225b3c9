"""Tetris by the cross-entropy method with and without noise, reward-weighted regression and natural gradients.

The return of a weight vector is the number of lines of one game, played to its end. After each iteration the policy,
for searches the mean of the distribution, plays 30 games. Beside them: weights found by hand, and placements per
second.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import torch
from matplotlib.figure import Figure
from torch import Tensor

from benchmarks.command import arguments_of, make_parser, page, parse, positive, spread, table
from benchmarks.pictures import BLUE, GREY, ORANGE, save
from benchmarks.runs import grouped, read_rows, write_rows
from diffsim.policies import LinearChoice
from diffsim.tetris import DELLACHERIE_WEIGHTS, TetrisGames, TetrisVectorEnv, greedy_lines
from diffsim.tetris.env import spaces
from diffsim.trainers.algorithm import Algorithm
from diffsim.trainers.black_box.cem import CEM
from diffsim.trainers.black_box.rwr import RWR
from diffsim.trainers.experience.vector_env import make_env
from diffsim.trainers.likelihood_ratio.natural_gradient import NaturalGradient

VECTORS, GAMES = 100, 30


def population(method: Callable[..., Algorithm], seed: int, **options: Any) -> Algorithm:
    """A search without gradients: one whole game for each member."""
    env = make_env("diffsim/Tetris-v0", VECTORS, seed=seed, max_episode_steps=-1)
    return method(env, LinearChoice(*spaces("bertsekas")), population=VECTORS, init_std=10.0, seed=seed, **options)


def natural_gradient(seed: int) -> Algorithm:
    """Natural policy gradient on windows of 64 placements of 16 games."""
    env = make_env("diffsim/Tetris-v0", 16, seed=seed)
    return NaturalGradient(env, LinearChoice(*spaces("bertsekas")), horizon=64, seed=seed)


METHODS: dict[str, Callable[[int], Algorithm]] = {
    "CEM, no noise": partial(population, CEM, elite_fraction=0.1),
    "CEM, constant noise": partial(population, CEM, elite_fraction=0.1, extra_std=2.0),
    "CEM, linear noise": partial(population, CEM, elite_fraction=0.1, extra_std=5**0.5, extra_decay=50),
    "RWR": partial(population, RWR),
    "natural gradient": natural_gradient,
}
"""Noise is a variance added to that of each weight, 4 or max(5 - t / 10, 0): Szita & Lorincz (2006)."""
NAMES = dict(zip(("none", "constant", "linear", "rwr", "natural"), METHODS, strict=True))
UPDATES = {"natural gradient": 10}
"""Updates that count as one iteration."""
COLORS = dict(zip(METHODS, (GREY, BLUE, ORANGE, "#7a4fa3", "#3a8f5c"), strict=True))
PUBLISHED = {
    "CEM, no noise": {10: 214, 20: 700, 80: 577},
    "CEM, constant noise": {10: 666, 20: 7_628, 40: 56_470, 80: 102_870},
    "CEM, linear noise": {10: 410, 20: 5_085, 40: 40_420, 80: 73_400},
    "RWR": {},
    "natural gradient": {},
}
"""Lines by iteration, means of 10 runs: reproduction of Thiery & Scherrer (mdptetris)."""


@dataclass
class Row:
    """An iteration: lines of the 30 games of the mean, and of the vectors; placements so far; seconds of a core."""

    method: str
    seed: int
    iteration: int
    mean: float
    std: float
    vectors: float
    best: float
    placements: int
    seconds: float


def search(method: str, seed: int, iterations: int, add: Callable[[Row], None]) -> None:
    """Learns the 21 weights of Bertsekas' features; `add` takes each iteration."""
    algorithm = METHODS[method](seed)
    weights, generator = algorithm.policy.get_parameter("weights"), torch.Generator().manual_seed(seed)
    for iteration in range(1, iterations + 1):
        start = time.process_time()
        for _ in range(UPDATES.get(method, 1)):
            algorithm.train_iteration()
        seeds = torch.randint(2**31 - 1, (GAMES,), generator=generator)
        lines = greedy_lines(weights.detach().expand(GAMES, -1), seeds).double()
        found = {"vectors": "return", "best": "best_return"}
        played = {name: algorithm.metrics.get(metric, float("nan")) for name, metric in found.items()}
        played |= {"mean": float(lines.mean()), "std": float(lines.std(correction=0))}
        seconds = time.process_time() - start
        add(Row(method, seed, iteration, **played, placements=algorithm.env_steps, seconds=seconds))


class Speed(NamedTuple):
    """Placements per second of a core: whole games in a kernel; steps of the vector environment with a policy."""

    features: str
    kernel: float
    steps: float


def speed(features: str, seconds: float) -> Speed:
    """Measures 100 games of a good player, which begin again when they end."""
    weights = good_weights(features)
    games, placed = TetrisGames(100, features), 0
    games.start(torch.arange(100))
    games.play(weights.expand(100, -1), 1)
    start = time.process_time()
    while time.process_time() - start < seconds:
        before = games.time.sum()
        games.play(weights.expand(100, -1), 100)
        placed += int(games.time.sum() - before)
        games.start(torch.arange(100), games.over == 1)
    kernel = placed / (time.process_time() - start)
    env = TetrisVectorEnv(100, features)
    policy = LinearChoice(*spaces(features))
    policy.weights.data.copy_(weights)
    obs, _ = env.reset(seed=0)
    placed, start = 0, time.process_time()
    while time.process_time() - start < seconds:
        with torch.inference_mode():
            obs, _, ended, *_ = env.step(policy(torch.from_numpy(obs)).numpy())
        placed += int((~ended).sum())
        if ended.any():
            obs, _ = env.reset(options={"reset_mask": ended})
    return Speed(features, kernel, placed / (time.process_time() - start))


def good_weights(features: str) -> Tensor:
    """Weights that keep the board low."""
    if features == "dellacherie":
        return torch.tensor(DELLACHERIE_WEIGHTS)
    return torch.tensor([-0.5] * 10 + [-1.0] * 9 + [0.0, -4.0])


@dataclass
class HandGame:
    """A whole game of Dellacherie's weights."""

    seed: int
    lines: int


def by_hand(games: int) -> list[HandGame]:
    """Plays whole games of Dellacherie's weights."""
    weights = torch.tensor([DELLACHERIE_WEIGHTS] * games)
    lines = greedy_lines(weights, torch.arange(games), features="dellacherie")
    return [HandGame(*pair) for pair in enumerate(lines.tolist())]


def report(rows: list[Row], hand: list[HandGame], speeds: list[Speed], command: str) -> str:
    """The Markdown page."""
    lines = []
    for method, own in grouped(rows, "method"):
        for iteration in (10, 20, 30, 40, 80):
            at = [row.mean for row in own if row.iteration == iteration]
            known = PUBLISHED[method].get(iteration)
            if at:
                values = ", ".join(f"{value:,.0f}" for value in at)
                lines.append([method, iteration, spread(at), values, f"{known:,}" if known else ""])
    done = [
        f"{method}, seed {seed}: {max(r.iteration for r in own)} in {sum(r.seconds for r in own) / 60:.1f} minutes"
        for (method, seed), own in grouped(rows, "method", "seed")
    ]
    measured = [[row.features, f"{row.kernel:,.0f}", f"{row.steps:,.0f}"] for row in speeds]
    by_hand = f"Dellacherie's weights, set by hand: {spread(game.lines for game in hand)} lines, {len(hand)} games."
    return page(
        "Tetris",
        command,
        f"Bertsekas' 21 features, {VECTORS} vectors, one game per vector, start N(0, 100) per weight; CEM keeps 10. "
        f"Lines of {GAMES} games of the mean. Noise is added to the variance: 4, or max(5 - t/10, 0). The published "
        "means are those of another implementation of Szita and Lorincz's method. An iteration of the natural gradient "
        "is 10 updates, 10,240 placements of games that end after 10,000.",
        table("method | iteration: | lines: | of each seed | published, mean of 10 runs:", lines) if lines else "",
        "Iterations done, time of one core: " + "; ".join(done) + "." if done else "",
        by_hand if hand else "",
        "Placements per second of one core: whole games in a kernel, and steps of the vector environment of 100 games "
        "with the policy."
        if speeds
        else "",
        table("features | kernel: | environment and policy:", measured) if speeds else "",
        "![Lines against iterations](tetris.png)" if rows else "",
    )


def draw(rows: list[Row], path: Path) -> None:
    """Lines of the mean against the iteration; writes a PNG."""
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    for method, own in grouped(rows, "method"):
        for k, (_, run) in enumerate(grouped(own, "seed")):
            points = [r.iteration for r in run], [max(r.mean, 0.1) for r in run]
            axes.plot(*points, color=COLORS[method], alpha=0.8, label=method if k == 0 else None)
        axes.scatter(PUBLISHED[method].keys(), PUBLISHED[method].values(), color=COLORS[method], marker="x", zorder=3)
    axes.scatter([], [], color="black", marker="x", label="published, mean of 10 runs")
    axes.set(title="Tetris, Bertsekas' features", xlabel="iteration", ylabel="lines, 30 games", yscale="log")
    save(figure, path)


def main(arguments: list[str] | None = None) -> None:
    """Measures, prints, draws and saves. What an earlier call finished is kept."""
    parser = make_parser("tetris", __doc__)
    parser.add_argument("--methods", nargs="*", choices=NAMES, default=["none", "constant"], help="none constant")
    parser.add_argument("--seeds", type=positive(int), default=3, help="number of seeds, default 3")
    parser.add_argument("--iterations", type=positive(int), default=40, help="of each search, default 40")
    parser.add_argument("--hand_games", type=int, default=20, help="games of Dellacherie's weights, default 20")
    parser.add_argument("--speed_seconds", type=float, default=5.0, help="per measurement of speed; 0 for none")
    options = parse(parser, arguments)
    command = f"tetris --methods {' '.join(options.methods)} {arguments_of(options, 'seeds', 'iterations')}"
    path, by_hand_path, speeds = options.output / "tetris.csv", options.output / "by_hand.csv", []
    rows, hand = read_rows(Row, path), read_rows(HandGame, by_hand_path)

    def add(row: Row) -> None:
        rows.append(row)
        print(row, flush=True)
        write_rows(rows, path)

    def write() -> None:
        (options.output / "tetris.md").write_text(report(rows, hand, speeds, command))
        if rows:
            draw(rows, options.output / "tetris.png")

    if options.speed_seconds:
        speeds = [speed(name, options.speed_seconds) for name in ("bertsekas", "dellacherie")]
        print(speeds, flush=True)
    for method, seed in product((NAMES[name] for name in options.methods), range(options.seeds)):
        if sum(r.method == method and r.seed == seed for r in rows) < options.iterations:
            rows[:] = [r for r in rows if (r.method, r.seed) != (method, seed)]
            search(method, seed, options.iterations, add)
            write()
    if len(hand) < options.hand_games:
        hand = by_hand(options.hand_games)
        write_rows(hand, by_hand_path)
    write()


if __name__ == "__main__":
    main()
