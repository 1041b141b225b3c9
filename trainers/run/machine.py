"""Describes the machine and the package versions that a result comes from."""

from __future__ import annotations

import functools
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

import diffsim

PACKAGES = ("mujoco", "warp-lang", "torch", "gymnasium", "mujoco-warp", "mujoco-mjx", "jax")
REPOSITORY = Path(diffsim.__file__).parents[1]  # or the folder of installed packages


def describe_machine() -> str:
    """Processor, accelerator, precision, versions, and the commit of this package's code, in one line."""
    info = Path("/proc/cpuinfo").read_text() if os.path.exists("/proc/cpuinfo") else ""
    models = [line.split(":", 1)[1].strip() for line in info.splitlines() if line.startswith("model name")]
    cpu = models[0] if models else platform.processor() or platform.machine()
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    versions = ", ".join(f"{name} {found}" for name in PACKAGES if (found := _version(name)))
    precision = str(diffsim.dtype).removeprefix("torch.")
    ours = f"diffsim {_version('diffsim-rl')}" + (f" at commit {found}" if (found := commit()) else "")
    return f"{cpu} ({os.cpu_count()} cores){gpu}; {precision}; Python {platform.python_version()}, {versions}, {ours}"


@functools.cache
def commit(repository: Path = REPOSITORY) -> str | None:
    """The commit that a repository is at, with `-dirty` after it if files differ from it; None outside of one."""
    if not (repository / ".git").exists():
        return None
    command = ["git", "-C", str(repository), "describe", "--always", "--dirty", "--exclude=*", "--abbrev=10"]
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):  # no git, or a repository that it does not trust
        return None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
