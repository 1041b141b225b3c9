"""Advantage actor-critic, synchronous."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from gymnasium.vector import VectorEnv
from torch import Tensor
from torch.optim import Optimizer, RMSprop

from diffsim.policies import Policy
from diffsim.trainers.algorithm import Evaluator
from diffsim.trainers.experience.rollout import Trajectory
from diffsim.trainers.likelihood_ratio.on_policy import POLICY_DEFAULTS, OnPolicy, explained_variance, standardized
from diffsim.trainers.maths.schedule import Decay, check_decay
from diffsim.trainers.ranges import at_least_one, nonnegative, positive, unit_interval

RMSPROP: dict[str, Any] = {"alpha": 0.99, "eps": 1e-5}


class A2C(OnPolicy):
    """Takes one step for every few time steps of many copies, with the value in place of what comes after them.

        maximise mean_t log p(u_t | o_t) A_t - value_weight (V(o_t) - G_t)^2 + entropy_weight H(p(. | o_t))

    With lam = 1, A_t is the n-step advantage, r_t + ... + gamma^(H-t) V(o_H) - V(o_t): the form in which A3C is used
    today. The defaults are those of Stable-Baselines3's A2C, with Tianshou's 16 copies.

    Args:
        env: N copies to learn in.
        policy: what is trained.
        horizon: H, steps of each copy per update.
        updates: per iteration.
        gamma: discount, in (0, 1].
        lam: of advantages and of the value's targets, in [0, 1].
        learning_rate: of RMSprop.
        decay_env_steps: when it falls linearly to 0, as two counts of env steps or the second; None for never.
        value_weight: of the value's error in the loss, above 0.
        entropy_weight: of the entropy, at least 0.
        max_norm: gradients of all parameters are scaled down to this norm.
        normalize_advantage: shift and scale advantages to mean 0 and deviation 1 within each update.
        normalize_reward: learn from rewards in units of the return's running deviation.
        value_hidden_sizes: widths of the value's hidden layers.
        seed: of choices and of the environments, at least 0.
        evaluation: from the policy to metrics.

    Source: Mnih et al. (2016), "Asynchronous Methods for Deep Reinforcement Learning".
    """

    run_defaults = {"num_envs": 16, **POLICY_DEFAULTS}

    def __init__(
        self,
        env: VectorEnv,
        policy: Policy,
        *,
        horizon: int = 5,
        updates: int = 25,
        gamma: float = 0.99,
        lam: float = 1.0,
        learning_rate: float = 7e-4,
        decay_env_steps: Decay = None,
        value_weight: float = 0.5,
        entropy_weight: float = 0.0,
        max_norm: float = 0.5,
        normalize_advantage: bool = False,
        normalize_reward: bool = True,
        value_hidden_sizes: Sequence[int] = (64, 64),
        seed: int = 0,
        evaluation: Evaluator | None = None,
    ) -> None:
        at_least_one(horizon=horizon, updates=updates)
        check_decay(decay_env_steps)
        positive(learning_rate=learning_rate, value_weight=value_weight, max_norm=max_norm)
        nonnegative(entropy_weight=entropy_weight)
        unit_interval("[]", lam=lam)
        super().__init__(
            env,
            policy,
            gamma=gamma,
            normalize_reward=normalize_reward,
            value_hidden_sizes=value_hidden_sizes,
            seed=seed,
            evaluation=evaluation,
        )
        self.horizon, self.updates, self.lam = horizon, updates, lam
        self.learning_rate, self.decay_env_steps, self.max_norm = learning_rate, decay_env_steps, max_norm
        self.value_weight, self.entropy_weight = value_weight, entropy_weight
        self.normalize_advantage = normalize_advantage

    def configure_optimizers(self) -> Optimizer:
        """One RMSprop for policy and value."""
        parameters = [*self.actor.parameters(), *self.value.parameters()]
        return RMSprop(parameters, lr=self.learning_rate, **RMSPROP)

    def iterate(self) -> dict[str, Tensor | float]:
        """Acts for a few short windows, with a step after each."""
        optimizer = self.only_optimizer()
        judged, norms = [], []
        for _ in range(self.updates):
            learning_rate = self.decayed(optimizer, self.learning_rate, self.decay_env_steps)
            trajectory, raw = self.collect_window(self.horizon)
            loss, value, returns = self.loss(trajectory, raw)
            norms.append(self.gradient_step(lambda loss=loss: loss, optimizer, self.max_norm)[1])
            self.update_normalizer(trajectory.obs)
            judged.append((value.detach(), returns))
        value, returns = map(torch.cat, zip(*judged, strict=True))
        return {
            **self.episode_metrics(),
            "explained_variance": explained_variance(value, returns),
            "value_loss": (value - returns).square().mean(),
            "grad_norm": torch.stack(norms).mean(),
            "entropy": self.entropy(trajectory.obs),
            "learning_rate": learning_rate,
        }

    def loss(self, trajectory: Trajectory, raw: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What every update reduces, from a window with raw choices [H, N, F]; values [H, N], and their targets.

        The window's rewards enter the statistics that scale them: call it once for each.
        """
        value, distribution = self.value(trajectory.obs), self.actor.raw_distribution(trajectory.obs)
        advantage, returns = self.advantages(trajectory, value.detach(), self.lam, self.lam)
        if self.normalize_advantage:
            advantage = standardized(advantage)
        objective = (distribution.log_prob(raw) * advantage).mean()
        objective = objective + self.entropy_weight * distribution.entropy().mean()
        return self.value_weight * (value - returns).square().mean() - objective, value, returns
