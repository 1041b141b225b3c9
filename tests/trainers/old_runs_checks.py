"""Resumes runs that version 0.1.0 made before options and modules were renamed; in float32, as they were made.

usage: python -m tests.trainers.old_runs_checks OUTPUT
"""

import csv
import shutil
import sys
from pathlib import Path

import pytest

from diffsim.trainers import load_policy
from diffsim.trainers.cli import main

RUNS = Path(__file__).with_name("old_runs")


def resumed(run: Path, output: Path) -> tuple[dict[str, str], dict[str, str]]:
    """The next row of metrics, by the current code and by the code that made the run."""
    folder = output / run.name
    shutil.copytree(run, folder)
    assert main(["fit", "--resume", str(folder), "--iterations", "3"]) == 0, run.name
    with (folder / "metrics.csv").open() as found, (run / "next.csv").open() as expected:
        return list(csv.DictReader(found))[-1], next(csv.DictReader(expected))


def check(output: Path) -> None:
    """Fails unless every run continues as it would have."""
    runs = sorted(RUNS.iterdir())
    assert len(runs) >= 10
    for run in runs:
        found, expected = resumed(run, output)
        assert found["iteration"] == "3"
        if run.name == "A3C":
            continue  # its processes are not synchronised, so runs are not reproducible
        for name, text in expected.items():
            # Rounding may differ on another processor.
            assert (found[name] == text) or float(found[name]) == pytest.approx(float(text), rel=1e-3), (run.name, name)
    assert load_policy(RUNS / "SHAC")([0.0, 0.1, 0.0, 0.0]).shape == (1,)
    assert main(["evaluate", str(RUNS / "PPO"), "--episodes", "1"]) == 0


if __name__ == "__main__":
    check(Path(sys.argv[1]))
