"""Problems whose policy gradient is known in closed form, and a linear Gaussian policy for them."""

import numpy as np
import torch
from gymnasium.spaces import Box
from torch import nn

from diffsim.mdp import MDP
from tests.trainers.linear import LinearQuadratic


class LinearGaussian(nn.Module):
    """u = K o + exp(log_std) * z: a `GaussianMLP` without hidden layers and squashing."""

    normalizer = None

    def __init__(self, gain, std=0.5):
        super().__init__()
        self.K = nn.Parameter(torch.tensor(gain, dtype=torch.float64))
        self.log_std = nn.Parameter(torch.full((len(gain),), np.log(std), dtype=torch.float64))
        self.noise_size = len(gain)

    def distribution(self, obs):
        mean = obs @ self.K.T
        return mean, self.log_std.exp().expand_as(mean)

    def squash(self, x):
        return x

    def forward(self, obs, noise=None):
        mean, std = self.distribution(obs)
        return mean if noise is None else mean + std * noise


class Bandit(MDP):
    """One step from x = 1, observed as o = [1]:  r = offset - (u - target)^2."""

    state_size, max_episode_steps = 1, 1

    def __init__(self, num_envs, target=1.5, offset=-3.0):
        self.num_envs, self.device, self.dtype = num_envs, torch.device("cpu"), torch.float64
        self.target, self.offset = target, offset
        self.observation_space = Box(-np.inf, np.inf, (1,), np.float64)
        self.action_space = Box(-2.0, 2.0, (1,), np.float32)

    def initial(self, generator):
        return torch.ones(self.num_envs, 1, dtype=self.dtype)

    def transition(self, state, action, noise=None):
        return state + 0.0 * action

    def observation(self, state):
        return state

    def reward(self, state, action, next_state):
        return self.offset - (action[:, 0] - self.target).square()

    def terminal(self, state):
        return torch.zeros(self.num_envs, dtype=torch.bool)

    def exact_gradient(self, policy):
        """J = offset - (K - target)^2 - std^2:  [dJ/dK, dJ/dlog_std] = [-2 (K - target), -2 std^2]."""
        K, std = policy.K.item(), policy.log_std.exp().item()
        return torch.tensor([-2 * (K - self.target), -2 * std**2], dtype=torch.float64)


class NoisyLinearQuadratic(LinearQuadratic):
    """LQR with process noise, from standard normal initial states, with a constant added to each reward."""

    def __init__(self, num_envs, noise_std=0.3, offset=0.0):
        super().__init__(num_envs, noise_std=noise_std)
        self.offset = offset

    def reward(self, state, action, next_state):
        return super().reward(state, action, next_state) + self.offset

    def exact_gradient(self, policy, horizon):
        """[dJ/dK, dJ/dlog_std] of the expected sum of H rewards.

        P_H = 0,   P_t = Q + K'RK + C' P_{t+1} C,   C = A + BK
        S_0 = I,   S_{t+1} = C S_t C' + std^2 B B' + noise_std^2 I,   S_t = E[x_t x_t']
        dJ/dK = -2 sum_t (R K + B' P_{t+1} C) S_t,   dJ/dlog_std = -2 std^2 sum_t (R + B' P_{t+1} B)
        """
        K, variance = policy.K.detach(), policy.log_std.exp().item() ** 2
        C, eye = self.A + self.B @ K, torch.eye(2, dtype=torch.float64)
        P = [torch.zeros_like(self.Q)]
        for _ in range(horizon):
            P.append(self.Q + K.T @ self.R @ K + C.T @ P[-1] @ C)
        S, by_gain, by_log_std = eye, torch.zeros_like(K), torch.zeros(1, 1, dtype=torch.float64)
        for t in range(horizon):
            ahead = P[horizon - 1 - t]
            by_gain = by_gain - 2 * (self.R @ K + self.B.T @ ahead @ C) @ S
            by_log_std = by_log_std - 2 * variance * (self.R + self.B.T @ ahead @ self.B)
            S = C @ S @ C.T + variance * self.B @ self.B.T + self.noise_std**2 * eye
        return torch.cat([by_gain.flatten(), by_log_std.flatten()])

    def exact_value(self, policy, horizon):
        """V(x, t) = -x' P_t x + constants: a function of observations and time steps."""
        K, variance = policy.K.detach(), policy.log_std.exp().item() ** 2
        C = self.A + self.B @ K
        P, constant = [torch.zeros_like(self.Q)], [0.0]
        for _ in range(horizon):
            cost = variance * (self.R + self.B.T @ P[-1] @ self.B).item() + self.noise_std**2 * P[-1].trace().item()
            constant.append(constant[-1] - cost + self.offset)
            P.append(self.Q + K.T @ self.R @ K + C.T @ P[-1] @ C)
        by_time, constants = torch.stack(P[::-1]), torch.tensor(constant[::-1], dtype=torch.float64)

        def value(obs, time):
            time = time.clamp(max=horizon)
            return constants[time] - torch.einsum("...i,...ij,...j->...", obs, by_time[time], obs)

        return value
