"""Sums of rewards over time, as functions on time-major tensors."""

from __future__ import annotations

import torch
from torch import Tensor


def discount_weights(ended: Tensor, gamma: float, dtype: torch.dtype | None = None) -> Tensor:
    """Discount of each step's reward, counted from where its episode starts inside the window.

        w_0 = 1,    w_{t+1} = 1 if an episode ended at t, else gamma * w_t

    Args:
        ended: bool [H, N], whether an episode ended (terminated or truncated) on each step.
        gamma: discount, in (0, 1].
        dtype: of the weights; torch's default if None.

    Returns: [H, N].
    Raises: ValueError if gamma is out of range.
    """
    if not 0.0 < gamma <= 1.0:
        raise ValueError(f"gamma must be in (0, 1], got {gamma}")
    weights = torch.ones(ended.shape, device=ended.device, dtype=dtype)
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


def lambda_returns(reward: Tensor, next_value: Tensor, ended: Tensor, gamma: float, lam: float) -> Tensor:
    """Mixes n-step returns with weights that fall as lam**n; every one of them stops at the end of its episode.

        G_t = r_t + gamma * ((1 - lam) * V_{t+1} + lam * G_{t+1})
        G_t = r_t + gamma * V_{t+1}                                 on the last step of an episode or of the window

    Differentiable in reward and next_value.

    Args:
        reward: [H, N].
        next_value: [H, N], value of the observation each step reached, before any reset. It must be zero where
            that is terminal, and nowhere else: a time-out goes on, only unseen.
        ended: bool [H, N], whether an episode ended (terminated or truncated) on each step.
        gamma: discount, in (0, 1].
        lam: 0 gives one-step targets, 1 gives rewards up to the end, or the window's, and one value.

    Returns: [H, N].
    Raises: ValueError if shapes differ, or gamma or lam is out of range.
    Source: Sutton & Barto (2018), section 12.8.
    """
    if not reward.shape == next_value.shape == ended.shape:
        raise ValueError(
            "reward, next_value and ended must have one shape, "
            f"got {tuple(reward.shape)}, {tuple(next_value.shape)} and {tuple(ended.shape)}"
        )
    for name, number, valid in (("gamma", gamma, 0 < gamma <= 1), ("lam", lam, 0 <= lam <= 1)):
        if not valid:
            raise ValueError(f"{name} must be in {'(' if name == 'gamma' else '['}0, 1], got {number}")
    returns = [next_value[-1]]
    for reward_t, value, ended_t in zip(reward.flip(0), next_value.flip(0), ended.flip(0), strict=True):
        following = torch.where(ended_t, value, (1 - lam) * value + lam * returns[-1])
        returns.append(reward_t + gamma * following)
    return torch.stack(returns[:0:-1])


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
