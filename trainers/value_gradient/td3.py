"""Twin delayed deep deterministic policy gradients."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from diffsim.trainers.experience.replay_batch import ReplayBatch
from diffsim.trainers.maths.polyak import polyak_update, target_network
from diffsim.trainers.options import option
from diffsim.trainers.value_gradient.deterministic import Deterministic
from diffsim.trainers.value_gradient.off_policy import PIXELS
from diffsim.trainers.value_gradient.optimizer_step import OptimizerStep


class TD3(Deterministic):
    """Twin delayed DDPG: two critics, noise on the targets' actions, and delayed updates of the policy.

        critics  minimise sum_k mean (Q_k(o, u) - y)^2,    y = r + gamma min_k Q_k'(o', u'),   y = r if o' is terminal
                 u' = mu'(o') + clip(target_noise * z, -target_noise_clip, target_noise_clip), within the bounds
        actor    maximise mean Q_1(o, mu(o)), once in `policy_delay` updates, followed by
        targets  Q', mu' <- target_rate * (Q', mu') + (1 - target_rate) * (Q, mu)

    All three reduce the overestimation of Q. Acts by u = mu(o) + noise, within the bounds.

    Source: Fujimoto et al. (2018), "Addressing function approximation error in actor-critic methods", algorithm 1;
    networks, rates and batches as in the authors' later code (256-256, 3e-4, 256), the warm-up as in the paper for
    all tasks but HalfCheetah and Ant, which have 10,000 steps of it.
    """

    run_defaults = {
        "num_envs": 1,
        "evaluate_every": 10,
        "policy": "DeterministicMLP",
        "hidden_sizes": (256, 256),
        "activation": "relu",
        "normalize": False,
    }
    image_defaults = PIXELS
    num_critics = 2

    exploration_std: float = option(default=0.1)
    target_noise: float = option(
        "std of the noise on the targets' actions, in units of half widths.", ">= 0", default=0.2
    )
    target_noise_clip: float = option("largest magnitude of this noise, in the same units.", ">= 0", default=0.5)
    policy_delay: int = option(
        "updates of the critics per update of the policy and target networks.", ">= 1", default=2
    )

    def setup(self) -> None:
        """Makes critics, replay buffer, noise and target networks."""
        super().setup()
        self.target_critic = target_network(self.critic)
        self.target_policy = target_network(self.policy)

    def draw(self, batch: ReplayBatch) -> tuple[Tensor, bool]:
        """Noise [B, A] for the targets' actions, and whether to update the policy."""
        return self.randn(*batch.action.shape), self.updates % self.policy_delay == 0

    def learn(
        self, steps: Sequence[OptimizerStep], batch: ReplayBatch, noise: Tensor, update_policy: bool
    ) -> dict[str, Tensor]:
        """Updates the critics, and, if `update_policy`, the policy and the target networks."""
        policy_step, critic_step = steps
        batch = self.encoded(batch, self.target_critic)
        target = self.target(batch, noise)
        critic_loss = (self.critic(batch.obs, batch.action) - target).square().mean(-1).sum()
        critic_step(critic_loss)
        if not update_policy:
            return {"critic_loss": critic_loss.detach()}
        actor_loss = self.actor_loss(batch.obs.detach())
        policy_step(actor_loss)
        polyak_update(self.target_critic, self.critic, self.target_rate)
        polyak_update(self.target_policy, self.policy, self.target_rate)
        return {"critic_loss": critic_loss.detach(), "value": -actor_loss.detach()}

    @torch.no_grad()
    def target(self, batch: ReplayBatch, noise: Tensor) -> Tensor:
        """The targets y [B], with standard normal `noise` [B, A]."""
        noise = (self.target_noise * noise).clamp(-self.target_noise_clip, self.target_noise_clip)
        next_action = self.within_bounds(self.target_policy(batch.next_obs) + self.bounds.half_width * noise)
        return batch.reward + batch.discount * self.target_critic(batch.next_obs, next_action).amin(0)
