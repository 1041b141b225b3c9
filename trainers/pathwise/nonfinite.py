"""Finding where a gradient through time stopped being a number."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from diffsim.mdp import MDP, Scenarios
from diffsim.trainers.experience.rollout import Actor, Trajectory, rollout


def explain_nonfinite(
    mdp: MDP,
    policy: Actor,
    scenarios: Scenarios,
    objective: Callable[[Trajectory], Tensor],
    *,
    age: Tensor | None = None,
    max_age: int | None = None,
) -> str:
    """Repeats a roll-out whose gradient is not finite, and says at which world and time step that began.

    A zero is added to every action. Its gradient is what back-propagation carries through that action; the
    latest step at which it is not finite is where going backwards first met the trouble.

    Args:
        mdp: as for `rollout`.
        policy: as for `rollout`.
        scenarios: the ones of the roll-out to explain, which they determine.
        objective: from the trajectory to the number that was differentiated.
        age: as for `rollout`.
        max_age: as for `rollout`.

    Returns: one sentence.
    """
    shape = (*scenarios.action_noise.shape[:2], *mdp.action_space.shape)
    probe = torch.zeros(shape, device=mdp.device, dtype=mdp.dtype, requires_grad=True)
    pending = iter(probe)

    def probed(obs: Tensor, noise: Tensor | None) -> Tensor:
        return policy(obs, noise) + next(pending)

    trajectory, _ = rollout(mdp, probed, scenarios, age=age, max_age=max_age)
    bad = ~trajectory.reward.isfinite()
    if bad.any():
        time, world = (int(i) for i in bad.nonzero()[0])
        value = trajectory.reward[time, world].item()
        return f"reward is {value} in world {world} at time step {time} of the window"
    (gradient,) = torch.autograd.grad(objective(trajectory), probe)
    bad = ~gradient.isfinite()
    if bad.any():
        time, world, entry = (int(i) for i in bad.nonzero()[-1])
        value = gradient[time, world, entry].item()
        return (
            f"the gradient of action[{entry}] is {value} in world {world} at time step {time} of the window, "
            f"the last of {len(bad.flatten(1).any(1).nonzero())} steps where one is not finite"
        )
    return "the gradients of all actions are finite, those of the policy's parameters are not"
