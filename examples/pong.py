"""Pong from pixels: Pong of the Arcade Learning Environment, observed as a difference of small binary images.

An environment of your own: importing this module registers `PongDifference-v5`. From the root of the repository:

    diffsim fit --task examples.pong:PongDifference-v5 --algorithm Reinforce
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete

from diffsim.trainers.errors import UsageError

UP, DOWN = 2, 3  # the joystick's actions RIGHT and LEFT move the paddle up and down
FIELD = slice(35, 195)  # rows of the screen between score and bottom edge
BACKGROUNDS = (144, 109)  # red channel of the field's colours


class DifferenceImage(gymnasium.Wrapper[np.ndarray, Any, np.ndarray, Any]):
    """Observes what has moved since the last frame; the actions are UP (0) and DOWN (1).

        obs_t = x_t - x_{t-1},    x = 1 where paddles and ball are, 0 elsewhere, [80, 80];    obs_0 = 0

    x has every second pixel of the field between the walls. The episode ends when a player has 21 points.

    Args:
        env: `ALE/Pong-v5`, whose observations are bytes [210, 160, 3].
    """

    def __init__(self, env: gymnasium.Env[np.ndarray, Any]) -> None:
        super().__init__(env)
        self.observation_space = Box(-1, 1, (80, 80), np.int8)
        self.action_space = Discrete(2)
        self.last = np.zeros((80, 80), np.int8)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Starts a game. The first observation is zero."""
        screen, info = self.env.reset(seed=seed, options=options)
        self.last = small(screen)
        return np.zeros_like(self.last), info

    def step(self, action: Any) -> tuple[np.ndarray, Any, bool, bool, dict[str, Any]]:
        """Moves the paddle up or down for the environment's frame skip."""
        screen, reward, terminated, truncated, info = self.env.step((UP, DOWN)[int(action)])
        before, self.last = self.last, small(screen)
        return self.last - before, reward, terminated, truncated, info


def small(screen: np.ndarray) -> np.ndarray:
    """The field without its background, at half the resolution.

    Args:
        screen: bytes [210, 160, 3].

    Returns: int8 [80, 80], 1 where a pixel is not background.
    """
    red = screen[FIELD][::2, ::2, 0]
    return ((red != 0) & (red != BACKGROUNDS[0]) & (red != BACKGROUNDS[1])).astype(np.int8)


def make_pong(**kwargs: Any) -> DifferenceImage:
    """`ALE/Pong-v5`; its defaults are a frame skip of 4 and sticky actions with probability 0.25.

    Raises: UsageError without the `atari` extra.
    """
    try:
        import ale_py
    except ImportError as error:
        raise UsageError('Pong needs the "atari" extra: pip install -e ".[atari]"') from error
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)  # no banner for each copy
    gymnasium.register_envs(ale_py)
    return DifferenceImage(gymnasium.make("ALE/Pong-v5", disable_env_checker=True, **kwargs))


gymnasium.register("PongDifference-v5", entry_point="examples.pong:make_pong")
