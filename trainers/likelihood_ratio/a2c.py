"""Advantage actor-critic: the update, and its synchronous form."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer, RMSprop

from diffsim.trainers.experience.rollout import Trajectory
from diffsim.trainers.likelihood_ratio.on_policy import ATARI_RUN, LOW_NOISE_DEFAULTS, explained_variance, standardized
from diffsim.trainers.likelihood_ratio.on_policy_actor_critic import WindowActorCritic
from diffsim.trainers.metrics import Metric
from diffsim.trainers.options import option

RMSPROP: dict[str, Any] = {"alpha": 0.99, "eps": 1e-5}


class AdvantageActorCritic(WindowActorCritic):
    """Base of A2C, A3C and the learners of A3C: one update after each short window.

        maximise mean_t log p(u_t | o_t) A_t - value_weight (V(o_t) - G_t)^2 + entropy_weight H(p(. | o_t))

    With lam = 1, A_t is the n-step advantage, r_t + ... + gamma^(H-t) V(o_H) - V(o_t).
    """

    run_defaults = {"num_envs": 16, **LOW_NOISE_DEFAULTS}

    horizon: int = option(default=5)
    updates: int = option("windows, and updates, per iteration.", ">= 1", default=25)
    lam: float = option(default=1.0)
    learning_rate: float = option("RMSprop's step size.", default=7e-4)
    normalize_advantage: bool = option(default=False)

    def make_optimizers(self) -> list[Optimizer]:
        """One RMSprop for policy and value."""
        return [RMSprop(self.trained_parameters(), lr=self.learning_rate, **RMSPROP)]

    def iteration_size(self) -> int:
        """Env steps of an iteration: `updates` windows in every copy."""
        return self.updates * super().iteration_size()

    def train_windows(self) -> dict[str, Metric]:
        """Collects `updates` windows, with an update after each. Returns what to log."""
        (optimizer,) = self.optimizers
        predictions, norms = [], []
        for _ in range(self.updates):
            learning_rate = self.decay_learning_rate(optimizer, self.learning_rate, self.decay_env_steps)
            trajectory, raw = self.collect_window(self.horizon)
            loss, value, returns = self.loss(trajectory, raw)
            norms.append(self.gradient_step(lambda loss=loss: loss, optimizer, self.max_norm)[1])
            self.update_normalizer(trajectory.obs)
            predictions.append((value.detach(), returns))
        value, returns = map(torch.cat, zip(*predictions, strict=True))
        return {
            **self.episode_metrics(),
            "explained_variance": explained_variance(value, returns),
            "value_loss": (value - returns).square().mean(),
            "grad_norm": torch.stack(norms).mean(),
            "entropy": self.entropy(self.seen(trajectory, raw)),
            "learning_rate": learning_rate,
        }

    def loss(self, trajectory: Trajectory, raw: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The loss of one update. The rewards enter the statistics that scale them: call it once for each window.

        Args:
            trajectory: a window.
            raw: [H, N, F], the policy's samples before squashing.

        Returns: the loss; values [H, N]; and their targets [H, N].
        """
        value, distribution = self.value(trajectory.obs), self.actor.distributions(self.seen(trajectory, raw))
        advantage, returns = self.advantages(trajectory, value.detach(), self.lam, self.lam)
        if self.normalize_advantage:
            advantage = standardized(advantage)
        objective = (distribution.log_prob(raw) * advantage).mean()
        objective = objective + self.entropy_weight * distribution.entropy().mean()
        return self.value_weight * (value - returns).square().mean() - objective, value, returns


class A2C(AdvantageActorCritic):
    """Synchronous advantage actor-critic: each update uses a short window of all copies.

        maximise mean_t log p(u_t | o_t) A_t - value_weight (V(o_t) - G_t)^2 + entropy_weight H(p(. | o_t))

    With lam = 1, A_t is the n-step advantage, r_t + ... + gamma^(H-t) V(o_H) - V(o_t): the form in which A3C is used
    today. The defaults are those of Stable-Baselines3's A2C, with Tianshou's 16 copies and
    an initial standard deviation of 0.5; for Atari games, network and entropy weight are those of the source.

    Source: Mnih et al. (2016), "Asynchronous Methods for Deep Reinforcement Learning".
    """

    takes_recurrent = True
    image_defaults = {"hidden_sizes": (256,), "activation": "relu", "value_hidden_sizes": (256,)}
    atari_defaults = {**ATARI_RUN, "entropy_weight": 0.01, "normalize_reward": False}

    def iterate(self) -> dict[str, Metric]:
        """Collects `updates` windows, with an update after each."""
        return self.train_windows()
