"""Sums of rewards over time, as functions on time-major tensors."""

from __future__ import annotations

import torch
from torch import Tensor

from diffsim.checks import check_value


def discount_weights(ended: Tensor, gamma: float, dtype: torch.dtype | None = None) -> Tensor:
    """Discount of each step's reward, counted from the start of its episode inside the window.

        w_0 = 1,    w_{t+1} = 1 if an episode ended at t, else gamma * w_t

    Args:
        ended: bool [H, N], whether an episode ended (terminated or truncated) on each step.
        gamma: discount, in (0, 1].
        dtype: of the weights; torch's default if None.

    Returns: [H, N].
    Raises: ValueError if gamma is out of range.
    """
    check_value("gamma", gamma, "in (0, 1]")
    weights = torch.ones(ended.shape, device=ended.device, dtype=dtype)
    for t in range(1, ended.shape[0]):
        weights[t] = torch.where(ended[t - 1], 1.0, gamma * weights[t - 1])
    return weights


def first_episode(ended: Tensor) -> Tensor:
    """Marks the steps of each copy's first episode, including its last step.

    Args:
        ended: bool [H, N], whether an episode ended on each step.

    Returns: bool [H, N].
    """
    earlier_ends = ended.cumsum(0) - ended.to(torch.int64)
    return earlier_ends == 0


def lambda_returns(reward: Tensor, next_value: Tensor, ended: Tensor, gamma: float, lam: float) -> Tensor:
    """Mixes n-step returns, truncated at the end of the episode, with weights that decay as lam**n.

        G_t = r_t + gamma * ((1 - lam) * V_{t+1} + lam * G_{t+1})
        G_t = r_t + gamma * V_{t+1}                                 on the last step of an episode or of the window

    Differentiable in reward and next_value.

    Args:
        reward: [H, N].
        next_value: [H, N], value of the observation each step reached, before any reset. It must be zero where
            that observation is terminal, and only there: after a time-out the value is bootstrapped.
        ended: bool [H, N], whether an episode ended (terminated or truncated) on each step.
        gamma: discount, in (0, 1].
        lam: 0 gives one-step targets, 1 gives all rewards to the end of the episode or window, and one value.

    Returns: [H, N].
    Raises: ValueError if shapes differ, or gamma or lam is out of range.
    Source: Sutton & Barto (2018), section 12.8.
    """
    _check_returns({"reward": reward, "next_value": next_value, "ended": ended}, gamma, lam)
    returns = [next_value[-1]]
    for reward_t, value, ended_t in zip(reward.flip(0), next_value.flip(0), ended.flip(0), strict=True):
        following = torch.where(ended_t, value, (1 - lam) * value + lam * returns[-1])
        returns.append(reward_t + gamma * following)
    return torch.stack(returns[:0:-1])


def episode_returns(reward: Tensor, ended: Tensor, running: Tensor) -> tuple[Tensor, Tensor]:
    """Undiscounted returns of the episodes that end inside a window, including those that began before it.

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
    total, running = running_returns(reward, ended, running)
    return total[ended], running


def running_returns(reward: Tensor, ended: Tensor, running: Tensor) -> tuple[Tensor, Tensor]:
    """Undiscounted return of each copy's episode so far, after each step of a window, as `episode_returns`.

    Returns: [H, N]; and the running sums [N] after the window, 0 where an episode ended with it.
    """
    totals = []
    for reward_t, ended_t in zip(reward, ended, strict=True):
        totals.append(running + reward_t)
        running = torch.where(ended_t, 0.0, totals[-1])
    return torch.stack(totals), running


def reward_to_go(reward: Tensor, ended: Tensor, gamma: float) -> Tensor:
    """The Monte Carlo return: discounted rewards from each step to the end of its episode or of the window.

        G_t = r_t + gamma * G_{t+1},    G_t = r_t on the last step of an episode or of the window

    Rewards after a time-out or after the window count as zero; `n_step_returns` bootstraps with a value instead.

    Args:
        reward: [H, N].
        ended: bool [H, N], whether an episode ended (terminated or truncated) on each step.
        gamma: discount, in (0, 1].

    Returns: [H, N].
    Raises: ValueError if shapes differ, or gamma is out of range.
    Source: Sutton & Barto (2018), equation 3.9.
    """
    _check_returns({"reward": reward, "ended": ended}, gamma)
    returns = [torch.zeros_like(reward[-1])]
    for reward_t, ended_t in zip(reward.flip(0), ended.flip(0), strict=True):
        returns.append(reward_t + gamma * torch.where(ended_t, 0.0, returns[-1]))
    return torch.stack(returns[:0:-1])


def n_step_returns(reward: Tensor, next_value: Tensor, ended: Tensor, gamma: float, num_steps: int) -> Tensor:
    """Sums the next n discounted rewards and a bootstrapped value; fewer where the episode or the window ends first.

        G_t = r_t + gamma * r_{t+1} + ... + gamma^(m-1) * r_{t+m-1} + gamma^m * V_{t+m},
        m = min(n, steps to the end of the episode or of the window)

    Args:
        reward: [H, N].
        next_value: [H, N], value of the observation each step reached, before any reset; zero where it terminated.
        ended: bool [H, N], whether an episode ended (terminated or truncated) on each step.
        gamma: discount, in (0, 1].
        num_steps: n, at least 1. H or more gives all rewards, and the value at time-outs and at the end of the
            window.

    Returns: [H, N].
    Raises: ValueError if shapes differ, or gamma or num_steps is out of range.
    Source: Sutton & Barto (2018), equation 7.1.
    """
    _check_returns({"reward": reward, "next_value": next_value, "ended": ended}, gamma)
    check_value("num_steps", num_steps, ">= 1")
    one_step = reward + gamma * next_value
    returns = one_step
    for _ in range(min(num_steps, len(reward)) - 1):
        longer = reward[:-1] + gamma * returns[1:]
        returns = torch.cat([torch.where(ended[:-1], one_step[:-1], longer), one_step[-1:]])
    return returns


def generalized_advantages(
    reward: Tensor, value: Tensor, next_value: Tensor, ended: Tensor, gamma: float, lam: float
) -> Tensor:
    """Generalized advantage estimation: sums of temporal-difference errors, discounted by gamma * lam.

        delta_t = r_t + gamma * V_{t+1} - V_t
        A_t = delta_t + gamma * lam * A_{t+1},    A_t = delta_t on the last step of an episode or of the window

    Args:
        reward: [H, N].
        value: [H, N], value of the observation each step started from.
        next_value: [H, N], value of the observation each step reached, before any reset; zero where it terminated.
        ended: bool [H, N], whether an episode ended (terminated or truncated) on each step.
        gamma: discount, in (0, 1].
        lam: 0 gives one-step advantages, 1 Monte Carlo advantages; in [0, 1].

    Returns: [H, N].
    Raises: ValueError if shapes differ, or gamma or lam is out of range.
    Source: Schulman et al. (2016), "High-Dimensional Continuous Control Using GAE", equation 16.
    """
    _check_returns({"reward": reward, "value": value, "next_value": next_value, "ended": ended}, gamma, lam)
    td_error = reward + gamma * next_value - value
    advantages = [torch.zeros_like(reward[-1])]
    for delta, ended_t in zip(td_error.flip(0), ended.flip(0), strict=True):
        advantages.append(delta + gamma * lam * torch.where(ended_t, 0.0, advantages[-1]))
    return torch.stack(advantages[:0:-1])


def _check_returns(tensors: dict[str, Tensor], gamma: float, lam: float = 0.0) -> None:
    """Raises ValueError unless all tensors have one shape, gamma is in (0, 1] and lam in [0, 1]."""
    if len({tensor.shape for tensor in tensors.values()}) > 1:
        shapes = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in tensors.items())
        raise ValueError(f"{', '.join(tensors)} must have one shape, got {shapes}")
    check_value("gamma", gamma, "in (0, 1]")
    check_value("lam", lam, "in [0, 1]")
