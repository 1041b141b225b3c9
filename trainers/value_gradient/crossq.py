"""CrossQ: soft actor-critic without target networks, with batch renormalisation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.optim import Optimizer

from diffsim.policies import RenormQMLP, batch_statistics
from diffsim.trainers.experience.replay_batch import ReplayBatch
from diffsim.trainers.options import buffer, option
from diffsim.trainers.value_gradient.maximum_entropy import MaximumEntropy
from diffsim.trainers.value_gradient.optimizer_step import OptimizerStep


class CrossQ(MaximumEntropy):
    """SAC without target networks: batch renormalisation in wide critics takes their place.

        critics      minimise sum_k mean (Q_k(o, u) - y)^2 / 2,    u' = pi(o', z')
                     y = r + gamma (min_k Q_k(o', u') - alpha log p(u' | o')),    y = r where o' is terminal
        actor        maximise mean min_k Q_k(o, u) - alpha log p(u | o),    u = pi(o, z), once in `policy_delay` updates
        temperature  minimise -log alpha * mean (log p(u | o) + target_entropy * A), as often

    y has no gradient. (o, u) and (o', u') go through the critics as one batch, so that both are normalised by the
    statistics of their mixture. The actor's loss uses the batch's statistics in the actor and running ones in the
    critics; u' and acting use running ones. Densities are of actions in units of their half widths. The policy must be
    a `GaussianMLP`.

    Source: Bhatt et al. (2024), "CrossQ: batch normalization in deep reinforcement learning for greater sample
    efficiency and simplicity", algorithm 1 and the settings of its appendix, with the authors' warm-up of 5,000 steps.
    """

    run_defaults = {
        "num_envs": 1,
        "evaluate_every": 10,
        "policy": "GaussianMLP",
        "hidden_sizes": (256, 256),
        "activation": "relu",
        "normalize": False,
        "batch_renorm": True,
        "std": "state",
        "initial_std": 1.0,
    }
    updates_batch_renorm = True
    betas = 0.5, 0.999
    """Of the Adams of policy and critics."""

    target_rate: float = buffer()  # no target networks
    critic_layer_norm: bool = buffer()  # the critics have batch renormalisation
    warmup_steps: int = option(default=5000)
    learning_rate: float = option(default=1e-3)
    critic_learning_rate: float = option(default=1e-3)
    critic_hidden_sizes: Sequence[int] = option(default=(2048, 2048))
    policy_delay: int = option("updates of the critics per update of the policy and temperature.", ">= 1", default=3)

    def make_critic(self) -> torch.nn.Module:
        """The critic that is given, or a new `RenormQMLP` that shares the policy's observation normaliser."""
        if self.critic is not None:
            return self.critic
        policy = self.policy
        return RenormQMLP(
            policy.obs_size,
            self.env.single_action_space,
            policy.normalizer,
            policy.encoder if self.share_encoder else policy.fresh_encoder(),
            count=self.num_critics,
            hidden_sizes=self.critic_hidden_sizes,
        )

    def make_optimizers(self) -> list[Optimizer]:
        """Adam for the policy, the critics and, if it is learned, the temperature, which keeps Adam's usual betas."""
        optimizers = super().make_optimizers()
        for optimizer in optimizers[:2]:
            optimizer.param_groups[0]["betas"] = self.betas
        return optimizers

    def draw(self, batch: ReplayBatch) -> tuple[Tensor, Tensor, bool]:
        """Noise [B, A] for actions in `obs` and in `next_obs`, and whether to update the policy."""
        shape = len(batch.obs), self.actor.noise_size
        return self.randn(*shape), self.randn(*shape), self.updates % self.policy_delay == 0

    def learn(
        self, steps: Sequence[OptimizerStep], batch: ReplayBatch, noise: Tensor, next_noise: Tensor, update_policy: bool
    ) -> dict[str, Tensor]:
        """Updates the critics, and, if `update_policy`, the temperature and the policy."""
        policy_step, critic_step, *temperature_step = steps
        batch = self.encoded(batch, self.critic)
        obs = batch.obs.detach()
        temperature = self.log_temperature.detach().exp()
        critic_loss = self.critic_loss(batch, next_noise, temperature)
        critic_step(critic_loss)
        if not update_policy:
            return {"critic_loss": critic_loss.detach()}
        with batch_statistics(self.actor):
            action, log_prob = self.sample(obs, noise)
        for step in temperature_step:
            self.adapt_temperature(step, log_prob.detach())
        value = self.critic(obs, action).amin(0).mean()
        entropy = -log_prob.mean()
        policy_step(-(value + temperature * entropy))
        return {
            "critic_loss": critic_loss.detach(),
            "value": value.detach(),
            "entropy": entropy.detach(),
            "temperature": temperature,
        }

    def critic_loss(self, batch: ReplayBatch, noise: Tensor, temperature: Tensor) -> Tensor:
        """The critics' loss, with standard normal `noise` [B, A] for u'. Updates their running statistics."""
        with torch.no_grad():
            next_action, next_log_prob = self.sample(batch.next_obs, noise)
        obs, action = torch.cat([batch.obs, batch.next_obs]), torch.cat([batch.action, next_action])
        with batch_statistics(self.critic):
            value, next_value = self.critic(obs, action).chunk(2, dim=-1)
        next_value = next_value.detach().amin(0) - temperature * next_log_prob
        target = batch.reward + batch.discount * next_value
        return 0.5 * (value - target).square().mean(-1).sum()
