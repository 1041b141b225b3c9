"""Problems for searches without gradients: functions of the parameters, and an episode of one step that pays them."""

from functools import partial

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from torch import nn

from diffsim.policies import Policy
from diffsim.trainers.black_box.candidates import Vectors


class Constant(Policy):
    """A policy whose action is its parameter vector, whatever is observed."""

    noise_size = 0

    def __init__(self, start):
        size = len(start)
        super().__init__(Box(-1.0, 1.0, (1,)), Box(-1e3, 1e3, (size,)), normalize=False)
        self.theta = nn.Parameter(torch.tensor(start, dtype=torch.float64))

    def forward(self, obs, noise=None):
        return self.theta.expand(*obs.shape[:-1], -1)


class Payment(gymnasium.Env):
    """One step, whose reward is `value` of the action."""

    observation_space = Box(-1.0, 1.0, (1,), np.float64)

    def __init__(self, value, size):
        self.value, self.action_space = value, Box(-1e3, 1e3, (size,), np.float64)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(1), {}

    def step(self, action):
        return np.zeros(1), float(self.value(torch.as_tensor(action)[None])[0]), True, False, {}


def rosenbrock(theta):
    """Minus Rosenbrock's function of `theta` [K, D]: 0 at (1, ..., 1)."""
    ahead, behind = theta[:, 1:], theta[:, :-1]
    return -(100 * (ahead - behind.square()).square() + (1 - behind).square()).sum(1)


def quadratic(theta):
    """Minus the squared distance of `theta` [K, D] from (1, 2, ..., D)."""
    return -(theta - torch.arange(1.0, theta.shape[1] + 1.0)).square().sum(1)


def searcher(cls, start, value=quadratic, **options):
    """An algorithm that searches the parameters of a constant policy, in four copies of the payment."""
    env = SyncVectorEnv([partial(Payment, value, len(start))] * 4, autoreset_mode=AutoresetMode.DISABLED)
    return cls(env, Constant(start), **options)


def advance(algorithm, value, generations, shuffle=None):
    """Generations with returns from a function, without roll-outs; `shuffle`, a generator, permutes them."""
    for _ in range(generations):
        candidates = algorithm.ask()
        returns = value(candidates.vectors())
        if shuffle is not None:
            returns = returns[torch.randperm(len(returns), generator=shuffle)]
        algorithm.tell(candidates, returns, None)
        algorithm.iteration += 1
    return value(algorithm.vector()[None])[0].item()


def tell(algorithm, theta, returns, answer=None):
    """Tells an algorithm about given members; returns its metrics."""
    members = Vectors(torch.tensor(theta, dtype=torch.float64))
    return algorithm.tell(members, torch.tensor(returns, dtype=torch.float64), answer)
