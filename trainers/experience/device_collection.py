"""Collection from our simulator on a GPU: without a wait for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeGuard

import torch
from torch import Tensor

import diffsim.gym
from diffsim.mdp import MDP, Scenarios
from diffsim.policies import Policy
from diffsim.trainers.experience.remembering import Remembering
from diffsim.trainers.experience.rollout import Actor, Trajectory, rollout
from diffsim.trainers.experience.vector_env import ResumableEnv, SimulatedEnv
from diffsim.trainers.metrics import late_checks
from diffsim.wrappers import MDPWrapper

MOST_RESETS = 4  # initial states that are drawn per window and copy; a copy that ends more often reuses them


def stays_on_device(env: ResumableEnv) -> TypeGuard[SimulatedEnv]:
    """Whether `collect_on_device` can be used: our simulator on a GPU."""
    if not isinstance(env, SimulatedEnv) or not isinstance(env.simulated, diffsim.gym.VectorEnv):
        return False
    return env.simulated.mdp.device.type == "cuda"


@torch.no_grad()
def collect_on_device(env: SimulatedEnv, actor: Actor, action_noise: Tensor) -> Trajectory:
    """Runs `actor` for a window in the environments, as `rollout.collect`, from other random initial states.

    Args:
        env: continues from its present states.
        actor: as for `rollout.collect`; the memory of a `Remembering` is that after the window then.
        action_noise: [H, N, Z] standard normal; Z may be 0.

    Returns: the trajectory.
    Raises: as `rollout.rollout`; within an iteration, at its end.
    """
    simulated = env.simulated
    assert isinstance(simulated, diffsim.gym.VectorEnv)
    mdp, horizon = simulated.mdp, len(action_noise)
    decode = actor.decode if isinstance(actor, Policy) else None
    state, age, generator = simulated.worlds()

    def noise(size: int) -> Tensor:
        shape = (horizon, mdp.num_envs, size)
        return torch.randn(shape, generator=generator, dtype=mdp.dtype, device=mdp.device)

    resets = torch.stack([mdp.initial(generator) for _ in range(min(horizon, MOST_RESETS))])
    scenarios = Scenarios(state, resets, noise(mdp.noise_size), action_noise)
    taken = mdp if decode is None else _Decoded(mdp, decode)
    memory = actor.memory if isinstance(actor, Remembering) else None
    options: dict[str, Any] = {"age": age, "max_age": simulated.max_episode_steps, "memory": memory}
    with late_checks():
        trajectory, worlds = rollout(taken, actor, scenarios, **options)
    env.moved_to(worlds.state, worlds.age)
    if isinstance(actor, Remembering):
        actor.memory = worlds.memory
    return trajectory._replace(
        **{name: getattr(trajectory, name).to(action_noise) for name in ("obs", "action", "reward", "next_obs")}
    )


def restart_on_device(env: SimulatedEnv) -> int:
    """Starts new episodes in all copies. Returns the number of steps after which each is truncated."""
    simulated = env.simulated
    assert isinstance(simulated, diffsim.gym.VectorEnv)
    *_, age, generator = simulated.worlds()
    env.moved_to(simulated.mdp.initial(generator), torch.zeros_like(age))
    return simulated.max_episode_steps


class _Decoded(MDPWrapper):
    """An MDP that takes a policy's outputs."""

    def __init__(self, mdp: MDP, decode: Callable[[Tensor], Tensor]) -> None:
        super().__init__(mdp)
        self.decode = decode

    def transition(self, state: Tensor, action: Tensor, noise: Tensor | None = None) -> Tensor:
        """The MDP's transition with the decoded action."""
        return self.mdp.transition(state, self.decode(action), noise)
