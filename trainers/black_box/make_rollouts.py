"""Chooses the roll-outs for an environment."""

from __future__ import annotations

from gymnasium.vector import SyncVectorEnv

from diffsim.gym import VectorEnv
from diffsim.policies import Policy
from diffsim.tetris import TetrisVectorEnv
from diffsim.trainers.black_box.rollouts import GymRollouts, MDPRollouts, Rollouts
from diffsim.trainers.black_box.shares import EpisodeOptions
from diffsim.trainers.black_box.tetris_rollouts import TetrisRollouts
from diffsim.trainers.experience.vector_env import ResumableEnv


def make_rollouts(env: ResumableEnv, policy: Policy, options: EpisodeOptions) -> Rollouts:
    """Roll-outs of the right kind for an environment.

    Raises: ValueError if it is not a SyncVectorEnv, an MDP's vector environment or Tetris, or N is not a multiple of M.
    """
    kinds = {VectorEnv: MDPRollouts, TetrisVectorEnv: TetrisRollouts, SyncVectorEnv: GymRollouts}
    for kind, rollouts in kinds.items():
        if isinstance(env.env, kind):
            return rollouts(env, policy, options)
    raise ValueError(f"env must be a SyncVectorEnv, or an MDP's vector environment, got {type(env.env).__name__}")
