"""Collects time-major experience: `rollout` from a differentiable MDP, `collect` from any vector environment.

Both return a `Trajectory`. In both, a copy whose episode ends is reset, and `next_obs` is the observation it reached
*before* the reset.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium.spaces import Box, Space
from gymnasium.vector import AutoresetMode, VectorEnv
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from diffsim.checks import check_value
from diffsim.engine.checks import DeferredChecks, active_checks, deferred_checks
from diffsim.mdp import MDP, Scenarios
from diffsim.policies import Policy, is_image
from diffsim.trainers.errors import NonFiniteError
from diffsim.trainers.experience.autoreset import autoreset_mode, require_mask
from diffsim.trainers.experience.remembering import Remembering
from diffsim.trainers.metrics import time_of_failure

Actor = Callable[[Tensor, Tensor | None], Tensor]


class Trajectory(NamedTuple):
    """H steps of N copies.

    Attributes:
        obs: [H, N, O], observations before each step.
        action: [H, N, A], outputs of the policy: in the units of the action space, or before `Policy.decode`.
        reward: [H, N].
        next_obs: [H, N, O], observations after each step, before any reset.
        terminated: bool [H, N], whether the episode ended in a terminal state.
        truncated: bool [H, N], whether the episode reached its time limit. Both can be true, as in Gymnasium.
    """

    obs: Tensor
    action: Tensor
    reward: Tensor
    next_obs: Tensor
    terminated: Tensor
    truncated: Tensor

    @property
    def ended(self) -> Tensor:
        """Whether an episode terminated or was truncated on each step: bool [H, N]."""
        return self.terminated | self.truncated

    @property
    def starts(self) -> Tensor:
        """Whether the step before, in this window, ended an episode: bool [H, N]; false in the first step."""
        ended = self.ended
        return torch.cat([torch.zeros_like(ended[:1]), ended[:-1]])


class Worlds(NamedTuple):
    """State of N copies of an MDP between two windows.

    Attributes:
        state: [N, S].
        age: int64 [N], steps since the episode began.
        memory: [N, M], of the policy; M is 0 without one.
    """

    state: Tensor
    age: Tensor
    memory: Tensor


def rollout(
    mdp: MDP,
    policy: Actor,
    scenarios: Scenarios,
    *,
    age: Tensor | None = None,
    max_age: int | None = None,
    memory: Tensor | None = None,
    added: Tensor | None = None,
    visited: list[tuple[Tensor, Tensor]] | None = None,
    remat: bool = False,
) -> tuple[Trajectory, Worlds]:
    """Rolls out `policy` over the horizon of `scenarios`, keeping the graph through the dynamics.

        u_t = policy(o_t, z_t),   s_{t+1} = f(s_t, u_t, w_t),   r_t = R(s_t, u_t, s_{t+1})

    A copy that terminates, or reaches `max_age`, continues from its next reset state, of which a `Policy` is told. No
    gradient crosses a reset. Gradients pass through the memory of the policy, if it has one.

    Args:
        mdp: dynamics, reward and observation.
        policy: `policy(obs, noise)` returns actions; noise is None if the scenarios have no action noise. With a
            `memory_size` above 0, `policy.step(obs, memory, noise)` returns actions and memory.
        scenarios: initial states, reset states and all noise.
        age: int64 [N], steps since each copy's episode began; zeros if None.
        max_age: age at which an episode is truncated; `mdp.max_episode_steps` if None.
        memory: [N, M], of the policy; zeros, as at the start of an episode, if None.
        added: [H, N, A], added to the policy's actions.
        visited: a list to which the states [N, S] before and after each step, before any reset, are appended.
        remat: the graph keeps only state, observation and memory before each step, and back-propagation computes the
            rest again, with the same bits. `policy` must then be a function, and MDP and policy draw no numbers.

    Returns: the trajectory, and the states, ages and memories of the copies after it (after resets), without graph.

    Raises:
        ValueError: the scenarios are for another number of copies, or max_age is below 1.
        NonFiniteError: the MDP diverged, or raised an error for a state or action that is not finite.
    """
    max_age = mdp.max_episode_steps if max_age is None else max_age
    check_value("max_age", max_age, ">= 1")
    if scenarios.initial.shape != (mdp.num_envs, mdp.state_size):
        raise ValueError(
            f"scenarios.initial must be [num_envs, state_size] = {[mdp.num_envs, mdp.state_size]}, "
            f"got {list(scenarios.initial.shape)}"
        )
    copies = torch.arange(mdp.num_envs, device=scenarios.initial.device)
    age = torch.zeros_like(copies) if age is None else age
    num_resets = torch.zeros_like(copies)
    additions = [None] * scenarios.horizon if added is None else added.unbind()
    remembering: Any = policy if getattr(policy, "memory_size", 0) else None
    size = 0 if remembering is None else remembering.memory_size
    known = scenarios.initial.new_zeros(mdp.num_envs, size) if memory is None else memory

    def step(time: int, state: Tensor, obs: Tensor, memory: Tensor, addition: Tensor | None) -> tuple[Tensor, ...]:
        noise, action_noise = scenarios.process_noise[time], scenarios.action_noise[time]
        z = action_noise if action_noise.shape[-1] else None
        action, memory = (policy(obs, z), memory) if remembering is None else remembering.step(obs, memory, z)
        action = action if addition is None else action + addition
        reached = checked_transition(mdp, state, action, noise, time)
        return action, reached, mdp.reward(state, action, reached), mdp.observation(reached), memory

    run = partial(checkpoint, step, **REMAT) if remat else step
    steps = []
    with window_checks() as checks:
        state, obs = scenarios.initial, mdp.observation(scenarios.initial)
        for time in range(scenarios.horizon):
            checks.place = time
            action, reached, reward, next_obs, known = run(time, state, obs, known, additions[time])
            if visited is not None:
                visited.append((state, reached))
            with torch.no_grad():
                terminated, truncated = mdp.terminal(reached), age + 1 >= max_age
                ended = terminated | truncated
            steps.append((obs, action, reward, next_obs, terminated, truncated))

            state, obs = reached, next_obs
            age = torch.where(ended, 0, age + 1)
            if ended.is_cuda or ended.any():  # to ask a GPU costs more than to reset nothing
                fresh = scenarios.resets[num_resets % scenarios.resets.shape[0], copies]
                num_resets = num_resets + ended
                if isinstance(policy, Policy):
                    policy.reset(ended)
                state = torch.where(ended[:, None], fresh, reached)
                obs = torch.where(ended[:, None], mdp.observation(fresh), next_obs)
                known = torch.where(ended[:, None], 0.0, known)
    return Trajectory(*map(torch.stack, zip(*steps, strict=True))), Worlds(state.detach(), age, known.detach())


def _recomputation() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Contexts of a step and of its recomputation, whose checks have been made, and may run in another thread."""
    return nullcontext(), DeferredChecks().resumed()


REMAT: dict[str, Any] = {"use_reentrant": False, "preserve_rng_state": False, "context_fn": _recomputation}
"""Options of torch's checkpoints for `rollout`."""


@contextmanager
def window_checks() -> Iterator[DeferredChecks]:
    """Reads the simulator's checks once, at the end of a block. `place` counts the time steps of a window.

    Raises: the error of the first check that failed; NonFiniteError with the time step, if a number is not finite.
    """
    checks = active_checks() or DeferredChecks()
    with time_of_failure(checks), deferred_checks(checks):
        yield checks


def checked_transition(mdp: MDP, state: Tensor, action: Tensor, noise: Tensor | None, time: int) -> Tensor:
    """The MDP's transition. Raises NonFiniteError with the time step for errors that numbers beyond range cause."""
    try:
        return mdp.transition(state, action, noise if mdp.noise_size else None)
    except (ValueError, FloatingPointError) as error:
        finite = state.isfinite().all() and action.isfinite().all()
        if isinstance(error, ValueError) and finite:
            raise
        raise NonFiniteError(f"at time step {time} of the window, {error}") from error


def stored_type(space: Space, dtype: torch.dtype) -> torch.dtype:
    """Type of observations [O] in a trajectory of floating type `dtype`: that of images of integers is their own."""
    if not isinstance(space, Box) or not is_image(space) or space.dtype.kind not in "iu":
        return dtype
    return torch.from_numpy(np.zeros(0, space.dtype)).dtype


@torch.no_grad()
def collect(env: VectorEnv, policy: Actor, obs: Any, action_noise: Tensor) -> tuple[Trajectory, Tensor]:
    """Runs `policy` in a vector environment, without gradients.

    Args:
        env: N copies. In autoreset mode SAME_STEP they reset themselves, else they are reset here as soon as their
            episodes end, so that every step is a transition. It may reuse its arrays.
        policy: `policy(obs, noise)` returns actions; noise is None where `action_noise` is empty. The actions of a
            `Policy` are decoded for the environment. A policy with a memory must be in a `Remembering`.
        obs: [N, O], present observations, from `env.reset` or the last `collect`.
        action_noise: [H, N, Z] standard normal; Z may be 0. The trajectory has its device and dtype, except that
            images of integers keep their dtype. A `ResumableEnv` may subtract an origin from observations before.

    Returns: the trajectory, and the observations [N, O] from which the next one continues.
    Raises: ValueError if the mode is NEXT_STEP, and copies cannot be reset apart (see `autoreset`).
    """
    mode = autoreset_mode(env)
    if mode != AutoresetMode.SAME_STEP:
        require_mask(env)
    space, origin = env.single_observation_space, getattr(env, "origin", None)
    kind = stored_type(space, action_noise.dtype)

    def tensor(arrays: Any) -> Tensor:
        values = torch.tensor(np.asarray(arrays) if origin is None else arrays - origin)  # a copy
        return values.to(action_noise.device, kind)

    steps, outcomes, obs = [], [], tensor(obs)
    for noise in action_noise:
        action = policy(obs, noise if noise.shape[-1] else None)
        taken = policy.decode(action) if isinstance(policy, Policy) else action
        *arrays, info = env.step(taken.cpu().numpy())
        outcome = reached, _, terminated, truncated = [np.array(array) for array in arrays]  # env may reuse its own
        ended, following = terminated | truncated, reached
        if ended.any() and isinstance(policy, Policy | Remembering):
            policy.reset(torch.as_tensor(ended))
        if ended.any() and mode == AutoresetMode.SAME_STEP:
            following = reached.copy()
            reached[ended] = np.stack(list(info["final_obs"][ended]))
        elif ended.any():
            following = np.asarray(env.reset(options={"reset_mask": ended})[0])
        steps.append((obs, action))
        outcomes.append(outcome)
        obs = tensor(following)
    next_obs, *rest = map(np.stack, zip(*outcomes, strict=True))
    outcome = torch.as_tensor(np.stack(rest).astype(np.float64)).to(action_noise.device)
    reward, terminated, truncated = outcome[0].to(action_noise), *(outcome[1:] > 0)
    seen, action = map(torch.stack, zip(*steps, strict=True))
    return Trajectory(seen, action, reward, tensor(next_obs), terminated, truncated), obs
