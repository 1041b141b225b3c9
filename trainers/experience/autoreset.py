"""Which vector environments can be reset copy by copy, in each of Gymnasium's autoreset modes."""

from __future__ import annotations

from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv

import diffsim.gym

HINT = "make it with gymnasium.vector.SyncVectorEnv(..., autoreset_mode=AutoresetMode.DISABLED)"


def autoreset_mode(env: VectorEnv) -> AutoresetMode:
    """The mode that an environment declares; NEXT_STEP, Gymnasium's default, if it declares none."""
    return env.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP)


def resets_by_mask(env: VectorEnv) -> bool:
    """Whether `reset(options={"reset_mask": ended})` starts the next episodes of ended copies, which then act again.

    That is so in mode DISABLED. In the other modes it depends on the environment: it must forget that the copies have
    ended. Gymnasium's own two do, except processes without shared memory in mode NEXT_STEP, which reset twice.
    """
    mode = autoreset_mode(env)
    if mode == AutoresetMode.DISABLED or isinstance(env, diffsim.gym.VectorEnv):
        return True
    if isinstance(env, AsyncVectorEnv) and mode == AutoresetMode.NEXT_STEP:
        return bool(env.shared_memory)
    return isinstance(env, SyncVectorEnv | AsyncVectorEnv)


def require_mask(env: VectorEnv) -> AutoresetMode:
    """The autoreset mode of an environment that `resets_by_mask`.

    Raises: ValueError for another one.
    """
    mode = autoreset_mode(env)
    if not resets_by_mask(env):
        got = f"{mode} of {type(env).__name__}"
        raise ValueError(
            f"env's autoreset_mode must be DISABLED, got {got}, whose copies cannot be reset apart; {HINT}"
        )
    return mode
