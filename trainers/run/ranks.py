"""One training run in several processes, the ranks, started by `torchrun`. Each simulates a part of the worlds.

    torchrun --nproc-per-node 2 --no-python -- diffsim fit --config configs/quickstart.yaml

All ranks train the same networks on the same data (see `diffsim.engine.sharded`). Only rank 0 writes the run folder,
evaluates and prints.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, distributed


def num_ranks() -> int:
    """Number of processes of this run; 1 without torchrun."""
    return int(os.environ.get("WORLD_SIZE", "1")) if distributed.is_torchelastic_launched() else 1


def rank() -> int:
    """Index of this process, from 0."""
    return int(os.environ["RANK"]) if num_ranks() > 1 else 0


def own_device(device: str) -> str:
    """Device of this rank, with its index: for "cuda" alone, each rank of a machine has its own GPU."""
    if device != "cuda":
        return device
    if num_ranks() > 1:
        return f"cuda:{os.environ['LOCAL_RANK']}"
    return f"cuda:{torch.cuda.current_device()}" if torch.cuda.is_available() else device


@contextmanager
def joined(device: str) -> Iterator[None]:
    """Joins the process group while the context is open. `device` is this rank's, and may not exist."""
    if num_ranks() == 1:
        yield
        return
    gpu = torch.device(device) if device.startswith("cuda") and torch.cuda.is_available() else None
    if gpu is not None:
        torch.cuda.set_device(gpu)  # where tensors on "cuda" go
    distributed.init_process_group("gloo" if gpu is None else "cpu:gloo,cuda:nccl", device_id=gpu)
    try:
        yield
    finally:
        distributed.destroy_process_group()


def average_gradients(parameters: Iterable[Tensor]) -> None:
    """Replaces gradients by their mean over the ranks.

    Before, they differ by rounding errors, because the order of sums is not fixed. Afterwards they are bitwise equal,
    so that the parameters stay equal.
    """
    if num_ranks() == 1:
        return
    for parameter in parameters:
        if parameter.grad is not None:
            distributed.all_reduce(parameter.grad)
            parameter.grad /= num_ranks()


def any_rank(flag: bool) -> bool:
    """Whether `flag` is true on any rank, so that all ranks make the same decision about a clock or a signal."""
    if num_ranks() == 1:
        return flag
    result = torch.tensor(float(flag))  # on the CPU: a GPU need not be waited for
    distributed.all_reduce(result, op=distributed.ReduceOp.MAX)
    return bool(result)
