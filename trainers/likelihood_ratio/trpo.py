"""Trust region policy optimization."""

from __future__ import annotations

from collections.abc import Sequence

from gymnasium.vector import VectorEnv
from torch import Tensor

from diffsim.policies import Policy
from diffsim.trainers.algorithm import Evaluator
from diffsim.trainers.likelihood_ratio.natural_gradient import NaturalGradient
from diffsim.trainers.likelihood_ratio.on_policy import OnPolicyBatch
from diffsim.trainers.maths.natural_step import line_search
from diffsim.trainers.ranges import at_least_one, unit_interval


class TRPO(NaturalGradient):
    """Climbs a surrogate as far as the policy's choices may change, and checks both after the step.

        maximise mean_t p(u_t | o_t) / p_old(u_t | o_t) A_t    subject to    mean_t KL(p_old || p) <= max_kl

    The step is sqrt(2 max_kl / x' F x) x with F x = g by conjugate gradient, shortened until the surrogate rises and
    the divergence holds.

    The defaults are those of sb3-contrib's TRPO, with 8 copies of 256 steps for its 2,048 of one. It has the mean of
    the divergence over an action's numbers, where this has the sum: for its steps, multiply max_kl and damping by
    their count.

    Args:
        env: N copies to learn in.
        policy: what is trained.
        horizon: H, steps of each copy per iteration.
        gamma: discount, in (0, 1].
        lam: of advantages, in [0, 1].
        max_kl: how far the policy may move per iteration: mean KL divergence, in nats, above 0.
        damping: added to the Fisher information's diagonal, at least 0.
        cg_iterations: of conjugate gradient, each one Fisher-vector product.
        backtracks: step lengths that the line search tries.
        shrink: each as a part of the last one, in (0, 1).
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

    Source: Schulman et al. (2015), "Trust Region Policy Optimization".
    """

    def __init__(
        self,
        env: VectorEnv,
        policy: Policy,
        *,
        horizon: int = 256,
        gamma: float = 0.99,
        lam: float = 0.95,
        max_kl: float = 0.01,
        damping: float = 0.1,
        cg_iterations: int = 15,
        backtracks: int = 10,
        shrink: float = 0.8,
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
        at_least_one(backtracks=backtracks)
        unit_interval("()", shrink=shrink)
        super().__init__(
            env,
            policy,
            horizon=horizon,
            gamma=gamma,
            lam=lam,
            max_kl=max_kl,
            damping=damping,
            cg_iterations=cg_iterations,
            value_learning_rate=value_learning_rate,
            value_lam=value_lam,
            value_epochs=value_epochs,
            value_minibatches=value_minibatches,
            value_proximal=value_proximal,
            normalize_advantage=normalize_advantage,
            normalize_reward=normalize_reward,
            value_hidden_sizes=value_hidden_sizes,
            seed=seed,
            evaluation=evaluation,
        )
        self.backtracks, self.shrink = backtracks, shrink

    def take(self, batch: OnPolicyBatch, step: Tensor) -> dict[str, Tensor | float]:
        """Moves the policy as far along `step` [D] as the surrogate rises and the bound holds."""
        taken, gain, kl = line_search(
            self.actor, batch, step, max_kl=self.max_kl, backtracks=self.backtracks, shrink=self.shrink
        )
        return {"kl": kl, "gain": gain, "step_taken": taken}
