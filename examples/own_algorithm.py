"""An algorithm of your own.

In the folder of this file:

diffsim fit --task Reacher-v5 --algorithm own_algorithm:FirstSteps --horizon 8 --iterations 50
"""

from __future__ import annotations

from torch import Tensor
from torch.optim import Adam, Optimizer

from diffsim.mdp import Scenarios
from diffsim.trainers import MDPAlgorithm, option
from diffsim.trainers.experience.rollout import rollout


class FirstSteps(MDPAlgorithm):
    """Maximises the mean reward of the first steps of an episode, by its gradient through the dynamics."""

    horizon: int = option("steps per roll-out.", ">= 1", default=16)
    learning_rate: float = option("Adam's step size.", "> 0", default=3e-3)

    def make_optimizers(self) -> list[Optimizer]:
        """Adam."""
        return [Adam(self.policy.parameters(), lr=self.learning_rate)]

    def iterate(self) -> dict[str, Tensor | float]:
        """One roll-out and one gradient step."""
        noise = self.policy.noise_size
        scenarios = Scenarios.draw(self.mdp, self.horizon, self.generator, action_noise_size=noise)
        trajectory, _ = rollout(self.mdp, self.policy, scenarios)
        loss, norm = self.gradient_step(lambda: -trajectory.reward.mean(), self.optimizers[0], max_norm=1.0)
        self.env_steps += trajectory.reward.numel()
        return {"reward": -loss, "grad_norm": norm}
