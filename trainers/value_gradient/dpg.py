"""Deterministic policy gradients without target networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from diffsim.checks import require
from diffsim.trainers.experience.episode_index import StepIndex
from diffsim.trainers.experience.replay_batch import ReplayBatch
from diffsim.trainers.options import buffer, option
from diffsim.trainers.value_gradient.deterministic import Deterministic
from diffsim.trainers.value_gradient.optimizer_step import OptimizerStep


class DPG(Deterministic):
    """Deterministic policy gradients: dQ/du times du/dtheta, with a learned Q and without target networks.

        critic   minimise mean (Q(o, u) - y)^2,    y = r + gamma Q(o', mu(o')),   y = r where o' is terminal
        actor    theta <- theta + learning_rate * mean dQ(o, mu(o))/du dmu(o)/dtheta

    * "off_policy" acts by u = mu(o) + noise, within the bounds, and learns from batches of a replay buffer. y is the
      target of Q-learning.
    * "on_policy" acts by u = mu(o), and learns from each step of the N copies once: one update per step of all copies.
      y is the target of Sarsa. As nothing explores, randomness of the dynamics and of the initial states must show how
      the return depends on the action. The options of exploration, warm-up, updates and replay buffer have no effect.

    Source: Silver et al. (2014), "Deterministic policy gradient algorithms", sections 4.2 and 4.3, with perceptrons,
    Adam and batches in place of linear functions and single steps; rates as in Lillicrap et al. (2016).
    """

    run_defaults = {
        "num_envs": 16,
        "evaluate_every": 10,
        "policy": "DeterministicMLP",
        "hidden_sizes": (64, 64),
        "activation": "relu",
    }

    data: Literal["on_policy", "off_policy"] = option("which steps to learn from.", default="off_policy")
    updates_per_step: float = option(default=0.25)
    learning_rate: float = option(default=1e-4)
    critic_learning_rate: float = option(default=1e-3)
    critic_hidden_sizes: Sequence[int] = option(default=(64, 64))
    target_rate: float = buffer()  # no target networks

    def setup(self) -> None:
        """Makes critic, replay buffer and noise; for on-policy data, a buffer of one step and no noise."""
        self.on_policy = self.data == "on_policy"
        if self.on_policy:
            require(self.num_steps == 1, "num_steps", "1 for on_policy", self.num_steps)
            self.exploration_std = self.random_action_rate = 0.0
            self.warmup_steps, self.updates_per_step = 0, 1.0 / self.env.num_envs
            self.replay_size = self.env.num_envs
        super().setup()

    def batch(self) -> ReplayBatch:
        """Samples for one update: for on-policy data the last step of every copy, in order."""
        if not self.on_policy:
            return super().batch()
        copies = self.replay.copies
        return self.replay.batch(StepIndex(torch.full_like(copies, self.replay.count - 1), copies))

    def learn(self, steps: Sequence[OptimizerStep], batch: ReplayBatch) -> dict[str, Tensor]:
        """Updates the critic, then the policy."""
        policy_step, critic_step = steps
        with torch.no_grad():
            next_value = self.critic(batch.next_obs, self.policy(batch.next_obs))[0]
        value = self.critic(batch.obs, batch.action)[0]
        critic_loss = (value - batch.reward - batch.discount * next_value).square().mean()
        critic_step(critic_loss)
        actor_loss = self.actor_loss(batch.obs)
        policy_step(actor_loss)
        return {"critic_loss": critic_loss.detach(), "value": -actor_loss.detach()}
