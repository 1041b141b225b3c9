"""Physics is tested in float64; float32 has its own process, started by test_float32.py."""

import os

os.environ.setdefault("DIFFSIM_X64", "1")
