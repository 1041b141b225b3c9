"""CartPoleSwingUp-v0 on C MuJoCo, in NumPy: evaluates policies, and is the reference of the task's tests.

`OfficialEnv` makes the same steps from the task's torch functions, several times slower.
"""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.envs.mujoco import MujocoEnv
from gymnasium.spaces import Box, Space

from diffsim.tasks.cart_pole_gears import DIRECTIONS, START_ANGLES, action_space, check_start

TASKS = Path(__file__).parent / "tasks"


class OwnMujocoEnv(MujocoEnv):
    """An environment with a model of this package, whose episodes end by time limits only.

    Args:
        xml_file: MJCF file.
        frame_skip: physics steps per action.
        space: of the observations.
        **kwargs: of `MujocoEnv`, such as render_mode.
    """

    metadata = {"render_modes": ["human", "rgb_array", "depth_array", "rgbd_tuple"]}

    def __init__(self, xml_file: str | Path, frame_skip: int, space: Space, **kwargs: Any) -> None:
        super().__init__(str(xml_file), frame_skip, space, **kwargs)
        self.metadata = {**self.metadata, "render_fps": round(1 / self.dt)}

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Advances by one action [A]."""
        self.do_simulation(action, self.frame_skip)
        obs, info = self._get_obs(), self.info()
        reward = self.reward(obs, action, info)
        if self.render_mode == "human":
            self.render()
        return obs, reward, False, False, info

    @abstractmethod
    def _get_obs(self) -> Any: ...

    @abstractmethod
    def reward(self, obs: Any, action: np.ndarray, info: dict[str, Any]) -> float:
        """Reward of a step with `action` [A] to `obs`."""

    def info(self) -> dict[str, Any]:
        """Info of a step: empty."""
        return {}


class CartPoleSwingUpEnv(OwnMujocoEnv):
    """`diffsim.tasks.CartPoleSwingUp` on C MuJoCo.

    Args:
        xml_file: MJCF file.
        frame_skip: physics steps per action.
        reset_noise_scale: standard deviation of the normal noise at reset.
        **kwargs: of `MujocoEnv`, such as render_mode.
    """

    def __init__(
        self,
        xml_file: str | Path = TASKS / "cart_pole_swing_up.xml",
        frame_skip: int = 4,
        reset_noise_scale: float = 0.01,
        **kwargs: Any,
    ) -> None:
        self.reset_noise_scale, self.start_angle = reset_noise_scale, np.pi
        space = Box(-np.inf, np.inf, (5,), np.float64)
        super().__init__(xml_file, frame_skip, space, **{"camera_name": "side", **kwargs})

    def reward(self, obs: np.ndarray, action: np.ndarray, info: dict[str, Any]) -> float:
        """The reward of `diffsim.tasks.CartPoleSwingUp`."""
        cart, cosine, _, _, velocity = obs
        centered, still = (1 + 0.1 ** (cart / 2) ** 2) / 2, (1 + 0.1 ** (velocity / 5) ** 2) / 2
        calm = (4 + max(0.0, 1 - float(action[0]) ** 2)) / 5
        return float((1 + cosine) / 2 * centered * still * calm)

    def reset_model(self) -> np.ndarray:
        """Starts an episode."""
        noise = self.reset_noise_scale * self.np_random.standard_normal(4)
        self.set_state(np.array([0.0, self.start_angle]) + noise[:2], noise[2:])
        return self._get_obs()

    def _get_obs(self) -> np.ndarray:
        cart, theta = self.data.qpos
        return np.array([cart, np.cos(theta), np.sin(theta), *self.data.qvel])


class CartPoleGearsEnv(CartPoleSwingUpEnv):
    """`diffsim.tasks.CartPoleGears` on C MuJoCo: actions are `(throttle [1], gear)`.

    Args:
        reset_noise_scale: standard deviation of the normal noise at reset.
        start: angle of the pole at reset: "upright" or "hanging".
        **kwargs: as for the base class.
    """

    def __init__(self, reset_noise_scale: float = 0.1, start: str = "upright", **kwargs: Any) -> None:
        check_start("start", start)
        super().__init__(reset_noise_scale=reset_noise_scale, **kwargs)
        self.start_angle = START_ANGLES[start]

    def _set_action_space(self) -> Space:
        self.action_space = action_space()
        return self.action_space

    def step(self, action: tuple[np.ndarray, int]) -> tuple[Any, float, bool, bool, dict[str, Any]]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Advances by one throttle, [1], and gear."""
        throttle, gear = action
        self.do_simulation(np.clip(np.asarray(throttle), 0.0, 1.0) * DIRECTIONS[int(gear)], self.frame_skip)
        obs = self._get_obs()
        if self.render_mode == "human":
            self.render()
        return obs, self.reward(obs, np.asarray(throttle), {}), False, False, {}
