"""Stochastic value gradients without a model: SVG(0)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from gymnasium.spaces import Box
from gymnasium.vector import VectorEnv
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from diffsim.policies import QMLP, Policy
from diffsim.trainers.algorithm import Evaluator
from diffsim.trainers.maths.returns import lambda_returns
from diffsim.trainers.model_free import ModelFree
from diffsim.trainers.ranges import at_least_one, positive, unit_interval
from diffsim.trainers.value_gradient.optimizer_step import OptimizerStep, mean_metrics


class ReplayWindow(NamedTuple):
    """Steps to learn from, [B] of them.

    Attributes:
        obs: [B, O].
        noise: [B, Z], with which the policy chose.
        action: [B, A], what it chose.
        returns: [B], TD(lambda) targets.
    """

    obs: Tensor
    noise: Tensor
    action: Tensor
    returns: Tensor

    def minibatches(self, count: int, generator: torch.Generator) -> Iterator[ReplayWindow]:
        """The steps in random order, in `count` parts."""
        order = torch.randperm(len(self.obs), generator=generator, device=self.obs.device)
        for index in order.chunk(count):
            yield ReplayWindow(*(part[index] for part in self))


class SVG0(ModelFree):
    """Climbs Q by a stochastic policy's weights, through its noise, in what the present policy does.

        critic   minimise mean_t (Q(o_t, u_t) - G_t(lam))^2
                 G_t = r_t + gamma ((1 - lam) Q(o_{t+1}, pi(o_{t+1}, z')) + lam G_{t+1}),    z' fresh
        actor    maximise mean_t Q(o_t, pi(o_t, z_t)),    z_t the noise that was acted with

    The critic learns Q's slope in u from the noise alone: the actor must be slower than it, and the noise must matter.
    Windows go on where the last ones ended. At the end of a window, and where an episode is cut short, Q stands in for
    the rest; a terminal state is worth nothing. A window is forgotten after its updates; with a replay in place of
    windows, twin critics and an entropy, this is `SAC`. Without noise it is `DPG`.

    Args:
        env: N copies to learn in.
        policy: pi, what is trained: one with noise, through which it can be differentiated; for discrete actions a
            `RelaxedCategoricalMLP` or `BernoulliMLP`, whose Q is that of one-hot vectors or bits.
        critic: Q; a `QMLP` if None.
        horizon: T, steps of every copy per window.
        gamma: discount, in (0, 1].
        lam: of the critic's targets, in [0, 1].
        epochs: passes over a window, first by the critic, then by the actor.
        minibatches: updates of each per pass.
        learning_rate: of the policy's Adam.
        critic_learning_rate: of the critic's Adam.
        normalize_reward: learn from rewards in units of the return's running deviation.
        critic_hidden_sizes: widths of the critic's hidden layers.
        seed: of choices and of the environments, at least 0.
        evaluation: from the policy to metrics.

    Source: Heess et al. (2015), "Learning continuous control policies by stochastic value gradients", section 4, with
    TD(lambda) for fitted Q evaluation. Rates and epochs are those of `configs/svg0_pendulum.yaml`, which says what
    they reach.
    """

    run_defaults = {
        "num_envs": 16,
        "policy": "GaussianMLP",
        "hidden_sizes": (64, 64),
        "activation": "elu",
    }

    def __init__(
        self,
        env: VectorEnv,
        policy: Policy,
        critic: nn.Module | None = None,
        *,
        horizon: int = 32,
        gamma: float = 0.99,
        lam: float = 0.9,
        epochs: int = 10,
        minibatches: int = 4,
        learning_rate: float = 1e-4,
        critic_learning_rate: float = 1e-3,
        normalize_reward: bool = True,
        critic_hidden_sizes: Sequence[int] = (128, 128),
        seed: int = 0,
        evaluation: Evaluator | None = None,
    ) -> None:
        at_least_one(horizon=horizon, epochs=epochs, minibatches=minibatches)
        unit_interval("[]", lam=lam)
        positive(learning_rate=learning_rate, critic_learning_rate=critic_learning_rate)
        if policy.noise_size == 0:
            raise TypeError(f"policy must be one with noise, such as GaussianMLP, got {type(policy).__name__}")
        super().__init__(env, policy, gamma=gamma, normalize_reward=normalize_reward, seed=seed, evaluation=evaluation)
        if critic is None:
            space = env.single_action_space
            if not isinstance(space, Box):
                space = Box(-1.0, 1.0, (policy.action_size,))  # one-hot vectors and bits, seen as they are
            sizes = {"hidden_sizes": critic_hidden_sizes, "activation": "elu"}
            critic = QMLP(policy.obs_size, space, policy.normalizer, **sizes)
        self.critic = critic.to(next(policy.parameters()))
        self.horizon, self.lam, self.epochs, self.minibatches = horizon, lam, epochs, minibatches
        self.learning_rate, self.critic_learning_rate = learning_rate, critic_learning_rate

    def configure_optimizers(self) -> list[Optimizer]:
        """Adam for the policy and for the critic."""
        rates = ((self.policy, self.learning_rate), (self.critic, self.critic_learning_rate))
        return [Adam(net.parameters(), lr=rate, fused=True) for net, rate in rates]

    def iterate(self) -> dict[str, Tensor | float]:
        """Collects one window, and improves the critic by it, then the actor."""
        policy_step, critic_step = map(OptimizerStep, self.all_optimizers())
        window, rows = self.replayed_window(), []
        for _ in range(self.epochs):
            for part in window.minibatches(self.minibatches, self.generator):
                critic_loss = (self.critic(part.obs, part.action)[0] - part.returns).square().mean()
                critic_step(critic_loss)
                rows.append({"critic_loss": critic_loss.detach()})
        for _ in range(self.epochs):
            for part in window.minibatches(self.minibatches, self.generator):
                actor_loss = self.actor_loss(part.obs, part.noise)
                policy_step(actor_loss)
                rows.append({"value": -actor_loss.detach()})
        self.update_normalizer(window.obs)
        return {**self.episode_metrics(), **mean_metrics(rows)}

    @torch.no_grad()
    def replayed_window(self) -> ReplayWindow:
        """Acts for `horizon` steps in every copy, and judges each."""
        shape = self.horizon, self.env.num_envs, self.policy.noise_size
        noise = self.randn(*shape)
        trajectory = self.collect(self.policy, noise)
        next_action = self.policy(trajectory.next_obs, self.randn(*shape))
        next_value = self.critic(trajectory.next_obs, next_action)[0]
        next_value = torch.where(trajectory.terminated, 0.0, next_value)
        reward = self.scaled_reward(trajectory)
        returns = lambda_returns(reward, next_value, trajectory.ended, self.gamma, self.lam)
        return ReplayWindow(*(part.flatten(0, 1) for part in (trajectory.obs, noise, trajectory.action, returns)))

    def actor_loss(self, obs: Tensor, noise: Tensor) -> Tensor:
        """What the policy's step reduces: -mean Q(o, pi(o, z)), over `obs` [B, O] and `noise` [B, Z]."""
        return -self.critic(obs, self.policy(obs, noise))[0].mean()
