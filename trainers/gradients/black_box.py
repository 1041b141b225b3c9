"""Per-sample gradients without derivatives of the dynamics: likelihood ratio and finite differences."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from diffsim.mdp import MDP, Scenarios
from diffsim.policies import GaussianMLP
from diffsim.trainers.experience.rollout import Actor, Trajectory, rollout
from diffsim.trainers.gradients.pathwise import TimedValue
from diffsim.trainers.maths.estimators import (
    OffsetPolicy,
    average_baseline,
    counted_rewards,
    difference_gradients,
    optimal_baseline,
    per_sample_gradients,
    score_objective,
    time_baseline,
)
from diffsim.trainers.maths.returns import reward_to_go

Form = Literal["reinforce", "gpomdp"]
Baseline = Literal["none", "average", "optimal", "time", "value"]


def likelihood_ratio_gradients(
    policy: GaussianMLP,
    trajectory: Trajectory,
    noise: Tensor,
    gamma: float,
    form: Form,
    baseline: Baseline,
    value: TimedValue | None = None,
) -> Tensor:
    """Gradients of log densities, weighted by returns minus a baseline.

    Args:
        policy: policy that chose the actions.
        trajectory: H steps from initial states; its graph is not used.
        noise: [H, N, A], noise of the actions.
        gamma: discount, in (0, 1].
        form: "reinforce" weights each action by the whole return, "gpomdp" by the rewards after it.
        baseline: "average" and "optimal" (one per parameter) are constants, "time" depends on the time step, "value"
            on the observation and the time step.
        value: for baseline "value": expected return from an observation at a time step, discounted from that step.

    Returns: [N, D].
    """
    counted, alive = counted_rewards(trajectory.reward, trajectory.ended, gamma)
    returns = counted.sum(0).expand_as(counted) if form == "reinforce" else reward_to_go(counted, trajectory.ended, 1.0)
    expected = torch.zeros_like(returns)
    if baseline == "average":
        expected = average_baseline(returns, alive)
    elif baseline == "time":
        expected = time_baseline(returns, alive)
    elif baseline == "value":
        assert value is not None, "baseline value needs a value function"
        time = torch.arange(len(counted), device=counted.device)[:, None].expand_as(counted)
        expected = gamma**time * value(trajectory.obs, time)
    inputs = (trajectory.obs, noise)
    gradient = per_sample_gradients(policy, score_objective, *inputs, (returns - expected) * alive)
    if baseline == "optimal":
        score = per_sample_gradients(policy, score_objective, *inputs, alive.to(returns))
        gradient = gradient - optimal_baseline(gradient, score) * score
    return gradient


@torch.no_grad()
def finite_difference_gradients(
    mdp: MDP,
    policy: GaussianMLP,
    scenarios: Scenarios,
    others: Scenarios,
    gamma: float,
    directions: Tensor,
    step: float,
) -> Tensor:
    """Central differences of the returns of two roll-outs per copy.

    Args:
        mdp: dynamics and reward.
        policy: policy whose gradient is estimated.
        scenarios: of the roll-outs at the parameters plus the step.
        others: of the roll-outs at the parameters minus the step; the same as `scenarios` for common random numbers.
        gamma: discount, in (0, 1].
        directions: [N, D], from `draw_directions`.
        step: length of the step.

    Returns: [N, D].
    """

    def returns(actor: Actor, scenarios: Scenarios) -> Tensor:
        trajectory, _ = rollout(mdp, actor, scenarios)
        return counted_rewards(trajectory.reward, trajectory.ended, gamma)[0].sum(0)

    ahead = returns(OffsetPolicy(policy, step * directions), scenarios)
    behind = returns(OffsetPolicy(policy, -step * directions), others)
    return difference_gradients(ahead, behind, directions, step)
