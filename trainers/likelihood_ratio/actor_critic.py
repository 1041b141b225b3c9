"""Online actor-critic: one update after each step."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor
from torch.optim import Adam, Optimizer

from diffsim.trainers.experience.on_policy_batch import OnPolicyBatch
from diffsim.trainers.likelihood_ratio.on_policy import POLICY_DEFAULTS, explained_variance
from diffsim.trainers.likelihood_ratio.on_policy_actor_critic import OnPolicyActorCritic
from diffsim.trainers.metrics import Metric
from diffsim.trainers.options import option


class ActorCritic(OnPolicyActorCritic):
    """Updates policy and value after each step, by the value's temporal-difference error.

        delta = r + gamma V_phi(o') - V_phi(o),    V(o') = 0 where o' is terminal
        phi   <- phi   + value_learning_rate * delta grad V_phi(o)
        theta <- theta + learning_rate * delta grad log p_theta(u | o)

    Both are steps of Adam, on the mean over the N copies. The textbooks use one copy; the transitions of several
    copies are less correlated than successive ones of one copy.

    Source: Barto, Sutton & Anderson (1983); Sutton & Barto (2018), section 13.5. Learning rates tuned by hand on
    CartPole-v1.
    """

    run_defaults = {"num_envs": 16, **POLICY_DEFAULTS}

    steps: int = option("env steps of each copy, and updates, per iteration.", ">= 1", default=125)
    value_learning_rate: float = option("step size of the value's Adam; it does not decay.", "> 0", default=1e-3)

    def make_optimizers(self) -> list[Optimizer]:
        """Adam for the policy and for the value."""
        rates = ((self.actor, self.learning_rate), (self.value, self.value_learning_rate))
        return [Adam(net.parameters(), lr=rate, fused=True) for net, rate in rates]

    def iteration_size(self) -> int:
        """Env steps of an iteration: `steps` in every copy."""
        return self.steps * self.env.num_envs

    def iterate(self) -> dict[str, Metric]:
        """Acts for `steps` steps, with an update after each."""
        actor_optimizer, value_optimizer = self.optimizers
        batches: list[OnPolicyBatch] = []
        for _ in range(self.steps):
            learning_rate = self.decay_learning_rate(actor_optimizer, self.learning_rate, self.decay_env_steps)
            batch = self.advantage_batch(*self.collect_window(1), 0.0, 0.0).flatten()
            self.gradient_step(partial(self.value_loss, batch.obs, batch.returns), value_optimizer, self.max_norm)
            self.gradient_step(partial(self.loss, batch), actor_optimizer, self.max_norm)
            batches.append(batch)
            self.update_normalizer(batch.obs)
        together = OnPolicyBatch(*map(torch.cat, zip(*(batch[:6] for batch in batches), strict=True)), sequences=None)
        return {
            **self.episode_metrics(),
            "explained_variance": explained_variance(together.value, together.returns),
            "value_loss": (together.value - together.returns).square().mean(),
            "entropy": self.entropy(together.obs),
            "learning_rate": learning_rate,
        }

    def loss(self, batch: OnPolicyBatch) -> Tensor:
        """The policy's loss, from the N transitions of a step: mean of -delta log p - entropy_weight H."""
        distribution = self.actor.raw_distribution(batch.obs)
        objective = distribution.log_prob(batch.raw) * batch.advantage
        return -(objective + self.entropy_weight * distribution.entropy()).mean()
