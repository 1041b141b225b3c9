"""The replay buffer: a ring of the last steps, from which batches are sampled uniformly."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffsim.checks import check_values, require
from diffsim.trainers.errors import CheckpointError
from diffsim.trainers.experience.episode_index import EpisodeIndex, StepIndex
from diffsim.trainers.experience.image_store import ImageStore
from diffsim.trainers.experience.replay_batch import ReplayBatch, n_step_batch, one_step_batch
from diffsim.trainers.experience.rollout import Trajectory
from diffsim.trainers.experience.row_log import RowLog
from diffsim.trainers.experience.storage import MEMORY_LIMIT, Storage, in_units, require_room

INDEX_BYTES = 32
"""Bytes in memory for each step besides its numbers: four indices, of its episode and of its image."""
WORDS = {"GPU": "on the GPU", "memory": "in memory", "disk": "on disk"}


class ReplayBuffer:
    """The last steps of N copies; a batch samples them uniformly, with replacement.

    A step is a row of numbers, made of named fields. All rows are in one tensor, allocated once on the learning device
    and used as a ring: the newest steps overwrite the oldest. If it does not fit on a GPU, it is on the CPU, and each
    batch is uploaded. Above `memory_limit`, on the CPU, this tensor is a file without a name, mapped into memory (see
    `Storage`). An `EpisodeIndex` finds the first and last step of every episode. Images are in an `ImageStore`, with
    their own type, and each only once.

    With a `folder`, a checkpoint does not hold the rows: each row is appended once to a `RowLog` in the folder, and the
    checkpoint holds the number of the last row. Saving then costs only the new rows, and a checkpoint stays readable
    even if a later save is interrupted. Without a `folder`, the checkpoint holds the rows.

    TorchRL's `ReplayBuffer` does all of this except the log, but is pinned to one minor version of tensordict, and the
    two add six more dependencies; its checkpointers copy the whole storage, or leave it mapped in place, where later
    steps overwrite what the last complete checkpoint needs; and it computes n-step returns when data are added, for one
    gamma and one n.

    Args:
        capacity: number of steps, of all copies together; at least one per copy.
        num_envs: N.
        fields: shape of each field of a step: () for one number. "reward", "terminated" and "truncated" are always
            stored, in addition.
        gamma: discount of n-step returns, in (0, 1].
        num_steps: n of n-step returns, at least 1; fewer rewards are summed where the episode or the stored steps end.
        device: where batches are made.
        dtype: of every number.
        images: type of "obs" and "next_obs" if they are images; None if they are in the rows.
        memory_limit: bytes above which the rows are in a file.
        folder: folder of the log and of that file; see above.

    Attributes:
        count: steps of each copy that were ever stored.
        length: steps of each copy that the buffer holds when it is full.
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
        images: torch.dtype | None = None,
        memory_limit: int = MEMORY_LIMIT,
        folder: Path | None = None,
    ) -> None:
        check_values(">= 1", num_envs=num_envs, num_steps=num_steps)
        require(capacity >= num_envs, "replay_size", f">= num_envs = {num_envs}", capacity)
        check_values("in (0, 1]", gamma=gamma)
        require_room("replay_size", capacity, capacity * INDEX_BYTES, "memory", Path())
        self.num_envs, self.length = num_envs, capacity // num_envs
        self.gamma, self.num_steps = gamma, num_steps
        self.device, self.dtype, self.memory_limit = torch.device(device), dtype, memory_limit
        shapes = {**fields, "reward": (), "terminated": (), "truncated": ()}
        self.shapes = {name: tuple(shape) for name, shape in shapes.items()}
        within = self.shapes if images is None else self.shapes.keys() - {"obs", "next_obs"}
        self.row_shapes = {name: shape for name, shape in self.shapes.items() if name in within}
        self.sizes = [math.prod(shape) for shape in self.row_shapes.values()]
        self.width = sum(self.sizes)
        self.copies = torch.arange(num_envs, device=self.device)
        self.log = self.images = None
        if images is not None:
            self.images = ImageStore(self.length, num_envs, self.shapes["obs"], images, self.storage)
        self.folder = folder
        self._clear()

    def _clear(self) -> None:
        """Empties the buffer."""
        self.count = 0
        self.episodes = EpisodeIndex(self.length, self.num_envs, self.device)
        if self.images is not None:
            self.images.clear()

    @property
    def folder(self) -> Path | None:
        """Folder of the log, or None if checkpoints hold the rows."""
        return None if self.log is None else self.log.folder

    @folder.setter
    def folder(self, folder: Path | None) -> None:
        number_type = torch.empty(0, dtype=self.dtype).numpy().dtype
        self.log = None if folder is None else RowLog(folder, self.num_envs * self.width, number_type)
        self.image_logs = None
        if self.images is not None:
            self.images.storage = self.storage
            self.image_logs = None if folder is None else self.images.logs(folder)

    @property
    def storage(self) -> Storage:
        """Where the rows and the images are."""
        return Storage(self.device, self.memory_limit, self.folder)

    def announce(self, folder: Path) -> str:
        """What the buffer will need when it is full, in words; images after the last step of an episode come on top.

        Args:
            folder: of the run, whose disk holds the log, and the file of a buffer above the memory limit.

        Raises: OptionError if there is not so much memory, or space on the disk.
        """
        parts = [self.length * self.num_envs * self.width * self.dtype.itemsize]
        parts += [] if self.images is None else [self.images.bytes]
        places = [self.storage.place(part) for part in parts]
        steps, where = self.length * self.num_envs, WORDS[max(zip(parts, places, strict=True))[1]]
        for place in ("memory", "disk"):
            held = sum(part for part, where in zip(parts, places, strict=True) if where == place)
            require_room("replay_size", steps, held + (sum(parts) if place == "disk" else 0), place, folder)
        return f"replay buffer: {steps:,} steps, {in_units(sum(parts))} {where}, and as much in the run folder"

    @cached_property
    def rows(self) -> Tensor:
        """All rows, as a ring over time: [length, N, W]."""
        return self.storage.zeros((self.length, self.num_envs, self.width), self.dtype)

    def __len__(self) -> int:
        """Number of stored steps, of all copies together."""
        return self.kept * self.num_envs

    @property
    def kept(self) -> int:
        """Number of stored steps of each copy."""
        return min(self.count, self.length)

    @property
    def oldest(self) -> int:
        """Time of the oldest stored step."""
        return self.count - self.kept

    @torch.no_grad()
    def add(self, fields: Mapping[str, Tensor]) -> None:
        """Stores one step of every copy.

        Args:
            fields: every field by name, [N, *shape]; "reward", "terminated" and "truncated" are [N].

        Raises: ValueError if a name or shape is not that given to the constructor.
        """
        if fields.keys() != self.shapes.keys():
            raise ValueError(f"fields must be {', '.join(self.shapes)}, got {', '.join(fields)}")
        for name, shape in self.shapes.items():
            if fields[name].shape != (self.num_envs, *shape):
                raise ValueError(f"{name} must be {[self.num_envs, *shape]}, got {list(fields[name].shape)}")
        columns = [fields[name].reshape(self.num_envs, -1).to(self.dtype) for name in self.row_shapes]
        if self.images is not None:
            self.images.add(self.count, fields["obs"], fields["next_obs"])
        row = self.rows[self.count % self.length]
        if row.device == columns[0].device:
            torch.cat(columns, dim=1, out=row)
        else:
            row.copy_(torch.cat(columns, dim=1))
        self.episodes.add(self.count, (fields["terminated"].bool() | fields["truncated"].bool()).to(self.device))
        self.count += 1

    def add_trajectory(self, trajectory: Trajectory) -> None:
        """Stores every step of a trajectory [H, N, ...]."""
        for step in zip(*trajectory, strict=True):
            self.add(dict(zip(Trajectory._fields, step, strict=True)))

    def draw_index(self, batch_size: int, generator: torch.Generator) -> Tensor:
        """Samples indices [B] of stored rows of the ring, uniformly with replacement.

        Raises: ValueError if the buffer is empty.
        """
        if not self.count:
            raise ValueError("replay must hold at least one step, got none")
        return torch.randint(len(self), (batch_size,), generator=generator, device=self.device)

    def draw(self, batch_size: int, generator: torch.Generator) -> StepIndex:
        """Samples like `draw_index`, but returns times and copies [B]."""
        return self._steps(self.draw_index(batch_size, generator))

    def _steps(self, index: Tensor) -> StepIndex:
        """Times and copies of the rows `index` [B] of the ring."""
        newest = self.count - 1
        return StepIndex(newest - (newest - index // self.num_envs) % self.length, index % self.num_envs)

    def bounds(self, steps: StepIndex) -> tuple[Tensor, Tensor]:
        """Times of the first and the last stored step in the episodes of `steps` [...]: two tensors [...]."""
        first, last = self.episodes.bounds(steps)
        return first.clamp_min(self.oldest), last

    def read(self, steps: StepIndex) -> dict[str, Tensor]:
        """Every field of `steps` [B], by name: [B, *shape]. They must be stored."""
        return self.read_index(steps.time % self.length * self.num_envs + steps.copy)

    def read_index(self, index: Tensor) -> dict[str, Tensor]:
        """Every field of the rows `index` [B] of the ring, by name: [B, *shape]."""
        rows = self.rows.view(-1, self.width)
        found = self._split(rows.index_select(0, index.to(rows.device)).to(self.device))
        if self.images is None:
            return found
        images = self.images.read(*self._steps(index), self.count)
        return {**found, **{name: image.to(self.device) for name, image in images.items()}}

    def field(self, name: str) -> Tensor:
        """One field of all rows, in the order of the ring: a view [length, N, *shape]. Images are not in rows."""
        return self._split(self.rows)[name]

    def in_order(self) -> dict[str, Tensor]:
        """Every field in the rows of all stored steps, from the oldest to the newest: [kept, N, *shape] by name."""
        return self._split(self._in_order(self.oldest, self.count).to(self.device))

    def sample(self, batch_size: int, generator: torch.Generator) -> ReplayBatch:
        """Samples a batch: see `batch`."""
        if self.num_steps > 1:
            return self.batch(self.draw(batch_size, generator))
        return self.one_step(self.read_index(self.draw_index(batch_size, generator)))

    def batch(self, steps: StepIndex) -> ReplayBatch:
        """The batch of stored `steps` [B], with `num_steps` rewards, or fewer at the end of the stored episode."""
        here = self.read(steps)
        if self.num_steps == 1:
            return self.one_step(here)
        ahead = (self.bounds(steps)[1] - steps.time).clamp_max(self.num_steps - 1)
        there = self.read(StepIndex(steps.time + ahead, steps.copy))
        k = torch.arange(self.num_steps, device=self.device).clamp_max(self.length - 1)
        slots, copies = (part.to(self.rows.device) for part in ((steps.time[:, None] + k) % self.length, steps.copy))
        rewards = self.field("reward")[slots, copies[:, None]].to(self.device)
        return n_step_batch(here, there, rewards, ahead, self.gamma)

    def one_step(self, rows: Mapping[str, Tensor]) -> ReplayBatch:
        """The batch of `rows` [B] with one-step targets."""
        return one_step_batch(rows, self.gamma)

    def state_dict(self) -> dict[str, Any]:
        """The content of a checkpoint. With a folder, appends the new rows to the log.

        Deletes the log files that neither the previous checkpoint nor this one needs: call it for a checkpoint that
        replaces the previous one once it is complete.
        """
        images = self.images and self.images.state_dict(self.oldest, self.count, self.image_logs)
        state = {"count": self.count} if images is None else {"count": self.count, "images": images}
        if self.log is None:
            return {**state, "rows": self._in_order(self.oldest, self.count).cpu()}
        self.log.update(self.oldest, self.count, lambda *rows: self._in_order(*rows).flatten(1).cpu().numpy())
        return state

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Restores the buffer from the result of `state_dict`.

        Raises: CheckpointError if the rows are not in the log, or have another shape.
        """
        self._clear()
        self.count = saved["count"]
        shape = (self.kept, self.num_envs, self.width)
        if "rows" in saved:
            rows = saved["rows"]
        elif self.log is None:
            raise CheckpointError("replay must be given the folder of its run: its checkpoint holds no rows")
        else:
            rows = torch.from_numpy(self.log.restore(self.oldest, self.count))
        if rows.numel() != math.prod(shape):
            raise CheckpointError(f"replay's rows must be {list(shape)}, got {list(rows.shape)}")
        if self.images is not None:
            self.images.load_state_dict(saved["images"], self.oldest, self.count, self.image_logs)
        times = torch.arange(self.oldest, self.count, device=self.device)
        slots = times % self.length
        held = slots.to(self.rows.device)
        self.rows[held] = rows.view(shape).to(self.rows)
        ended = self.field("terminated")[held] + self.field("truncated")[held] > 0
        self.episodes.rebuild(times, ended.to(self.device))

    def _in_order(self, first: int, last: int) -> Tensor:
        """Rows of the times `first` to `last` - 1: [last - first, N, W]."""
        return self.rows[torch.arange(first, last, device=self.rows.device) % self.length]

    def _split(self, rows: Tensor) -> dict[str, Tensor]:
        """Fields by name of `rows` [..., W]."""
        parts = zip(self.row_shapes.items(), rows.split(self.sizes, dim=-1), strict=True)
        return {
            name: part if len(shape) == 1 else part.reshape(*part.shape[:-1], *shape) for (name, shape), part in parts
        }
