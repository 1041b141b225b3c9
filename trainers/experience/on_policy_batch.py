"""Experience with advantages and value targets, in minibatches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from diffsim.policies import Sequences


class OnPolicyBatch(NamedTuple):
    """Steps of experience, [H, N, ...], or [B, ...] in any order.

    Attributes:
        obs: [..., O].
        raw: [..., F], samples of the policy's distribution, before squashing.
        log_prob: [...], of these samples, under the policy that drew them.
        value: [...], of the observations, when the advantages were computed.
        advantage: [...], how much better the actions were than expected.
        returns: [...], targets of the value.
        sequences: what a recurrent policy saw in these steps, which are then [H, N, ...]; None for others.
    """

    obs: Tensor
    raw: Tensor
    log_prob: Tensor
    value: Tensor
    advantage: Tensor
    returns: Tensor
    sequences: Sequences | None = None

    @property
    def seen(self) -> Tensor | Sequences:
        """What `StochasticPolicy.distributions` needs: observations, or sequences for a recurrent policy."""
        return self.obs if self.sequences is None else self.sequences

    def flatten(self) -> OnPolicyBatch:
        """Merges time and copies, from [H, N, ...] to [H * N, ...], if the policy has no memory."""
        return self.steps() if self.sequences is None else self

    def steps(self) -> OnPolicyBatch:
        """Merges time and copies for what does not depend on a memory, such as the value: [H * N, ...]."""
        return self.each(lambda part: part.flatten(0, 1))

    def each(self, change: Callable[[Tensor], Tensor]) -> OnPolicyBatch:
        """Changes every tensor, without the sequences."""
        return OnPolicyBatch(*(change(part) for part in self[:6]), sequences=None)

    def minibatches(self, count: int, generator: torch.Generator) -> Iterator[OnPolicyBatch]:
        """Splits steps [B, ...] at random into `count` parts; sequences into whole ones, at most N parts."""
        obs, sequences = self.obs, self.sequences
        size = len(obs) if sequences is None else obs.shape[1]
        order = torch.randperm(size, generator=generator, device=obs.device)
        for index in order.chunk(count):
            if sequences is None:
                yield self.each(lambda part, index=index: part[index])
            else:
                chosen = self.each(lambda part, index=index: part[:, index])
                yield chosen._replace(sequences=sequences.copies(index))
