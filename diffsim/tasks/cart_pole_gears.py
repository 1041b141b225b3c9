"""CartPoleGears-v0: a cart-pole with an engine that pushes one way, and a gearbox."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete, Tuple
from torch import Tensor

from diffsim.checks import check_choice
from diffsim.options import option
from diffsim.tasks.cart_pole_swing_up import CartPoleSwingUp

DIRECTIONS = (-1.0, 0.0, 1.0)
"""Push of the cart for each gear and full throttle: reverse, neutral, forward."""
START_ANGLES = {"upright": 0.0, "hanging": np.pi}
"""Mean angle of the pole at reset, rad."""


def action_space() -> Tuple:
    """Throttle in [0, 1], and gear: 0 reverse, 1 neutral, 2 forward."""
    return Tuple((Box(0.0, 1.0, (1,), np.float32), Discrete(len(DIRECTIONS))))


def check_start(name: str, value: object) -> None:
    """Raises ValueError unless `value` is a key of `START_ANGLES`."""
    check_choice(name, value, START_ANGLES)


class CartPoleGears(CartPoleSwingUp):
    """Balance a pole on a cart by a throttle and a gear: a continuous and a discrete part of each action.

    The engine pushes with throttle times 10 N, in the direction of the gear: 0 reverse, 1 neutral, 2 forward. No fixed
    gear keeps the pole up. Actions of the environments are `(throttle [1], gear)`; those of the MDP are rows [N, 2] of
    both numbers. The throttle has a gradient, the gear has none.

    An episode starts near the upright pole in the middle of the rail; with `start="hanging"` the pole must be swung up
    first. All else, also the reward, whose u is the throttle, is as in `CartPoleSwingUp`. Solved from the upright pole:
    a mean return of at least 225 in episodes of 250 steps, 0.9 of the upper bound. Its environment on C MuJoCo is
    `diffsim.cart_pole_env.CartPoleGearsEnv`.
    """

    reset_noise_scale: float = option(default=0.1)
    start: Literal["upright", "hanging"] = option("angle of the pole at reset.", check_start, default="upright")

    def setup(self) -> None:
        """Makes the action space, and the position at reset."""
        super().setup()
        self.action_space = action_space()  # pyright: ignore[reportAttributeAccessIssue]
        self.directions = torch.tensor(DIRECTIONS, dtype=self.dtype, device=self.device)
        self.start_position = torch.tensor([0.0, START_ANGLES[self.start]], dtype=self.dtype, device=self.device)

    def transition(self, state: Tensor, action: Tensor, noise: Tensor | None = None) -> Tensor:
        """Holds `action` [N, 2], throttle and gear, for `frame_skip` physics steps: next state, [N, S]."""
        if action.shape != (self.num_envs, 2):
            raise ValueError(f"action must have shape {(self.num_envs, 2)}, got {tuple(action.shape)}")
        gear = action[:, 1:].detach().round().long().clamp(0, len(DIRECTIONS) - 1)
        return super().transition(state, action[:, :1].clamp(0.0, 1.0) * self.directions[gear], noise)
