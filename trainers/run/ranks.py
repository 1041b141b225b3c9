"""One training run by several processes, ranks, that `torchrun` has started: each simulates its share of the worlds.

    torchrun --nproc-per-node 2 --no-python -- diffsim fit --config configs/quickstart.yaml

All ranks train the same networks on the same numbers (see `diffsim.engine.sharded`). Only rank 0 writes the run folder,
evaluates and prints.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, distributed


def num_ranks() -> int:
    """How many processes train together; 1 without torchrun."""
    return int(os.environ.get("WORLD_SIZE", "1")) if distributed.is_torchelastic_launched() else 1


def rank() -> int:
    """Which of them this is, from 0."""
    return int(os.environ["RANK"]) if num_ranks() > 1 else 0


def own_device(device: str) -> str:
    """Where this rank simulates: if on a GPU and not told on which, one for each of a machine's ranks."""
    return f"cuda:{os.environ['LOCAL_RANK']}" if num_ranks() > 1 and device == "cuda" else device


@contextmanager
def joined(device: str) -> Iterator[None]:
    """Meanwhile, the ranks can talk to each other. `device` is this one's; whether it exists is for others to say."""
    if num_ranks() == 1:
        yield
        return
    gpu = torch.device(device) if device.startswith("cuda") and torch.cuda.is_available() else None
    distributed.init_process_group("gloo" if gpu is None else "nccl", device_id=gpu)
    try:
        yield
    finally:
        distributed.destroy_process_group()


def average_gradients(parameters: Iterable[Tensor]) -> None:
    """Replaces gradients by their mean over the ranks.

    They are equal but for rounding, where sums have no fixed order; afterwards they are equal to the bit, and so stay
    the parameters.
    """
    if num_ranks() == 1:
        return
    for parameter in parameters:
        if parameter.grad is not None:
            distributed.all_reduce(parameter.grad)
            parameter.grad /= num_ranks()


def any_rank(flag: bool) -> bool:
    """Whether it holds on any of them: so that what depends on a clock or a signal is decided by all alike."""
    if num_ranks() == 1:
        return flag
    told = torch.tensor(float(flag), device="cuda" if distributed.get_backend() == "nccl" else "cpu")
    distributed.all_reduce(told, op=distributed.ReduceOp.MAX)
    return bool(told)
