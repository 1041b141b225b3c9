"""Tetris by the cross-entropy method with and without noise, beside weights found by hand; placements per second.

The score of a weight vector is the number of lines of one game, played to its end. After each iteration the mean of
the distribution plays 30 games.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from benchmarks.command import arguments_of, make_parser, page, parse, positive, spread, table
from benchmarks.pictures import BLUE, GREY, ORANGE, save
from benchmarks.runs import grouped, read_rows, write_rows
from diffsim.policies import LinearChoice
from diffsim.tetris import DELLACHERIE_WEIGHTS, TetrisGames, TetrisVectorEnv, greedy_lines
from diffsim.tetris.env import spaces

VECTORS, KEPT, GAMES = 100, 10, 30
INITIAL_STD = 10.0
NOISES: dict[str, Callable[[int], float]] = {
    "none": lambda iteration: 0.0,
    "constant": lambda iteration: 4.0,
    "linear": lambda iteration: max(5.0 - iteration / 10, 0.0),
}
"""Variance that is added to each weight's, by iteration from 0: Szita & Lorincz (2006)."""
COLORS = {"none": GREY, "constant": BLUE, "linear": ORANGE}
PUBLISHED = {
    "none": {10: 214, 20: 700, 80: 577},
    "constant": {10: 666, 20: 7_628, 40: 56_470, 80: 102_870},
    "linear": {10: 410, 20: 5_085, 40: 40_420, 80: 73_400},
}
"""Lines by iteration, means of 10 runs: reproduction of Thiery & Scherrer (mdptetris)."""


@dataclass
class Row:
    """An iteration: lines of the 30 games of the mean, and of the vectors; placements; seconds of a core."""

    noise: str
    seed: int
    iteration: int
    mean: float
    std: float
    vectors: float
    best: float
    placements: int
    seconds: float


def search(noise: str, seed: int, iterations: int, add: Callable[[Row], None]) -> None:
    """The cross-entropy method on the 21 weights of Bertsekas' features; `add` takes each iteration."""
    generator = torch.Generator().manual_seed(seed)
    mean, std = torch.zeros(21), torch.full((21,), INITIAL_STD)
    for iteration in range(iterations):
        start = time.process_time()
        vectors = mean + std * torch.randn(VECTORS, 21, generator=generator)
        lines, placed = scores(vectors, generator)
        best = vectors[lines.argsort(descending=True)[:KEPT]]
        mean = best.mean(0)
        std = (best.var(0, correction=0) + NOISES[noise](iteration)).sqrt()
        games, more = scores(mean.expand(GAMES, -1), generator)
        played = {"mean": games.mean(), "std": games.std(correction=0), "vectors": lines.mean(), "best": lines.max()}
        numbers = {name: float(value) for name, value in played.items()}
        seconds = time.process_time() - start
        add(Row(noise, seed, iteration + 1, **numbers, placements=placed + more, seconds=seconds))


def scores(weights: Tensor, generator: torch.Generator) -> tuple[Tensor, int]:
    """Lines of a game of each row of weights [N, 21], float [N], and the number of placements."""
    games = TetrisGames(len(weights))
    games.start(torch.randint(2**31 - 1, (len(weights),), generator=generator))
    games.play(weights, 2**31 - 1)
    return games.lines.double(), int(games.time.sum(dtype=torch.int64))


def speed(features: str, seconds: float) -> tuple[float, float]:
    """Placements per second of a core in 100 games of a good player, begun again at their ends.

    Returns: the speed of whole games in a kernel, and of steps of the vector environment with a policy.
    """
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
    return kernel, placed / (time.process_time() - start)


def good_weights(features: str) -> Tensor:
    """Weights that keep the board low."""
    if features == "dellacherie":
        return torch.tensor(DELLACHERIE_WEIGHTS)
    return torch.tensor([-0.5] * 10 + [-1.0] * 9 + [0.0, -4.0])


def by_hand(games: int) -> np.ndarray:
    """Lines of whole games of Dellacherie's weights."""
    weights = torch.tensor([DELLACHERIE_WEIGHTS] * games)
    return greedy_lines(weights, torch.arange(games), features="dellacherie").numpy()


def report(rows: list[Row], hand: np.ndarray | None, speeds: dict[str, tuple[float, float]], command: str) -> str:
    """The Markdown page."""
    lines = []
    for noise, own in grouped(rows, "noise"):
        for iteration in (10, 20, 40, 80):
            at = [row.mean for row in own if row.iteration == iteration]
            known = PUBLISHED[noise].get(iteration)
            if at:
                values = ", ".join(f"{value:,.0f}" for value in at)
                lines.append([noise, iteration, spread(at), values, f"{known:,}" if known else ""])
    last = [
        f"{noise}, seed {seed}: {max(r.iteration for r in own)} in {sum(r.seconds for r in own) / 60:.1f} minutes"
        for (noise, seed), own in grouped(rows, "noise", "seed")
    ]
    played = "" if hand is None else f"{spread(hand)} lines, {len(hand)} games to their ends."
    return page(
        "Tetris",
        command,
        f"Bertsekas' 21 features. Cross-entropy method: {VECTORS} vectors, the best {KEPT} kept, one game per vector, "
        f"start N(0, {INITIAL_STD**2:.0f}) per weight; lines of {GAMES} games of the mean. Noise is added to the "
        "variance: 4, or max(5 - t/10, 0).",
        table("noise | iteration: | lines: | of each seed | published, mean of 10 runs:", lines),
        "Iterations done, one core: " + "; ".join(last) + "." if last else "",
        f"Dellacherie's weights, set by hand: {played}" if played else "",
        table(
            "features | placements/s, whole games in a kernel: | placements/s, vector environment and policy:",
            [[name, *(f"{value:,.0f}" for value in pair)] for name, pair in speeds.items()],
        )
        if speeds
        else "",
        "![Lines against iterations](tetris.png)" if rows else "",
    )


def draw(rows: list[Row], path: Path) -> None:
    """Lines of the mean against the iteration; writes a PNG."""
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    for noise, own in grouped(rows, "noise"):
        for k, (_, run) in enumerate(grouped(own, "seed")):
            label = f"noise: {noise}" if k == 0 else None
            axes.plot([r.iteration for r in run], [r.mean for r in run], color=COLORS[noise], alpha=0.8, label=label)
        axes.scatter(*zip(*PUBLISHED[noise].items(), strict=True), color=COLORS[noise], marker="x", zorder=3)
    axes.scatter([], [], color="black", marker="x", label="published, mean of 10 runs")
    axes.set(title="Tetris, cross-entropy method", xlabel="iteration", ylabel="lines, 30 games", yscale="log")
    save(figure, path)


def main(arguments: list[str] | None = None) -> None:
    """Measures, prints, draws and saves; a search that was stopped is begun again."""
    parser = make_parser("tetris", __doc__)
    parser.add_argument("--noises", nargs="*", choices=NOISES, default=["none", "constant"], help="none constant")
    parser.add_argument("--seeds", type=positive(int), default=3, help="number of seeds, default 3")
    parser.add_argument("--iterations", type=positive(int), default=40, help="of each search, default 40")
    parser.add_argument("--hand_games", type=int, default=20, help="games of Dellacherie's weights, default 20")
    parser.add_argument("--speed_seconds", type=float, default=5.0, help="per measurement of speed; 0 for none")
    options = parse(parser, arguments)
    command = f"tetris --noises {' '.join(options.noises)} {arguments_of(options, 'seeds', 'iterations', 'hand_games')}"
    path, speeds, hand = options.output / "tetris.csv", {}, None
    rows = read_rows(Row, path)

    def write() -> None:
        (options.output / "tetris.md").write_text(report(rows, hand, speeds, command))
        if rows:
            write_rows(rows, path)
            draw(rows, options.output / "tetris.png")

    def add(row: Row) -> None:
        rows.append(row)
        print(row, flush=True)
        write()

    if options.speed_seconds:
        speeds = {name: speed(name, options.speed_seconds) for name in ("bertsekas", "dellacherie")}
        print(speeds, flush=True)
    for noise in options.noises:
        for seed in range(options.seeds):
            if sum(r.noise == noise and r.seed == seed for r in rows) < options.iterations:
                rows[:] = [r for r in rows if (r.noise, r.seed) != (noise, seed)]
                search(noise, seed, options.iterations, add)
    if options.hand_games:
        hand = by_hand(options.hand_games)
        print(hand, flush=True)
    write()


if __name__ == "__main__":
    main()
