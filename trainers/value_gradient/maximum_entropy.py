"""What SAC and CrossQ have in common: a stochastic policy, and an entropy bonus whose weight adapts itself."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from diffsim.checks import require
from diffsim.policies import GaussianMLP, TanhBox
from diffsim.trainers.options import option
from diffsim.trainers.value_gradient.off_policy import OffPolicy
from diffsim.trainers.value_gradient.optimizer_step import OptimizerStep


class MaximumEntropy(OffPolicy):
    """Acts by samples of a `GaussianMLP`, and weighs its entropy by a temperature alpha.

    Densities are of actions in units of their half widths.
    """

    num_critics = 2

    temperature: float = option("alpha; its initial value if it is learned.", "> 0", default=1.0)
    learn_temperature: bool = option(
        "adapt alpha until the entropy is `target_entropy`, at the policy's learning rate.", default=True
    )
    target_entropy: float = option("per dimension of the action, in nats.", default=-1.0)

    def setup(self) -> None:
        """Makes critics, replay buffer and temperature.

        Raises: TypeError if the policy is not a GaussianMLP; ValueError if it does not squash actions by tanh.
        """
        policy = self.policy
        if not isinstance(policy, GaussianMLP):
            raise TypeError(f"policy must be a GaussianMLP, got {type(policy).__name__}")
        squashed = isinstance(policy.squash, TanhBox)
        rule = f"tanh for {type(self).__name__}, because clipped actions have no density"
        require(squashed, "bounds", rule, "clip")
        super().setup()
        self.actor = policy
        initial = torch.full_like(next(policy.parameters()).flatten()[0], self.temperature)
        self.log_temperature = nn.Parameter(initial.log(), self.learn_temperature)

    def make_optimizers(self) -> list[Optimizer]:
        """Adam for the policy, the critics and, if it is learned, the temperature."""
        optimizers = super().make_optimizers()
        if self.learn_temperature:
            optimizers.append(Adam([self.log_temperature], lr=self.learning_rate, fused=True))
        return optimizers

    def explore(self, obs: Tensor) -> Tensor:
        """Samples the policy's actions: [N, A]."""
        return self.policy(obs, self.randn(len(obs), self.actor.noise_size))

    def sample(self, obs: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Actions [B, A] for `obs` [B, O] and `noise`, and their log densities [B] in units of half widths."""
        action, log_prob = self.actor.sample(obs, noise)
        return action, log_prob + self.bounds.half_width.log().sum()

    def adapt_temperature(self, step: OptimizerStep, log_prob: Tensor) -> None:
        """Reduces -log alpha * mean (log p(u | o) + target_entropy * A), for `log_prob` [B] without a gradient."""
        step(-self.log_temperature * (log_prob.mean() + self.target_entropy * self.policy.action_size))
