"""Soft actor-critic."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from diffsim.trainers.experience.replay_batch import ReplayBatch
from diffsim.trainers.maths.polyak import polyak_update, target_network
from diffsim.trainers.value_gradient.maximum_entropy import MaximumEntropy
from diffsim.trainers.value_gradient.off_policy import PIXELS
from diffsim.trainers.value_gradient.optimizer_step import OptimizerStep


class SAC(MaximumEntropy):
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

    def setup(self) -> None:
        """Makes critics, replay buffer, temperature and target critics."""
        super().setup()
        self.target_critic = target_network(self.critic)

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
            self.adapt_temperature(step, log_prob.detach())
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
