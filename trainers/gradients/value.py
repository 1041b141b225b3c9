"""A value function of observation and time step, fitted to roll-outs, for baselines and for windows."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from diffsim.policies import ObservationNormalizer, mlp
from diffsim.trainers.maths.returns import reward_to_go

BATCH = 1024
PASSES, MAX_UPDATES = 20, 1500  # PASSES over the data; more of them overfit a small number of roll-outs
LEARNING_RATE = 3e-3  # decays to zero; these were tuned by hand on HalfCheetah-v5
HIDDEN_SIZES = (64, 64)


class TimedValueMLP(nn.Module):
    """V(o, t), the expected sum of discounted rewards from time step t to the horizon.

        V(o, t) = mean_t + deviation_t * mlp(o, t / H)

    mean_t is the best baseline that does not depend on the observation; the perceptron learns the residual.

    Args:
        obs_size: O.
        horizon: H, at least 1.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, obs_size: int, horizon: int) -> None:
        super().__init__()
        self.horizon = horizon
        self.normalizer = ObservationNormalizer(obs_size)
        self.network = mlp(obs_size + 1, HIDDEN_SIZES, 1, activation="silu", out_scale=0.1)
        self.register_buffer("mean", torch.zeros(horizon))
        self.register_buffer("deviation", torch.ones(horizon))

    def forward(self, obs: Tensor, time: Tensor) -> Tensor:
        """Maps `obs` [..., O], at the time steps `time` [...], to values [...]; H and later count as H - 1."""
        step = time.clamp(max=self.horizon - 1)
        inputs = torch.cat([self.normalizer(obs), (step / self.horizon).to(obs)[..., None]], dim=-1)
        return self.mean[step] + self.deviation[step] * self.network(inputs)[..., 0]


def fit_value(
    obs: Tensor, reward: Tensor, alive: Tensor, ended: Tensor, gamma: float, generator: torch.Generator
) -> TimedValueMLP:
    """Fits a value function to rewards-to-go, by Adam on random minibatches.

    Args:
        obs: [H, N, O], from initial states.
        reward: [H, N].
        alive: bool [H, N], whether a step belongs to the first episode; other steps are ignored.
        ended: bool [H, N].
        gamma: discount, in (0, 1].
        generator: of the minibatches.
    """
    horizon = len(obs)
    value = TimedValueMLP(obs.shape[-1], horizon).to(obs)
    returns, count = reward_to_go(reward, ended, gamma), alive.sum(1).clamp(min=1)
    value.mean.copy_((returns * alive).sum(1) / count)
    squares = (returns - value.mean[:, None]).square() * alive
    value.deviation.copy_((squares.sum(1) / count).sqrt().clamp(min=1e-6))
    inputs, targets = obs[alive], returns[alive]
    times = torch.arange(horizon, device=obs.device)[:, None].expand_as(reward)[alive]
    value.normalizer.update(inputs)
    optimizer = torch.optim.Adam(value.network.parameters(), lr=LEARNING_RATE)
    updates = min(MAX_UPDATES, -(-PASSES * len(inputs) // BATCH))
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, updates)
    for _ in range(updates):
        rows = torch.randint(len(inputs), (BATCH,), generator=generator, device=obs.device)
        errors = (value(inputs[rows], times[rows]) - targets[rows]) / value.deviation[times[rows]]
        optimizer.zero_grad()
        errors.square().mean().backward()
        optimizer.step()
        schedule.step()
    return value.requires_grad_(False)
