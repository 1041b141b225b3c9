"""What a policy with memory saw in a window: enough to compute its distributions again."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Sequences(NamedTuple):
    """T steps of N copies, and the memory before the first of them.

    Attributes:
        obs: [T, N, O].
        raw: [T, N, F], the choices that were made, before squashing.
        starts: bool [T, N], whether an episode began with a step: the memory was then cleared before it.
        memory: [N, M], before the first step; the past of the window, which is not differentiated.
    """

    obs: Tensor
    raw: Tensor
    starts: Tensor
    memory: Tensor

    def copies(self, index: Tensor) -> Sequences:
        """The whole sequences of some copies, int64 [n]."""
        return Sequences(self.obs[:, index], self.raw[:, index], self.starts[:, index], self.memory[index])
