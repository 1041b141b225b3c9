"""Experience that is kept and learned from many times."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from diffsim.trainers.errors import CheckpointError
from diffsim.trainers.experience.rollout import Trajectory
from diffsim.trainers.experience.row_log import RowLog
from diffsim.trainers.ranges import at_least_one, require, unit_interval

MEMORY_LIMIT = 4 * 2**30
"""Bytes above which a replay on the CPU lives in a file, mapped into memory: 4 GiB."""


class ReplayBatch(NamedTuple):
    """Samples [B] to fit a Q function to: Q(obs, action) to reward + discount * Q(next_obs, next action).

    Attributes:
        obs: [B, O].
        action: [B, A].
        reward: [B], of the step, or of n steps, discounted.
        next_obs: [B, O], reached by the last of them, before any reset.
        discount: [B], of what follows: gamma^n, or 0 where that observation is terminal. A time-out goes on.
    """

    obs: Tensor
    action: Tensor
    reward: Tensor
    next_obs: Tensor
    discount: Tensor


class Steps(NamedTuple):
    """Which steps: pairs of a time and a copy.

    Attributes:
        time: int64 [...], counted from the first step ever stored.
        copy: int64 [...], in [0, N).
    """

    time: Tensor
    copy: Tensor


class ReplayBuffer:
    """The last steps of N copies, of which any can be drawn, all equally often.

    A step is a row of numbers; what it consists of is told by name. Rows lie in one block, allocated once, on the
    device that learns: a ring, in which the newest steps overwrite the oldest. Drawing a batch reads each row once.
    An index beside it knows in which episode a step was, from where to where.

    Above `memory_limit`, on the CPU, the block is a file without a name, mapped into memory.

    A checkpoint does not hold the rows. They are added to a log beside it (`RowLog`), each of them once, and the
    checkpoint says up to which: saving costs what is new, and a checkpoint stays readable whatever is cut short after
    it. Without a `folder`, the checkpoint holds the rows.

    Why not TorchRL's `ReplayBuffer`, which does all of this but the last, and more: it is pinned to one minor version
    of tensordict, and the two bring six more packages; its checkpointers copy a storage as a whole, or leave it mapped
    in place, where later steps overwrite what the last complete checkpoint needs; and its n-step returns are made as
    data come in, for one gamma and one n. What is used of it would be one gather per batch, which is shorter here than
    its wiring.

    Args:
        capacity: steps kept, of all copies together; at least one per copy.
        num_envs: N.
        fields: shape of each part of a step: () for one number. Rewards and ends are always kept, as "reward",
            "terminated" and "truncated".
        gamma: discount of n-step returns, in (0, 1].
        num_steps: n, at least 1: how many rewards a sample looks ahead, fewer where the episode, or what is stored of
            it, ends before.
        device: where the rows are.
        dtype: of every number.
        memory_limit: bytes above which the rows are in a file.
        folder: where the log is, and that file; see above.

    Attributes:
        count: steps of each copy that were ever stored.
        length: steps of each copy that are kept.
    """

    def __init__(
        self,
        capacity: int,
        num_envs: int,
        fields: Mapping[str, Sequence[int]],
        *,
        gamma: float = 0.99,
        num_steps: int = 1,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        memory_limit: int = MEMORY_LIMIT,
        folder: Path | None = None,
    ) -> None:
        at_least_one(num_envs=num_envs, num_steps=num_steps)
        require(capacity >= num_envs, "replay_size", f">= num_envs = {num_envs}", capacity)
        unit_interval("(]", gamma=gamma)
        self.num_envs, self.length = num_envs, capacity // num_envs
        self.gamma, self.num_steps = gamma, num_steps
        self.device, self.dtype, self.memory_limit, self.folder = torch.device(device), dtype, memory_limit, folder
        shapes = {**fields, "reward": (), "terminated": (), "truncated": ()}
        self.shapes = {name: tuple(shape) for name, shape in shapes.items()}
        self.sizes = [math.prod(shape) for shape in self.shapes.values()]
        self.width = sum(self.sizes)
        self.copies = torch.arange(num_envs, device=self.device)
        self._clear()

    def _clear(self) -> None:
        """Nothing is stored."""
        self.count = self.saved = self.kept_from = 0
        # A copy has at most `length` stored episodes and the one under way: numbers modulo length + 1 tell them apart.
        self.episode = torch.zeros(self.length, self.num_envs, dtype=torch.int64, device=self.device)
        self.first = torch.zeros(self.length + 1, self.num_envs, dtype=torch.int64, device=self.device)
        self.last = torch.zeros_like(self.first)
        self.present = torch.zeros(self.num_envs, dtype=torch.int64, device=self.device)

    @cached_property
    def rows(self) -> Tensor:
        """The block: [length, N, W]."""
        shape = (self.length, self.num_envs, self.width)
        if self.device.type != "cpu" or math.prod(shape) * self.dtype.itemsize <= self.memory_limit:
            return torch.zeros(shape, dtype=self.dtype, device=self.device)
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
        # The file's name goes at once: nothing is left of it, however this process ends.
        with tempfile.NamedTemporaryFile(dir=self.folder, prefix="block-") as file:
            return torch.from_file(file.name, shared=True, size=math.prod(shape), dtype=self.dtype).view(shape)

    def __len__(self) -> int:
        """Steps stored, of all copies together."""
        return self.kept * self.num_envs

    @property
    def kept(self) -> int:
        """Steps stored of each copy."""
        return min(self.count, self.length)

    @torch.no_grad()
    def add(self, parts: Mapping[str, Tensor]) -> None:
        """Stores one step of every copy.

        Args:
            parts: every field by name, [N, *shape]; "reward", "terminated" and "truncated" [N] among them.

        Raises: ValueError if a name or shape is not what was announced.
        """
        if parts.keys() != self.shapes.keys():
            raise ValueError(f"parts must be {', '.join(self.shapes)}, got {', '.join(parts)}")
        for name, shape in self.shapes.items():
            if parts[name].shape != (self.num_envs, *shape):
                raise ValueError(f"{name} must be {[self.num_envs, *shape]}, got {list(parts[name].shape)}")
        slot = self.count % self.length
        columns = [parts[name].reshape(self.num_envs, -1).to(self.dtype) for name in self.shapes]
        torch.cat(columns, dim=1, out=self.rows[slot])
        self.episode[slot] = self.present
        self.last[self.present, self.copies] = self.count
        self.count += 1
        ended = (parts["terminated"].bool() | parts["truncated"].bool()).to(self.device)
        self.present = (self.present + ended) % (self.length + 1)
        started = self.first[self.present, self.copies]
        self.first[self.present, self.copies] = torch.where(ended, self.count, started)

    def add_trajectory(self, trajectory: Trajectory) -> None:
        """Stores every step of a trajectory [H, N, ...]: its parts by their names."""
        for step in zip(*trajectory, strict=True):
            self.add(dict(zip(Trajectory._fields, step, strict=True)))

    def draw_index(self, batch_size: int, generator: torch.Generator) -> Tensor:
        """Chooses stored rows [B], counted along the ring, each as likely as any other, with repetition.

        Raises: ValueError if nothing is stored.
        """
        if not self.count:
            raise ValueError("replay must hold at least one step, got none")
        return torch.randint(len(self), (batch_size,), generator=generator, device=self.device)

    def draw(self, batch_size: int, generator: torch.Generator) -> Steps:
        """Chooses as `draw_index`, and says which steps [B] these are."""
        row = self.draw_index(batch_size, generator)
        slot = row // self.num_envs
        newest = self.count - 1
        return Steps(newest - (newest - slot) % self.length, row % self.num_envs)

    def bounds(self, steps: Steps) -> tuple[Tensor, Tensor]:
        """Times of the first and the last stored step in the episodes of `steps` [...]: two tensors [...].

        Of the episode under way, the last is the newest so far.
        """
        episode = self.episode[steps.time % self.length, steps.copy]
        oldest = self.count - self.kept
        return self.first[episode, steps.copy].clamp_min(oldest), self.last[episode, steps.copy]

    def read(self, steps: Steps) -> dict[str, Tensor]:
        """Every field of `steps` [B], by name: [B, *shape]. They must be stored."""
        return self.read_index(steps.time % self.length * self.num_envs + steps.copy)

    def read_index(self, index: Tensor) -> dict[str, Tensor]:
        """Every field of the rows `index` [B], counted along the ring, by name: [B, *shape]."""
        return self._split(self.rows.view(-1, self.width).index_select(0, index))

    def field(self, name: str) -> Tensor:
        """One part of all rows, in the ring's order: a view [length, N, *shape]."""
        return self._split(self.rows)[name]

    def in_order(self) -> dict[str, Tensor]:
        """Every field of all that is stored, from the oldest step to the newest: [kept, N, *shape] by name."""
        return self._split(self._in_order(self.count - self.kept))

    def sample(self, batch_size: int, generator: torch.Generator) -> ReplayBatch:
        """Draws a batch: see `batch`."""
        if self.num_steps > 1:
            return self.batch(self.draw(batch_size, generator))
        return self.one_step(self.read_index(self.draw_index(batch_size, generator)))

    def batch(self, steps: Steps) -> ReplayBatch:
        """What there is to learn from stored `steps` [B].

        reward    sum_{k<m} gamma^k r_{t+k},     m = min(n, steps to the episode's end, or to the newest step)
        discount  gamma^m, or 0 where step t + m - 1 terminated
        """
        here = self.read(steps)
        if self.num_steps == 1:
            return self.one_step(here)
        ahead = (self.bounds(steps)[1] - steps.time).clamp_max(self.num_steps - 1)
        there = self.read(Steps(steps.time + ahead, steps.copy))
        reach = torch.arange(self.num_steps, device=self.device)
        slots = (steps.time[:, None] + reach.clamp_max(self.length - 1)) % self.length
        rewards = self.field("reward")[slots, steps.copy[:, None]]
        weights = torch.where(reach <= ahead[:, None], self.gamma ** reach.to(self.dtype), 0.0)
        discount = self.gamma ** (ahead + 1).to(self.dtype) * (1.0 - there["terminated"])
        return ReplayBatch(here["obs"], here["action"], (weights * rewards).sum(1), there["next_obs"], discount)

    def one_step(self, rows: dict[str, Tensor]) -> ReplayBatch:
        """What there is to learn from `rows` [B] for n = 1."""
        discount = self.gamma * (1.0 - rows["terminated"])
        return ReplayBatch(rows["obs"], rows["action"], rows["reward"], rows["next_obs"], discount)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint must hold. With a folder, writes to the log what is new.

        What no earlier checkpoint needs, nor this one, is deleted from the log: call it for a checkpoint that replaces
        the last, once that is complete.
        """
        if self.folder is None:
            return {"count": self.count, "rows": self._in_order(self.count - self.kept).cpu()}
        log = self._log(self.folder)
        log.forget(self.kept_from)
        first = max(self.saved, self.count - self.length)
        log.write(first, self._in_order(first).flatten(1).cpu().numpy())
        self.saved, self.kept_from = self.count, self.count - self.kept
        return {"count": self.count}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Goes back to where `state_dict` was called.

        Raises: CheckpointError if the rows are not in the log, or are of another shape.
        """
        self._clear()
        self.count = self.saved = saved["count"]
        self.kept_from = self.count - self.kept
        shape = (self.kept, self.num_envs, self.width)
        if "rows" in saved:
            rows = saved["rows"]
            self.saved = 0
        elif self.folder is None:
            raise CheckpointError("replay must be given the folder of its run: its checkpoint holds no rows")
        else:
            rows = torch.from_numpy(self._log(self.folder).read(self.kept_from, self.count))
        if rows.numel() != math.prod(shape):
            raise CheckpointError(f"replay's rows must be {list(shape)}, got {list(rows.shape)}")
        times = torch.arange(self.kept_from, self.count, device=self.device)
        self.rows[times % self.length] = rows.view(shape).to(self.rows)
        self._find_episodes(times)

    def _find_episodes(self, times: Tensor) -> None:
        """Builds the index of episodes from the stored ends. `times` [K]: of all that is stored, in order."""
        slots = times % self.length
        ended = (self.field("terminated")[slots] + self.field("truncated")[slots] > 0).long()
        episode = ended.cumsum(0) - ended
        self.episode[slots] = episode
        each = times[:, None].expand_as(episode)
        self.first.fill_(self.count).scatter_reduce_(0, episode, each, "amin")
        self.last.scatter_reduce_(0, episode, each, "amax")
        self.present = ended.sum(0)

    def _in_order(self, first: int) -> Tensor:
        """Rows from time `first` on: [count - first, N, W]."""
        return self.rows[torch.arange(first, self.count, device=self.device) % self.length]

    def _log(self, folder: Path) -> RowLog:
        empty = torch.empty(0, dtype=self.dtype).numpy()
        return RowLog(folder, self.num_envs * self.width, empty.dtype)

    def _split(self, rows: Tensor) -> dict[str, Tensor]:
        """Parts by name of `rows` [..., W]."""
        parts = zip(self.shapes.items(), rows.split(self.sizes, dim=-1), strict=True)
        return {
            name: part if len(shape) == 1 else part.reshape(*part.shape[:-1], *shape) for (name, shape), part in parts
        }
