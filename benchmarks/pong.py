"""Pong from pixels: how the score of REINFORCE rises in a given time, in one process.

    python -m benchmarks.pong --minutes 60

The run is `diffsim fit --config configs/reinforce_pong.yaml` (pip install -e ".[atari]"); asked for again, it goes on
where it stopped. The score is that of training episodes, played by chance as the policy says: -21 is every point lost,
21 every point won.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from benchmarks.machine import RESULTS, describe_machine
from benchmarks.pictures import BLUE
from diffsim.trainers.run.arguments import read_yaml
from diffsim.trainers.run.run_folder import RunFolder

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "configs" / "reinforce_pong.yaml"
WINDOW = 10  # iterations to average over


def play(folder: RunFolder, seconds: float, seed: int) -> None:
    """Trains, or goes on training, until so many seconds have passed; the iteration under way is finished.

    Raises: RuntimeError if the command fails.
    """
    began = folder.checkpoint.exists()
    options = ["--resume", folder.path] if began else ["--config", CONFIG, "--seed", seed, "--run", folder.path]
    command = [sys.executable, "-m", "diffsim.trainers.cli", "fit", *map(str, options)]
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
    """Means of WINDOW iterations that follow each other, [iterations - WINDOW + 1], of one number for fewer."""
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
            f"{datetime.now(UTC):%Y-%m-%d}, {describe_machine()}. Made by `python -m benchmarks.pong`.",
            "",
            *(__doc__ or "").strip().split("\n\n")[-1].splitlines(),
            "",
            "![Score](pong.png)",
            "",
            "| iterations | episodes | env steps | minutes | first mean score | last | rise | best |",
            "|---:|---:|---:|---:|---:|---:|---:|---:|",
            f"| {len(rows)} | {len(rows) * num_envs:,} | {last['env_steps']:,} | {last['seconds'] / 60:.1f} "
            f"| {mean[0]:.2f} | {mean[-1]:.2f} | {mean[-1] - mean[0]:+.2f} | {mean.max():.2f} |",
            "",
            f"Mean scores are of {WINDOW} iterations of {num_envs} episodes.",
            "",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Trains for a while, and records the score."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pong", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--minutes", type=float, default=60.0, help="to train now; 0 to record what is there")
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
