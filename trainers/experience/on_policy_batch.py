"""Experience with advantages and value targets, in minibatches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor


class OnPolicyBatch(NamedTuple):
    """Steps of experience, [H, N, ...], or [B, ...] in any order.

    Attributes:
        obs: [..., O].
        raw: [..., F], samples of the policy's distribution, before squashing.
        log_prob: [...], of these samples, under the policy that drew them.
        value: [...], of the observations, when the advantages were computed.
        advantage: [...], how much better the actions were than expected.
        returns: [...], targets of the value.
    """

    obs: Tensor
    raw: Tensor
    log_prob: Tensor
    value: Tensor
    advantage: Tensor
    returns: Tensor

    def flatten(self) -> OnPolicyBatch:
        """Merges time and copies: from [H, N, ...] to [H * N, ...]."""
        return OnPolicyBatch(*(part.flatten(0, 1) for part in self))

    def minibatches(self, count: int, generator: torch.Generator) -> Iterator[OnPolicyBatch]:
        """Splits the steps [B, ...] at random into `count` parts."""
        order = torch.randperm(len(self.obs), generator=generator, device=self.obs.device)
        for index in order.chunk(count):
            yield OnPolicyBatch(*(part[index] for part in self))
