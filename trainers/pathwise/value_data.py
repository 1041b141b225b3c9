"""Data of a window to fit a value function to: returns, and optionally their gradients with respect to the state."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from diffsim.mdp import MDP
from diffsim.trainers.maths.returns import discount_weights, lambda_returns
from diffsim.trainers.pathwise.window import DifferentiatedWindow, clip_samples

SLOPE_CLIP = 3.0  # slopes are noisier than returns: their norms are clipped to this multiple of the median


class ValueData(NamedTuple):
    """M samples for a regression of V. A slope is a gradient with respect to the state.

    Attributes:
        state: s, [M, S].
        obs: h(s), [M, O].
        goal: target of V(h(s)), [M].
        slope: target of scale * dV(h(s)) / ds, [M, S].
        known: bool [M], whether the slope is known.
        scale: [S], standard deviation of each number of the state.
    """

    state: Tensor
    obs: Tensor
    goal: Tensor
    slope: Tensor
    known: Tensor
    scale: Tensor

    def batch(self, index: Tensor) -> ValueData:
        """The samples at `index` [B]."""
        return ValueData(*(part[index] for part in self[:-1]), scale=self.scale)

    def with_terminal(self, window: DifferentiatedWindow) -> ValueData:
        """Adds the window's terminal states, with value 0."""
        count = window.num_terminated.array.item()
        dead = window.trajectory.terminated.flatten().argsort(stable=True, descending=True)[: int(count)]
        state, obs = (part.flatten(0, 1)[dead] for part in (window.next_state, window.trajectory.next_obs))
        goal, known = self.goal.new_zeros(len(obs)), self.known.new_zeros(len(obs))
        added = (state, obs, goal, torch.zeros_like(state), known)
        return ValueData(*(torch.cat(pair) for pair in zip(self[:-1], added, strict=True)), scale=self.scale)


def join(windows: Iterable[ValueData]) -> ValueData:
    """The samples of several windows, with the scale of the last one, which is the latest."""
    *parts, scales = zip(*windows, strict=True)
    return ValueData(*map(torch.cat, parts), scale=scales[-1])


@torch.no_grad()
def returns_data(window: DifferentiatedWindow, target_value: nn.Module, gamma: float, lam: float) -> ValueData:
    """TD(lambda) targets for every state of a window, without slopes."""
    trajectory = window.trajectory
    next_value = torch.where(trajectory.terminated, 0.0, target_value(trajectory.next_obs))
    goal = lambda_returns(trajectory.reward, next_value, trajectory.ended, gamma, lam).flatten()
    state = window.state.flatten(0, 1)
    unknown = torch.zeros_like(goal, dtype=torch.bool)
    return ValueData(state, trajectory.obs.flatten(0, 1), goal, torch.zeros_like(state), unknown, state.std(0))


def add_slopes(data: ValueData, mdp: MDP, window: DifferentiatedWindow, gamma: float, lam: float) -> ValueData:
    """Adds slopes to the targets of a window whose J is the sum of G_0(lam), and of G_t where an episode began at t.

        dJ/ds_{t+1} = (gamma lam)^t (dr_t/ds_{t+1} + gamma y_{t+1})
        y_{t+1}     = (1 - lam) dV'/ds_{t+1} + lam dG_{t+1}/ds_{t+1}

    The slope target y is the derivative of a mixture of V' and G at t + 1. It is known for states between two steps of
    the window. The back-propagation through the window has already computed it.

    Source: Fairbank & Alonso (2012), "Value-gradient learning"; Czarnecki et al. (2017), "Sobolev training".
    """
    trajectory, ended = window.trajectory, window.trajectory.ended
    reached = window.next_state.flatten(0, 1).requires_grad_(True)
    rewards = mdp.reward(window.state.flatten(0, 1), trajectory.action.flatten(0, 1), reached)
    immediate = torch.zeros_like(reached)
    if rewards.requires_grad:
        (immediate,) = torch.autograd.grad(rewards.sum(), reached)
    weights = discount_weights(ended, gamma * lam, window.state_gradient.dtype).unsqueeze(-1)
    slope = (window.state_gradient / weights - immediate.view_as(window.next_state)) / gamma
    known = torch.zeros_like(ended)
    known[1:] = ~ended[:-1]
    slope, known = slope.roll(1, dims=0).flatten(0, 1), known.flatten()
    slopes, _ = clip_samples(slope * data.scale, SLOPE_CLIP, known)
    return data._replace(slope=torch.where(known.unsqueeze(-1), slopes, 0.0), known=known)


def value_loss(value: nn.Module, mdp: MDP, data: ValueData, slope_weight: float) -> Tensor:
    """Mean squared error of values, and of their slopes, scaled by the standard deviation of the state.

    mean (V(h(s)) - goal)^2 + slope_weight * mean |scale * dV(h(s))/ds - slope|^2
    """
    if slope_weight == 0.0:
        return (value(data.obs) - data.goal).square().mean()
    state = data.state.requires_grad_(True)
    values = value(mdp.observation(state))
    (slope,) = torch.autograd.grad(values.sum(), state, create_graph=True)
    wrong = (data.scale * slope - data.slope).square().sum(-1)
    return (values - data.goal).square().mean() + slope_weight * torch.where(data.known, wrong, 0.0).mean()
