"""A linear system with a gear: actions with a continuous and a discrete part."""

import numpy as np
import torch
from gymnasium.spaces import Box, Dict, Discrete, Tuple

from tests.trainers.linear import LinearQuadratic

GAINS = torch.tensor([-1.0, 0.2, 1.5], dtype=torch.float64)


class GearedLinearQuadratic(LinearQuadratic):
    """x' = A x + B gain[k] u,  r = -(x'Qx + u'Ru + k / 10): the gear k in 5, 6, 7 scales the force u."""

    def __init__(self, *args, named=False, **kwargs):
        super().__init__(*args, **kwargs)
        box, gear = Box(-2.0, 2.0, (1,), np.float32), Discrete(3, start=5)
        self.action_space = Dict(gear=gear, force=box) if named else Tuple((box, gear))
        self.columns = {name: i for i, name in enumerate(self.action_space)} if named else {"force": 0, "gear": 1}

    def part(self, action, name):
        index = self.columns[name]
        return action[:, index : index + 1]

    def transition(self, state, action, noise=None):
        gear = self.part(action, "gear").detach().round().long() - 5
        return super().transition(state, GAINS[gear] * self.part(action, "force"), noise)

    def reward(self, state, action, next_state):
        gear = self.part(action, "gear").detach()[:, 0] - 5
        return super().reward(state, self.part(action, "force"), next_state) - 0.1 * gear
