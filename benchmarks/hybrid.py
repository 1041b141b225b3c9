"""CartPoleGears-v0 by SCG, with a gradient through the physics for the throttle, and by score functions alone."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from benchmarks.command import arguments_of, make_parser, page, parse, positive, spread, table
from benchmarks.pictures import BLUE, ORANGE, save
from benchmarks.runs import CONFIGS, grouped, measured, read_rows, train, write_rows
from diffsim.trainers.run.run_folder import RunFolder

CONFIG, SOLVED = CONFIGS / "scg_cart_pole_gears.yaml", 225.0
METHODS = {
    "pathwise": "mixed: pathwise throttle, score function for the gear",
    "score_function": "score functions alone",
}
COLORS = {"pathwise": BLUE, "score_function": ORANGE}


@dataclass(frozen=True)
class Evaluation:
    """The official return of one run after a number of env steps, and the seconds of training until then."""

    method: str
    seed: int
    env_steps: int
    mean: float
    seconds: float


def evaluations(folder: RunFolder, method: str, seed: int) -> list[Evaluation]:
    """The evaluations of a run, the last one after training."""
    rows = [row for row in folder.read_metrics() if "eval/return" in row]
    found = [Evaluation(method, seed, int(r["env_steps"]), r["eval/return"], r["seconds"]) for r in rows]
    last: dict[str, Any] = measured(folder)
    before = [row for row in found if row.env_steps < last["env_steps"]]
    return [*before, Evaluation(method, seed, last["env_steps"], last["mean"], last["seconds"])]


def report(rows: list[Evaluation], command: str) -> str:
    """The Markdown page."""
    lines = []
    for method in dict.fromkeys(row.method for row in rows):
        runs = [run for _, run in grouped([row for row in rows if row.method == method], "seed")]
        area = [float(np.mean([row.mean for row in run])) for run in runs]
        solved = [next((f"{row.env_steps:,}" for row in run if row.mean >= SOLVED), "never") for run in runs]
        last = [run[-1] for run in runs]
        each = ", ".join(f"{row.mean:.1f}" for row in last)
        seconds = f"{np.mean([row.seconds for row in last]):.0f}"
        lines.append(
            [METHODS[method], ", ".join(solved), spread(area, 1), spread((r.mean for r in last), 1), each, seconds]
        )
    return page(
        "Actions with a continuous and a discrete part",
        command,
        "CartPoleGears-v0: a throttle in [0, 1] and a gear, reverse, neutral or forward, keep a pole up; 250 steps of "
        f"at most 1. Both rows are SCG with the options of `configs/{CONFIG.name}`, the same but for `--continuous`. "
        "Official returns on C MuJoCo, mean actions, 10 episodes each. Solved: env steps of the first evaluation that "
        f"reaches {SOLVED:.0f}, for each seed. Area: mean of all evaluations. Final: after training, in episodes of "
        "other seeds. Mean ± standard deviation over the seeds.",
        table("estimators | solved at, each seed | area: | final: | final of each seed | seconds:", lines),
        "![Returns against env steps](hybrid.png)",
    )


def draw(rows: list[Evaluation], path: Path) -> None:
    """Official return against env steps, a line for each seed."""
    figure = Figure(figsize=(6.5, 4), layout="constrained")
    axes = figure.subplots()
    for (method, seed), run in grouped(rows, "method", "seed"):
        label = METHODS[method] if seed == min(row.seed for row in rows) else None
        axes.plot([r.env_steps for r in run], [r.mean for r in run], color=COLORS[method], marker=".", label=label)
    axes.axhline(SOLVED, color="0.6", linewidth=1, linestyle="--")
    axes.set(xlabel="env steps", ylabel="official return", title="CartPoleGears-v0", ylim=(0, 255))
    axes.legend(frameon=False)
    save(figure, path)


def main(arguments: list[str] | None = None) -> None:
    """Trains, prints, draws and saves."""
    parser = make_parser("hybrid", __doc__, runs=True)
    parser.add_argument("--seeds", type=positive(int), default=3, help="number of seeds, default 3")
    parser.add_argument("--env_steps", type=positive(int), default=60_000, help="budget of a run, default 60,000")
    options = parse(parser, arguments)
    rows: list[Evaluation] = read_rows(Evaluation, options.output / "hybrid.csv")
    for seed, method in product(range(options.seeds), METHODS):
        folder = RunFolder(options.runs / f"{method}-{seed}")
        budget = {"decay_env_steps": options.env_steps}
        train(folder, {"config": CONFIG, "seed": seed, "continuous": method, **budget}, options.env_steps)
        rows = [row for row in rows if (row.method, row.seed) != (method, seed)] + evaluations(folder, method, seed)
        print(rows[-1], flush=True)
        write_rows(rows, options.output / "hybrid.csv", lambda number: round(number, 2))
        command = f"hybrid {arguments_of(options, 'seeds', 'env_steps')}"
        (options.output / "hybrid.md").write_text(report(rows, command))
        draw(rows, options.output / "hybrid.png")


if __name__ == "__main__":
    main()
