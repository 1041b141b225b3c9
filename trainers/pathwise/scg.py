"""Short-horizon actor-critic for actions with continuous and discrete parts."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from diffsim.policies import HybridMLP
from diffsim.trainers.experience.rollout import Trajectory
from diffsim.trainers.maths.returns import discount_weights, lambda_returns
from diffsim.trainers.metrics import Metric
from diffsim.trainers.options import option
from diffsim.trainers.pathwise.shac import SHAC
from diffsim.trainers.pathwise.window import DifferentiatedWindow

GRADIENT_METRICS = ("action_grad_median", "action_grad_max", "action_grad_growth", "clipped")


class SCG(SHAC):
    """SHAC for Tuple and Dict action spaces: each part of an action has the estimator that fits it.

        continuous part x   dG_t / dx_t through the dynamics, the later choices' scores, and V'
        discrete part k     d log p(k_t | o_t) (G_t - V'(o_t))

    A roll-out is a stochastic computation graph: the choices have score functions, and everything else is a function of
    noise. The log probability of a choice depends on the observation, and so on the actions before: its gradient goes
    through the dynamics too. The policy must be a `HybridMLP`, and the MDP must take the action's numbers in one row.

    Source: Schulman, Heess, Weber & Abbeel (2015), "Gradient estimation using stochastic computation graphs",
    theorem 1; otherwise as `SHAC`.
    """

    takes_recurrent = False
    run_defaults = {"policy": "HybridMLP"}

    continuous: Literal["pathwise", "score_function"] = option(
        "estimator of the continuous part; with score_function the dynamics are not differentiated.", default="pathwise"
    )
    entropy_weight: float = option(
        "weight of the entropy of the discrete choices, added to the objective and not to the return.",
        ">= 0",
        default=0.0,
    )

    def check_policy(self) -> None:
        """Raises TypeError if the policy is not a HybridMLP, and ValueError for options that do not fit it."""
        if not isinstance(self.policy, HybridMLP):
            raise TypeError(f"policy must be a HybridMLP, got {type(self.policy).__name__}")
        if self.actor_epochs > 1:
            raise ValueError(f"actor_epochs must be 1 for actions with discrete parts, got {self.actor_epochs}")

    def iterate(self) -> dict[str, Metric]:
        """As for SHAC; without metrics of gradients through the dynamics, if there are none."""
        metrics = super().iterate()
        kept = self.continuous == "pathwise"
        return {name: value for name, value in metrics.items() if kept or name not in GRADIENT_METRICS}

    def objective(self, trajectory: Trajectory) -> Tensor:
        """That of SHAC, and the log probabilities of the choices times their advantages."""
        if self.continuous == "score_function":
            return super().objective(trajectory)
        weights = discount_weights(trajectory.ended, self.gamma * self.actor_lam, trajectory.reward.dtype)
        score = self.log_prob(trajectory.obs, trajectory.action)
        return super().objective(trajectory) + (weights * score * self.advantage(trajectory)).sum()

    def ascent(self, window: DifferentiatedWindow) -> Tensor:
        """dG_t / du_t, [H, N, A]; zero with score functions alone."""
        gradient = super().ascent(window)
        return gradient if self.continuous == "pathwise" else torch.zeros_like(gradient)

    def actor_loss(self, trajectory: Trajectory, noise: Tensor, gradient: Tensor) -> Tensor:
        """The actor's loss, whose gradient is minus that of the objective, averaged over samples.

            -g . u_theta - A log p_theta(k) - entropy_weight H(p_theta(k))

        Arguments as for `SHAC.actor_loss`.
        """
        obs, advantage = trajectory.obs, self.advantage(trajectory)
        if not self.undiscount:
            weights = discount_weights(trajectory.ended, self.gamma * self.actor_lam, advantage.dtype)
            advantage = weights * advantage
        distribution = self.hybrid.raw_distribution(obs)
        raw = distribution.sample(noise)
        score = distribution.choices.log_prob(self.hybrid.squash.indices(trajectory.action))
        if self.continuous == "score_function":
            score = score + distribution.numbers.log_prob(distribution.split(raw)[0].detach())
        along = (gradient * self.hybrid.squash(raw)).sum(-1)
        return -(along + advantage * score + self.entropy_weight * distribution.choices.entropy()).mean()

    @property
    def hybrid(self) -> HybridMLP:
        """The trained actor."""
        assert isinstance(self.actor, HybridMLP)
        return self.actor

    def log_prob(self, obs: Tensor, action: Tensor) -> Tensor:
        """Log probability of the choices in `action` [H, N, A] at `obs` [H, N, O]: [H, N]."""
        return self.hybrid.raw_distribution(obs).choices.log_prob(self.hybrid.squash.indices(action))

    @torch.no_grad()
    def advantage(self, trajectory: Trajectory) -> Tensor:
        """G_t - V'(o_t), [H, N]."""
        value = self.critic.after(trajectory)
        returns = lambda_returns(trajectory.reward, value, trajectory.ended, self.gamma, self.actor_lam)
        return returns - self.critic.target(trajectory.obs)
