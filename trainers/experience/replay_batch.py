"""Batches of transitions to fit Q functions to, with one-step and n-step targets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor


class ReplayBatch(NamedTuple):
    """Transitions [B]; the target of Q(obs, action) is reward + discount * Q(next_obs, next action).

    Attributes:
        obs: [B, O].
        action: [B, A].
        reward: [B], of one step, or the discounted sum over n steps.
        next_obs: [B, O], observation after the last of these steps, before any reset.
        discount: [B], gamma^n, or 0 where next_obs is terminal. It is not 0 after a time-out.
    """

    obs: Tensor
    action: Tensor
    reward: Tensor
    next_obs: Tensor
    discount: Tensor


def one_step_batch(rows: Mapping[str, Tensor], gamma: float) -> ReplayBatch:
    """The batch of one-step targets of `rows` [B]: every field of a transition by name."""
    discount = gamma * (1.0 - rows["terminated"])
    return ReplayBatch(rows["obs"], rows["action"], rows["reward"], rows["next_obs"], discount)


def n_step_batch(
    first: Mapping[str, Tensor], last: Mapping[str, Tensor], rewards: Tensor, ahead: Tensor, gamma: float
) -> ReplayBatch:
    """The batch of n-step targets.

        reward    sum_{k<m} gamma^k r_{t+k},     m = ahead + 1
        discount  gamma^m, or 0 where step t + m - 1 terminated

    Args:
        first: rows [B] of steps t, every field by name.
        last: rows [B] of steps t + ahead.
        rewards: [B, n], of steps t to t + n - 1; those after t + ahead are ignored.
        ahead: int64 [B], below n.
        gamma: discount, in (0, 1].
    """
    k = torch.arange(rewards.shape[1], device=rewards.device)
    weights = torch.where(k <= ahead[:, None], gamma ** k.to(rewards.dtype), 0.0)
    discount = gamma ** (ahead + 1).to(rewards.dtype) * (1.0 - last["terminated"])
    return ReplayBatch(first["obs"], first["action"], (weights * rewards).sum(1), last["next_obs"], discount)
