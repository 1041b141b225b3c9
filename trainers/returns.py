"""Sums of rewards over time, as functions on time-major tensors."""

from __future__ import annotations

import torch
from torch import Tensor


def discount_weights(ended: Tensor, gamma: float) -> Tensor:
    """Discount of each step's reward, counted from where its episode starts inside the window.

        w_0 = 1,    w_{t+1} = 1 if an episode ended at t, else gamma * w_t

    Args:
        ended: bool [H, N], whether an episode ended (terminated or truncated) on each step.
        gamma: discount, in (0, 1].

    Returns: [H, N], in torch's default dtype.
    Raises: ValueError if gamma is out of range.
    """
    if not 0.0 < gamma <= 1.0:
        raise ValueError(f"gamma must be in (0, 1], got {gamma}")
    weights = torch.ones(ended.shape, device=ended.device)
    for t in range(1, ended.shape[0]):
        weights[t] = torch.where(ended[t - 1], 1.0, gamma * weights[t - 1])
    return weights


def first_episode(ended: Tensor) -> Tensor:
    """Marks the steps of each copy's first episode, the one that ends it included.

    Args:
        ended: bool [H, N], whether an episode ended on each step.

    Returns: bool [H, N].
    """
    earlier_ends = ended.cumsum(0) - ended.to(torch.int64)
    return earlier_ends == 0


def episode_returns(reward: Tensor, ended: Tensor, running: Tensor) -> tuple[Tensor, Tensor]:
    """Undiscounted returns of the episodes that end inside a window, some of which began before it.

    Args:
        reward: [H, N].
        ended: bool [H, N], whether an episode ended on each step.
        running: [N], sum of rewards since each copy's episode began, before this window.

    Returns: returns of the ended episodes, in order of time, [E]; and the new running sums, [N].
    Raises: ValueError if shapes differ.
    """
    if reward.shape != ended.shape or running.shape != reward.shape[1:]:
        raise ValueError(
            "reward and ended must be [H, N] and running [N], "
            f"got {tuple(reward.shape)}, {tuple(ended.shape)} and {tuple(running.shape)}"
        )
    finished = []
    for reward_t, ended_t in zip(reward, ended, strict=True):
        running = running + reward_t
        finished.append(running[ended_t])
        running = torch.where(ended_t, 0.0, running)
    return torch.cat(finished), running
