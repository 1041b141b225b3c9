"""Runs the checks of float32 in a process of their own."""

import os
import subprocess
import sys
from pathlib import Path


def test_float32():
    checks = Path(__file__).with_name("float32_checks.py")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(checks)]
    environment = os.environ | {"DIFFSIM_X64": "0"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[-6000:]
