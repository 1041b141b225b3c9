"""What the README shows works as it stands there."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from diffsim.trainers.run.arguments import parse_fit

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
COMMANDS = [line.split("#")[0].split("&&")[-1].strip() for line in re.findall(r"^.*diffsim fit .*$", README, re.M)]
COMMANDS = [command for command in COMMANDS if command.startswith("diffsim fit")]


def test_the_python_example_runs(tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.S)
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.mark.parametrize("command", [command for command in COMMANDS if "--resume" not in command])
def test_the_commands_are_accepted(command, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert parse_fit(shlex.split(command)[2:]).task


def test_there_are_commands_and_ci_finds_its_own():
    assert len(COMMANDS) >= 4
    for start in ("pip install -e . && diffsim fit", 'pip install -e ".[test]" && pytest'):
        assert f"\n{start}" in README and start in (ROOT / ".ci" / "run").read_text()
