"""Soft actor-critic."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from gymnasium.vector import VectorEnv
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from diffsim.policies import GaussianMLP, Policy
from diffsim.trainers.algorithm import Evaluator
from diffsim.trainers.experience.replay_batch import ReplayBatch
from diffsim.trainers.experience.replay_buffer import ReplayBuffer
from diffsim.trainers.maths.polyak import polyak_update, target_network
from diffsim.trainers.maths.schedule import Decay
from diffsim.trainers.ranges import positive, unit_interval
from diffsim.trainers.value_gradient.off_policy import OffPolicy, new_critic
from diffsim.trainers.value_gradient.optimizer_step import OptimizerStep


class SAC(OffPolicy):
    """Climbs Q and entropy by a stochastic policy's weights, through its noise; two critics, of which the lower counts.

        critics      minimise sum_k mean (Q_k(o, u) - y)^2,    y = r + gamma (min_k Q_k'(o', u') - alpha log p(u' | o'))
                     u' = pi(o', z'),    y = r where o' is terminal
        actor        maximise mean min_k Q_k(o, u) - alpha log p(u | o),    u = pi(o, z)
        temperature  minimise -log alpha * mean (log p(u | o) + target_entropy)
        slow         Q' <- target_rate * Q' + (1 - target_rate) * Q

    Densities are of actions in units of their half widths, so that the entropy of a uniform one is log 2 per number.

    Args:
        env: N copies to learn in.
        policy: pi, what is trained: a `GaussianMLP` that squashes by tanh.
        critic: the two Q's; a `QMLP` if None.
        replay: where experience is kept; one of `replay_size` steps if None.
        temperature: alpha, above 0; where learned, at the beginning.
        learn_temperature: adapt alpha until the entropy is `target_entropy`.
        target_entropy: per action number, in nats.
        steps: env steps per iteration.
        warmup_steps: env steps of random actions to begin with, without updates.
        updates_per_step: updates per env step of one copy.
        batch_size: steps drawn for an update.
        replay_size: steps kept.
        num_steps: rewards that a target sums before its value, n. The entropies in between are left out.
        gamma: discount, in (0, 1].
        target_rate: part of the slow critics kept per update, in [0, 1).
        learning_rate: of the Adams of policy and temperature.
        critic_learning_rate: of the critics' Adam.
        decay_env_steps: when all rates fall linearly to 0, as two counts of env steps or the second; None for never.
        critic_hidden_sizes: widths of each critic's hidden layers.
        critic_layer_norm: normalise these layers: many updates per step then overestimate less.
        compile_updates: let torch compile updates when the first is due, which takes half a minute and a C++ compiler.
        seed: of choices and of the environments, at least 0.
        evaluation: from the policy to metrics.

    Source: Haarnoja et al. (2018), "Soft actor-critic algorithms and applications", algorithm 1 and the settings of
    its table 1; the temperature's loss with log alpha in place of alpha, as in the authors' code.
    """

    run_defaults = {
        "num_envs": 1,
        "evaluate_every": 10,
        "policy": "GaussianMLP",
        "hidden_sizes": (256, 256),
        "activation": "relu",
        "normalize": False,
        "std": "state",
        "initial_std": 1.0,
    }

    def __init__(
        self,
        env: VectorEnv,
        policy: Policy,
        critic: nn.Module | None = None,
        replay: ReplayBuffer | None = None,
        *,
        temperature: float = 1.0,
        learn_temperature: bool = True,
        target_entropy: float = -1.0,
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
        if not isinstance(policy, GaussianMLP):
            raise TypeError(f"policy must be a GaussianMLP, got {type(policy).__name__}")
        positive(temperature=temperature, learning_rate=learning_rate, critic_learning_rate=critic_learning_rate)
        unit_interval("[)", target_rate=target_rate)
        if critic is None:
            critic = new_critic(env, policy, critic_hidden_sizes, count=2, layer_norm=critic_layer_norm)
        super().__init__(
            env,
            policy,
            critic,
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
        self.target_rate = target_rate
        self.target_critic = target_network(self.critic)
        self.actor = policy
        self.learning_rate, self.critic_learning_rate = learning_rate, critic_learning_rate
        self.target_entropy = target_entropy * policy.action_size
        weight = next(policy.parameters())
        self.log_temperature = nn.Parameter(torch.full_like(weight.flatten()[0], temperature).log(), learn_temperature)

    def configure_optimizers(self) -> list[Optimizer]:
        """Adam for the policy, the critics and, where it is learned, the temperature."""
        optimizers: list[Optimizer] = [
            Adam(self.policy.parameters(), lr=self.learning_rate, fused=True),
            Adam(self.critic.parameters(), lr=self.critic_learning_rate, fused=True),
        ]
        if self.log_temperature.requires_grad:
            optimizers.append(Adam([self.log_temperature], lr=self.learning_rate, fused=True))
        return optimizers

    def explore(self, obs: Tensor) -> Tensor:
        """The policy's actions, with its own noise: [N, A]."""
        return self.policy(obs, self.randn(*obs.shape[:-1], self.actor.noise_size))

    def sample(self, obs: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Actions [B, A] for `obs` [B, O] and `noise`, and the log densities [B] of these in units of half widths."""
        action, log_prob = self.actor.sample(obs, noise)
        return action, log_prob + self.bounds.half_width.log().sum()

    def draw(self, batch: ReplayBatch) -> tuple[Tensor, Tensor]:
        """Noise [B, A] for actions in `obs`, and for those in `next_obs`."""
        shape = len(batch.obs), self.actor.noise_size
        return self.randn(*shape), self.randn(*shape)

    def learn(
        self, steps: Sequence[OptimizerStep], batch: ReplayBatch, noise: Tensor, next_noise: Tensor
    ) -> dict[str, Tensor]:
        """One step of the temperature, one of the critics, one of the policy; and the slow critics follow."""
        policy_step, critic_step, *temperature_step = steps
        action, log_prob = self.sample(batch.obs, noise)
        temperature = self.log_temperature.detach().exp()
        for step in temperature_step:
            step(-self.log_temperature * (log_prob.detach().mean() + self.target_entropy))
        target = self.target(batch, next_noise, temperature)
        critic_loss = (self.critic(batch.obs, batch.action) - target).square().mean(-1).sum()
        critic_step(critic_loss)
        value = self.critic(batch.obs, action).amin(0).mean()
        entropy = -log_prob.mean()
        policy_step(-(value + temperature * entropy))
        polyak_update(self.target_critic, self.critic, self.target_rate)
        return {
            "critic_loss": critic_loss.detach(),
            "value": value.detach(),
            "entropy": entropy.detach(),
            "temperature": temperature,
        }

    @torch.no_grad()
    def target(self, batch: ReplayBatch, noise: Tensor, temperature: Tensor) -> Tensor:
        """y: [B]."""
        next_action, next_log_prob = self.sample(batch.next_obs, noise)
        next_value = self.target_critic(batch.next_obs, next_action).amin(0) - temperature * next_log_prob
        return batch.reward + batch.discount * next_value
