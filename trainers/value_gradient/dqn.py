"""Q-learning with a network, kept experience and a slow copy."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from gymnasium.vector import VectorEnv
from torch import Tensor
from torch.nn.functional import smooth_l1_loss
from torch.optim import Adam, Optimizer

from diffsim.policies import DiscreteQMLP, Policy
from diffsim.trainers.algorithm import Evaluator
from diffsim.trainers.experience.replay_batch import ReplayBatch
from diffsim.trainers.experience.replay_buffer import ReplayBuffer
from diffsim.trainers.maths.polyak import polyak_update, target_network
from diffsim.trainers.maths.schedule import Decay
from diffsim.trainers.ranges import at_least_one, positive, unit_interval
from diffsim.trainers.value_gradient.off_policy import OffPolicy
from diffsim.trainers.value_gradient.optimizer_step import OptimizerStep


class DQN(OffPolicy):
    """Learns Q of every one of K actions, and takes the best, or now and then any.

        minimise mean huber(Q(o, u) - y),    y = r + gamma Q'(o', argmax_u Q(o', u)),   y = r where o' is terminal
        slow     Q' <- target_rate * Q' + (1 - target_rate) * Q

    For discrete actions what the others are for continuous ones. The best next action is chosen by one network and
    valued by the other.

    Args:
        env: N copies to learn in, with Discrete actions.
        policy: Q, a `DiscreteQMLP`.
        replay: where experience is kept; one of `replay_size` steps if None.
        exploration_rate: part of the actions that are random at the start of learning, in [0, 1].
        final_exploration_rate: what it falls to, in [0, 1].
        exploration_env_steps: env steps after the warm-up in which it does, linearly, at least 1.
        steps: env steps per iteration.
        warmup_steps: env steps of random actions to begin with, without updates.
        updates_per_step: updates per env step of one copy.
        batch_size: steps drawn for an update.
        replay_size: steps kept.
        num_steps: rewards that a target sums before its value, n.
        gamma: discount, in (0, 1].
        target_rate: part of the slow copy kept per update, in [0, 1).
        learning_rate: of Adam.
        decay_env_steps: when all rates fall linearly to 0, as two counts of env steps or the second; None for never.
        compile_updates: let torch compile updates when the first is due, which takes half a minute and a C++ compiler.
        seed: of choices and of the environments, at least 0.
        evaluation: from the policy to metrics.

    Source: Mnih et al. (2015), "Human-level control through deep reinforcement learning"; van Hasselt, Guez & Silver
    (2016), "Deep Reinforcement Learning with Double Q-learning". A slow copy that moves a little at a time is
    Lillicrap et al.'s (2016).
    """

    run_defaults = {"num_envs": 1, "evaluate_every": 10, "policy": "DiscreteQMLP"}

    def __init__(
        self,
        env: VectorEnv,
        policy: Policy,
        replay: ReplayBuffer | None = None,
        *,
        exploration_rate: float = 1.0,
        final_exploration_rate: float = 0.05,
        exploration_env_steps: int = 10_000,
        steps: int = 1000,
        warmup_steps: int = 1000,
        updates_per_step: float = 1.0,
        batch_size: int = 128,
        replay_size: int = 1_000_000,
        num_steps: int = 1,
        gamma: float = 0.99,
        target_rate: float = 0.995,
        learning_rate: float = 1e-3,
        decay_env_steps: Decay = None,
        compile_updates: bool = False,
        seed: int = 0,
        evaluation: Evaluator | None = None,
    ) -> None:
        if not isinstance(policy, DiscreteQMLP):
            raise TypeError(f"policy must be a DiscreteQMLP, got {type(policy).__name__}")
        unit_interval("[)", target_rate=target_rate)
        unit_interval("[]", exploration_rate=exploration_rate, final_exploration_rate=final_exploration_rate)
        at_least_one(exploration_env_steps=exploration_env_steps)
        positive(learning_rate=learning_rate)
        super().__init__(
            env,
            policy,
            policy,
            replay=replay,
            steps=steps,
            warmup_steps=warmup_steps,
            updates_per_step=updates_per_step,
            batch_size=batch_size,
            replay_size=replay_size,
            num_steps=num_steps,
            gamma=gamma,
            decay_env_steps=decay_env_steps,
            compile_updates=compile_updates,
            seed=seed,
            evaluation=evaluation,
        )
        self.target_rate, self.target_critic = target_rate, target_network(policy)
        self.learning_rate = learning_rate
        self.exploration_rates = (exploration_rate, final_exploration_rate)
        self.exploration_env_steps = exploration_env_steps

    def configure_optimizers(self) -> Optimizer:
        """Adam."""
        return Adam(self.q.parameters(), lr=self.learning_rate, fused=True)

    @property
    def q(self) -> DiscreteQMLP:
        """What is trained."""
        assert isinstance(self.policy, DiscreteQMLP)
        return self.policy

    @property
    def present_rate(self) -> float:
        """Part of the actions that are random now."""
        first, last = self.exploration_rates
        progress = (self.env_steps - self.warmup_steps) / self.exploration_env_steps
        return first + (last - first) * min(max(progress, 0.0), 1.0)

    def explore(self, obs: Tensor) -> Tensor:
        """The best actions, and some random ones: [N]."""
        chance = torch.rand(len(obs), generator=self.generator, device=obs.device)
        return torch.where(chance < self.present_rate, self.random_action(obs), self.q(obs))

    def random_action(self, obs: Tensor) -> Tensor:
        """Any actions, one for each of `obs` [N, O]: int64 [N]."""
        shape = (len(obs),)
        index = torch.randint(self.q.num_actions, shape, generator=self.generator, device=obs.device)
        return self.q.first_action + index

    def learn(self, steps: Sequence[OptimizerStep], batch: ReplayBatch) -> dict[str, Tensor]:
        """One step of Q, and the slow copy follows."""
        with torch.no_grad():
            best = self.q.values(batch.next_obs).argmax(-1, keepdim=True)
            next_value = self.target_critic.values(batch.next_obs).gather(-1, best)[:, 0]
            target = batch.reward + batch.discount * next_value
        index = batch.action.long()[:, None] - self.q.first_action
        value = self.q.values(batch.obs).gather(-1, index)[:, 0]
        loss = smooth_l1_loss(value, target)
        steps[0](loss)
        polyak_update(self.target_critic, self.q, self.target_rate)
        return {"critic_loss": loss.detach(), "value": value.detach().mean()}
