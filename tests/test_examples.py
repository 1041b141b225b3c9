"""The examples do what they promise, run as a user runs them."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def run(*arguments: str) -> str:
    """What `python -m ...` prints."""
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def test_system_identification(tmp_path):
    output = run("examples.system_identification", "--output", str(tmp_path / "fit.png"))
    rows = re.findall(r"^ +(mass|friction) +(\S+) +(\S+) +(\S+) +(\S+)$", output, re.M)
    assert [row[0] for row in rows] == ["mass", "friction"]
    for _, true, initial, recovered, _ in rows:
        assert abs(float(initial) / float(true) - 1) > 0.4
        assert abs(float(recovered) / float(true) - 1) <= 0.01
    assert (tmp_path / "fit.png").stat().st_size > 0


def test_help():
    assert "usage" in run("examples.system_identification", "--help")
