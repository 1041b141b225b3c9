"""Transitions in temporal order, episode by episode: the data that models are fitted to."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from diffsim.checks import check_values


@dataclass(frozen=True)
class Data:
    """M transitions. Those of one episode are contiguous and in temporal order.

    An episode here is an uninterrupted sequence of transitions. An episode of the environment that spans two windows
    of collection becomes two episodes of the data.

    Attributes:
        obs: [M, O].
        action: [M, A], in the units of the action space.
        reward: [M].
        next_obs: [M, O], the observation after the step, before any reset.
        terminated: bool [M], whether the step reached a terminal state; False for time-outs.
        episode: int64 [M], index of the episode, non-decreasing.
        log_prob: [M], log density of the action under the policy that chose it; nan where unknown.

    Raises: ValueError if shapes do not match, a number is not finite, or episodes are not contiguous.
    """

    obs: Tensor
    action: Tensor
    reward: Tensor
    next_obs: Tensor
    terminated: Tensor
    episode: Tensor
    log_prob: Tensor

    def __post_init__(self) -> None:
        count = len(self.reward)
        for name, dims in {"obs": 2, "action": 2, "next_obs": 2, "reward": 1}.items():
            value = getattr(self, name)
            if value.dim() != dims or len(value) != count:
                rule = f"[{count}, {'O' if 'obs' in name else 'A'}]" if dims == 2 else f"[{count}]"
                raise ValueError(f"{name} must have shape {rule}, got {list(value.shape)}")
        if self.next_obs.shape != self.obs.shape:
            raise ValueError(
                f"next_obs must have the shape of obs, {list(self.obs.shape)}, got {list(self.next_obs.shape)}"
            )
        for name in ("terminated", "episode", "log_prob"):
            if getattr(self, name).shape != (count,):
                raise ValueError(f"{name} must have shape [{count}], got {list(getattr(self, name).shape)}")
        numbers = [self.obs, self.action, self.next_obs, self.reward]
        valid = [*(value.isfinite().all() for value in numbers), (self.episode.diff() >= 0).all()]
        if not torch.stack(valid).all():  # one read, which waits for the device
            self._refuse()

    def _refuse(self) -> None:
        """Raises the error of a number that is not finite, or of episodes that are not contiguous."""
        for name in ("obs", "action", "next_obs", "reward"):
            value = getattr(self, name)
            if not value.isfinite().all():
                row = int((~value.isfinite()).reshape(len(value), -1).any(1).nonzero()[0])
                where = f"in transition {row}, in episode {int(self.episode[row])}"
                raise ValueError(f"{name} must be finite, got {value[row].tolist()} {where}")
        raise ValueError("episode must be non-decreasing: transitions of one episode are contiguous")

    def __len__(self) -> int:
        return len(self.reward)

    def __getitem__(self, index: Tensor | slice) -> Data:
        """The transitions at `index`: increasing positions, a slice, or a mask, bool [M]."""
        if isinstance(index, Tensor) and index.dtype == torch.bool:
            return self._at(index.nonzero()[:, 0])  # once for all fields
        part = self._at(index)
        return part if isinstance(index, slice) else Data(**part.tensors())  # positions may be out of order

    def _at(self, index: Tensor | slice) -> Data:
        """The transitions at `index`, increasing positions or a slice."""
        return self.derived(**{name: value[index] for name, value in self.tensors().items()})

    def derived(self, **changed: Tensor) -> Data:
        """These data with `changed` fields, made from valid ones: they need no check, which would wait for a GPU."""
        made = object.__new__(Data)
        made.__dict__.update(self.tensors(), **changed)
        return made

    def parted(self, chosen: Tensor) -> tuple[Data, Data]:
        """The transitions outside of a mask, bool [M], and those in it."""
        count = int(chosen.sum())  # waits for a GPU, once for both
        parts = ((~chosen, len(self) - count), (chosen, count))
        outside, inside = (torch.nonzero_static(mask, size=size)[:, 0] for mask, size in parts)
        return self._at(outside), self._at(inside)

    def tensors(self) -> dict[str, Tensor]:
        """All fields by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def to(self, like: Tensor) -> Data:
        """Moves the data to the device and the floating type of `like`."""
        if self.obs.device == like.device and self.obs.dtype == like.dtype:
            return self
        cast = {name: value.to(like) for name, value in self.tensors().items() if value.is_floating_point()}
        whole = {name: getattr(self, name).to(like.device) for name in ("terminated", "episode")}
        return Data(**cast, **whole)

    def starts(self, horizon: int = 1) -> Tensor:
        """Positions at which `horizon` consecutive transitions of one episode start: int64 [K]."""
        last = len(self) - horizon + 1
        if last <= 0:
            return self.episode.new_zeros(0)
        if horizon == 1:
            return torch.arange(last, device=self.episode.device)
        return (self.episode[:last] == self.episode[horizon - 1 :]).nonzero()[:, 0]

    def episode_starts(self) -> Tensor:
        """Position of the first transition of each episode: int64 [E]."""
        first = torch.ones_like(self.episode, dtype=torch.bool)
        first[1:] = self.episode.diff() > 0
        return first.nonzero()[:, 0]

    def sequences(self, start: Tensor, horizon: int) -> tuple[dict[str, Tensor], Tensor]:
        """The `horizon` transitions from each of the positions `start` [...].

        Returns: all fields, [H, ..., .], time-major; and a mask, bool [H, ...], of the steps that belong to the episode
        of the first step. The values of the other steps are meaningless.
        """
        time = torch.arange(horizon, device=start.device).reshape(-1, *[1] * start.dim())
        index = (start + time).clamp(max=len(self) - 1)
        valid = (self.episode[index] == self.episode[start]) & (start + time < len(self))
        return {name: value[index] for name, value in self.tensors().items()}, valid

    def extended(self, other: Data) -> Data:
        """Appends the transitions of `other`, as separate episodes."""
        shift = self.episode[-1] + 1 - other.episode[0] if len(self) and len(other) else 0
        other = other.derived(episode=other.episode + shift)
        pairs = zip(self.tensors().items(), other.tensors().values(), strict=True)
        return self.derived(**{name: torch.cat([mine, theirs]) for (name, mine), theirs in pairs})

    def in_episodes(self, chosen: Tensor) -> Data:
        """The transitions of the episodes `chosen` [K]."""
        return self[torch.isin(self.episode, chosen)]

    def without(self, left_out: Tensor) -> Data:
        """The transitions of all episodes but `left_out` [K]."""
        return self[~torch.isin(self.episode, left_out)]

    def split(self, share: float, generator: torch.Generator) -> tuple[Data, Data]:
        """Splits the data by whole episodes, because consecutive transitions are strongly correlated.

        Args:
            share: fraction of the episodes for validation, rounded to at least one episode; in (0, 1).
            generator: chooses the episodes; on the CPU.

        Returns: training data and validation data.
        Raises: ValueError if the share is out of range, or there are fewer than two episodes.
        """
        validation = validation_episodes(self.episode, share, generator)
        return self.without(validation), self.in_episodes(validation)


def validation_episodes(episode: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Draws the validation episodes from the episode indices `episode` [M]: int64, increasing.

    Raises: ValueError if the share is not in (0, 1), or there are fewer than two episodes.
    """
    check_values("in (0, 1)", validation_share=share)
    names = episode.unique()
    if len(names) < 2:
        raise ValueError(
            f"data must have >= 2 episodes, for training and validation, got {len(names)}; collect more steps"
        )
    count = min(max(round(share * len(names)), 1), len(names) - 1)
    chosen = torch.randperm(len(names), generator=generator)[:count].to(names.device)
    return names[chosen].sort().values


def from_windows(
    obs: Tensor,
    action: Tensor,
    reward: Tensor,
    next_obs: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    log_prob: Tensor | None = None,
) -> Data:
    """Converts time-major experience of N copies to `Data`: the copies one after the other, split into episodes.

    Args:
        obs: [H, N, O].
        action: [H, N, A].
        reward: [H, N].
        next_obs: [H, N, O].
        terminated: bool [H, N].
        truncated: bool [H, N].
        log_prob: [H, N], log densities of the actions; nan if None.
    """
    log_prob = torch.full_like(reward, torch.nan) if log_prob is None else log_prob
    begins = torch.ones_like(terminated)
    begins[1:] = (terminated | truncated)[:-1]
    rows = [
        part.transpose(0, 1).flatten(0, 1) for part in (obs, action, reward, next_obs, terminated, begins, log_prob)
    ]
    *parts, begins, log_prob = rows
    return Data(*parts, episode=begins.long().cumsum(0) - 1, log_prob=log_prob)
