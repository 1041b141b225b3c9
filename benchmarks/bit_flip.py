"""The task of flipping bits: discrete actions, a goal, and a reward that is sparse.

Importing this module registers `BitFlip15-v0`:

    diffsim fit --task benchmarks.bit_flip:BitFlip15-v0 --algorithm DQN --goal_strategy future
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete

BITS = 15


class BitFlip(gymnasium.Env[Any, Any]):
    """Each action flips one of n bits. The reward is -1 per step until the bits equal the goal; then 0, and the end.

    Episodes are truncated after n steps, for n bits. Source: Andrychowicz et al. (2017), "Hindsight Experience
    Replay", section 3.1.
    """

    def __init__(self, n: int = BITS) -> None:
        self.n = n
        bits = Box(0.0, 1.0, (n,), np.float64)
        self.action_space = Discrete(n)
        self.observation_space = Dict({"observation": bits, "achieved_goal": bits, "desired_goal": bits})

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Draws bits and goal, uniformly."""
        super().reset(seed=seed)
        self.bits, self.goal = (self.np_random.integers(0, 2, self.n).astype(float) for _ in range(2))
        self.age = 0
        return self._observation(), {}

    def step(self, action: int) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Flips the bit number `action`."""
        self.bits[action] = 1.0 - self.bits[action]
        self.age += 1
        obs = self._observation()
        goals = obs["achieved_goal"], obs["desired_goal"], {}
        success = bool(self.compute_terminated(*goals))
        truncated = self.age == self.n and not success
        return obs, float(self.compute_reward(*goals)), success, truncated, {"is_success": success}

    def compute_reward(self, achieved: np.ndarray, desired: np.ndarray, info: Any) -> np.ndarray:
        """0 where all bits are equal, else -1; [...] for bits [..., n]."""
        return self.compute_terminated(achieved, desired, info) - 1.0

    def compute_terminated(self, achieved: np.ndarray, desired: np.ndarray, info: Any) -> np.ndarray:
        """Whether all bits are equal; [...] for bits [..., n]."""
        return (achieved == desired).all(-1)

    def _observation(self) -> dict[str, np.ndarray]:
        return {"observation": self.bits.copy(), "achieved_goal": self.bits.copy(), "desired_goal": self.goal.copy()}


gymnasium.register(f"BitFlip{BITS}-v0", "benchmarks.bit_flip:BitFlip")
