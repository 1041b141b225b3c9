"""Reward-weighted regression on the actions of single steps."""

from __future__ import annotations

from typing import Any, ClassVar

from diffsim.trainers.likelihood_ratio.fitted_value import FittedValue
from diffsim.trainers.likelihood_ratio.on_policy import POLICY_DEFAULTS
from diffsim.trainers.maths.weighted_regression import weighted_regression
from diffsim.trainers.metrics import Metric
from diffsim.trainers.options import option


class StepRWR(FittedValue):
    """Reward-weighted regression on steps: fits a stochastic policy to its own actions, weighted by their returns.

        theta <- argmax_theta sum_t w_t log pi_theta(u_t | o_t),    w_t = A_t - min_t A_t

    The advantage A is the return from step t on, minus a learned value (GAE with lam = 1). This is the form of the
    benchmark of Duan et al.; `RWR` searches parameters instead, with one weight per episode.

    Source: Peters & Schaal (2007), "Reinforcement learning by reward-weighted regression for operational space
    control"; Duan et al. (2016), "Benchmarking Deep Reinforcement Learning for Continuous Control", and its code.
    """

    family = "gradient-free"
    run_defaults: ClassVar[dict[str, Any]] = {"num_envs": 8, **POLICY_DEFAULTS}
    takes_recurrent = True

    horizon: int = option("H, steps of each copy per iteration.", ">= 1", default=512)
    lam: float = option("of the advantages, by GAE.", "in [0, 1]", default=1.0)
    regression_iterations: int = option("of L-BFGS, for each fit of the policy.", ">= 1", default=20)

    def iteration_size(self) -> int:
        """Env steps of an iteration: a window in every copy."""
        return self.horizon * self.env.num_envs

    def iterate(self) -> dict[str, Metric]:
        """Collects a window, fits the policy to its weighted actions, and fits the value."""
        trajectory, raw = self.collect_window(self.horizon)
        batch = self.advantage_batch(trajectory, raw, self.lam, self.value_lam).flatten()
        entropy = self.entropy(batch.seen)
        weight = batch.advantage - batch.advantage.min()
        before, after = weighted_regression(self.actor, batch.seen, batch.raw, weight, self.regression_iterations)
        value_loss = self.fit_value(batch)
        self.update_normalizer(trajectory.obs)
        fitted = {"log_likelihood": after, "likelihood_gain": after - before}
        return {**self.episode_metrics(), **fitted, "value_loss": value_loss, "entropy": entropy}
