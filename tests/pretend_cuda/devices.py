"""Devices and their random generators."""

from __future__ import annotations

from typing import Any

import torch

NUM_DEVICES = 2
CURRENT = [0]  # index of the current device
CPU = torch.device("cpu")


def full_device(device: Any) -> torch.device | None:
    """A device with its index."""
    if device is None:
        return None
    device = torch.device(device)
    if device.type != "cuda":
        return device
    index = CURRENT[0] if device.index is None else device.index
    if index >= NUM_DEVICES:
        raise RuntimeError("CUDA error: invalid device ordinal")
    return torch.device("cuda", index)


GENERATORS: dict[int, torch.device] = {}
_STATES: list[torch.Tensor] = []


class Generator(torch.Generator):
    """A generator on either device. As on CUDA, a state there is 16 bytes, and those of the CPU do not fit."""

    def __new__(cls, device: Any = "cpu") -> Generator:
        made = super().__new__(cls, "cpu")
        made.own_device = full_device(device) or CPU
        GENERATORS[made._cdata] = made.own_device
        return made

    @property
    def device(self) -> torch.device:
        return self.own_device

    def manual_seed(self, seed: int) -> Generator:
        super().manual_seed(seed)
        return self

    def get_state(self) -> torch.Tensor:
        if self.own_device.type == "cpu":
            return super().get_state()
        _STATES.append(super().get_state())
        return torch.tensor([len(_STATES) - 1, 0], dtype=torch.int64).view(torch.uint8)

    def set_state(self, state: torch.Tensor) -> Any:
        if state.device.type != "cpu":
            raise TypeError("RNG state must be a torch.ByteTensor")
        if self.own_device.type == "cpu":
            return super().set_state(state)
        if state.numel() != 16:
            raise RuntimeError("RNG state is wrong size")
        return super().set_state(_STATES[int(state.view(torch.int64)[0])])
