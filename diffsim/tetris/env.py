"""Tetris-v0: Gymnasium environments, one game or many at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from torch import Tensor

from diffsim.checks import check_choice, require
from diffsim.tetris.game import TetrisGames
from diffsim.tetris.kernels import NUM_FEATURES
from diffsim.tetris.picture import Picture
from diffsim.tetris.pieces import MAX_PLACEMENTS

RENDER_MODES = ("rgb_array", "ansi")


class TetrisVectorEnv(gymnasium.vector.VectorEnv):
    """N games of Tetris on a board of 10 x 20 (see `TetrisGames` for the rules and the features).

    An action is a placement: a rotation and a column of the present piece, one of 9 (O), 17 (I, S, Z) or 34 (L, J, T),
    counted from 0. Action k of a piece with fewer placements, or one that would leave the board, ends the game. The
    observation has a row for each of the 34 actions: 1 if it is legal, else 0, and the features of the board after it.
    The reward of an action is the number of lines. A game that is over waits for its reset.

    The infos have "action_mask", bool [N, 34], and "lines", int [N], lines of the game so far.

    Args:
        num_envs: N, at least 1.
        features: "bertsekas", "dellacherie" or "thiery".
        max_episode_steps: placements after which a game is truncated, at least 1; None or -1 for no limit.
        device: where to play; observations are NumPy arrays.

    Raises: ValueError if an argument is out of range.
    """

    metadata = {"autoreset_mode": AutoresetMode.DISABLED, "render_modes": []}

    def __init__(
        self,
        num_envs: int = 1,
        features: str = "bertsekas",
        max_episode_steps: int | None = None,
        device: str = "cpu",
    ) -> None:
        max_episode_steps = None if max_episode_steps == -1 else max_episode_steps
        valid = max_episode_steps is None or max_episode_steps >= 1
        require(valid, "max_episode_steps", ">= 1, -1 or None", max_episode_steps)
        self.games = TetrisGames(num_envs, features, device)
        self.num_envs, self.max_episode_steps = num_envs, max_episode_steps
        self.single_observation_space, self.single_action_space = spaces(features)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._seed, self._episode = np.full(num_envs, -1), np.zeros(num_envs, dtype=np.int64)

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Starts new games.

        Args:
            seed: of all games that follow; game n gets seed + n, or its own from a list. None continues.
            options: {"reset_mask": bool array [N]} resets only those games.

        Returns: observations [N, 34 * (1 + F)], and the infos.
        """
        super().reset(seed=seed if isinstance(seed, int) else None)
        mask = np.ones(self.num_envs, dtype=bool) if not options else options.get("reset_mask")
        if not isinstance(mask, np.ndarray) or mask.dtype != bool or mask.shape != (self.num_envs,):
            raise ValueError(f"options['reset_mask'] must be a bool array of shape ({self.num_envs},), got {mask!r}")
        seeds = [seed + n for n in range(self.num_envs)] if isinstance(seed, int) else seed or [None] * self.num_envs
        fresh = np.array([value is not None for value in seeds]) & mask
        self._episode[mask] += 1
        self._seed[fresh], self._episode[fresh] = [value for value, new in zip(seeds, fresh, strict=True) if new], 0
        unseeded = (self._seed < 0) & mask
        self._seed[unseeded] = self.np_random.integers(2**31, size=self.num_envs)[unseeded]
        self.games.start(
            torch.tensor(
                [_piece_seed(*pair) for pair in zip(self._seed.tolist(), self._episode.tolist(), strict=True)]
            ),
            torch.as_tensor(mask),
        )
        return self._observed()

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Places a piece in every game that is not over, by actions [N].

        Returns: observations [N, 34 * (1 + F)], lines of this placement [N], terminations [N], truncations [N], infos.
        Raises: ResetNeeded before the first `reset`; ValueError if actions have the wrong shape or type.
        """
        if (self._seed < 0).any():
            raise gymnasium.error.ResetNeeded("reset must be called before step")
        given = np.asarray(actions)
        if given.shape != (self.num_envs,) or not np.issubdtype(given.dtype, np.integer):
            raise ValueError(f"actions must be {self.num_envs} integers, got {actions!r}")
        action = torch.as_tensor(given.astype(np.int64), device=self.games.device)
        playing = self.games.over == 0
        legal = self.games.is_legal(action)
        self.games.over |= playing & ~legal
        gained = self.games.place(torch.where(playing & legal, action, -1))
        obs, info = self._observed()
        terminated = self.games.over.cpu().numpy().astype(bool)
        limit = self.max_episode_steps
        truncated = np.zeros_like(terminated) if limit is None else self.games.time.cpu().numpy() >= limit
        return obs, gained.cpu().numpy().astype(np.float64), terminated, truncated & ~terminated, info

    def state_dict(self) -> dict[str, Tensor]:
        """Everything that the next steps depend on, as plain tensors."""
        return {
            **self.games.state_dict(),
            "env_seed": torch.as_tensor(self._seed).clone(),
            "episode": torch.as_tensor(self._episode).clone(),
        }

    def load_state_dict(self, saved: Mapping[str, Tensor]) -> np.ndarray:
        """Restores what `state_dict` returned. Returns the observations there, [N, 34 * (1 + F)]."""
        games = {name: value for name, value in saved.items() if name not in ("env_seed", "episode")}
        self.games.load_state_dict(games)
        self._seed, self._episode = saved["env_seed"].numpy().copy(), saved["episode"].numpy().copy()
        return self._observed()[0]

    def _observed(self) -> tuple[np.ndarray, dict[str, Any]]:
        """Observations and infos of the present boards and pieces."""
        legal, features = self.games.afterstates()
        obs = torch.cat([legal.to(features)[..., None], features], dim=2).flatten(1).cpu().numpy()
        return obs, {"action_mask": legal.cpu().numpy(), "lines": self.games.lines.cpu().numpy().copy()}


class TetrisEnv(gymnasium.Env):
    """One game of Tetris: `TetrisVectorEnv` with N = 1.

    Args:
        render_mode: "rgb_array" for pictures, "ansi" for text.
        features: "bertsekas", "dellacherie" or "thiery".
    """

    metadata = {"render_modes": list(RENDER_MODES), "render_fps": 10}

    def __init__(self, render_mode: str | None = None, features: str = "bertsekas") -> None:
        check_choice("render_mode", render_mode, (None, *RENDER_MODES))
        self._vector = TetrisVectorEnv(1, features)
        self.observation_space, self.action_space = spaces(features)
        self.render_mode, self._picture = render_mode, Picture()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Starts a new game: observation [34 * (1 + F)], and the info."""
        super().reset(seed=seed)
        self._picture = Picture()
        obs, info = self._vector.reset(seed=[seed])
        return obs[0], _first(info)

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Places the piece: observation, lines, terminated, truncated (never), and an info."""
        games = self._vector.games
        piece, before = int(games.piece[0]), int(games.time[0])
        obs, reward, terminated, _, info = self._vector.step(np.array([action]))
        if self.render_mode and int(games.time[0]) > before:
            self._picture.place(piece, int(action))
        return obs[0], float(reward[0]), bool(terminated[0]), False, _first(info)

    def render(self) -> Any:
        """A picture, uint8 [480, 200, 3], or a text of the board and the present piece."""
        if self.render_mode is None:
            return None
        piece = int(self._vector.games.piece[0])
        return self._picture.rgb(piece) if self.render_mode == "rgb_array" else self._picture.text(piece)


def spaces(features: str) -> tuple[Box, Discrete]:
    """Spaces of observations and of actions with these features."""
    check_choice("features", features, NUM_FEATURES)
    shape = (MAX_PLACEMENTS * (1 + NUM_FEATURES[features]),)
    return Box(0.0, np.inf, shape, np.float32), Discrete(MAX_PLACEMENTS)


def _piece_seed(seed: int, episode: int) -> int:
    """Seed of the pieces of an episode, in [0, 2^31)."""
    return int(np.random.SeedSequence([seed, episode]).generate_state(1)[0] >> 1)


def _first(info: Mapping[str, Any]) -> dict[str, Any]:
    """Infos of the only game."""
    return {name: value[0] for name, value in info.items()}
