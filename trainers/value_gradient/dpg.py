"""Deterministic policy gradients, as the theorem has them: without slow copies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from gymnasium.vector import VectorEnv
from torch import Tensor, nn

from diffsim.policies import Policy
from diffsim.trainers.algorithm import Evaluator
from diffsim.trainers.experience.episode_index import StepIndex
from diffsim.trainers.experience.replay_batch import ReplayBatch
from diffsim.trainers.experience.replay_buffer import ReplayBuffer
from diffsim.trainers.maths.schedule import Decay
from diffsim.trainers.ranges import require
from diffsim.trainers.value_gradient.deterministic import Deterministic
from diffsim.trainers.value_gradient.off_policy import new_critic
from diffsim.trainers.value_gradient.optimizer_step import OptimizerStep


class DPG(Deterministic):
    """Climbs Q by a deterministic policy's weights: the slope of Q by the action, times that of the action.

        critic   minimise mean (Q(o, u) - y)^2,    y = r + gamma Q(o', mu(o')),   y = r where o' is terminal
        actor    theta <- theta + learning_rate * mean dQ(o, mu(o))/du dmu(o)/dtheta

    Two ways to come by experience. "on_policy" acts by u = mu(o), without noise, and makes one update of every step of
    all N copies, which is then forgotten: what is learned of other actions, the dynamics' own randomness and the
    variety of states must teach. y is then that of Sarsa. "off_policy" acts by u = mu(o) + noise, within the bounds,
    and learns from batches of kept experience; y is then that of Q-learning.

    Args:
        env: N copies to learn in.
        policy: mu, what is trained: a deterministic one.
        critic: Q; a `QMLP` if None.
        replay: where experience is kept; one of `replay_size` steps if None.
        data: "on_policy" or "off_policy".
        exploration: "gaussian" or "ou": see `Exploration`. For off_policy, as all that follows up to replay_size.
        exploration_std: of its noise, in units of the actions' half widths.
        warmup_steps: env steps of random actions to begin with, without updates.
        updates_per_step: updates per env step of one copy.
        batch_size: steps drawn for an update.
        replay_size: steps kept.
        steps: env steps per iteration.
        num_steps: rewards that a target sums before its value, n; 1 for on_policy.
        gamma: discount, in (0, 1].
        learning_rate: of the policy's Adam.
        critic_learning_rate: of the critic's Adam.
        decay_env_steps: when all rates fall linearly to 0, as two counts of env steps or the second; None for never.
        critic_hidden_sizes: widths of the critic's hidden layers.
        compile_updates: let torch compile updates when the first is due, which takes half a minute and a C++ compiler.
        seed: of choices and of the environments, at least 0.
        evaluation: from the policy to metrics.

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

    def __init__(
        self,
        env: VectorEnv,
        policy: Policy,
        critic: nn.Module | None = None,
        replay: ReplayBuffer | None = None,
        *,
        data: Literal["on_policy", "off_policy"] = "off_policy",
        exploration: Literal["gaussian", "ou"] = "gaussian",
        exploration_std: float = 0.2,
        warmup_steps: int = 1000,
        updates_per_step: float = 0.25,
        batch_size: int = 256,
        replay_size: int = 1_000_000,
        steps: int = 1000,
        num_steps: int = 1,
        gamma: float = 0.99,
        learning_rate: float = 1e-4,
        critic_learning_rate: float = 1e-3,
        decay_env_steps: Decay = None,
        critic_hidden_sizes: Sequence[int] = (64, 64),
        compile_updates: bool = False,
        seed: int = 0,
        evaluation: Evaluator | None = None,
    ) -> None:
        require(data in ("on_policy", "off_policy"), "data", "one of on_policy, off_policy", repr(data))
        self.on_policy = data == "on_policy"
        require(not self.on_policy or num_steps == 1, "num_steps", "1 for on_policy", num_steps)
        if critic is None:
            critic = new_critic(env, policy, critic_hidden_sizes)
        super().__init__(
            env,
            policy,
            critic,
            replay=replay,
            exploration=exploration,
            exploration_std=0.0 if self.on_policy else exploration_std,
            steps=steps,
            warmup_steps=0 if self.on_policy else warmup_steps,
            updates_per_step=1.0 / env.num_envs if self.on_policy else updates_per_step,
            batch_size=batch_size,
            replay_size=env.num_envs if self.on_policy else replay_size,
            num_steps=num_steps,
            gamma=gamma,
            decay_env_steps=decay_env_steps,
            compile_updates=compile_updates,
            learning_rate=learning_rate,
            critic_learning_rate=critic_learning_rate,
            seed=seed,
            evaluation=evaluation,
        )

    def batch(self) -> ReplayBatch:
        """What one update learns from: for on_policy the last step of every copy, in order."""
        if not self.on_policy:
            return super().batch()
        copies = self.replay.copies
        return self.replay.batch(StepIndex(torch.full_like(copies, self.replay.count - 1), copies))

    def learn(self, steps: Sequence[OptimizerStep], batch: ReplayBatch) -> dict[str, Tensor]:
        """One step of the critic, and one of the policy."""
        policy_step, critic_step = steps
        with torch.no_grad():
            next_value = self.critic(batch.next_obs, self.policy(batch.next_obs))[0]
        value = self.critic(batch.obs, batch.action)[0]
        critic_loss = (value - batch.reward - batch.discount * next_value).square().mean()
        critic_step(critic_loss)
        actor_loss = self.actor_loss(batch.obs)
        policy_step(actor_loss)
        return {"critic_loss": critic_loss.detach(), "value": -actor_loss.detach()}
