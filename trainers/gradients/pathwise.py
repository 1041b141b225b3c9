"""Per-sample gradients through the dynamics: of whole roll-outs, of windows with a value, and total propagation."""

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
"""Maps observations [..., O] and their time steps [...] to values [...]."""


def pathwise_gradients(mdp: MDP, policy: GaussianMLP, scenarios: Scenarios, gamma: float) -> Tensor:
    """Back-propagation through the whole roll-out: [N, D]."""
    return windowed_gradients(mdp, policy, scenarios, gamma, scenarios.horizon, None)


def windowed_gradients(
    mdp: MDP, policy: GaussianMLP, scenarios: Scenarios, gamma: float, window: int, value: TimedValue | None
) -> Tensor:
    """Back-propagation through windows, detached from each other, each ending with a value.

        sum_w gamma^(t_w) * d/dtheta [ sum of the window's discounted rewards + gamma^k V(o_{t_w + k}, t_w + k) ]

    With the true value it is an unbiased estimate of the gradient of the whole return, and no product of Jacobians is
    longer than a window.

    Args:
        mdp: dynamics and reward.
        policy: policy whose gradient is estimated.
        scenarios: initial states and noise of H steps.
        gamma: discount, in (0, 1].
        window: k, steps per window, at least 1; the last may be shorter.
        value: expected return from an observation at a time step up to H; None for zero.

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
    """Total propagation: mixes pathwise and likelihood-ratio gradients at every action, by inverse-variance weights.

    In the backward pass, the gradient with respect to the distribution of each action is mixed with the action's
    likelihood-ratio gradient, by their variances over the copies, and the mixture is backpropagated further. The
    likelihood ratio uses `time_baseline`. Variances are those of the gradients with respect to mean and standard
    deviation, where Parmas et al. use the gradients with respect to the parameters. Only the policy is stochastic, so
    that the gradient from state to state, which bypasses the actions, stays pathwise.

    Args:
        mdp: dynamics and reward.
        policy: policy whose gradient is estimated.
        scenarios: initial states and noise of H steps.
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
    """An actor that records its actions, to differentiate with respect to them."""

    def __init__(self, policy: GaussianMLP) -> None:
        self.policy, self.actions = policy, []

    def __call__(self, obs: Tensor, noise: Tensor | None) -> Tensor:
        self.actions.append(self.policy(obs, noise))
        return self.actions[-1]

    def gradient(self, objective: Tensor) -> Tensor:
        """Gradients of each copy's `objective` [N] by its actions, including paths through later ones: [H, N, A]."""
        if not objective.requires_grad:
            return torch.zeros_like(torch.stack(self.actions))
        gradients = torch.autograd.grad(objective.sum(), self.actions, allow_unused=True, materialize_grads=True)
        return torch.stack(gradients)


class _Mixer:
    """An actor that mixes likelihood-ratio gradients into those of its distributions, in the backward pass.

    Attributes:
        weights: [H, N], weight of the log density of each action; set between roll-out and `backward`.
    """

    weights: Tensor

    def __init__(self, policy: GaussianMLP) -> None:
        self.policy, self.distributions, self.mixed = policy, [], {}

    def __call__(self, obs: Tensor, noise: Tensor | None) -> Tensor:
        assert noise is not None, "the policy is stochastic"
        time = len(self.distributions)
        mean, std = self.policy.distribution(obs)
        mean, std = mean.clone(), std.clone()  # separate nodes in the graph, even if they were expanded
        # d log N(x; mean, std^2) / d mean = z / std,   / d std = (z^2 - 1) / std
        scores = (noise / std).detach(), ((noise.square() - 1) / std).detach()
        for name, part, score in zip(("mean", "std"), (mean, std), scores, strict=True):
            if part.requires_grad:
                part.register_hook(lambda g, key=(name, time), score=score: self._mix(g, key, score))
        self.distributions.append((mean, std))
        return self.policy.squash(mean + std * noise)

    def _mix(self, pathwise: Tensor, key: tuple[str, int], score: Tensor) -> Tensor:
        """Mixture that replaces the pathwise gradient [N, A] in the backward pass."""
        self.mixed[key] = mix_by_variance(pathwise, score * self.weights[key[1]][:, None])
        return self.mixed[key]

    def backward(self, objective: Tensor) -> tuple[Tensor, Tensor]:
        """Mixed gradients of each copy's `objective` [N] by means and standard deviations: two tensors [H, N, A]."""
        parts = [part for pair in self.distributions for part in pair if part.requires_grad]
        # If no action changes the reward, the pathwise gradient is zero, but the hooks must still run.
        anchor = sum((0.0 * part).sum() for part in parts)
        torch.autograd.grad(objective.sum() + anchor, parts)
        zero = torch.zeros_like(self.distributions[0][0])
        times = range(len(self.distributions))
        mean, std = (torch.stack([self.mixed.get((name, t), zero) for t in times]) for name in ("mean", "std"))
        return mean.detach(), std.detach()


def _value_ahead(value: TimedValue, trajectory: Trajectory, start: int, horizon: int) -> Tensor:
    """Values of the next observations of a window that began at `start`; zero at ends and at the horizon."""
    time = start + 1 + torch.arange(len(trajectory.reward), device=trajectory.reward.device)
    reached = value(trajectory.next_obs, time[:, None].expand_as(trajectory.reward))
    return reached * ~trajectory.ended * (time < horizon)[:, None]
