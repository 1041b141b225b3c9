"""Pong from pixels: the Arcade Learning Environment's Pong as a difference of small black-and-white images.

Importing this module registers `PongDifference-v5`:

    diffsim fit --task examples.pong:PongDifference-v5 --algorithm Reinforce
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete

from diffsim.trainers.errors import UsageError

UP, DOWN = 2, 3  # the joystick's RIGHT and LEFT, which move the paddle
FIELD = slice(35, 195)  # rows of the screen between score and bottom edge
BACKGROUNDS = (144, 109)  # red channel of the field's colours


class DifferenceImage(gymnasium.Wrapper[np.ndarray, Any, np.ndarray, Any]):
    """Shows what has moved since the last frame, and plays UP (0) or DOWN (1).

        obs_t = x_t - x_{t-1},    x = 1 where paddles and ball are, 0 elsewhere, [80, 80];    obs_0 = 0

    x is every second pixel of the field between the walls. The episode is over when a player has 21 points.

    Args:
        env: `ALE/Pong-v5`, which shows its screen as bytes [210, 160, 3].
    """

    def __init__(self, env: gymnasium.Env[np.ndarray, Any]) -> None:
        super().__init__(env)
        self.observation_space = Box(-1, 1, (80, 80), np.int8)
        self.action_space = Discrete(2)
        self.last = np.zeros((80, 80), np.int8)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Starts a game: nothing has moved yet."""
        screen, info = self.env.reset(seed=seed, options=options)
        self.last = small(screen)
        return np.zeros_like(self.last), info

    def step(self, action: Any) -> tuple[np.ndarray, Any, bool, bool, dict[str, Any]]:
        """Moves the paddle up or down, for as many frames as the environment repeats an action."""
        screen, reward, terminated, truncated, info = self.env.step((UP, DOWN)[int(action)])
        before, self.last = self.last, small(screen)
        return self.last - before, reward, terminated, truncated, info


def small(screen: np.ndarray) -> np.ndarray:
    """The field without its background, at half the resolution.

    Args:
        screen: bytes [210, 160, 3].

    Returns: int8 [80, 80], 1 where something is.
    """
    red = screen[FIELD][::2, ::2, 0]
    return ((red != 0) & (red != BACKGROUNDS[0]) & (red != BACKGROUNDS[1])).astype(np.int8)


def make_pong(**kwargs: Any) -> DifferenceImage:
    """`ALE/Pong-v5` with its own frame skip (4) and sticky actions (0.25), if `kwargs` do not say otherwise.

    Raises: UsageError without the `atari` extra.
    """
    try:
        import ale_py
    except ImportError as error:
        raise UsageError('Pong needs the "atari" extra: pip install -e ".[atari]"') from error
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)  # no banner for every copy
    gymnasium.register_envs(ale_py)
    return DifferenceImage(gymnasium.make("ALE/Pong-v5", disable_env_checker=True, **kwargs))


gymnasium.register("PongDifference-v5", entry_point="examples.pong:make_pong")
