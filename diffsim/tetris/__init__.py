"""Tetris with placements as actions: games, features of placements, and Gymnasium environments."""

from diffsim.tetris.env import TetrisEnv, TetrisVectorEnv
from diffsim.tetris.game import DELLACHERIE_WEIGHTS, THIERY_WEIGHTS, TetrisGames, greedy_lines

__all__ = ["DELLACHERIE_WEIGHTS", "THIERY_WEIGHTS", "TetrisEnv", "TetrisGames", "TetrisVectorEnv", "greedy_lines"]
