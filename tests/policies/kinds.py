"""One small policy for each kind of action distribution."""

import numpy as np
import torch
from gymnasium.spaces import Box, MultiDiscrete

from diffsim.policies import CategoricalMLP, FullGaussianMLP, GaussianMLP

OBS = Box(-np.inf, np.inf, (3,), np.float64)
ACTION = Box(np.array([-1.0, -3.0], np.float32), np.array([2.0, 1.0], np.float32))
CHOICES = MultiDiscrete([3, 2], start=[0, 5])
KINDS = ("fixed", "learned", "state", "full", "categorical")


def make(kind, seed=0):
    torch.manual_seed(seed)
    if kind == "categorical":
        return CategoricalMLP(OBS, CHOICES, hidden_sizes=(8,), out_scale=1.0).double()
    if kind == "full":
        policy = FullGaussianMLP(OBS, ACTION, hidden_sizes=(8,), out_scale=1.0).double()
        with torch.no_grad():
            policy.below_diagonal.copy_(torch.tensor([[9.0, 9.0], [0.4 + seed, 9.0]]))
            policy.log_diagonal.add_(torch.tensor([0.3, -0.2]))
        return policy
    return GaussianMLP(OBS, ACTION, hidden_sizes=(8,), std=kind, initial_std=0.5 + 0.2 * seed, out_scale=1.0).double()
