"""A replay of real steps, with imagined ones mixed into what is learned from."""

from __future__ import annotations

from typing import Any

import torch

from diffsim.trainers.experience.replay_batch import ReplayBatch
from diffsim.trainers.experience.replay_buffer import ReplayBuffer
from diffsim.trainers.experience.rollout import Trajectory
from diffsim.trainers.ranges import require

ENDS = ("reward", "terminated", "truncated")
"""What every replay keeps."""


class ImaginedReplay(ReplayBuffer):
    """The last real steps, and beside them the imagined ones of the present model; a batch is a mixture of both.

    Imagined steps are replaced as a whole, and are in no checkpoint: whoever resumes imagines them anew. While there
    are none, all that is drawn is real.

    Args:
        real_fraction: part of a batch that is real, in [0, 1]; the number is rounded.
        **kwargs: of `ReplayBuffer`; its targets look one step ahead.
    """

    def __init__(self, *args: Any, real_fraction: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        require(0 <= real_fraction <= 1, "real_fraction", "in [0, 1]", real_fraction)
        self.real_fraction = real_fraction
        self.imagined: ReplayBatch | None = None

    @classmethod
    def of(cls, replay: ReplayBuffer, real_fraction: float) -> ImaginedReplay:
        """An empty one for what `replay`, in which nothing is stored yet, was made for."""
        fields = {name: shape for name, shape in replay.shapes.items() if name not in ENDS}
        shared = {"gamma": replay.gamma, "device": replay.device, "dtype": replay.dtype}
        return cls(replay.length * replay.num_envs, replay.num_envs, fields, real_fraction=real_fraction, **shared)

    def imagine(self, trajectories: list[Trajectory]) -> None:
        """Puts imagined steps in the place of those there were: every step [H, N, ...] of the trajectories."""
        names = ("obs", "action", "reward", "next_obs", "terminated")
        flat = {name: torch.cat([getattr(part, name).flatten(0, 1) for part in trajectories]) for name in names}
        discount = self.gamma * (1.0 - flat.pop("terminated").to(flat["reward"]))
        self.imagined = ReplayBatch(**flat, discount=discount)

    def sample(self, batch_size: int, generator: torch.Generator) -> ReplayBatch:
        """Draws real and imagined steps, each as likely as any other of its kind, with repetition."""
        if self.imagined is None:
            return super().sample(batch_size, generator)
        count = round(self.real_fraction * batch_size)
        shape = (batch_size - count,)
        index = torch.randint(len(self.imagined.reward), shape, generator=generator, device=self.device)
        imagined = ReplayBatch(*(part[index] for part in self.imagined))
        if not count:
            return imagined
        return ReplayBatch(*map(torch.cat, zip(super().sample(count, generator), imagined, strict=True)))
