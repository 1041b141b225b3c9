"""Soft actor-critic."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from diffsim.checks import require
from diffsim.policies import GaussianMLP, TanhBox
from diffsim.trainers.experience.replay_batch import ReplayBatch
from diffsim.trainers.maths.polyak import polyak_update, target_network
from diffsim.trainers.options import option
from diffsim.trainers.value_gradient.off_policy import PIXELS, OffPolicy
from diffsim.trainers.value_gradient.optimizer_step import OptimizerStep


class SAC(OffPolicy):
    """Soft actor-critic: a reparameterised stochastic policy that maximises the minimum of two critics, and entropy.

        critics      minimise sum_k mean (Q_k(o, u) - y)^2,    y = r + gamma (min_k Q_k'(o', u') - alpha log p(u' | o'))
                     u' = pi(o', z'),    y = r where o' is terminal
        actor        maximise mean min_k Q_k(o, u) - alpha log p(u | o),    u = pi(o, z)
        temperature  minimise -log alpha * mean (log p(u | o) + target_entropy * A)
        targets      Q' <- target_rate * Q' + (1 - target_rate) * Q

    Densities are of actions in units of their half widths: a uniform one has an entropy of log 2 per dimension, of
    which there are A. The policy must be a `GaussianMLP`. Targets with `num_steps` > 1 omit the entropies of the steps
    in between.

    Source: Haarnoja et al. (2018), "Soft actor-critic algorithms and applications", algorithm 1 and the settings of
    its table 1; the temperature's loss with log alpha in place of alpha, as in the authors' code.
    """

    run_defaults = {
        "num_envs": 1,
        "evaluate_every": 10,
        "policy": "GaussianMLP",
        "hidden_sizes": (256, 256),
        "activation": "relu",
        "normalize": False,
        "std": "state",
        "initial_std": 1.0,
    }
    image_defaults = PIXELS
    num_critics = 2

    temperature: float = option("alpha; its initial value if it is learned.", "> 0", default=1.0)
    learn_temperature: bool = option(
        "adapt alpha until the entropy is `target_entropy`, at the policy's learning rate.", default=True
    )
    target_entropy: float = option("per dimension of the action, in nats.", default=-1.0)

    def setup(self) -> None:
        """Makes critics, replay buffer, target critics and temperature.

        Raises: TypeError if the policy is not a GaussianMLP; ValueError if it does not squash actions by tanh.
        """
        policy = self.policy
        if not isinstance(policy, GaussianMLP):
            raise TypeError(f"policy must be a GaussianMLP, got {type(policy).__name__}")
        squashed = isinstance(policy.squash, TanhBox)
        require(squashed, "bounds", "tanh for SAC, because clipped actions have no density", "clip")
        super().setup()
        self.target_critic = target_network(self.critic)
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

    def draw(self, batch: ReplayBatch) -> tuple[Tensor, Tensor]:
        """Noise [B, A] for actions in `obs`, and for those in `next_obs`."""
        shape = len(batch.obs), self.actor.noise_size
        return self.randn(*shape), self.randn(*shape)

    def learn(
        self, steps: Sequence[OptimizerStep], batch: ReplayBatch, noise: Tensor, next_noise: Tensor
    ) -> dict[str, Tensor]:
        """Updates the temperature, the critics, the policy, then the target critics."""
        policy_step, critic_step, *temperature_step = steps
        batch = self.encoded(batch, self.target_critic)
        obs = batch.obs.detach()
        action, log_prob = self.sample(obs, noise)
        temperature = self.log_temperature.detach().exp()
        for step in temperature_step:
            step(-self.log_temperature * (log_prob.detach().mean() + self.target_entropy * self.policy.action_size))
        target = self.target(batch, next_noise, temperature)
        critic_loss = (self.critic(batch.obs, batch.action) - target).square().mean(-1).sum()
        critic_step(critic_loss)
        value = self.critic(obs, action).amin(0).mean()
        entropy = -log_prob.mean()
        policy_step(-(value + temperature * entropy))
        polyak_update(self.target_critic, self.critic, self.target_rate)
        return {
            "critic_loss": critic_loss.detach(),
            "value": value.detach(),
            "entropy": entropy.detach(),
            "temperature": temperature,
        }

    @torch.no_grad()
    def target(self, batch: ReplayBatch, noise: Tensor, temperature: Tensor) -> Tensor:
        """The targets y [B], with standard normal `noise` [B, A]."""
        next_action, next_log_prob = self.sample(batch.next_obs, noise)
        next_value = self.target_critic(batch.next_obs, next_action).amin(0) - temperature * next_log_prob
        return batch.reward + batch.discount * next_value
