"""Importing the package is quick and compiles nothing."""

import os
import subprocess
import sys

CODE = """
import time, mujoco, torch, warp
libraries = time.process_time()
import diffsim
print(libraries, time.process_time() - libraries)
"""


def test_import_is_quick_and_compiles_nothing(tmp_path):
    # An empty kernel cache shows any compilation. Processor time, beside what the libraries take in the same process,
    # and the best of three: the machine may be slow, or busy.
    environment = os.environ | {"WARP_CACHE_PATH": str(tmp_path)}
    shares = []
    for _ in range(3):
        result = subprocess.run([sys.executable, "-c", CODE], env=environment, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
        libraries, own = map(float, result.stdout.splitlines()[-1].split())
        shares.append(own / libraries)
    assert min(shares) < 0.35
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert "Module" not in result.stdout
