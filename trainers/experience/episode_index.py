"""The first and last step of the episode of every stored step."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class StepIndex(NamedTuple):
    """Indices of stored steps.

    Attributes:
        time: int64 [...], number of the step, counted from the first step ever stored.
        copy: int64 [...], in [0, N).
    """

    time: Tensor
    copy: Tensor


class EpisodeIndex:
    """The times at which the episodes of the last `length` steps of N copies begin and end.

    A copy has at most `length` stored episodes and the current one, so that numbers modulo length + 1 identify them.

    Attributes:
        episode: int64 [length, N], number of the episode of each stored step.
        first: int64 [length + 1, N], time of the first step of each episode.
        last: int64 [length + 1, N], time of its last step so far.
        current: int64 [N], number of the current episode of each copy.
    """

    def __init__(self, length: int, num_envs: int, device: torch.device) -> None:
        self.length = length
        self.copies = torch.arange(num_envs, device=device)
        self.episode = torch.zeros(length, num_envs, dtype=torch.int64, device=device)
        self.first = torch.zeros(length + 1, num_envs, dtype=torch.int64, device=device)
        self.last = torch.zeros_like(self.first)
        self.current = torch.zeros(num_envs, dtype=torch.int64, device=device)

    def add(self, time: int, ended: Tensor) -> None:
        """Adds step `time` of every copy; `ended`, bool [N], says whose episode it ended."""
        self.episode[time % self.length] = self.current
        self.last[self.current, self.copies] = time
        self.current = (self.current + ended) % (self.length + 1)
        started = self.first[self.current, self.copies]
        self.first[self.current, self.copies] = torch.where(ended, time + 1, started)

    def bounds(self, steps: StepIndex) -> tuple[Tensor, Tensor]:
        """Times of the first and the last step in the episodes of `steps` [...]: two tensors [...].

        The first may have been overwritten since. In a current episode, the last is the newest so far.
        """
        episode = self.episode[steps.time % self.length, steps.copy]
        return self.first[episode, steps.copy], self.last[episode, steps.copy]

    def rebuild(self, times: Tensor, ended: Tensor) -> None:
        """Indexes the steps `times` [K], all that are stored, in order; `ended`: bool [K, N]."""
        ends = ended.long()
        episode = ends.cumsum(0) - ends
        self.episode[times % self.length] = episode
        each = times[:, None].expand_as(episode)
        count = int(times[-1]) + 1 if len(times) else 0
        self.first.fill_(count).scatter_reduce_(0, episode, each, "amin")
        self.last.scatter_reduce_(0, episode, each, "amax")
        self.current = ends.sum(0)
