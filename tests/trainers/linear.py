"""A linear system with quadratic cost, whose roll-out gradient is known in closed form."""

import numpy as np
import torch
from gymnasium.spaces import Box
from torch import Tensor, nn

from diffsim.mdp import MDP


class LinearQuadratic(MDP):
    """x' = A x + B u + noise_std * w,  r = -(x'Qx + u'Ru),  o = x;  an episode ends where |x_0| > bound."""

    def __init__(self, num_envs=3, *, bound=float("inf"), noise_std=0.0, max_episode_steps=1000):
        self.num_envs, self.device, self.dtype = num_envs, torch.device("cpu"), torch.float64
        self.state_size, self.noise_size = 2, 2 if noise_std else 0
        self.max_episode_steps, self.bound, self.noise_std = max_episode_steps, bound, noise_std
        self.observation_space = Box(-np.inf, np.inf, (2,), np.float64)
        self.action_space = Box(-2.0, 2.0, (1,), np.float32)
        self.A = torch.tensor([[1.0, 0.1], [0.3, 1.0]], dtype=torch.float64)
        self.B = torch.tensor([[0.0], [0.1]], dtype=torch.float64)
        self.Q = torch.tensor([[1.0, 0.1], [0.1, 0.5]], dtype=torch.float64)
        self.R = torch.tensor([[0.2]], dtype=torch.float64)

    def initial(self, generator):
        return torch.randn(self.num_envs, 2, generator=generator, dtype=self.dtype)

    def transition(self, state, action, noise=None):
        next_state = state @ self.A.T + action @ self.B.T
        return next_state if noise is None else next_state + self.noise_std * noise

    def observation(self, state):
        return state

    def reward(self, state, action, next_state):
        return -((state @ self.Q) * state).sum(-1) - ((action @ self.R) * action).sum(-1)

    def terminal(self, state):
        return state[:, 0].abs() > self.bound

    def gain_gradient(self, K: Tensor, initial: Tensor, horizon: int) -> Tensor:
        """d/dK of sum_t r_t from `initial` [N, 2] under u = K x, averaged over copies, without autodiff.

        P_H = 0,   P_t = Q + K'RK + (A+BK)' P_{t+1} (A+BK),
        dJ/dK = -2 sum_t (R K + B' P_{t+1} (A+BK)) x_t x_t'
        """
        closed = self.A + self.B @ K
        P = [torch.zeros_like(self.Q)]
        for _ in range(horizon):
            P.append(self.Q + K.T @ self.R @ K + closed.T @ P[-1] @ closed)
        gradient, x = torch.zeros_like(K), initial
        for t in range(horizon):
            next_P = P[horizon - 1 - t]
            gradient -= 2 * (self.R @ K + self.B.T @ next_P @ closed) @ (x.T @ x) / len(x)
            x = x @ closed.T
        return gradient


class LinearPolicy(nn.Module):
    """u = K x + noise."""

    noise_size, normalizer = 0, None

    def __init__(self, gain=(-1.0, -1.5)):
        super().__init__()
        self.K = nn.Parameter(torch.tensor([gain], dtype=torch.float64))

    def forward(self, obs, noise=None):
        action = obs @ self.K.T
        return action if noise is None else action + noise

    def anneal(self, env_steps):
        """Changes nothing."""


class NoisyLinearPolicy(LinearPolicy):
    """A linear policy that takes noise."""

    noise_size = 1


class DiscountedLinearQuadratic(LinearQuadratic):
    """The discounted system with infinite horizon, and action bounds that are never reached. All values in closed form.

    Under u = K x + std * z, with C = A + BK:
        V(x) = -(x'Px + c),   P = Q + K'RK + gamma C'PC,   (1 - gamma) c = std^2 (R + gamma B'PB)
        Q(x, u) = -(x'Qx + u'Ru + gamma (y'Py + c)),   y = Ax + Bu
        J = E V(x_0),   x_0 ~ N(0, I)
    """

    gamma = 0.9

    def __init__(self, num_envs=3, **kwargs):
        super().__init__(num_envs, **kwargs)
        self.action_space = Box(-50.0, 50.0, (1,), np.float32)

    def cost_to_go(self, K, std, gamma):
        """P [2, 2] and c [1, 1], differentiable in K and std."""
        closed, P = self.A + self.B @ K, torch.zeros_like(self.Q)
        for _ in range(400):
            P = self.Q + K.T @ self.R @ K + gamma * closed.T @ P @ closed
        return P, std**2 * (self.R + gamma * self.B.T @ P @ self.B) / (1 - gamma)

    def q_value(self, x, u, K, std=0.0, gamma=None):
        """Q of the policy (K, std) at `x` [B, 2] and `u` [B, 1]: [B]."""
        gamma = gamma or self.gamma
        P, c = self.cost_to_go(K, std, gamma)
        y = self.transition(x, u)
        return self.reward(x, u, y) - gamma * (((y @ P) * y).sum(-1) + c.squeeze())

    def objective(self, K, std):
        """J = -(tr P + c)."""
        P, c = self.cost_to_go(K, std, self.gamma)
        return -(P.trace() + c.squeeze())

    def visited(self, K, std, count, generator):
        """States x_t with t geometric, P(t) = (1 - gamma) gamma^t: [count, 2]; sum_t gamma^t is 1 / (1 - gamma)."""
        uniform = torch.rand(count, generator=generator, dtype=self.dtype)
        age = (uniform.log() / np.log(self.gamma)).floor()
        x = torch.randn(count, 2, generator=generator, dtype=self.dtype)
        for t in range(int(age.max())):
            noise = torch.randn(count, 1, generator=generator, dtype=self.dtype)
            x = torch.where((age > t)[:, None], self.transition(x, x @ K.T + std * noise), x)
        return x
