"""Natural policy gradients: their common base, and the ones with a fixed learning rate or a step of fixed length."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from diffsim.trainers.experience.on_policy_batch import OnPolicyBatch
from diffsim.trainers.likelihood_ratio.fitted_value import FittedValue
from diffsim.trainers.likelihood_ratio.on_policy import LOW_NOISE_DEFAULTS, explained_variance, standardized
from diffsim.trainers.maths.natural_step import flat, move, natural_direction, trainable, trust_region_step
from diffsim.trainers.metrics import Metric
from diffsim.trainers.options import option


class NaturalPolicyGradient(FittedValue):
    """Base of NaturalGradient and TRPO: computes the natural gradient, updates the policy, and fits the value.

    The natural gradient x solves F x = g, by conjugate gradient on Fisher-vector products.
    """

    run_defaults = {"num_envs": 8, **LOW_NOISE_DEFAULTS}
    takes_recurrent = True

    horizon: int = option("H, steps of each copy per iteration.", ">= 1", default=256)
    lam: float = option("of the advantages, by GAE.", "in [0, 1]", default=0.95)
    max_kl: float = option("mean KL divergence between the old and the new policy, in nats.", "> 0", default=0.01)
    damping: float = option("is added to the diagonal of the Fisher information.", ">= 0", default=0.1)
    cg_iterations: int = option("iterations of conjugate gradient, one Fisher-vector product each.", ">= 1", default=15)
    normalize_advantage: bool = option("shift and scale advantages to mean 0 and standard deviation 1.", default=True)

    def iteration_size(self) -> int:
        """Env steps of an iteration: a window in every copy."""
        return self.horizon * self.env.num_envs

    def iterate(self) -> dict[str, Metric]:
        """Collects a window, updates the policy, and fits the value."""
        trajectory, raw = self.collect_window(self.horizon)
        batch = self.advantage_batch(trajectory, raw, self.lam, self.value_lam).flatten()
        explained = explained_variance(batch.value, batch.returns)
        if self.normalize_advantage:
            batch = batch._replace(advantage=standardized(batch.advantage))
        entropy = self.entropy(batch.seen)

        gradient, direction, fisher_direction = natural_direction(self.actor, batch, self.damping, self.cg_iterations)
        policy_metrics = self.update_policy(batch, direction, fisher_direction)
        value_loss = self.fit_value(batch)
        self.update_normalizer(trajectory.obs)
        return {
            **self.episode_metrics(),
            "value_loss": value_loss,
            "explained_variance": explained,
            **policy_metrics,
            "grad_norm": gradient.norm(),
            "entropy": entropy,
        }

    @abstractmethod
    def update_policy(self, batch: OnPolicyBatch, direction: Tensor, fisher_direction: Tensor) -> dict[str, Metric]:
        """Moves the policy's parameters along the natural gradient.

        Args:
            batch: steps [B], or sequences, of the policy before the update.
            direction: x, [D].
            fisher_direction: F x, [D].

        Returns: what to log.
        """


class NaturalGradient(NaturalPolicyGradient):
    """Natural policy gradient: steepest ascent, where distance is the KL divergence between policies.

        F x = g        by conjugate gradient on Fisher-vector products (truncated: TNPG)
        theta <- theta + sqrt(2 max_kl / x' F x) x        a step of fixed length (TNPG), or
        theta <- theta + learning_rate x                  a fixed rate (NPG)

    The result of the step is not checked; TRPO checks it. The defaults are those of our TRPO.

    Source: Kakade (2001), "A Natural Policy Gradient"; Duan et al. (2016), "Benchmarking Deep Reinforcement Learning
    for Continuous Control" (TNPG).
    """

    max_kl: float = option(
        "length of the step: mean KL divergence to second order, in nats. Not used with a learning_rate.", default=0.01
    )
    learning_rate: float | None = option("fixed rate; None for a step of length max_kl.", "> 0", default=None)

    @torch.no_grad()
    def update_policy(self, batch: OnPolicyBatch, direction: Tensor, fisher_direction: Tensor) -> dict[str, Metric]:
        """Takes the step, without a check."""
        if self.learning_rate is None:
            step = trust_region_step(direction, fisher_direction, self.max_kl)
        else:
            step = self.learning_rate * direction
        old, parameters = self.actor.distributions(batch.seen), trainable(self.actor)
        move(parameters, flat(parameters), step)
        return {"kl": old.kl(self.actor.distributions(batch.seen)).mean()}
