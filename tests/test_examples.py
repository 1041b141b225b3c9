"""Runs the examples from the command line."""

import importlib
import re
from pathlib import Path

import numpy as np
import pytest

from tests import processes

ROOT = Path(__file__).parent.parent


def run(*arguments: str) -> str:
    """Returns the output of `python -m ...`."""
    return processes.run("-m", *arguments, cwd=ROOT, check=True).stdout


def test_system_identification(tmp_path):
    output = run("examples.system_identification", "--output", str(tmp_path / "fit.png"))
    rows = re.findall(r"^ +(mass|friction) +(\S+) +(\S+) +(\S+) +(\S+)$", output, re.M)
    assert [row[0] for row in rows] == ["mass", "friction"]
    for _, true, initial, recovered, _ in rows:
        assert abs(float(initial) / float(true) - 1) > 0.4
        assert abs(float(recovered) / float(true) - 1) <= 0.01
    assert (tmp_path / "fit.png").stat().st_size > 0


def test_arm_identification():
    rows = run("examples.arm_identification").split("deviation\n")[1].splitlines()
    values = np.array([row.split()[-4:] for row in rows], float)
    true, initial, recovered, deviation = values.T
    assert len(rows) == 16 and (np.abs(initial / true - 1) > 0.05).all()
    assert (np.abs(recovered / true - 1) < 0.02).all()
    assert (np.abs(recovered - true) < 5 * deviation + 1e-4).all()  # four digits are printed


def test_own_task():
    report = run("examples.own_task")
    assert report.startswith("CartBalance: 16 worlds, 50 steps") and report.endswith("\nok\n")


def test_partial_observation():
    """A model with memory predicts better from incomplete observations, even after a short fit."""
    output = run("examples.partial_observation", "--steps", "2000", "--epochs", "6")
    rows = re.findall(r"^(without|with) memory +(\S+) +(\S+)$", output, re.M)
    (_, *without), (_, *memory) = rows
    assert float(memory[0]) < float(without[0]) - 1.0 and float(memory[1]) < 0.7 * float(without[1])


@pytest.mark.parametrize("name", ["arm_identification", "partial_observation", "system_identification"])
def test_help(name, capsys):
    with pytest.raises(SystemExit, match="0"):
        importlib.import_module(f"examples.{name}").main(["--help"])
    assert "usage" in capsys.readouterr().out


def test_mpc():
    """The pole swings up from hanging, and stays up."""
    rows = importlib.import_module("examples.mpc").main(steps=65)
    assert rows[0][1] > 3.1 and max(angle for time, angle in rows if time > 2.4) < 0.1
