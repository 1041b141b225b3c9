"""Natural policy gradients, with a fixed rate or a step of fixed length."""

from __future__ import annotations

from collections.abc import Sequence

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
from diffsim.trainers.maths.natural_step import (
    flat,
    move,
    natural_direction,
    trained,
    trust_region_step,
)
from diffsim.trainers.ranges import at_least_one, nonnegative, positive, unit_interval


class NaturalGradient(OnPolicy):
    """Steps along the natural gradient: steepest ascent, with distance measured by how much the choices change.

        F x = g        by conjugate gradient on Fisher-vector products (truncated: TNPG)
        theta <- theta + sqrt(2 max_kl / x' F x) x        a step of fixed length (TNPG), or
        theta <- theta + learning_rate x                  a fixed rate (NPG)

    Nothing checks the step: TRPO does.

    Args:
        env: N copies to learn in.
        policy: what is trained.
        horizon: H, steps of each copy per iteration.
        gamma: discount, in (0, 1].
        lam: of advantages, in [0, 1].
        max_kl: length of the step: mean KL divergence to second order, in nats, above 0. It is not used with a
            learning_rate.
        learning_rate: fixed rate in place of a fixed length; None for the length.
        damping: added to the Fisher information's diagonal, at least 0.
        cg_iterations: of conjugate gradient, each one Fisher-vector product.
        value_learning_rate: of the value's Adam.
        value_lam: of the value's targets, in [0, 1]: 1 for Monte Carlo, 0 for one-step TD.
        value_epochs: passes over the window to fit the value.
        value_minibatches: updates per pass.
        value_proximal: weight of the value's squared distance from the last iteration's, at least 0.
        normalize_advantage: shift and scale advantages to mean 0 and deviation 1.
        normalize_reward: learn from rewards in units of the return's running deviation.
        value_hidden_sizes: widths of the value's hidden layers.
        seed: of choices and of the environments, at least 0.
        evaluation: from the policy to metrics.

    Source: Kakade (2001), "A Natural Policy Gradient"; Duan et al. (2016), "Benchmarking Deep Reinforcement Learning
    for Continuous Control" (TNPG). The defaults are those of our TRPO.
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
        max_kl: float = 0.01,
        learning_rate: float | None = None,
        damping: float = 0.1,
        cg_iterations: int = 15,
        value_learning_rate: float = 1e-3,
        value_lam: float = 0.95,
        value_epochs: int = 10,
        value_minibatches: int = 16,
        value_proximal: float = 0.0,
        normalize_advantage: bool = True,
        normalize_reward: bool = True,
        value_hidden_sizes: Sequence[int] = (64, 64),
        seed: int = 0,
        evaluation: Evaluator | None = None,
    ) -> None:
        at_least_one(
            horizon=horizon, cg_iterations=cg_iterations, value_epochs=value_epochs, value_minibatches=value_minibatches
        )
        positive(max_kl=max_kl, learning_rate=learning_rate, value_learning_rate=value_learning_rate)
        nonnegative(damping=damping, value_proximal=value_proximal)
        unit_interval("[]", lam=lam, value_lam=value_lam)
        super().__init__(
            env,
            policy,
            gamma=gamma,
            normalize_reward=normalize_reward,
            value_hidden_sizes=value_hidden_sizes,
            seed=seed,
            evaluation=evaluation,
        )
        self.horizon, self.lam, self.max_kl, self.learning_rate = horizon, lam, max_kl, learning_rate
        self.damping, self.cg_iterations = damping, cg_iterations
        self.value_learning_rate, self.value_lam = value_learning_rate, value_lam
        self.value_epochs, self.value_minibatches = value_epochs, value_minibatches
        self.value_proximal, self.normalize_advantage = value_proximal, normalize_advantage

    def configure_optimizers(self) -> Optimizer:
        """Adam for the value; the policy needs none."""
        return Adam(self.value.parameters(), lr=self.value_learning_rate, fused=True)

    def iterate(self) -> dict[str, Tensor | float]:
        """Acts for a window, takes one natural step, and fits the value."""
        trajectory, raw = self.collect_window(self.horizon)
        batch = self.advantage_batch(trajectory, raw, self.lam, self.value_lam).flatten()
        explained = explained_variance(batch.value, batch.returns)
        if self.normalize_advantage:
            batch = batch._replace(advantage=standardized(batch.advantage))
        entropy = self.entropy(batch.obs)

        gradient, direction, image = natural_direction(self.actor, batch, self.damping, self.cg_iterations)
        if self.learning_rate is None:
            step = trust_region_step(direction, image, self.max_kl)
        else:
            step = self.learning_rate * direction
        taken = self.take(batch, step)

        value_loss = self.fit_value(
            batch, self.only_optimizer(), self.value_epochs, self.value_minibatches, self.value_proximal
        )
        self.update_normalizer(trajectory.obs)
        return {
            **self.episode_metrics(),
            "value_loss": value_loss,
            "explained_variance": explained,
            **taken,
            "grad_norm": gradient.norm(),
            "entropy": entropy,
        }

    @torch.no_grad()
    def take(self, batch: OnPolicyBatch, step: Tensor) -> dict[str, Tensor | float]:
        """Moves the policy by `step` [D]; `batch` is what it did before. Returns what to log of it."""
        old, parameters = self.actor.raw_distribution(batch.obs), trained(self.actor)
        move(parameters, flat(parameters), step)
        return {"kl": old.kl(self.actor.raw_distribution(batch.obs)).mean()}
