"""Restores the state of a random generator, also on another kind of device."""

from __future__ import annotations

import hashlib

import torch


def restore(generator: torch.Generator, state: torch.Tensor) -> None:
    """Restores a generator to a state that `get_state` returned.

    The generators of the CPU and of CUDA are different algorithms. From a state of the other kind, the generator is
    seeded by its bytes: its numbers are then new, and the same whenever this state is restored.

    Args:
        generator: on any device.
        state: uint8, on any device.
    """
    state = state.cpu()
    if state.numel() == generator.get_state().numel():
        generator.set_state(state.clone())
    else:
        digest = hashlib.sha256(state.numpy().tobytes()).digest()
        generator.manual_seed(int.from_bytes(digest[:7], "little"))
