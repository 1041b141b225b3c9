"""The online actor-critic: one step of learning after each step of acting."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from gymnasium.vector import VectorEnv
from torch import Tensor
from torch.optim import Adam, Optimizer

from diffsim.policies import Policy
from diffsim.trainers.algorithm import Evaluator
from diffsim.trainers.likelihood_ratio.on_policy import POLICY_DEFAULTS, OnPolicy, OnPolicyBatch, explained_variance
from diffsim.trainers.maths.schedule import Decay, check_decay
from diffsim.trainers.ranges import at_least_one, nonnegative, positive


class ActorCritic(OnPolicy):
    """Learns from each transition as it comes, by the surprise of its value.

        delta = r + gamma V_phi(o') - V_phi(o),    V(o') = 0 where o' is terminal
        phi   <- phi   + value_learning_rate * delta grad V_phi(o)
        theta <- theta + learning_rate * delta grad log p_theta(u | o)

    Both are steps of Adam, on the mean over the N copies. One copy is the algorithm of the textbooks; more of them
    tell apart what neighbouring transitions of one copy confound.

    Args:
        env: N copies to learn in.
        policy: what is trained.
        steps: of acting and learning per iteration.
        gamma: discount, in (0, 1].
        learning_rate: of the policy's Adam.
        value_learning_rate: of the value's Adam.
        decay_env_steps: when the first falls linearly to 0, as two counts of env steps or the second; None for never.
        entropy_weight: of the entropy, at least 0.
        max_norm: gradients of the policy's or the value's parameters are scaled down to this norm.
        normalize_reward: learn from rewards in units of the return's running deviation.
        value_hidden_sizes: widths of the value's hidden layers.
        seed: of choices and of the environments, at least 0.
        evaluation: from the policy to metrics.

    Source: Barto, Sutton & Anderson (1983); Sutton & Barto (2018), section 13.5. Rates set by hand on CartPole-v1.
    """

    run_defaults = {"num_envs": 16, **POLICY_DEFAULTS}

    def __init__(
        self,
        env: VectorEnv,
        policy: Policy,
        *,
        steps: int = 125,
        gamma: float = 0.99,
        learning_rate: float = 3e-4,
        value_learning_rate: float = 1e-3,
        decay_env_steps: Decay = None,
        entropy_weight: float = 0.0,
        max_norm: float = 0.5,
        normalize_reward: bool = True,
        value_hidden_sizes: Sequence[int] = (64, 64),
        seed: int = 0,
        evaluation: Evaluator | None = None,
    ) -> None:
        at_least_one(steps=steps)
        check_decay(decay_env_steps)
        positive(learning_rate=learning_rate, value_learning_rate=value_learning_rate, max_norm=max_norm)
        nonnegative(entropy_weight=entropy_weight)
        super().__init__(
            env,
            policy,
            gamma=gamma,
            normalize_reward=normalize_reward,
            value_hidden_sizes=value_hidden_sizes,
            seed=seed,
            evaluation=evaluation,
        )
        self.steps, self.max_norm, self.entropy_weight = steps, max_norm, entropy_weight
        self.learning_rate, self.decay_env_steps = learning_rate, decay_env_steps
        self.value_learning_rate = value_learning_rate

    def configure_optimizers(self) -> list[Optimizer]:
        """Adam for the policy and for the value."""
        rates = ((self.actor, self.learning_rate), (self.value, self.value_learning_rate))
        return [Adam(net.parameters(), lr=rate, fused=True) for net, rate in rates]

    def iterate(self) -> dict[str, Tensor | float]:
        """Acts and learns, step by step."""
        actor_optimizer, value_optimizer = self.all_optimizers()
        batches: list[OnPolicyBatch] = []
        for _ in range(self.steps):
            learning_rate = self.decayed(actor_optimizer, self.learning_rate, self.decay_env_steps)
            batch = self.advantage_batch(*self.collect_window(1), 0.0, 0.0).flatten()
            self.gradient_step(partial(self.value_loss, batch.obs, batch.returns), value_optimizer, self.max_norm)
            self.gradient_step(partial(self.loss, batch), actor_optimizer, self.max_norm)
            batches.append(batch)
            self.update_normalizer(batch.obs)
        together = OnPolicyBatch(*map(torch.cat, zip(*batches, strict=True)))
        return {
            **self.episode_metrics(),
            "explained_variance": explained_variance(together.value, together.returns),
            "value_loss": (together.value - together.returns).square().mean(),
            "entropy": self.entropy(together.obs),
            "learning_rate": learning_rate,
        }

    def loss(self, batch: OnPolicyBatch) -> Tensor:
        """What the policy's step reduces, from the N transitions of a step: -delta log p - entropy_weight H."""
        distribution = self.actor.raw_distribution(batch.obs)
        objective = distribution.log_prob(batch.raw) * batch.advantage
        return -(objective + self.entropy_weight * distribution.entropy()).mean()
