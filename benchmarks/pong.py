"""Pong from pixels: the score of REINFORCE over a given time, in one process.

    python -m benchmarks.pong --minutes 60

The run is `diffsim fit --config configs/reinforce_pong.yaml` (pip install -e ".[atari]"). A second call resumes it.
The score is that of training episodes with sampled actions: -21 if every point is lost, 21 if every point is won.
"""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.command import make_parser, page, paragraphs, parse, table
from benchmarks.pictures import draw_curves
from benchmarks.runs import CONFIGS, FIT, ONE_THREAD, ROOT, fit_arguments
from diffsim.trainers.run.run_folder import RunFolder, read_yaml

WINDOW = 10  # iterations to average over


def play(folder: RunFolder, seconds: float, seed: int) -> None:
    """Trains or resumes, and interrupts after `seconds`; the current iteration is completed first.

    Raises: RuntimeError if the command fails.
    """
    fresh = {"config": CONFIGS / "reinforce_pong.yaml", "seed": seed, "run": folder.path}
    command = [*FIT, *fit_arguments({"resume": folder.path} if folder.checkpoint.exists() else fresh)]
    process = subprocess.Popen(command, cwd=ROOT, env=ONE_THREAD)
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
    """Draws the score of every iteration and its moving average against env steps; writes a PNG."""
    mean = smooth(score)
    averaged = np.array([steps[len(steps) - len(mean) :], mean])
    curve, label = np.array([steps, score]), f"mean of {WINDOW} iterations"
    draw_curves("Pong from pixels, REINFORCE", [curve], averaged, label, path)


def report(rows: Sequence[dict[str, float]], num_envs: int) -> str:
    """The Markdown page."""
    mean, last = smooth(np.array([row["return"] for row in rows])), rows[-1]
    cells = [len(rows), f"{len(rows) * num_envs:,}", f"{last['env_steps']:,}", f"{last['seconds'] / 60:.1f}"]
    cells += [f"{mean[0]:.2f}", f"{mean[-1]:.2f}", f"{mean[-1] - mean[0]:+.2f}", f"{mean.max():.2f}"]
    header = "iterations: | episodes: | env steps: | minutes: | first mean score: | last: | rise: | best:"
    return page(
        "Pong from pixels",
        "pong",
        paragraphs(__doc__)[-1],
        "![Score](pong.png)",
        table(header, [cells]),
        f"Mean scores are over {WINDOW} iterations of {num_envs} episodes.",
    )


def main(arguments: list[str] | None = None) -> None:
    """Trains for the given time, and records the score."""
    parser = make_parser("pong", __doc__)
    parser.add_argument("--minutes", type=float, default=60.0, help="of training; 0 only writes the page")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--run", type=Path, default=Path("runs/pong"), help="folder of the run")
    options = parse(parser, arguments)
    folder = RunFolder(options.run.resolve())
    if options.minutes > 0:
        play(folder, 60.0 * options.minutes, options.seed)
    rows = folder.read_metrics()
    steps, score = np.array([(row["env_steps"], row["return"]) for row in rows]).T
    draw(steps, score, options.output / "pong.png")
    text = report(rows, read_yaml(folder.config)["num_envs"])
    (options.output / "pong.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
