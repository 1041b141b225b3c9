"""Monte Carlo policy gradients."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.utils import parameters_to_vector
from torch.optim import Adam, Optimizer, RMSprop

from diffsim.checks import require
from diffsim.engine.checks import read_numbers
from diffsim.policies import Sequences, StochasticPolicy
from diffsim.trainers.experience.device_collection import restart_on_device, stays_on_device
from diffsim.trainers.experience.episode_ends import look_times
from diffsim.trainers.experience.on_policy_batch import OnPolicyBatch
from diffsim.trainers.experience.rollout import Trajectory
from diffsim.trainers.likelihood_ratio.fitted_value import FittedValue
from diffsim.trainers.likelihood_ratio.on_policy import POLICY_DEFAULTS, explained_variance
from diffsim.trainers.likelihood_ratio.on_policy_actor_critic import DECAY_HELP
from diffsim.trainers.maths.estimators import (
    average_baseline,
    likelihood_ratio_objective,
    optimal_baseline,
    per_sample_gradients,
    time_baseline,
)
from diffsim.trainers.maths.natural_step import trainable
from diffsim.trainers.maths.returns import first_episode, reward_to_go
from diffsim.trainers.maths.schedule import Decay, check_decay
from diffsim.trainers.metrics import Metric
from diffsim.trainers.options import option

STRIDE = 16  # steps between checks whether all episodes have ended
CHUNK = 4096  # steps per gradient computation: with images, more would need much memory


class Reinforce(FittedValue):
    """Follows the likelihood-ratio gradient of the return, estimated from whole episodes.

        reinforce   g = mean over episodes of sum_t score_t (G_0 - b),   G_0 the return of the episode
        gpomdp      g = mean over episodes of sum_t score_t (G_t - b),   G_t the return from step t on

    Every copy runs one episode per iteration from a fresh start. A copy whose episode has ended continues to act until
    all have ended; these steps count as env steps, and nothing is learned from them. A time-out counts as an end of the
    episode, except with the baseline "value": there the value of the observation reached stands for the rest. Episodes
    of an environment without a time limit are truncated (`LONGEST_EPISODE`). With gamma < 1 each step's term would have
    a factor gamma^t; it is left out, as in most implementations.

    Attributes:
        longest: steps of the longest of the last episodes.
        learned_steps: steps of all of them together.

    Source: Williams (1992), "Simple Statistical Gradient-Following Algorithms"; Baxter & Bartlett (2001), GPOMDP;
    Greensmith et al. (2004) for the optimal baseline. Learning rates after Tianshou's MuJoCo benchmark.
    """

    run_defaults = {"num_envs": 10, **POLICY_DEFAULTS}
    takes_recurrent = True

    estimator: Literal["reinforce", "gpomdp"] = option("which return multiplies the score.", default="gpomdp")
    baseline: Literal["none", "average", "time", "optimal", "value"] = option(
        "b: average, a constant; time, one number per time step; optimal, the constant of least variance for each "
        "parameter; all three from the other copies; or value, a learned function of the observation, for gpomdp only.",
        default="value",
    )
    until_reward: bool = option(
        "G_t ends with the first reward that is not 0, as in games of many independent points. For gpomdp, and not "
        "for baseline value.",
        default=False,
    )
    optimizer: Literal["adam", "rmsprop"] = option("of the policy.", default="adam")
    learning_rate: float = option("step size of the policy's optimizer.", "> 0", default=1e-3)
    decay_env_steps: Decay = option(DECAY_HELP, check_decay, default=None)
    scale_weights: bool = option(
        "divide G - b by its standard deviation; the reward's unit then does not matter.", default=True
    )
    max_norm: float | None = option("the gradient is scaled down to this norm; None for no bound.", "> 0", default=None)
    value_lam: float = option(default=1.0)
    normalize_reward: bool = option("fit the value to rewards divided by the return's running deviation.", default=True)

    def setup(self) -> None:
        """Checks that the options fit together, and makes the value network.

        Raises: ValueError if they do not.
        """
        estimator, baseline, num_envs = self.estimator, self.baseline, self.env.num_envs
        if baseline == "value":
            require(estimator == "gpomdp", "estimator", "gpomdp for baseline value", repr(estimator))
        if self.until_reward and (estimator != "gpomdp" or baseline == "value"):
            raise ValueError(
                "until_reward must be false unless estimator is gpomdp and baseline is not value, "
                f"got true with {estimator} and {baseline}"
            )
        if baseline == "optimal" and self.policy.recurrent:
            raise ValueError("baseline must not be optimal for a recurrent policy, which has no gradients per step")
        if baseline in ("average", "time", "optimal"):
            require(num_envs >= 2, "num_envs", f">= 2 for baseline {baseline}", num_envs)
        super().setup()
        self.longest = self.learned_steps = 0

    def make_optimizers(self) -> list[Optimizer]:
        """Adam or RMSprop for the policy, Adam for the value."""
        parameters, rate = self.actor.parameters(), self.learning_rate
        if self.optimizer == "rmsprop":
            return [RMSprop(parameters, lr=rate, alpha=0.99, eps=1e-5), *super().make_optimizers()]
        return [Adam(parameters, lr=rate, fused=True), *super().make_optimizers()]

    def iterate(self) -> dict[str, Metric]:
        """Runs an episode in every copy, updates the policy, and fits the value if it is the baseline."""
        optimizer, max_norm = self.optimizers[0], float("inf") if self.max_norm is None else self.max_norm
        learning_rate = self.decay_learning_rate(optimizer, self.learning_rate, self.decay_env_steps)
        trajectory, raw = self.episodes()
        alive = first_episode(trajectory.ended)
        batch = self.advantage_batch(trajectory, raw, 1.0, self.value_lam) if self.baseline == "value" else None
        weights, seen = self.weights(trajectory, alive, batch), self.seen(trajectory, raw)
        gradient = self.gradient(seen, raw, weights, alive)
        _, grad_norm = self.gradient_step(
            lambda: -(gradient @ parameters_to_vector(trainable(self.actor))), optimizer, max_norm
        )
        metrics = {"return": (trajectory.reward * alive).sum(0).mean(), "length": alive.to(weights).sum(0).mean()}
        rows = self.rows(alive)
        if batch is not None:
            steps = batch.each(lambda part: part[rows])
            metrics["explained_variance"] = explained_variance(steps.value, steps.returns)
            metrics["value_loss"] = self.fit_value(steps)
        entropy = self.entropy(trajectory.obs[::STRIDE] if isinstance(seen, Tensor) else seen)
        self.update_normalizer(trajectory.obs[rows])
        return {**metrics, "grad_norm": grad_norm, "entropy": entropy, "learning_rate": learning_rate}

    def episodes(self) -> tuple[Trajectory, Tensor]:
        """Acts from fresh starts until the first episode of every copy has ended.

        Returns: the trajectory, and the policy's samples before squashing, [H, N, F].
        """
        self.warm_up_normalizer(STRIDE)
        parts, done = [], 0
        self.memory = fresh = torch.zeros_like(self.memory)
        for steps in self.restart():
            parts.append(self.collect_window(steps - done))
            done = steps
            ended = torch.cat([trajectory.ended for trajectory, _ in parts])
            have_ended, lengths = read_numbers([ended.any(0), first_episode(ended).sum(0)])  # waits for a GPU
            if have_ended.all():
                break
        self.longest, self.learned_steps = int(lengths.max()), int(lengths.sum())
        self.memory_before = fresh  # before the first of these windows
        self.returns_seen = []  # `iterate` logs the return of the first episodes instead
        trajectories, raws = zip(*parts, strict=True)
        return Trajectory(*map(torch.cat, zip(*trajectories, strict=True))), torch.cat(raws)

    def restart(self) -> Iterator[int]:
        """Starts new episodes. Returns the numbers of steps after which to look whether all have ended."""
        self.running_return = torch.zeros_like(self.running_return)
        if self.reward_normalizer is not None:
            self.reward_normalizer.running.zero_()
        if stays_on_device(self.envs):
            return look_times(STRIDE, self.longest, restart_on_device(self.envs))
        self.env.reset()
        return look_times(STRIDE, None)

    def weights(self, trajectory: Trajectory, alive: Tensor, batch: OnPolicyBatch | None) -> Tensor:
        """Weight of each log probability, [H, N]: return minus baseline, and 0 after the episode.

        Args:
            trajectory: whole episodes.
            alive: bool [H, N], whether a step belongs to the first episode.
            batch: with advantages by GAE(1), which are then the weights; None for other baselines than the value.
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
            weights = weights / (weights[self.rows(alive)].std(correction=0) + 1e-8)
        return weights * alive

    @torch.no_grad()
    def gradient(self, seen: Tensor | Sequences, raw: Tensor, weights: Tensor, alive: Tensor) -> Tensor:
        """The gradient estimate [D], as a mean over steps: g divided by the mean length of an episode."""
        if isinstance(seen, Sequences):
            with torch.enable_grad():
                objective = raw_objective(self.actor, seen, raw, weights).sum()
                gradient = torch.autograd.grad(objective, trainable(self.actor))
            return parameters_to_vector(gradient) / alive.sum()
        if self.baseline == "optimal":
            each = per_sample_gradients(self.actor, raw_objective, seen, raw, weights)
            score = per_sample_gradients(self.actor, raw_objective, seen, raw, alive.to(weights))
            return (each - optimal_baseline(each, score) * score).sum(0) / alive.sum()
        rows = self.rows(alive)
        parts = zip(*(steps[rows].split(CHUNK) for steps in (seen, raw, weights)), strict=True)
        with torch.enable_grad():
            gradients = [
                parameters_to_vector(torch.autograd.grad(raw_objective(self.actor, *part), trainable(self.actor)))
                for part in parts
            ]
        return torch.stack(gradients).sum(0) / alive.sum()

    def rows(self, alive: Tensor) -> tuple[Tensor, ...]:
        """Indices of the steps of the first episodes, `alive`, as `nonzero`; but their number is known."""
        return torch.nonzero_static(alive, size=self.learned_steps).unbind(1)

    def training_state(self) -> dict[str, Any]:
        """Adds the steps of the longest of the last episodes."""
        return {**super().training_state(), "longest": self.longest}

    def load_training_state(self, saved: Mapping[str, Any]) -> None:
        """Restores what `training_state` returned."""
        super().load_training_state(saved)
        self.longest = saved.get("longest", 0)  # older checkpoints have none


def whole_returns(reward: Tensor, ended: Tensor, gamma: float, estimator: str) -> Tensor:
    """Returns that weight the scores of each copy's first episode, without a baseline: [H, N].

    Args:
        reward: [H, N].
        ended: bool [H, N], whether an episode ended on each step.
        gamma: discount, in (0, 1].
        estimator: "reinforce" for the return of the whole episode at all steps; "gpomdp" for the return from each
            step on.
    """
    returns = reward_to_go(reward, ended, gamma)
    return returns if estimator == "gpomdp" else returns[:1].expand_as(returns)


def raw_objective(policy: StochasticPolicy, seen: Tensor | Sequences, raw: Tensor, weights: Tensor) -> Tensor:
    """The likelihood-ratio objective of steps, from observations [B, O], samples [B, F] and weights [B].

    For sequences, samples and weights are [T, N, ...], and there is one number per copy.
    """
    return likelihood_ratio_objective(policy.distributions(seen).log_prob(raw), weights)
