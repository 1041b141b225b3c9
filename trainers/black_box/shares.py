"""Shares of a population: what a worker is told, and what it answers.

A generation is divided into shares of a size that does not depend on the workers. All random numbers of a share come
from seeds that belong to its members. Whoever evaluates a share, the answer is the same, to the bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from diffsim.trainers.black_box.candidates import Candidates

CommonNumbers = Literal["none", "generation", "run"]


@dataclass(frozen=True)
class EpisodeOptions:
    """How every member is evaluated.

    Attributes:
        episodes: M, of each member.
        horizon: steps after which an episode is cut off; None for the task's own length.
        gamma: discount of the returns.
        sampled: take sampled actions instead of mean actions.
        common_numbers: which episodes have the same initial states and noises: "none"; the m-th episode of every
            member of a "generation"; or also of all generations, "run".
        record: keep observations and rewards of every step.
        seed: of all randomness.
    """

    episodes: int
    horizon: int | None
    gamma: float
    sampled: bool
    common_numbers: CommonNumbers
    record: bool
    seed: int

    def scenario(self, generation: int, member: int) -> tuple[int, int]:
        """Two numbers that determine the random numbers of a member's first episode, with the seed."""
        if self.common_numbers == "none":
            return generation, member * self.episodes
        return (generation if self.common_numbers == "generation" else 0), 0


@dataclass(frozen=True)
class Share:
    """Members that are evaluated together.

    Attributes:
        generation: number of the generation, from 1.
        first: index of the first member in the generation.
        members: their parameters.
        buffers: buffers of the policy, by name.
    """

    generation: int
    first: int
    members: Candidates
    buffers: Mapping[str, Tensor]


class Moments(NamedTuple):
    """Statistics of observations.

    Attributes:
        mean: [O], float64.
        variance: [O], float64, population variance.
        count: number of observations.
    """

    mean: Tensor
    variance: Tensor
    count: int

    @classmethod
    def of(cls, shift: Tensor, sums: Tensor, squares: Tensor, count: int) -> Moments:
        """The statistics, from sums of deviations from `shift` and of their squares, each [O]."""
        mean, square = sums / count, squares / count
        return cls(shift + mean, square - mean.square(), count)


class Steps(NamedTuple):
    """Steps of E episodes, padded with zeros after their ends.

    Attributes:
        obs: [T, E, O], before each step.
        reward: [T, E].
    """

    obs: Tensor
    reward: Tensor


class Answer(NamedTuple):
    """Results of K members with M episodes each.

    Attributes:
        returns: [K, M], float64, discounted.
        lengths: int64 [K, M], steps.
        moments: of all observations; None if the policy does not normalise them.
        steps: of K * M episodes, those of a member one after the other; None if they are not recorded.
    """

    returns: Tensor
    lengths: Tensor
    moments: Moments | None
    steps: Steps | None


class Recorder:
    """Accumulates the answer of a share while its episodes run.

    Args:
        num_members: K.
        options: how members are evaluated.
        obs_mean: [O], of the present observation statistics, from which deviations are summed; None for no moments.
    """

    def __init__(self, num_members: int, options: EpisodeOptions, obs_mean: Tensor | None) -> None:
        self.options, self.shape = options, (num_members, options.episodes)
        self.shift = None if obs_mean is None else obs_mean.double()
        self.discount = 1.0
        self.returns: Tensor | float = 0.0
        self.lengths: Tensor | int = 0
        self.sums: Tensor | float = 0.0
        self.squares: Tensor | float = 0.0
        self.steps: list[tuple[Tensor, Tensor]] = []

    def add(self, obs: Tensor, reward: Tensor, running: Tensor) -> None:
        """Adds a step of the episodes that are still running.

        Args:
            obs: [E, O], before the step.
            reward: [E].
            running: bool [E].
        """
        reward = torch.where(running, reward, 0.0)
        self.returns = self.returns + self.discount * reward.double()
        self.lengths = self.lengths + running.long()
        self.discount *= self.options.gamma
        if self.shift is not None:
            deviation = torch.where(running[:, None], obs.double() - self.shift.to(obs.device), 0.0)
            self.sums = self.sums + deviation.sum(0)
            self.squares = self.squares + deviation.square().sum(0)
        if self.options.record:
            self.steps.append((torch.where(running[:, None], obs, 0.0), reward))

    def set_totals(self, returns: Tensor, lengths: Tensor) -> None:
        """Sets returns [E] and lengths [E] of episodes that ran without this recorder."""
        self.returns, self.lengths = returns.double(), lengths.long()

    def parts(self) -> list[Tensor]:
        """All results, after the episodes have ended, on their device: the arguments of `answer`."""
        shift = torch.zeros(()) if self.shift is None else self.shift
        results = [torch.as_tensor(part) for part in (self.returns, self.lengths, self.sums, self.squares, shift)]
        return [*results, *(torch.stack(part) for part in zip(*self.steps, strict=True))]

    def answer(
        self, returns: Tensor, lengths: Tensor, sums: Tensor, squares: Tensor, shift: Tensor, *steps: Tensor
    ) -> Answer:
        """The answer, from all results on the CPU."""
        moments = None if self.shift is None else Moments.of(shift, sums, squares, int(lengths.sum()))
        return Answer(returns.view(self.shape), lengths.view(self.shape), moments, Steps(*steps) if steps else None)


def joined(answers: Sequence[Answer]) -> Answer:
    """The answer of all shares together, without moments."""
    steps = None
    recorded = [answer.steps for answer in answers if answer.steps is not None]
    if recorded:
        longest = max(len(part.reward) for part in recorded)
        steps = Steps(*(torch.cat([_padded(p, longest) for p in parts], 1) for parts in zip(*recorded, strict=True)))
    returns, lengths = (torch.cat([getattr(a, name) for a in answers]) for name in ("returns", "lengths"))
    return Answer(returns, lengths, None, steps)


def _padded(part: Tensor, length: int) -> Tensor:
    """Adds zeros in time: [T, ...] to [length, ...]."""
    return torch.cat([part, part.new_zeros(length - len(part), *part.shape[1:])])


def derived_seed(*numbers: int) -> int:
    """A seed in [0, 2^63), practically independent of those of other numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)
