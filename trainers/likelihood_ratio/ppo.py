"""Proximal policy optimization.

One iteration, and the file of each step:

    ModelFree.collect                      model_free            H steps in N copies, counts env_steps
      collect                              experience.rollout    the loop over env.step
    OnPolicy.collect_window                on_policy             warm-up of the observation statistics, then `collect`
    OnPolicy.advantage_batch               on_policy             old log p, values, advantages, targets: [H, N, ...]
      ModelFree.scaled_reward              model_free            r / std(return)    (maths.reward_normalizer)
      generalized_advantages               maths.returns         A_t = GAE(lam)
      lambda_returns                       maths.returns         G_t = TD(lam)
    OnPolicyBatch.flatten, .minibatches    experience.on_policy_batch    [H * N, ...] in random order; sequences of a
                                                                         recurrent policy stay whole
    PPO.loss                               here                  clipped surrogate, value error, entropy
    Training.gradient_step                 algorithm             zero_grad, backward, clip the norm, optimizer.step
    ModelFree.update_normalizer            model_free            observation statistics, after the last pass

Differences from the paper:

* Observations are standardised by running statistics, and rewards are divided by the return's standard deviation.
* Advantages are standardised in each minibatch.
* The gradient's norm is clipped.
* Passes can end early at a KL divergence, `max_kl`. The variant with a penalty on the KL divergence is not here.
* Policy and value are separate networks with orthogonal initialisation.
* What follows a time-out is the value of the observation it reached, not 0.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor
from torch.optim import Adam, Optimizer

from diffsim.policies.encoder import NATURE_CONVOLUTIONS
from diffsim.trainers.experience.on_policy_batch import OnPolicyBatch
from diffsim.trainers.likelihood_ratio.on_policy import ATARI_RUN, LOW_NOISE_DEFAULTS, explained_variance, standardized
from diffsim.trainers.likelihood_ratio.on_policy_actor_critic import WindowActorCritic
from diffsim.trainers.metrics import Metric
from diffsim.trainers.options import option


class PPO(WindowActorCritic):
    """Maximises a surrogate in several passes over a window. Clipping removes the incentive to move far.

        rho_t = p(u_t | o_t) / p_old(u_t | o_t)
        maximise mean_t min(rho_t A_t, clip(rho_t, 1 - clip, 1 + clip) A_t) - value_weight (V(o_t) - G_t)^2
                 + entropy_weight H(p(. | o_t))

    The defaults are those of CleanRL's `ppo_continuous_action.py`, with 8 copies of 256 steps instead of one of 2,048,
    and with an initial standard deviation of 0.5 instead of 1. With 1, most actions are clipped, and the mean can leave
    the bounds before it matters: on Reacher-v5 its return falls from -11 to -26 in 20,000 steps, and then rises.

    For Atari games the defaults are those of Huang et al. and of CleanRL's `ppo_atari.py`, with separate networks for
    policy and value, and without decay of the learning rate, for which decay_env_steps has the value budget.

    Source: Schulman et al. (2017), "Proximal Policy Optimization Algorithms"; Huang et al. (2022), "The 37
    Implementation Details of Proximal Policy Optimization".
    """

    run_defaults = {"num_envs": 8, **LOW_NOISE_DEFAULTS}
    image_defaults = {
        "convolutions": NATURE_CONVOLUTIONS,
        "hidden_sizes": (512,),
        "activation": "relu",
        "value_hidden_sizes": (512,),
    }
    atari_defaults = {
        **ATARI_RUN,
        "horizon": 128,
        "learning_rate": 2.5e-4,
        "epochs": 4,
        "minibatches": 4,
        "clip": 0.1,
        "entropy_weight": 0.01,
        "normalize_reward": False,
    }

    takes_recurrent = True

    clip: float = option("distance of the probability ratio from 1 at which it is clipped.", "> 0", default=0.2)
    epochs: int = option("passes over the window.", ">= 1", default=10)
    minibatches: int = option(
        "updates per pass; a recurrent policy has at most N, of whole sequences.", ">= 1", default=32
    )
    max_kl: float | None = option(
        "no further pass once the mean KL divergence from the old policy exceeds it; None for all passes.",
        "> 0",
        default=None,
    )

    def make_optimizers(self) -> list[Optimizer]:
        """One Adam for policy and value."""
        return [Adam(self.trained_parameters(), lr=self.learning_rate, eps=1e-5, fused=True)]

    def iterate(self) -> dict[str, Metric]:
        """Collects a window, and takes up to `epochs` passes over it."""
        (optimizer,) = self.optimizers
        learning_rate = self.decay_learning_rate(optimizer, self.learning_rate, self.decay_env_steps)
        trajectory, raw = self.collect_window(self.horizon)
        batch = self.advantage_batch(trajectory, raw, self.lam, self.lam).flatten()
        with torch.no_grad():
            old = self.actor.distributions(batch.seen)

        kl, passes = batch.obs.new_zeros(()), 0
        while passes < self.epochs and (self.max_kl is None or not passes or kl <= self.max_kl):
            for minibatch in batch.minibatches(self.minibatches, self.generator):
                self.gradient_step(partial(self.loss, minibatch), optimizer, self.max_norm)
            with torch.no_grad():
                kl = old.kl(self.actor.distributions(batch.seen)).mean()
            passes += 1

        self.update_normalizer(trajectory.obs)
        return {
            **self.episode_metrics(),
            "explained_variance": explained_variance(batch.value, batch.returns),
            "kl": kl,
            "passes": float(passes),
            "entropy": old.entropy().mean(),
            "learning_rate": learning_rate,
        }

    def loss(self, batch: OnPolicyBatch) -> Tensor:
        """The loss of one update, from steps [B] or sequences."""
        distribution = self.actor.distributions(batch.seen)
        advantage = standardized(batch.advantage) if self.normalize_advantage else batch.advantage
        ratio = torch.exp(distribution.log_prob(batch.raw) - batch.log_prob)
        clipped = ratio.clamp(1.0 - self.clip, 1.0 + self.clip)
        surrogate = torch.minimum(ratio * advantage, clipped * advantage).mean()
        value_loss = self.value_loss(batch.obs, batch.returns)
        return self.value_weight * value_loss - surrogate - self.entropy_weight * distribution.entropy().mean()
