"""Per-sample gradients through the dynamics: whole, in windows that end in a value, and mixed on the way back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from diffsim.mdp import MDP, Scenarios
from diffsim.policies import GaussianMLP
from diffsim.trainers.experience.rollout import Trajectory, rollout
from diffsim.trainers.maths.estimators import (
    action_objective,
    counted_rewards,
    mix_by_variance,
    pathwise_objective,
    per_sample_gradients,
    time_baseline,
)
from diffsim.trainers.maths.returns import reward_to_go

TimedValue = Callable[[Tensor, Tensor], Tensor]
"""From observations [..., O] and the time steps [...] at which they are met to values [...]."""


def pathwise_gradients(mdp: MDP, policy: GaussianMLP, scenarios: Scenarios, gamma: float) -> Tensor:
    """Back-propagation through the whole roll-out: [N, D]."""
    return windowed_gradients(mdp, policy, scenarios, gamma, scenarios.horizon, None)


def windowed_gradients(
    mdp: MDP, policy: GaussianMLP, scenarios: Scenarios, gamma: float, window: int, value: TimedValue | None
) -> Tensor:
    """Back-propagation through windows, each cut from the one before, each with a value standing in for the rest.

        sum_w gamma^(t_w) * d/dtheta [ sum of the window's discounted rewards + gamma^k V(o_{t_w + k}, t_w + k) ]

    With the true value it estimates the gradient of the whole return, and no product of Jacobians is longer than a
    window.

    Args:
        mdp: dynamics and reward.
        policy: whose gradient it is.
        scenarios: start states and noises of H steps.
        gamma: discount, in (0, 1].
        window: k, steps per window, at least 1; the last may be shorter.
        value: of an observation at a time step, for what follows up to H; None for zero.

    Returns: [N, D].
    Source: Heess et al. (2015), SVG; Xu et al. (2022), SHAC.
    """
    horizon, start = scenarios.horizon, 0
    alive = torch.ones(mdp.num_envs, dtype=torch.bool, device=mdp.device)
    age, observations, gradients = None, [], []
    while start < horizon:
        end = min(start + window, horizon)
        noises = (scenarios.process_noise[start:end], scenarios.action_noise[start:end])
        recorder = _Recorder(policy)
        part = replace(scenarios, process_noise=noises[0], action_noise=noises[1])
        trajectory, worlds = rollout(mdp, recorder, part, age=age)
        next_value = None if value is None else _value_ahead(value, trajectory, start, horizon)
        objective = pathwise_objective(trajectory.reward, trajectory.ended, gamma, next_value)
        gradients.append(recorder.gradient(gamma**start * alive * objective))
        observations.append(trajectory.obs.detach())
        alive = alive & ~trajectory.ended.any(0)
        scenarios, age, start = scenarios.starting_from(worlds.state), worlds.age, end
    inputs = (torch.cat(observations), scenarios.action_noise, torch.cat(gradients))
    return per_sample_gradients(policy, action_objective, *inputs)


def total_propagation(mdp: MDP, policy: GaussianMLP, scenarios: Scenarios, gamma: float) -> Tensor:
    """Back-propagation that mixes in the likelihood ratio at every action, each weighted by the other's variance.

    Going back from the last step, the gradient that arrives at the action's distribution is mixed with the likelihood
    ratio's for that action, by the variances over the copies at that step, and the mixture is what travels on. The
    likelihood ratio's baseline is `time_baseline`. Variances are taken of the gradients in mean and deviation, where
    Parmas et al. take them of those in the parameters; and since the noise is the policy's alone, the gradient that
    bypasses the actions, through the state, stays pathwise.

    Args:
        mdp: dynamics and reward.
        policy: whose gradient it is.
        scenarios: start states and noises of H steps.
        gamma: discount, in (0, 1].

    Returns: [N, D].
    Source: Parmas et al. (2018), "PIPPS: Flexible Model-Based Policy Search Robust to the Curse of Chaos", algorithm 1.
    """
    mixer = _Mixer(policy)
    trajectory, _ = rollout(mdp, mixer, scenarios)
    counted, alive = counted_rewards(trajectory.reward, trajectory.ended, gamma)
    returns = reward_to_go(counted.detach(), trajectory.ended, 1.0)
    mixer.weights = (returns - time_baseline(returns, alive)) * alive
    means, deviations = mixer.backward(counted.sum(0))

    def objective(policy: GaussianMLP, obs: Tensor, mean_bar: Tensor, std_bar: Tensor) -> Tensor:
        mean, std = policy.distribution(obs)
        return (mean * mean_bar + std * std_bar).sum()

    return per_sample_gradients(policy, objective, trajectory.obs.detach(), means, deviations)


class _Recorder:
    """An actor that keeps its actions, to differentiate by them."""

    def __init__(self, policy: GaussianMLP) -> None:
        self.policy, self.actions = policy, []

    def __call__(self, obs: Tensor, noise: Tensor | None) -> Tensor:
        self.actions.append(self.policy(obs, noise))
        return self.actions[-1]

    def gradient(self, objective: Tensor) -> Tensor:
        """Derivatives of each copy's `objective` [N] in its actions, the later actions' answers included: [H, N, A]."""
        if not objective.requires_grad:
            return torch.zeros_like(torch.stack(self.actions))
        gradients = torch.autograd.grad(objective.sum(), self.actions, allow_unused=True, materialize_grads=True)
        return torch.stack(gradients)


class _Mixer:
    """An actor whose distributions' gradients are mixed with the likelihood ratio's as they are computed.

    Attributes:
        weights: [H, N], what the log density of each action is weighted by; set between roll-out and `backward`.
    """

    weights: Tensor

    def __init__(self, policy: GaussianMLP) -> None:
        self.policy, self.distributions, self.mixed = policy, [], {}

    def __call__(self, obs: Tensor, noise: Tensor | None) -> Tensor:
        assert noise is not None, "the policy is stochastic"
        time = len(self.distributions)
        mean, std = self.policy.distribution(obs)
        mean, std = mean.clone(), std.clone()  # nodes of their own, whatever shape they were expanded from
        # d log N(x; mean, std^2) / d mean = z / std,   / d std = (z^2 - 1) / std
        scores = (noise / std).detach(), ((noise.square() - 1) / std).detach()
        for name, part, score in zip(("mean", "std"), (mean, std), scores, strict=True):
            if part.requires_grad:
                part.register_hook(lambda g, key=(name, time), score=score: self._mix(g, key, score))
        self.distributions.append((mean, std))
        return self.policy.squash(mean + std * noise)

    def _mix(self, pathwise: Tensor, key: tuple[str, int], score: Tensor) -> Tensor:
        """What goes on backwards in the place of the pathwise gradient [N, A]."""
        self.mixed[key] = mix_by_variance(pathwise, score * self.weights[key[1]][:, None])
        return self.mixed[key]

    def backward(self, objective: Tensor) -> tuple[Tensor, Tensor]:
        """Mixed gradients of each copy's `objective` [N] in means and deviations: two tensors [H, N, A]."""
        parts = [part for pair in self.distributions for part in pair if part.requires_grad]
        # A reward that no action changes leaves the pathwise gradient zero, and the hooks need it all the same.
        anchor = sum((0.0 * part).sum() for part in parts)
        torch.autograd.grad(objective.sum() + anchor, parts)
        zero = torch.zeros_like(self.distributions[0][0])
        times = range(len(self.distributions))
        mean, std = (torch.stack([self.mixed.get((name, t), zero) for t in times]) for name in ("mean", "std"))
        return mean.detach(), std.detach()


def _value_ahead(value: TimedValue, trajectory: Trajectory, start: int, horizon: int) -> Tensor:
    """Values of the observations reached in a window that began at `start`: zero at an end, and after the last step."""
    time = start + 1 + torch.arange(len(trajectory.reward), device=trajectory.reward.device)
    reached = value(trajectory.next_obs, time[:, None].expand_as(trajectory.reward))
    return reached * ~trajectory.ended * (time < horizon)[:, None]
