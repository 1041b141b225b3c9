"""A replay buffer that mixes steps of a learned model into its batches."""

from __future__ import annotations

from typing import Any

import torch

from diffsim.trainers.experience.replay_batch import ReplayBatch
from diffsim.trainers.experience.replay_buffer import ReplayBuffer
from diffsim.trainers.experience.rollout import Trajectory
from diffsim.trainers.experience.vector_env import ResumableEnv


class ImaginedReplay(ReplayBuffer):
    """A replay buffer of real steps, and beside them the imagined steps of the current model; batches hold both.

    Imagined steps are replaced as a whole, and are not saved in checkpoints: a resumed run generates them again. As
    long as there are none, batches hold real steps only.

    Args:
        *args: of `ReplayBuffer`.
        real_fraction: fraction of real steps in a batch, in [0, 1]; their number is rounded.
        **kwargs: of `ReplayBuffer`, with num_steps = 1.
    """

    def __init__(self, *args: Any, real_fraction: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.real_fraction = real_fraction
        self.imagined: ReplayBatch | None = None

    @classmethod
    def of(cls, env: ResumableEnv, replay_size: int, **kwargs: Any) -> ImaginedReplay:
        """An empty buffer for `replay_size` real steps of an environment; **kwargs as for the constructor."""
        return cls(replay_size, env.num_envs, env.transition_shapes, **kwargs)

    def imagine(self, trajectories: list[Trajectory]) -> None:
        """Replaces the imagined steps by all steps of `trajectories`, [H, N, ...] each."""
        names = ("obs", "action", "reward", "next_obs", "terminated")
        flat = {name: torch.cat([getattr(part, name).flatten(0, 1) for part in trajectories]) for name in names}
        discount = self.gamma * (1.0 - flat.pop("terminated").to(flat["reward"]))
        self.imagined = ReplayBatch(**flat, discount=discount)

    def sample(self, batch_size: int, generator: torch.Generator) -> ReplayBatch:
        """Draws real and imagined steps, each kind uniformly with replacement."""
        if self.imagined is None:
            return super().sample(batch_size, generator)
        count = round(self.real_fraction * batch_size)
        shape = (batch_size - count,)
        index = torch.randint(len(self.imagined.reward), shape, generator=generator, device=self.device)
        imagined = ReplayBatch(*(part[index] for part in self.imagined))
        if not count:
            return imagined
        return ReplayBatch(*map(torch.cat, zip(super().sample(count, generator), imagined, strict=True)))
