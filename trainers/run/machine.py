"""Describes the machine and the package versions that a result comes from."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

import diffsim

PACKAGES = ("mujoco", "warp-lang", "torch", "gymnasium", "mujoco-warp", "mujoco-mjx", "jax")


def describe_machine() -> str:
    """Processor, accelerator, precision and versions, in one line."""
    info = Path("/proc/cpuinfo").read_text() if os.path.exists("/proc/cpuinfo") else ""
    models = [line.split(":", 1)[1].strip() for line in info.splitlines() if line.startswith("model name")]
    cpu = models[0] if models else platform.processor() or platform.machine()
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    versions = ", ".join(f"{name} {found}" for name in PACKAGES if (found := _version(name)))
    precision = str(diffsim.dtype).removeprefix("torch.")
    return f"{cpu} ({os.cpu_count()} cores){gpu}; {precision}; Python {platform.python_version()}, {versions}"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
