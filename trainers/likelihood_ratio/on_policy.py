"""What algorithms have in common that learn from what the present policy does, and throw it away after."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from gymnasium.vector import VectorEnv
from torch import Tensor
from torch.optim import Optimizer

from diffsim.policies import Policy, StochasticPolicy, ValueMLP
from diffsim.trainers.algorithm import Evaluator
from diffsim.trainers.experience.rollout import Trajectory
from diffsim.trainers.maths.returns import generalized_advantages, lambda_returns
from diffsim.trainers.maths.schedule import Decay, part_left
from diffsim.trainers.model_free import ModelFree

HIDDEN_SCALE = 2**0.5
POLICY_DEFAULTS: dict[str, Any] = {
    "bounds": "clip",
    "initial_std": 1.0,
    "clip_obs": 10.0,
    "hidden_scale": HIDDEN_SCALE,
    "out_scale": 0.01,
}
"""Details of implementation that matter (Huang et al., 2022), and as Stable-Baselines3 has them."""
NORMALIZER_WARM_UP_STEPS = 2048
"""Env steps, of all copies together, that show what observations are like before anything is learned."""


class OnPolicyBatch(NamedTuple):
    """Steps of experience, [H, N, ...], or [B, ...] in any order.

    Attributes:
        obs: [..., O].
        raw: [..., F], the policy's choices before squashing.
        log_prob: [...], of the choices, under the policy that made them.
        value: [...], of the observations, when the steps were judged.
        advantage: [...], how much better the choices were than expected.
        returns: [...], targets for the value.
    """

    obs: Tensor
    raw: Tensor
    log_prob: Tensor
    value: Tensor
    advantage: Tensor
    returns: Tensor

    def flatten(self) -> OnPolicyBatch:
        """All steps in one row: [H * N, ...]."""
        return OnPolicyBatch(*(part.flatten(0, 1) for part in self))

    def minibatches(self, count: int, generator: torch.Generator) -> Iterator[OnPolicyBatch]:
        """The steps [B, ...] in random order, in `count` parts."""
        order = torch.randperm(len(self.obs), generator=generator, device=self.obs.device)
        for index in order.chunk(count):
            yield OnPolicyBatch(*(part[index] for part in self))


class OnPolicy(ModelFree):
    """Collects windows of experience from a vector environment, and judges every action in them.

    Copies go on from window to window. The value stands in for what a time-out or the window's end cut off; a
    terminal state is worth nothing. Policy and value see observations through one pair of statistics, which changes
    between a window's last update and the next window only. So that the first updates see them as later ones do, what
    happens first, a window of at least 2,048 steps, is for the statistics only; it counts as env steps.

    Args:
        env: N copies, of any kind that Gymnasium has, whose autoreset mode is DISABLED; or our simulator's.
        policy: what is trained.
        gamma: discount, in (0, 1].
        normalize_reward: learn from rewards in units of the return's running deviation.
        value_hidden_sizes: widths of the value's hidden layers.
        seed: of choices and of the environments, at least 0.
        evaluation: from the policy to metrics.
    """

    def __init__(
        self,
        env: VectorEnv,
        policy: Policy,
        *,
        gamma: float,
        normalize_reward: bool,
        value_hidden_sizes: Sequence[int],
        seed: int,
        evaluation: Evaluator | None,
    ) -> None:
        if not isinstance(policy, StochasticPolicy):
            raise TypeError(
                "policy must be a stochastic one, such as GaussianMLP, FullGaussianMLP or CategoricalMLP, "
                f"got {type(policy).__name__}"
            )
        super().__init__(env, policy, gamma=gamma, normalize_reward=normalize_reward, seed=seed, evaluation=evaluation)
        weight = next(policy.parameters())
        self.actor, self.warm_up_steps = policy, NORMALIZER_WARM_UP_STEPS
        self.value = ValueMLP(
            policy.obs_size,
            policy.normalizer,
            None if policy.encoder is None else policy.encoder.reinitialized(),
            hidden_sizes=value_hidden_sizes,
            activation="tanh",
            layer_norm=False,
            hidden_scale=HIDDEN_SCALE,
        ).to(weight)

    def collect_window(self, horizon: int) -> tuple[Trajectory, Tensor]:
        """Acts for `horizon` steps in every copy: what happened, and the raw choices, [H, N, F]."""
        self.warm_up_normalizer(horizon)
        return self.act(horizon)

    def warm_up_normalizer(self, horizon: int) -> None:
        """Before anything else, acts for `horizon` steps or more to learn the statistics of observations, if wanted."""
        normalizer = self.policy.normalizer
        if self.env_steps == 0 and normalizer is not None and normalizer.count == 0:
            trajectory, _ = self.act(max(horizon, -(-self.warm_up_steps // self.env.num_envs)))
            self.update_normalizer(trajectory.obs)

    def act(self, horizon: int) -> tuple[Trajectory, Tensor]:
        """What `window` does, without a look before it."""
        chosen: list[Tensor] = []

        def choose(obs: Tensor, noise: Tensor | None) -> Tensor:
            assert noise is not None
            chosen.append(self.actor.raw_distribution(obs).sample(noise))
            return self.actor.squash(chosen[-1])

        trajectory = self.collect(choose, self.randn(horizon, self.env.num_envs, self.actor.noise_size))
        return trajectory, torch.stack(chosen)

    @torch.no_grad()
    def advantage_batch(self, trajectory: Trajectory, raw: Tensor, lam: float, value_lam: float) -> OnPolicyBatch:
        """Advantages by GAE(lam), and targets of the value by TD(value_lam): a batch [H, N, ...]."""
        value = self.value(trajectory.obs)
        advantage, returns = self.advantages(trajectory, value, lam, value_lam)
        log_prob = self.actor.raw_distribution(trajectory.obs).log_prob(raw)
        return OnPolicyBatch(trajectory.obs, raw, log_prob, value, advantage, returns)

    @torch.no_grad()
    def advantages(self, trajectory: Trajectory, value: Tensor, lam: float, value_lam: float) -> tuple[Tensor, Tensor]:
        """Advantages and targets [H, N], as in `judged`, for those who know the `value` [H, N] of what was observed."""
        reward, ended, gamma = self.scaled_reward(trajectory), trajectory.ended, self.gamma
        next_value = torch.where(trajectory.terminated, 0.0, self.value(trajectory.next_obs))
        advantage = generalized_advantages(reward, value, next_value, ended, gamma, lam)
        return advantage, lambda_returns(reward, next_value, ended, gamma, value_lam)

    def fit_value(
        self, batch: OnPolicyBatch, optimizer: Optimizer, epochs: int, minibatches: int, proximal: float = 0.0
    ) -> Tensor:
        """Regresses the value on its targets, holding on to what it was.

            minimise mean_t (V_phi(o_t) - G_t)^2 + proximal * |phi - phi_i|^2

        Args:
            batch: steps [B].
            optimizer: of the value's parameters, phi.
            epochs: passes over the steps.
            minibatches: updates per pass.
            proximal: weight of the squared distance from the parameters before, phi_i.

        Returns: the last update's loss.
        """
        anchor = [parameter.detach().clone() for parameter in self.value.parameters()]

        def loss(part: OnPolicyBatch) -> Tensor:
            error = self.value_loss(part.obs, part.returns)
            if proximal == 0.0:
                return error
            pairs = zip(self.value.parameters(), anchor, strict=True)
            return error + proximal * torch.stack([(new - old).square().sum() for new, old in pairs]).sum()

        last = batch.returns.new_zeros(())
        for _ in range(epochs):
            for part in batch.minibatches(minibatches, self.generator):
                last, _ = self.gradient_step(partial(loss, part), optimizer)
        return last

    def value_loss(self, obs: Tensor, returns: Tensor) -> Tensor:
        """Mean squared error of the values of `obs` [..., O] against `returns` [...]."""
        return (self.value(obs) - returns).square().mean()

    @torch.no_grad()
    def entropy(self, obs: Tensor) -> Tensor:
        """Mean entropy of the raw choices at `obs` [..., O], in nats."""
        return self.actor.raw_distribution(obs).entropy().mean()

    def only_optimizer(self) -> Optimizer:
        """The optimizer, of an algorithm with one."""
        (optimizer,) = self.all_optimizers()
        return optimizer

    def decayed(self, optimizer: Optimizer, learning_rate: float, decay_env_steps: Decay) -> float:
        """Sets and returns the optimizer's rate: what is left of `learning_rate`."""
        rate = learning_rate * part_left(decay_env_steps, self.env_steps)
        for group in optimizer.param_groups:
            group["lr"] = rate
        return rate


def standardized(advantage: Tensor) -> Tensor:
    """Shifted and scaled to mean 0 and deviation 1, over all steps. A constant becomes 0."""
    return (advantage - advantage.mean()) / (advantage.std(correction=0) + 1e-8)


def explained_variance(value: Tensor, returns: Tensor) -> Tensor:
    """1 - var(returns - value) / var(returns): 1 for a perfect prediction, 0 for a constant."""
    return 1.0 - (returns - value).var(correction=0) / returns.var(correction=0).clamp_min(1e-12)
