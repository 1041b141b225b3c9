"""Base of the algorithms that learn from the current policy's experience, and discard it after the update."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from diffsim.policies import Sequences, StochasticPolicy, ValueMLP
from diffsim.trainers.experience.on_policy_batch import OnPolicyBatch
from diffsim.trainers.experience.rollout import Trajectory
from diffsim.trainers.maths.returns import generalized_advantages, lambda_returns
from diffsim.trainers.maths.schedule import Decay, part_left
from diffsim.trainers.model_free import ModelFree
from diffsim.trainers.options import option

HIDDEN_SCALE = 2**0.5
POLICY_DEFAULTS: dict[str, Any] = {
    "bounds": "clip",
    "initial_std": 1.0,
    "clip_obs": 10.0,
    "hidden_scale": HIDDEN_SCALE,
    "out_scale": 0.01,
}
"""Implementation details that matter (Huang et al., 2022), with the values of Stable-Baselines3."""
LOW_NOISE_DEFAULTS: dict[str, Any] = {**POLICY_DEFAULTS, "initial_std": 0.5}
"""The same with half the standard deviation. With 1, a third of the actions is clipped, and mean actions drift far.

On Reacher-v5 the return of mean actions falls from -11 first: benchmarks/results/initial_std.md.
"""
ATARI_RUN: dict[str, Any] = {"evaluate_every_steps": 250_000, "evaluate_episodes": 1, "evaluate_stochastic": True}
"""Few evaluations: an episode has up to 27,000 steps, and one copy is slower than many."""
NORMALIZER_WARM_UP_STEPS = 2048
"""Env steps, of all copies together, that initialise the observation statistics before the first update."""


class OnPolicy(ModelFree):
    """Collects windows of experience, and estimates the advantage of every action in them.

    Episodes continue from one window to the next. The value stands for the rewards that a time-out or the end of the
    window cuts off; the value of a terminal state is 0. Policy and value share the observation statistics, which
    change only after the last update with a window. A warm-up before the first update, of one window and at least
    2,048 env steps, initialises these statistics; its steps count as env steps.

    The memory of a recurrent policy is carried from window to window, and cleared where an episode ends. An update
    computes it again from the memory before the window, by the present parameters, with a gradient through the window
    only. The value has no memory.
    """

    family = "likelihood ratio"

    normalize_reward: bool = option(
        "learn from rewards divided by the running standard deviation of the return.", default=True
    )
    value_hidden_sizes: Sequence[int] = option("widths of the value's hidden layers.", default=(64, 64))

    def setup(self) -> None:
        """Makes the value network.

        Raises: TypeError if the policy is deterministic.
        """
        policy = self.policy
        if not isinstance(policy, StochasticPolicy):
            raise TypeError(
                "policy must be a stochastic one, such as GaussianMLP, FullGaussianMLP or CategoricalMLP, "
                f"got {type(policy).__name__}"
            )
        super().setup()
        self.actor, self.warm_up_steps = policy, NORMALIZER_WARM_UP_STEPS
        self.memory_before = self.memory
        self.value = ValueMLP(
            policy.obs_size,
            policy.normalizer,
            policy.fresh_encoder(),
            hidden_sizes=self.value_hidden_sizes,
            activation="tanh",
            layer_norm=False,
            hidden_scale=HIDDEN_SCALE,
        ).to(next(policy.parameters()))

    def collect_window(self, horizon: int) -> tuple[Trajectory, Tensor]:
        """Acts for `horizon` steps in every copy, after the warm-up if it has not been done.

        Returns: the trajectory, and the policy's samples before squashing, [H, N, F].
        """
        self.warm_up_normalizer(horizon)
        return self.act(horizon)

    def warm_up_normalizer(self, horizon: int) -> None:
        """Initialises the observation statistics by acting for at least `horizon` steps, before the first window."""
        steps = self.warm_up_horizon(horizon)
        if steps:
            self.update_normalizer(self.act(steps)[0].obs)

    def warm_up_horizon(self, horizon: int) -> int:
        """Steps of each copy that must initialise the observation statistics, before windows of `horizon` steps."""
        normalizer = self.policy.normalizer
        if self.env_steps > 0 or normalizer is None or normalizer.count > 0:
            return 0
        return max(horizon, -(-self.warm_up_steps // self.env.num_envs))

    def warm_up_size(self) -> int:
        """Env steps of the warm-up, if it has not been done."""
        return self.warm_up_horizon(getattr(self, "horizon", 1)) * self.env.num_envs

    def act(self, horizon: int) -> tuple[Trajectory, Tensor]:
        """Returns the same as `collect_window`, without a warm-up."""
        self.memory_before = self.memory
        return self.sample(self.actor, horizon)

    def seen(self, trajectory: Trajectory, raw: Tensor) -> Tensor | Sequences:
        """What the policy saw in the last window: observations [H, N, O], or the sequences of a recurrent policy."""
        if not self.actor.recurrent:
            return trajectory.obs
        return Sequences(trajectory.obs, raw, trajectory.starts, self.memory_before)

    @torch.no_grad()
    def advantage_batch(self, trajectory: Trajectory, raw: Tensor, lam: float, value_lam: float) -> OnPolicyBatch:
        """Advantages by GAE(lam), and value targets by TD(value_lam), as a batch [H, N, ...]."""
        value = self.value(trajectory.obs)
        advantage, returns = self.advantages(trajectory, value, lam, value_lam)
        seen = self.seen(trajectory, raw)
        log_prob = self.actor.distributions(seen).log_prob(raw)
        sequences = seen if isinstance(seen, Sequences) else None
        return OnPolicyBatch(trajectory.obs, raw, log_prob, value, advantage, returns, sequences)

    @torch.no_grad()
    def advantages(self, trajectory: Trajectory, value: Tensor, lam: float, value_lam: float) -> tuple[Tensor, Tensor]:
        """Advantages by GAE(lam), and value targets by TD(value_lam): [H, N] each.

        The rewards enter the statistics that scale them: call it once for each window.

        Args:
            trajectory: a window.
            value: [H, N], of the window's observations.
            lam: of the advantages, in [0, 1].
            value_lam: of the targets, in [0, 1].
        """
        reward, ended, gamma = self.scaled_reward(trajectory), trajectory.ended, self.gamma
        next_value = torch.where(trajectory.terminated, 0.0, self.value(trajectory.next_obs))
        advantage = generalized_advantages(reward, value, next_value, ended, gamma, lam)
        return advantage, lambda_returns(reward, next_value, ended, gamma, value_lam)

    def value_loss(self, obs: Tensor, returns: Tensor) -> Tensor:
        """Mean squared error of the values of `obs` [..., O] against `returns` [...]."""
        return (self.value(obs) - returns).square().mean()

    @torch.no_grad()
    def entropy(self, seen: Tensor | Sequences) -> Tensor:
        """Mean entropy of the policy's distribution before squashing, for observations or sequences, in nats."""
        return self.actor.distributions(seen).entropy().mean()

    def schedule_env_steps(self) -> int:
        """Env steps that count for the decay of the learning rate."""
        return self.env_steps

    def decay_learning_rate(self, optimizer: Optimizer, learning_rate: float, decay_env_steps: Decay) -> float:
        """Sets an optimizer's learning rate to the decayed one, and returns it."""
        rate = learning_rate * part_left(decay_env_steps, self.schedule_env_steps())
        for group in optimizer.param_groups:
            group["lr"] = rate
        return rate


def standardized(advantage: Tensor) -> Tensor:
    """Shifted and scaled to mean 0 and standard deviation 1, over all steps. A constant becomes 0."""
    return (advantage - advantage.mean()) / (advantage.std(correction=0) + 1e-8)


def explained_variance(value: Tensor, returns: Tensor) -> Tensor:
    """1 - var(returns - value) / var(returns): 1 for a perfect prediction, 0 for a constant."""
    return 1.0 - (returns - value).var(correction=0) / returns.var(correction=0).clamp_min(1e-12)
