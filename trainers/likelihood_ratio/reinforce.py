"""Monte Carlo policy gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from gymnasium.vector import VectorEnv
from torch import Tensor
from torch.nn.utils import parameters_to_vector
from torch.optim import Adam, Optimizer, RMSprop

from diffsim.policies import Policy, StochasticPolicy
from diffsim.trainers.algorithm import Evaluator
from diffsim.trainers.experience.rollout import Trajectory
from diffsim.trainers.likelihood_ratio.on_policy import POLICY_DEFAULTS, OnPolicy, OnPolicyBatch, explained_variance
from diffsim.trainers.maths.estimators import (
    average_baseline,
    likelihood_ratio_objective,
    optimal_baseline,
    per_sample_gradients,
    time_baseline,
)
from diffsim.trainers.maths.natural_step import trained
from diffsim.trainers.maths.returns import first_episode, reward_to_go
from diffsim.trainers.maths.schedule import Decay, check_decay
from diffsim.trainers.ranges import at_least_one, nonnegative, positive, unit_interval

ESTIMATORS = ("reinforce", "gpomdp")
BASELINES = ("none", "average", "time", "optimal", "value")
OPTIMIZERS = ("adam", "rmsprop")
STRIDE = 16  # steps between looks whether all episodes have ended
PART = 4096  # steps whose gradient is taken at once; more would need much memory where observations are images


class Reinforce(OnPolicy):
    """Makes choices likelier by what came of them, from whole episodes.

        reinforce   g = mean over episodes of sum_t score_t (G_0 - b),   G_0 the whole return
        gpomdp      g = mean over episodes of sum_t score_t (G_t - b),   G_t what came after the choice

    Every copy plays one episode per iteration from a fresh start; what it does after its end, waiting for the others,
    is counted in env steps and not learned from. A time-out ends an episode like any other end, but for the baseline
    "value", where the value of what was reached stands in for the rest. With gamma < 1 each step's term would
    have a factor gamma^t; it is left out, as nearly everywhere.

    Args:
        env: N copies to learn in; all of them must have a time limit or end by themselves.
        policy: what is trained.
        estimator: "reinforce" or "gpomdp".
        baseline: b, from the other copies: "none"; "average", a constant; "time", one per time step; "optimal",
            the constant of least variance for each parameter; or "value", a learned function of the observation, for
            gpomdp only.
        gamma: discount, in (0, 1].
        until_reward: what came after a choice ends with the first reward that is not 0, as in games of many points
            where one point does not depend on the last; for gpomdp, and not for baseline value.
        optimizer: of the policy, "adam" or "rmsprop".
        learning_rate: of that optimizer.
        decay_env_steps: when it falls linearly to 0, as two counts of env steps or the second; None for never.
        scale_weights: divide the weights G - b by their deviation, so that the reward's unit does not matter.
        max_norm: the gradient is scaled down to this norm; None for no bound.
        value_learning_rate: of the value's Adam.
        value_lam: of the value's targets, in [0, 1]: 1 for Monte Carlo, 0 for one-step TD.
        value_epochs: passes over the episodes to fit the value.
        value_minibatches: updates per pass.
        value_proximal: weight of the value's squared distance from the last iteration's, at least 0.
        normalize_reward: let the value learn from rewards in units of the return's running deviation.
        value_hidden_sizes: widths of the value's hidden layers.
        seed: of choices and of the environments, at least 0.
        evaluation: from the policy to metrics.

    Source: Williams (1992), "Simple Statistical Gradient-Following Algorithms"; Baxter & Bartlett (2001), GPOMDP;
    Greensmith et al. (2004) for the optimal baseline. Rates after Tianshou's MuJoCo benchmark.
    """

    run_defaults = {"num_envs": 10, **POLICY_DEFAULTS}

    def __init__(
        self,
        env: VectorEnv,
        policy: Policy,
        *,
        estimator: Literal["reinforce", "gpomdp"] = "gpomdp",
        baseline: Literal["none", "average", "time", "optimal", "value"] = "value",
        gamma: float = 0.99,
        until_reward: bool = False,
        optimizer: Literal["adam", "rmsprop"] = "adam",
        learning_rate: float = 1e-3,
        decay_env_steps: Decay = None,
        scale_weights: bool = True,
        max_norm: float | None = None,
        value_learning_rate: float = 1e-3,
        value_lam: float = 1.0,
        value_epochs: int = 10,
        value_minibatches: int = 16,
        value_proximal: float = 0.0,
        normalize_reward: bool = True,
        value_hidden_sizes: Sequence[int] = (64, 64),
        seed: int = 0,
        evaluation: Evaluator | None = None,
    ) -> None:
        at_least_one(value_epochs=value_epochs, value_minibatches=value_minibatches)
        check_decay(decay_env_steps)
        positive(learning_rate=learning_rate, max_norm=max_norm, value_learning_rate=value_learning_rate)
        nonnegative(value_proximal=value_proximal)
        unit_interval("[]", value_lam=value_lam)
        for name, word, words in (
            ("estimator", estimator, ESTIMATORS),
            ("baseline", baseline, BASELINES),
            ("optimizer", optimizer, OPTIMIZERS),
        ):
            if word not in words:
                raise ValueError(f"{name} must be one of {', '.join(words)}, got {word!r}")
        if baseline == "value" and estimator != "gpomdp":
            raise ValueError(f"estimator must be gpomdp for baseline value, got {estimator!r}")
        if until_reward and (estimator != "gpomdp" or baseline == "value"):
            raise ValueError(
                "until_reward must be false unless estimator is gpomdp and baseline is not value, "
                f"got true with {estimator} and {baseline}"
            )
        if baseline in ("average", "time", "optimal") and env.num_envs < 2:
            raise ValueError(f"num_envs must be >= 2 for baseline {baseline}, got {env.num_envs}")
        super().__init__(
            env,
            policy,
            gamma=gamma,
            normalize_reward=normalize_reward,
            value_hidden_sizes=value_hidden_sizes,
            seed=seed,
            evaluation=evaluation,
        )
        self.estimator, self.baseline, self.scale_weights = estimator, baseline, scale_weights
        self.until_reward, self.optimizer = until_reward, optimizer
        self.learning_rate, self.decay_env_steps = learning_rate, decay_env_steps
        self.max_norm = float("inf") if max_norm is None else max_norm
        self.value_learning_rate, self.value_lam = value_learning_rate, value_lam
        self.value_epochs, self.value_minibatches = value_epochs, value_minibatches
        self.value_proximal = value_proximal

    def configure_optimizers(self) -> list[Optimizer]:
        """Adam or RMSprop for the policy, Adam for the value."""
        value_optimizer = Adam(self.value.parameters(), lr=self.value_learning_rate, fused=True)
        if self.optimizer == "rmsprop":
            return [RMSprop(self.actor.parameters(), lr=self.learning_rate, alpha=0.99, eps=1e-5), value_optimizer]
        return [Adam(self.actor.parameters(), lr=self.learning_rate, fused=True), value_optimizer]

    def iterate(self) -> dict[str, Tensor | float]:
        """Plays an episode in every copy, takes one step, and fits the value if there is one."""
        optimizers = self.all_optimizers()
        learning_rate = self.decayed(optimizers[0], self.learning_rate, self.decay_env_steps)
        trajectory, raw = self.episodes()
        alive = first_episode(trajectory.ended)
        batch = self.advantage_batch(trajectory, raw, 1.0, self.value_lam) if self.baseline == "value" else None
        weights = self.weights(trajectory, alive, batch)
        gradient = self.gradient(trajectory.obs, raw, weights, alive)
        _, grad_norm = self.gradient_step(
            lambda: -(gradient @ parameters_to_vector(trained(self.actor))), optimizers[0], self.max_norm
        )
        metrics = {"return": (trajectory.reward * alive).sum(0).mean(), "length": alive.to(weights).sum(0).mean()}
        if batch is not None:
            steps = OnPolicyBatch(*(part[alive] for part in batch))
            metrics["explained_variance"] = explained_variance(steps.value, steps.returns)
            metrics["value_loss"] = self.fit_value(
                steps, optimizers[1], self.value_epochs, self.value_minibatches, self.value_proximal
            )
        entropy = self.entropy(trajectory.obs[::STRIDE])
        self.update_normalizer(trajectory.obs[alive])
        return {**metrics, "grad_norm": grad_norm, "entropy": entropy, "learning_rate": learning_rate}

    def episodes(self) -> tuple[Trajectory, Tensor]:
        """Acts from fresh starts until every copy's first episode has ended: what happened, and the raw choices."""
        self.warm_up_normalizer(STRIDE)
        self.env.reset()
        self.running_return, self.finished = torch.zeros_like(self.running_return), []
        if self.reward_normalizer is not None:
            self.reward_normalizer.running.zero_()
        parts = [self.collect_window(STRIDE)]
        while not torch.cat([trajectory.ended for trajectory, _ in parts]).any(0).all():
            parts.append(self.collect_window(STRIDE))
        trajectories, raws = zip(*parts, strict=True)
        return Trajectory(*map(torch.cat, zip(*trajectories, strict=True))), torch.cat(raws)

    def weights(self, trajectory: Trajectory, alive: Tensor, batch: OnPolicyBatch | None) -> Tensor:
        """What each choice's log probability is multiplied by, [H, N]: return minus baseline, 0 after the episode.

        With a `batch`, which knows values, it is the advantage by GAE(1): all that came after, minus the value.
        """
        if batch is not None:
            weights = batch.advantage
        else:
            ended = trajectory.ended | (trajectory.reward != 0) if self.until_reward else trajectory.ended
            weights = whole_returns(trajectory.reward, ended, self.gamma, self.estimator)
            if self.baseline in ("average", "time"):
                baseline = average_baseline if self.baseline == "average" else time_baseline
                weights = weights - baseline(weights, alive)
        if self.scale_weights:
            weights = weights / (weights[alive].std(correction=0) + 1e-8)
        return weights * alive

    @torch.no_grad()
    def gradient(self, obs: Tensor, raw: Tensor, weights: Tensor, alive: Tensor) -> Tensor:
        """The estimate to climb, [D], as a mean over steps: g divided by the mean length of an episode."""
        if self.baseline == "optimal":
            each = per_sample_gradients(self.actor, raw_objective, obs, raw, weights)
            score = per_sample_gradients(self.actor, raw_objective, obs, raw, alive.to(weights))
            return (each - optimal_baseline(each, score) * score).sum(0) / alive.sum()
        parts = zip(*(steps[alive].split(PART) for steps in (obs, raw, weights)), strict=True)
        with torch.enable_grad():
            gradients = [
                parameters_to_vector(torch.autograd.grad(raw_objective(self.actor, *part), trained(self.actor)))
                for part in parts
            ]
        return torch.stack(gradients).sum(0) / alive.sum()


def whole_returns(reward: Tensor, ended: Tensor, gamma: float, estimator: str) -> Tensor:
    """What weighs the choices of each copy's first episode, without a baseline: [H, N].

    Args:
        reward: [H, N].
        ended: bool [H, N], whether an episode ended on each step.
        gamma: discount, in (0, 1].
        estimator: "reinforce" for the discounted return from the start, for all steps; "gpomdp" for what came after.
    """
    returns = reward_to_go(reward, ended, gamma)
    return returns if estimator == "gpomdp" else returns[:1].expand_as(returns)


def raw_objective(policy: StochasticPolicy, obs: Tensor, raw: Tensor, weights: Tensor) -> Tensor:
    """The likelihood-ratio objective of some steps, from [B, O], [B, F] and [B]."""
    return likelihood_ratio_objective(policy.raw_distribution(obs).log_prob(raw), weights)
