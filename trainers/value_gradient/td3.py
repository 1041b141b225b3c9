"""Twin delayed deterministic policy gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from gymnasium.vector import VectorEnv
from torch import Tensor, nn

from diffsim.policies import Policy
from diffsim.trainers.algorithm import Evaluator
from diffsim.trainers.experience.replay_batch import ReplayBatch
from diffsim.trainers.experience.replay_buffer import ReplayBuffer
from diffsim.trainers.maths.polyak import polyak_update, target_network
from diffsim.trainers.maths.schedule import Decay
from diffsim.trainers.ranges import at_least_one, nonnegative, unit_interval
from diffsim.trainers.value_gradient.deterministic import Deterministic
from diffsim.trainers.value_gradient.off_policy import new_critic
from diffsim.trainers.value_gradient.optimizer_step import OptimizerStep


class TD3(Deterministic):
    """DDPG with three remedies for Q's that are too high: two critics, smoothed targets, and an actor that waits.

        critics  minimise sum_k mean (Q_k(o, u) - y)^2,    y = r + gamma min_k Q_k'(o', u'),   y = r if o' is terminal
                 u' = mu'(o') + clip(target_noise * z, -target_noise_clip, target_noise_clip), within the bounds
        actor    maximise mean Q_1(o, mu(o)), once in `policy_delay` updates, after which
        slow     Q', mu' <- target_rate * (Q', mu') + (1 - target_rate) * (Q, mu)

    Acts by u = mu(o) + noise, within the bounds.

    Args:
        env: N copies to learn in.
        policy: mu, what is trained: a deterministic one.
        critic: the two Q's; a `QMLP` if None.
        replay: where experience is kept; one of `replay_size` steps if None.
        exploration: "gaussian" or "ou": see `Exploration`.
        exploration_std: of its noise, in units of the actions' half widths, as those that follow.
        target_noise: deviation of the noise on the targets' actions, at least 0.
        target_noise_clip: its largest magnitude, at least 0.
        policy_delay: updates of the critics for each of the policy and the slow copies, at least 1.
        steps: env steps per iteration.
        warmup_steps: env steps of random actions to begin with, without updates.
        updates_per_step: updates of the critics per env step of one copy.
        batch_size: steps drawn for an update.
        replay_size: steps kept.
        num_steps: rewards that a target sums before its value, n.
        gamma: discount, in (0, 1].
        target_rate: part of the slow copies kept when they follow, in [0, 1).
        learning_rate: of the policy's Adam.
        critic_learning_rate: of the critics' Adam.
        decay_env_steps: when all rates fall linearly to 0, as two counts of env steps or the second; None for never.
        critic_hidden_sizes: widths of each critic's hidden layers.
        critic_layer_norm: normalise these layers: many updates per step then overestimate less.
        compile_updates: let torch compile updates when the first is due, which takes half a minute and a C++ compiler.
        seed: of choices and of the environments, at least 0.
        evaluation: from the policy to metrics.

    Source: Fujimoto et al. (2018), "Addressing function approximation error in actor-critic methods", algorithm 1;
    networks, rates and batches as in the authors' later code (256-256, 3e-4, 256), the warm-up as in the paper for
    all tasks but HalfCheetah and Ant, which have 10,000 steps of it.
    """

    run_defaults = {
        "num_envs": 1,
        "evaluate_every": 10,
        "policy": "DeterministicMLP",
        "hidden_sizes": (256, 256),
        "activation": "relu",
        "normalize": False,
    }

    def __init__(
        self,
        env: VectorEnv,
        policy: Policy,
        critic: nn.Module | None = None,
        replay: ReplayBuffer | None = None,
        *,
        exploration: Literal["gaussian", "ou"] = "gaussian",
        exploration_std: float = 0.1,
        target_noise: float = 0.2,
        target_noise_clip: float = 0.5,
        policy_delay: int = 2,
        steps: int = 1000,
        warmup_steps: int = 1000,
        updates_per_step: float = 1.0,
        batch_size: int = 256,
        replay_size: int = 1_000_000,
        num_steps: int = 1,
        gamma: float = 0.99,
        target_rate: float = 0.995,
        learning_rate: float = 3e-4,
        critic_learning_rate: float = 3e-4,
        decay_env_steps: Decay = None,
        critic_hidden_sizes: Sequence[int] = (256, 256),
        critic_layer_norm: bool = False,
        compile_updates: bool = False,
        seed: int = 0,
        evaluation: Evaluator | None = None,
    ) -> None:
        at_least_one(policy_delay=policy_delay)
        nonnegative(target_noise=target_noise)
        nonnegative(target_noise_clip=target_noise_clip)
        unit_interval("[)", target_rate=target_rate)
        if critic is None:
            critic = new_critic(env, policy, critic_hidden_sizes, count=2, layer_norm=critic_layer_norm)
        super().__init__(
            env,
            policy,
            critic,
            replay=replay,
            exploration=exploration,
            exploration_std=exploration_std,
            steps=steps,
            warmup_steps=warmup_steps,
            updates_per_step=updates_per_step,
            batch_size=batch_size,
            replay_size=replay_size,
            num_steps=num_steps,
            gamma=gamma,
            decay_env_steps=decay_env_steps,
            compile_updates=compile_updates,
            learning_rate=learning_rate,
            critic_learning_rate=critic_learning_rate,
            seed=seed,
            evaluation=evaluation,
        )
        self.target_rate = target_rate
        self.target_critic = target_network(self.critic)
        self.target_policy = target_network(policy)
        self.target_noise, self.target_noise_clip, self.policy_delay = target_noise, target_noise_clip, policy_delay

    def draw(self, batch: ReplayBatch) -> tuple[Tensor, bool]:
        """Noise [B, A] for the targets' actions, and whether it is the policy's turn."""
        return self.randn(*batch.action.shape), self.updates % self.policy_delay == 0

    def learn(
        self, steps: Sequence[OptimizerStep], batch: ReplayBatch, noise: Tensor, policys_turn: bool
    ) -> dict[str, Tensor]:
        """One step of the critics; in its turn one of the policy, which the slow copies follow."""
        policy_step, critic_step = steps
        target = self.target(batch, noise)
        critic_loss = (self.critic(batch.obs, batch.action) - target).square().mean(-1).sum()
        critic_step(critic_loss)
        if not policys_turn:
            return {"critic_loss": critic_loss.detach()}
        actor_loss = self.actor_loss(batch.obs)
        policy_step(actor_loss)
        polyak_update(self.target_critic, self.critic, self.target_rate)
        polyak_update(self.target_policy, self.policy, self.target_rate)
        return {"critic_loss": critic_loss.detach(), "value": -actor_loss.detach()}

    @torch.no_grad()
    def target(self, batch: ReplayBatch, noise: Tensor) -> Tensor:
        """y: [B], by standard normal `noise` [B, A]."""
        noise = (self.target_noise * noise).clamp(-self.target_noise_clip, self.target_noise_clip)
        next_action = self.within_bounds(self.target_policy(batch.next_obs) + self.bounds.half_width * noise)
        return batch.reward + batch.discount * self.target_critic(batch.next_obs, next_action).amin(0)
