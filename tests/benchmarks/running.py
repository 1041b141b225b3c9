"""Runs benchmarks, and reads the tables that they write."""

import csv
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks import model_free, runs
from tests import processes

ROOT = Path(__file__).parents[2]


def run(module: str, *arguments: object) -> str:
    """Output of a benchmark in a process of its own: each sets its precision, and one binds the process to a core."""
    return processes.run("-m", f"benchmarks.{module}", *arguments, cwd=ROOT, check=True).stdout


@pytest.fixture
def forked_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forks the training runs of a benchmark, which `benchmarks.runs.call` would start as new processes."""

    def call(command: Sequence[str], core: int | None = None) -> str:
        assert command[0] == sys.executable
        done = processes.run(*command[1:], cwd=ROOT, env=runs.ONE_THREAD)
        if done.returncode != 0:
            raise RuntimeError(f"failed:\n{done.stderr}")
        return done.stdout

    for module in (runs, model_free):
        monkeypatch.setattr(module, "call", call)


def records(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV file."""
    return list(csv.DictReader(path.read_text().splitlines()))


def cells(line: str) -> list[str]:
    """Cells of a line of a Markdown table."""
    return [cell.strip() for cell in line.strip("|").split("|")]
