"""Small environments with known optimal behaviour."""

from functools import partial

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from tests.models.linear_system import quadratic_reward


class Chain(gymnasium.Env):
    """Reward 1 per step. After `limit` steps an episode is truncated, or terminated if `honest` is false."""

    observation_space = Box(-1.0, 1.0, (1,), np.float64)
    action_space = Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self, limit=3, honest=True):
        self.limit, self.honest = limit, honest

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.age = 0
        return np.ones(1), {}

    def step(self, action):
        self.age += 1
        cut = self.age >= self.limit
        return np.ones(1), 1.0, cut and not self.honest, cut and self.honest, {}


class Target(gymnasium.Env):
    """Episodes of two steps. The best action is `best` times the observed sign; if discrete, 1 plus the sign."""

    observation_space = Box(-2.0, 2.0, (2,), np.float64)
    best = 0.6

    def __init__(self, discrete=False):
        self.discrete = discrete
        self.action_space = Discrete(3) if discrete else Box(-1.0, 1.0, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.age, self.sign = 0, float(self.np_random.choice([-1.0, 1.0]))
        return self._observation(), {}

    def step(self, action):
        good = float(action == 1 + self.sign) if self.discrete else -np.square(action - self.best * self.sign).sum()
        self.age += 1
        return self._observation(), good, self.age == 2, False, {}

    def _observation(self):
        return np.array([self.sign, float(self.age)])


class Counter(gymnasium.Env):
    """Observes [episode, steps since it began]; terminates after `length` steps."""

    observation_space = Box(-np.inf, np.inf, (2,), np.float64)
    action_space = Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self, length):
        self.length, self.episode = length, -1

    def reset(self, *, seed=None, options=None):
        self.episode, self.steps = self.episode + 1, 0
        return np.array([self.episode, 0.0]), {}

    def step(self, action):
        self.steps += 1
        obs = np.array([self.episode, self.steps], dtype=np.float64)
        return obs, float(action[0]), self.steps >= self.length, False, {}


class LinearEnv(gymnasium.Env):
    """The linear system of the tests, with episodes of ten steps."""

    observation_space = Box(-np.inf, np.inf, (2,), np.float64)
    action_space = Box(-2.0, 2.0, (1,), np.float32)
    A, B = np.array([[1.0, 0.1], [0.3, 1.0]]), np.array([[0.0], [0.1]])

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.age, self.x = 0, self.np_random.normal(size=2)
        return self.x, {}

    def step(self, action):
        old, self.age = self.x, self.age + 1
        self.x = self.A @ old + self.B @ action + 0.1 * self.np_random.normal(size=2)
        cost = quadratic_reward(torch.as_tensor(old)[None], torch.as_tensor(action, dtype=torch.float64)[None], None)
        return self.x, float(cost[0]), False, self.age >= 10, {}


def vector(cls, num_envs, **kwargs):
    return SyncVectorEnv([partial(cls, **kwargs)] * num_envs, autoreset_mode=AutoresetMode.DISABLED)
