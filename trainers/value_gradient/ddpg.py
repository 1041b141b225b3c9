"""Deep deterministic policy gradients."""

from __future__ import annotations

import math
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
from diffsim.trainers.ranges import require, unit_interval
from diffsim.trainers.value_gradient.deterministic import Deterministic
from diffsim.trainers.value_gradient.off_policy import new_critic
from diffsim.trainers.value_gradient.optimizer_step import OptimizerStep


class DDPG(Deterministic):
    """Climbs Q by a deterministic policy's weights; both learn from kept experience, and have slow copies.

        critic   minimise mean (Q(o, u) - y)^2,    y = r + gamma Q'(o', mu'(o')),   y = r where o' is terminal;
                 within `target_range`
        actor    maximise mean Q(o, mu(o)) - action_penalty * mean mu(o)^2, the action in units of half widths
        slow     Q', mu' <- target_rate * (Q', mu') + (1 - target_rate) * (Q, mu)

    Acts by u = mu(o) + noise, within the bounds, but for a part `random_action_rate` of steps, which are random. The
    penalty keeps tanh from saturating, which ends all learning, where Q's slope in u hardly changes its sign: with
    sparse rewards.

    Args:
        env: N copies to learn in.
        policy: mu, what is trained: a deterministic one.
        critic: Q; a `QMLP` if None.
        replay: where experience is kept; one of `replay_size` steps if None.
        exploration: "ou" or "gaussian": see `Exploration`.
        exploration_std: of its noise, in units of the actions' half widths.
        random_action_rate: probability that a copy's action is uniformly random instead, in [0, 1].
        action_penalty: weight of the mean squared action in what the policy climbs, at least 0.
        steps: env steps per iteration.
        warmup_steps: env steps of random actions to begin with, without updates.
        updates_per_step: updates per env step of one copy.
        batch_size: steps drawn for an update.
        replay_size: steps kept.
        num_steps: rewards that a target sums before its value, n.
        target_range: bounds that y is clipped to, where returns are known to lie within them; None for none.
        gamma: discount, in (0, 1].
        target_rate: part of the slow copies kept per update, in [0, 1).
        learning_rate: of the policy's Adam.
        critic_learning_rate: of the critic's Adam.
        decay_env_steps: when all rates fall linearly to 0, as two counts of env steps or the second; None for never.
        critic_weight_decay: of the critic's weights, at least 0.
        critic_hidden_sizes: widths of the critic's hidden layers.
        critic_layer_norm: normalise these layers: many updates per step then overestimate less.
        compile_updates: let torch compile updates when the first is due, which takes half a minute and a C++ compiler.
        seed: of choices and of the environments, at least 0.
        evaluation: from the policy to metrics.

    Source: Lillicrap et al. (2016), "Continuous control with deep reinforcement learning": algorithm 1, and the
    settings of section 7 (networks 400-300, both noises' scales, weight decay, rates, batches of 64), without batch
    normalisation and with a warm-up. `configs/ddpg_half_cheetah.yaml` has the settings of later comparisons. Random
    actions, penalty and bounds of targets: Plappert et al. (2018), "Multi-goal reinforcement learning", appendix A.
    """

    run_defaults = {
        "num_envs": 1,
        "evaluate_every": 10,
        "policy": "DeterministicMLP",
        "hidden_sizes": (400, 300),
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
        exploration: Literal["gaussian", "ou"] = "ou",
        exploration_std: float = 0.2,
        random_action_rate: float = 0.0,
        action_penalty: float = 0.0,
        steps: int = 1000,
        warmup_steps: int = 1000,
        updates_per_step: float = 1.0,
        batch_size: int = 64,
        replay_size: int = 1_000_000,
        num_steps: int = 1,
        target_range: tuple[float, float] | None = None,
        gamma: float = 0.99,
        target_rate: float = 0.999,
        learning_rate: float = 1e-4,
        critic_learning_rate: float = 1e-3,
        decay_env_steps: Decay = None,
        critic_weight_decay: float = 1e-2,
        critic_hidden_sizes: Sequence[int] = (400, 300),
        critic_layer_norm: bool = False,
        compile_updates: bool = False,
        seed: int = 0,
        evaluation: Evaluator | None = None,
    ) -> None:
        unit_interval("[)", target_rate=target_rate)
        low, high = (-math.inf, math.inf) if target_range is None else target_range
        require(low < high, "target_range", "a lower and a higher bound", target_range)
        if critic is None:
            critic = new_critic(env, policy, critic_hidden_sizes, layer_norm=critic_layer_norm)
        super().__init__(
            env,
            policy,
            critic,
            replay=replay,
            exploration=exploration,
            exploration_std=exploration_std,
            random_action_rate=random_action_rate,
            action_penalty=action_penalty,
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
            critic_weight_decay=critic_weight_decay,
            seed=seed,
            evaluation=evaluation,
        )
        self.target_rate, self.target_range = target_rate, (low, high)
        self.target_critic = target_network(self.critic)
        self.target_policy = target_network(policy)

    def learn(self, steps: Sequence[OptimizerStep], batch: ReplayBatch) -> dict[str, Tensor]:
        """One step of the critic, one of the policy, and the slow copies follow."""
        policy_step, critic_step = steps
        with torch.no_grad():
            next_value = self.target_critic(batch.next_obs, self.target_policy(batch.next_obs))[0]
            target = (batch.reward + batch.discount * next_value).clamp(*self.target_range)
        value = self.critic(batch.obs, batch.action)[0]
        critic_loss = (value - target).square().mean()
        critic_step(critic_loss)
        actor_loss = self.actor_loss(batch.obs)
        policy_step(actor_loss)
        polyak_update(self.target_critic, self.critic, self.target_rate)
        polyak_update(self.target_policy, self.policy, self.target_rate)
        return {"critic_loss": critic_loss.detach(), "value": -actor_loss.detach()}
