"""Pong from pixels: the score of REINFORCE over a given time, in one process.

    python -m benchmarks.pong --minutes 60

The run is `diffsim fit --config configs/reinforce_pong.yaml` (pip install -e ".[atari]"). A second call resumes it.
The score is that of training episodes with sampled actions: -21 if every point is lost, 21 if every point is won.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from benchmarks.machine import RESULTS, made_by, make_parser, paragraphs
from benchmarks.pictures import BLUE
from benchmarks.runs import CONFIGS, FIT, ROOT, fit_arguments
from diffsim.trainers.run.run_folder import RunFolder, read_yaml

WINDOW = 10  # iterations to average over


def play(folder: RunFolder, seconds: float, seed: int) -> None:
    """Trains or resumes, and interrupts after `seconds`; the current iteration is completed first.

    Raises: RuntimeError if the command fails.
    """
    fresh = {"config": CONFIGS / "reinforce_pong.yaml", "seed": seed, "run": folder.path}
    command = [*FIT, *fit_arguments({"resume": folder.path} if folder.checkpoint.exists() else fresh)]
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"})
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        process.wait()
    finally:
        process.kill()
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed with exit code {process.returncode}")


def smooth(score: np.ndarray) -> np.ndarray:
    """Moving average over WINDOW iterations, [iterations - WINDOW + 1]; one number if there are fewer."""
    width = min(WINDOW, len(score))
    return np.convolve(score, np.ones(width) / width, mode="valid")


def draw(steps: np.ndarray, score: np.ndarray, path: Path) -> None:
    """Draws the score of every iteration and its running mean against env steps; writes a PNG."""
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.plot(steps, score, color=BLUE, alpha=0.35, linewidth=1, label="episodes of an iteration")
    mean = smooth(score)
    axes.plot(steps[len(steps) - len(mean) :], mean, color=BLUE, linewidth=2.2, label=f"mean of {WINDOW} iterations")
    axes.set(title="Pong from pixels, REINFORCE", xlabel="environment steps", ylabel="score of an episode")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.legend(fontsize=8, frameon=False)
    figure.savefig(path, dpi=120)


def report(rows: Sequence[dict[str, float]], num_envs: int) -> str:
    """The Markdown page."""
    score = np.array([row["return"] for row in rows])
    mean, last = smooth(score), rows[-1]
    return "\n".join(
        [
            "# Pong from pixels",
            "",
            f"{made_by('python -m benchmarks.pong')}.",
            "",
            *paragraphs(__doc__)[-1].splitlines(),
            "",
            "![Score](pong.png)",
            "",
            "| iterations | episodes | env steps | minutes | first mean score | last | rise | best |",
            "|---:|---:|---:|---:|---:|---:|---:|---:|",
            f"| {len(rows)} | {len(rows) * num_envs:,} | {last['env_steps']:,} | {last['seconds'] / 60:.1f} "
            f"| {mean[0]:.2f} | {mean[-1]:.2f} | {mean[-1] - mean[0]:+.2f} | {mean.max():.2f} |",
            "",
            f"Mean scores are over {WINDOW} iterations of {num_envs} episodes.",
            "",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Trains for the given time, and records the score."""
    parser = make_parser("pong", __doc__)
    parser.add_argument("--minutes", type=float, default=60.0, help="of training; 0 only writes the page")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--run", type=Path, default=Path("runs/pong"), help="folder of the run")
    parser.add_argument("--output", type=Path, default=RESULTS / "pong", help="folder of the page and the picture")
    options = parser.parse_args(arguments)
    folder = RunFolder(options.run.resolve())
    if options.minutes > 0:
        play(folder, 60.0 * options.minutes, options.seed)
    rows = folder.read_metrics()
    options.output.mkdir(parents=True, exist_ok=True)
    draw(
        np.array([row["env_steps"] for row in rows]),
        np.array([row["return"] for row in rows]),
        options.output / "pong.png",
    )
    page = report(rows, read_yaml(folder.config)["num_envs"])
    (options.output / "pong.md").write_text(page)
    print(page)


if __name__ == "__main__":
    main()
