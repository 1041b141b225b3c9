"""Stochastic value gradients without a model: SVG(0)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from gymnasium.spaces import Box
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from diffsim.policies import QMLP
from diffsim.policies.squash import BoundedBox
from diffsim.trainers.maths.returns import lambda_returns
from diffsim.trainers.metrics import Metric
from diffsim.trainers.model_free import ModelFree
from diffsim.trainers.options import given, option
from diffsim.trainers.value_gradient.optimizer_step import OptimizerStep, mean_metrics


class EvaluatedWindow(NamedTuple):
    """Steps of one window, [B] of them, with their returns.

    Attributes:
        obs: [B, O].
        noise: [B, Z], the policy's.
        action: [B, A], the policy's.
        returns: [B], TD(lambda) targets.
    """

    obs: Tensor
    noise: Tensor
    action: Tensor
    returns: Tensor

    def minibatches(self, count: int, generator: torch.Generator) -> Iterator[EvaluatedWindow]:
        """The steps in random order, in `count` parts."""
        order = torch.randperm(len(self.obs), generator=generator, device=self.obs.device)
        for index in order.chunk(count):
            yield EvaluatedWindow(*(part[index] for part in self))


class SVG0(ModelFree):
    """Stochastic value gradients: a reparameterised stochastic policy that maximises a learned Q, on-policy.

        critic   minimise mean_t (Q(o_t, u_t) - G_t(lam))^2
                 G_t = r_t + gamma ((1 - lam) Q(o_{t+1}, pi(o_{t+1}, z')) + lam G_{t+1}),    z' fresh
        actor    maximise mean_t Q(o_t, pi(o_t, z_t)),    z_t the noise of the roll-out

    The critic learns dQ/du from the noise alone: the actor's updates must be slower than the critic's, and the noise
    large enough. A window starts where the last one ended. At the end of a window, and where a time limit ends an
    episode, Q stands for the remaining return; the value of a terminal state is 0. A window is discarded after its
    updates. With a replay buffer, twin critics and an entropy bonus, this is `SAC`; without noise, `DPG`.

    The policy must have noise. For discrete actions, use a `RelaxedCategoricalMLP` or `BernoulliMLP`; Q then takes
    one-hot vectors or bits.

    Source: Heess et al. (2015), "Learning continuous control policies by stochastic value gradients", section 4, with
    TD(lambda) for fitted Q evaluation. Rates and epochs are those of `configs/svg0_pendulum.yaml`, which also says what
    return they reach.
    """

    family = "value gradient"
    run_defaults = {
        "num_envs": 16,
        "policy": "GaussianMLP",
        "hidden_sizes": (64, 64),
        "activation": "elu",
    }

    critic: nn.Module = given("Q; a new `QMLP` if None.", default=None)
    horizon: int = option("T, steps of each copy per window.", ">= 1", default=32)
    lam: float = option("of the critic's lambda-returns.", "in [0, 1]", default=0.9)
    epochs: int = option("passes over a window, first for the critic, then for the actor.", ">= 1", default=10)
    minibatches: int = option("updates of each per pass.", ">= 1", default=4)
    learning_rate: float = option("of the policy's Adam.", "> 0", default=1e-4)
    critic_learning_rate: float = option("of the critic's Adam.", "> 0", default=1e-3)
    normalize_reward: bool = option("divide rewards by the running standard deviation of the return.", default=True)
    critic_hidden_sizes: Sequence[int] = option("widths of the critic's hidden layers.", default=(128, 128))

    def setup(self) -> None:
        """Makes the critic, unless it is given.

        Raises: TypeError if the policy has no noise.
        """
        policy = self.policy
        if policy.noise_size == 0:
            raise TypeError(f"policy must be one with noise, such as GaussianMLP, got {type(policy).__name__}")
        super().setup()
        if self.critic is None:
            space = self.env.single_action_space
            if not isinstance(policy.squash, BoundedBox):
                space = Box(-1.0, 1.0, (policy.action_size,))  # one-hot vectors and bits, which need no scaling
            sizes = {"hidden_sizes": self.critic_hidden_sizes, "activation": "elu"}
            self.critic = QMLP(policy.obs_size, space, policy.normalizer, policy.fresh_encoder(), **sizes)
        self.critic.to(next(policy.parameters()))

    def make_optimizers(self) -> list[Optimizer]:
        """Adam for the policy and for the critic."""
        rates = ((self.policy, self.learning_rate), (self.critic, self.critic_learning_rate))
        return [Adam(net.parameters(), lr=rate, fused=True) for net, rate in rates]

    def iteration_size(self) -> int:
        """Env steps of an iteration: a window in every copy."""
        return self.horizon * self.env.num_envs

    def iterate(self) -> dict[str, Metric]:
        """Collects one window, and updates first the critic with it, then the actor."""
        policy_step, critic_step = map(OptimizerStep, self.optimizers)
        window, rows = self.next_window(), []
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
    def next_window(self) -> EvaluatedWindow:
        """Acts for `horizon` steps in every copy, and computes the return of each."""
        shape = self.horizon, self.env.num_envs, self.policy.noise_size
        noise = self.randn(*shape)
        trajectory = self.collect(self.policy, noise)
        next_action = self.policy(trajectory.next_obs, self.randn(*shape))
        next_value = self.critic(trajectory.next_obs, next_action)[0]
        next_value = torch.where(trajectory.terminated, 0.0, next_value)
        reward = self.scaled_reward(trajectory)
        returns = lambda_returns(reward, next_value, trajectory.ended, self.gamma, self.lam)
        return EvaluatedWindow(*(part.flatten(0, 1) for part in (trajectory.obs, noise, trajectory.action, returns)))

    def actor_loss(self, obs: Tensor, noise: Tensor) -> Tensor:
        """The policy's loss over `obs` [B, O] and `noise` [B, Z]: -mean Q(o, pi(o, z))."""
        return -self.critic(obs, self.policy(obs, noise))[0].mean()
