"""Proximal policy optimization."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from gymnasium.vector import VectorEnv
from torch import Tensor
from torch.optim import Adam, Optimizer

from diffsim.policies import Policy
from diffsim.trainers.algorithm import Evaluator
from diffsim.trainers.likelihood_ratio.on_policy import (
    POLICY_DEFAULTS,
    OnPolicy,
    OnPolicyBatch,
    explained_variance,
    standardized,
)
from diffsim.trainers.maths.schedule import Decay, check_decay
from diffsim.trainers.ranges import at_least_one, nonnegative, positive, unit_interval


class PPO(OnPolicy):
    """Climbs a surrogate for several passes over a window, clipped where the policy has moved far enough.

        rho_t = p(u_t | o_t) / p_old(u_t | o_t)
        maximise mean_t min(rho_t A_t, clip(rho_t, 1 - clip, 1 + clip) A_t) - value_weight (V(o_t) - G_t)^2
                 + entropy_weight H(p(. | o_t))

    The defaults are those of CleanRL's `ppo_continuous_action.py`, with 8 copies of 256 steps for its 2,048 of one.

    Args:
        env: N copies to learn in.
        policy: what is trained.
        horizon: H, steps of each copy per iteration.
        gamma: discount, in (0, 1].
        lam: of advantages and of the value's targets, in [0, 1].
        clip: how far the ratio of probabilities may move before a step no longer counts, above 0.
        epochs: passes over the window.
        minibatches: updates per pass.
        max_kl: no further pass once the mean KL divergence from the old policy exceeds it; None for no such end.
        learning_rate: of Adam.
        decay_env_steps: when it falls linearly to 0, as two counts of env steps or the second; None for never.
        value_weight: of the value's error in the loss, above 0.
        entropy_weight: of the entropy, at least 0.
        max_norm: gradients of all parameters are scaled down to this norm.
        normalize_advantage: shift and scale advantages to mean 0 and deviation 1 within each minibatch.
        normalize_reward: learn from rewards in units of the return's running deviation.
        value_hidden_sizes: widths of the value's hidden layers.
        seed: of choices and of the environments, at least 0.
        evaluation: from the policy to metrics.

    Source: Schulman et al. (2017), "Proximal Policy Optimization Algorithms"; Huang et al. (2022), "The 37
    Implementation Details of Proximal Policy Optimization".
    """

    run_defaults = {"num_envs": 8, **POLICY_DEFAULTS}

    def __init__(
        self,
        env: VectorEnv,
        policy: Policy,
        *,
        horizon: int = 256,
        gamma: float = 0.99,
        lam: float = 0.95,
        clip: float = 0.2,
        epochs: int = 10,
        minibatches: int = 32,
        max_kl: float | None = None,
        learning_rate: float = 3e-4,
        decay_env_steps: Decay = None,
        value_weight: float = 0.5,
        entropy_weight: float = 0.0,
        max_norm: float = 0.5,
        normalize_advantage: bool = True,
        normalize_reward: bool = True,
        value_hidden_sizes: Sequence[int] = (64, 64),
        seed: int = 0,
        evaluation: Evaluator | None = None,
    ) -> None:
        at_least_one(horizon=horizon, epochs=epochs, minibatches=minibatches)
        check_decay(decay_env_steps)
        positive(clip=clip, max_kl=max_kl, learning_rate=learning_rate, value_weight=value_weight, max_norm=max_norm)
        nonnegative(entropy_weight=entropy_weight)
        unit_interval("[]", lam=lam)
        super().__init__(
            env,
            policy,
            gamma=gamma,
            normalize_reward=normalize_reward,
            value_hidden_sizes=value_hidden_sizes,
            seed=seed,
            evaluation=evaluation,
        )
        self.horizon, self.lam, self.clip = horizon, lam, clip
        self.epochs, self.minibatches, self.max_kl = epochs, minibatches, max_kl
        self.learning_rate, self.decay_env_steps, self.max_norm = learning_rate, decay_env_steps, max_norm
        self.value_weight, self.entropy_weight = value_weight, entropy_weight
        self.normalize_advantage = normalize_advantage

    def configure_optimizers(self) -> Optimizer:
        """One Adam for policy and value."""
        parameters = [*self.actor.parameters(), *self.value.parameters()]
        return Adam(parameters, lr=self.learning_rate, eps=1e-5, fused=True)

    def iterate(self) -> dict[str, Tensor | float]:
        """Acts for a window, and takes a few passes over it."""
        optimizer = self.only_optimizer()
        learning_rate = self.decayed(optimizer, self.learning_rate, self.decay_env_steps)
        trajectory, raw = self.collect_window(self.horizon)
        batch = self.advantage_batch(trajectory, raw, self.lam, self.lam).flatten()
        with torch.no_grad():
            old = self.actor.raw_distribution(batch.obs)

        kl, passes = batch.obs.new_zeros(()), 0
        while passes < self.epochs and (self.max_kl is None or kl <= self.max_kl):
            for minibatch in batch.minibatches(self.minibatches, self.generator):
                self.gradient_step(partial(self.loss, minibatch), optimizer, self.max_norm)
            with torch.no_grad():
                kl = old.kl(self.actor.raw_distribution(batch.obs)).mean()
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
        """What every update reduces, from steps [B]."""
        distribution = self.actor.raw_distribution(batch.obs)
        advantage = standardized(batch.advantage) if self.normalize_advantage else batch.advantage
        ratio = torch.exp(distribution.log_prob(batch.raw) - batch.log_prob)
        clipped = ratio.clamp(1.0 - self.clip, 1.0 + self.clip)
        surrogate = torch.minimum(ratio * advantage, clipped * advantage).mean()
        value_loss = self.value_loss(batch.obs, batch.returns)
        return self.value_weight * value_loss - surrogate - self.entropy_weight * distribution.entropy().mean()
