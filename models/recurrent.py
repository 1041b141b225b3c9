"""Recurrent memory, for models of partially observed environments."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from diffsim.models.ensemble import EnsembleLinear


class EnsembleGRU(nn.Module):
    """E gated recurrent units, evaluated in one batched pass.

        r = sigmoid(W_r x + U_r h + b_r),   z = sigmoid(W_z x + U_z h + b_z)
        n = tanh(W_n x + b_n + r * (U_n h + c_n)),   h' = (1 - z) * n + z * h

    Args:
        num_members: E, at least 1.
        in_size: I.
        memory_size: M, at least 1.

    Source: Cho et al. (2014), "Learning phrase representations using RNN encoder-decoder"; the reset gate multiplies
    U_n h + c_n, as in `torch.nn.GRUCell`.
    """

    def __init__(self, num_members: int, in_size: int, memory_size: int) -> None:
        super().__init__()
        self.in_size, self.memory_size = in_size, memory_size
        self.input = EnsembleLinear(num_members, in_size, 3 * memory_size)
        self.hidden = EnsembleLinear(num_members, memory_size, 3 * memory_size)

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        """The next memory [E, B, M], from `x` [E, B, I] and `memory` [E, B, M]."""
        reset, keep, new = self.input(x).chunk(3, dim=-1)
        reset_too, keep_too, new_too = self.hidden(memory).chunk(3, dim=-1)
        keep = torch.sigmoid(keep + keep_too)
        new = torch.tanh(new + torch.sigmoid(reset + reset_too) * new_too)
        return new + keep * (memory - new)
