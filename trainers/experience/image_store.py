"""The images of a replay buffer, each stored once, although two steps share it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffsim.trainers.experience.row_log import RowLog
from diffsim.trainers.experience.storage import Storage

FEW = 16
"""Images for which there is room at first, of those that are not in the ring."""


class ImageStore:
    """Images before and after each of the last `length` steps of N copies.

    The image before a step is in a ring over time. The image after a step is that before the copy's next step, except
    where an episode ended: there it is stored apart, in a second ring that grows. So is the newest one of every copy.

    Args:
        length: steps of each copy.
        num_envs: N.
        shape: of an image.
        dtype: of its numbers.
        storage: where the rings are.

    Attributes:
        apart: int64 [length, N], number of the image after each step in the second ring; -1 where it is in the first.
        first: number of the oldest image in the second ring.
        end: number of its newest image plus 1.
        newest: [N, *shape], images after the newest step.
    """

    def __init__(self, length: int, num_envs: int, shape: Sequence[int], dtype: torch.dtype, storage: Storage) -> None:
        self.length, self.num_envs, self.shape, self.dtype = length, num_envs, tuple(shape), dtype
        self.storage = storage
        self.clear()

    def clear(self) -> None:
        """Empties the store."""
        self.apart = torch.full((self.length, self.num_envs), -1)
        self.first = self.end = 0
        self.newest = torch.zeros(self.num_envs, *self.shape, dtype=self.dtype)
        self.last = torch.zeros(FEW, *self.shape, dtype=self.dtype)

    @property
    def bytes(self) -> int:
        """Bytes of the first ring."""
        return self.length * self.num_envs * self.newest[0].numel() * self.dtype.itemsize

    @cached_property
    def ring(self) -> Tensor:
        """The first ring, [length, N, *shape]."""
        return self.storage.zeros((self.length, self.num_envs, *self.shape), self.dtype)

    def add(self, time: int, obs: Tensor, next_obs: Tensor) -> None:
        """Stores the images [N, *shape] before and after step `time`, which follows the one that was added last."""
        slot, obs, next_obs = time % self.length, *(part.to("cpu", self.dtype) for part in (obs, next_obs))
        if time and self.length > 1:
            self._store_apart((time - 1) % self.length, (self.newest != obs).flatten(1).any(1))
        overwritten = self.apart[slot]
        if (overwritten >= 0).any():
            self.first = int(overwritten.max()) + 1
        self.apart[slot] = -1
        self.ring[slot] = obs.to(self.ring.device)
        self.newest = next_obs.clone()

    def _store_apart(self, slot: int, copies: Tensor) -> None:
        """Stores the newest images of `copies`, bool [N], in the second ring, as those after the step in `slot`."""
        count = int(copies.sum())
        if not count:
            return
        if self.end + count - self.first > len(self.last):
            self._resize(max(2 * len(self.last), self.end + count - self.first))
        numbers = torch.arange(self.end, self.end + count)
        self.last[numbers % len(self.last)] = self.newest[copies]
        self.apart[slot, copies] = numbers
        self.end += count

    def _resize(self, size: int) -> None:
        """Makes room for `size` images in the second ring."""
        numbers = torch.arange(self.first, self.end)
        larger = self.storage._replace(device=torch.device("cpu")).zeros((size, *self.shape), self.dtype)
        larger[numbers % size] = self.last[numbers % len(self.last)]
        self.last = larger

    def read(self, time: Tensor, copy: Tensor, count: int) -> dict[str, Tensor]:
        """The images before and after stored steps [B], "obs" and "next_obs": [B, *shape].

        Args:
            time: int64 [B].
            copy: int64 [B].
            count: steps that were ever stored.
        """
        time, copy = time.cpu(), copy.cpu()
        slot, following = time % self.length, (time + 1) % self.length
        flat = self.ring.view(-1, *self.shape)
        obs, next_obs = (flat.index_select(0, (at * self.num_envs + copy).to(flat.device)) for at in (slot, following))
        number, newest = self.apart[slot, copy], time == count - 1
        apart = number >= 0
        next_obs[apart.to(flat.device)] = self.last[number[apart] % len(self.last)].to(flat.device)
        next_obs[newest.to(flat.device)] = self.newest[copy[newest]].to(flat.device)
        return {"obs": obs, "next_obs": next_obs}

    def logs(self, folder: Path) -> tuple[RowLog, RowLog]:
        """Logs of both rings in a folder, which `state_dict` appends to."""
        width, kind = self.newest[0].numel(), self.newest.numpy().dtype
        return RowLog(folder / "images", self.num_envs * width, kind), RowLog(folder / "last", width, kind)

    def state_dict(self, oldest: int, count: int, logs: tuple[RowLog, RowLog] | None) -> dict[str, Any]:
        """What a checkpoint holds of steps `oldest` to `count` - 1; the rings only without `logs`."""
        times = torch.arange(oldest, count) % self.length
        state = {"apart": self.apart[times] >= 0, "end": self.end, "newest": self.newest}
        if logs is None:
            numbers = torch.arange(self.first, self.end)
            images = self.ring[times.to(self.ring.device)].cpu()
            return {**state, "images": images, "last": self.last[numbers % len(self.last)]}
        logs[0].update(oldest, count, self._image_rows)
        logs[1].update(self.first, self.end, self._last_rows)
        return state

    def _image_rows(self, first: int, last: int) -> np.ndarray:
        times = torch.arange(first, last, device=self.ring.device) % self.length
        return self.ring[times].flatten(1).cpu().numpy()

    def _last_rows(self, first: int, last: int) -> np.ndarray:
        return self.last[torch.arange(first, last) % len(self.last)].flatten(1).numpy()

    def load_state_dict(
        self, saved: Mapping[str, Any], oldest: int, count: int, logs: tuple[RowLog, RowLog] | None
    ) -> None:
        """Restores what `state_dict` returned, for the same steps.

        Raises: CheckpointError if images are missing in the logs.
        """
        self.clear()
        times, apart = torch.arange(oldest, count) % self.length, saved["apart"]
        self.end, self.newest = saved["end"], saved["newest"].clone()
        self.first = self.end - int(apart.sum())
        numbers = torch.full(apart.shape, -1)
        numbers[apart] = torch.arange(self.first, self.end)
        self.apart[times] = numbers
        self._resize(max(FEW, self.end - self.first))
        if logs is None:
            self.ring[times.to(self.ring.device)] = saved["images"].to(self.ring.device)
            self.last[torch.arange(self.first, self.end) % len(self.last)] = saved["last"]
            return
        for begin, rows in logs[0].restored(oldest, count):
            slots = torch.arange(begin, begin + len(rows), device=self.ring.device) % self.length
            self.ring[slots] = torch.from_numpy(rows).view(-1, *self.ring.shape[1:]).to(self.ring.device)
        for begin, rows in logs[1].restored(self.first, self.end):
            slots = torch.arange(begin, begin + len(rows)) % len(self.last)
            self.last[slots] = torch.from_numpy(rows).view(-1, *self.shape)
