"""The longest episode of an environment, also of one without a time limit."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import gymnasium
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv, VectorEnv

LONGEST_EPISODE = 27_000
"""Steps after which an episode is truncated where the environment has no time limit.

It is the limit of Atari games, 30 minutes or 108,000 frames, 4 for each step: Machado et al. (2018), "Revisiting the
Arcade Learning Environment", section 2.
"""


class EpisodeLimit(NamedTuple):
    """How long an episode may be.

    Attributes:
        steps: its largest number of steps.
        own: whether it is the environment's own time limit.
    """

    steps: int
    own: bool

    def warn(self) -> None:
        """Says, once per run, that episodes are cut which the environment would not have ended."""
        if not self.own:
            warnings.warn(
                f"an episode was truncated after {self.steps:,} steps, because the environment has no time limit; "
                "max_episode_steps, an option of gymnasium.make and so of task_kwargs, sets one",
                stacklevel=2,
            )


def episode_limit(env: gymnasium.Env | VectorEnv) -> EpisodeLimit:
    """The time limit of an environment, or of the copies of a vector environment; LONGEST_EPISODE if it has none."""
    own = _own_limit(env.unwrapped if isinstance(env, VectorEnv) else env)
    return EpisodeLimit(own or LONGEST_EPISODE, own is not None)


def _own_limit(env: gymnasium.Env | VectorEnv) -> int | None:
    if isinstance(env, SyncVectorEnv):
        return _own_limit(env.envs[0])
    if isinstance(env, AsyncVectorEnv):
        copy = env.env_fns[0]()
        limit = _own_limit(copy)
        copy.close()
        return limit
    if isinstance(env, gymnasium.Env) and env.has_wrapper_attr("_max_episode_steps"):
        return env.get_wrapper_attr("_max_episode_steps")  # of Gymnasium's TimeLimit
    return None if env.spec is None else env.spec.max_episode_steps
