"""Large tensors on a GPU, in memory, or in files mapped into memory; and whether there is room for them."""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from diffsim.trainers.errors import OptionError

MEMORY_LIMIT = 4 * 2**30
"""Bytes above which a tensor on the CPU is stored in a file that is mapped into memory: 4 GiB."""

GPU_SHARE = 0.5
"""Part of a GPU's free memory above which a tensor is on the CPU, although the GPU learns from it."""


class Storage(NamedTuple):
    """Where large tensors are.

    Attributes:
        device: on which they are used.
        memory_limit: bytes above which a tensor on the CPU is in a file.
        folder: of such files; that of temporary files if None.
    """

    device: torch.device
    memory_limit: int = MEMORY_LIMIT
    folder: Path | None = None

    def place(self, count: int) -> Literal["GPU", "memory", "disk"]:
        """Where a tensor of `count` bytes is."""
        if self.device.type == "cuda" and count <= GPU_SHARE * torch.cuda.mem_get_info(self.device)[0]:
            return "GPU"
        return "memory" if count <= self.memory_limit else "disk"

    def zeros(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """A tensor of zeros, in its place."""
        place = self.place(math.prod(shape) * dtype.itemsize)
        if place != "disk":
            return torch.zeros(*shape, dtype=dtype, device=self.device if place == "GPU" else "cpu")
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
        # The name is deleted at once, so that the file disappears however this process ends.
        with tempfile.NamedTemporaryFile(dir=self.folder, prefix="block-") as file:
            return torch.from_file(file.name, shared=True, size=math.prod(shape), dtype=dtype).view(*shape)


def require_room(name: str, value: object, needed: int, place: Literal["memory", "disk"], folder: Path) -> None:
    """Raises OptionError if there is less free memory, or free space on the disk of `folder`, than `needed` bytes.

    Args:
        name: option that decides the number of bytes.
        value: its value.
        needed: bytes.
        place: where they are needed.
        folder: may not exist yet; the bytes of files in it count as free.
    """
    free = free_memory() if place == "memory" else free_disk(folder)
    if free is not None and needed > free:
        where = "of memory" if place == "memory" else f"on the disk of {str(folder)!r}"
        raise OptionError(
            f"{name} must be smaller: {value:,} needs {in_units(needed)} {where}, where {in_units(free)} are free"
        )


def free_memory() -> int | None:
    """Bytes of memory that this process could still get, at most a container's; None where the system says nothing."""
    found = [_number(Path("/proc/meminfo"), "MemAvailable", 1024), _number(Path("/sys/fs/cgroup/memory.max"))]
    return min((count for count in found if count is not None), default=None)


def free_disk(folder: Path) -> int:
    """Bytes free on the disk of a folder, with those of the files in it."""
    folder = folder.absolute()
    own = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else 0
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    return shutil.disk_usage(existing).free + own


def in_units(count: int) -> str:
    """A number of bytes, such as 26.3 GiB."""
    power = max(min(int(math.log2(max(count, 1)) // 10), 4), 0)
    return f"{count / 2 ** (10 * power):.1f} {('bytes', 'KiB', 'MiB', 'GiB', 'TiB')[power]}"


def _number(path: Path, name: str = "", unit: int = 1) -> int | None:
    """The number after a name in a file of the system, or the only number in it."""
    if not os.access(path, os.R_OK):
        return None
    words = path.read_text().replace(":", " ").split()
    word = words[words.index(name) + 1] if name in words else words[0]
    return int(word) * unit if word.isdigit() else None
