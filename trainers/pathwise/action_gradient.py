"""Gradients of a roll-out by its actions: the half-way house on the way to a policy's parameters.

Back-propagating to the actions first, and from there to the parameters by one batched product, gives the same
gradient as going all the way at once. In between, each sample's part can be seen, and held in check.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from diffsim.mdp import MDP, Scenarios
from trainers.rollout import Actor, Trajectory, Worlds, rollout


def action_gradient(
    mdp: MDP,
    policy: Actor,
    scenarios: Scenarios,
    objective: Callable[[Trajectory], Tensor],
    *,
    age: Tensor | None = None,
    max_age: int | None = None,
) -> tuple[Tensor, Trajectory, Worlds]:
    """Rolls out, and differentiates `objective` by each action, with all that follows from it.

        g_t = dJ / du_t,    later actions answering to what u_t changes

    Args:
        mdp: as for `rollout`.
        policy: as for `rollout`.
        scenarios: as for `rollout`.
        objective: from the trajectory to a number with a graph.
        age: as for `rollout`.
        max_age: as for `rollout`.

    Returns: g [H, N, A]; trajectory and worlds as from `rollout`, without their graph.
    """
    shape = (*scenarios.action_noise.shape[:2], *mdp.action_space.shape)
    probe = torch.zeros(shape, device=mdp.device, dtype=mdp.dtype, requires_grad=True)
    pending = iter(probe.unbind())
    trajectory, worlds = rollout(
        mdp, lambda obs, noise: policy(obs, noise) + next(pending), scenarios, age=age, max_age=max_age
    )
    (gradient,) = torch.autograd.grad(objective(trajectory), probe)
    return gradient, Trajectory(*(part.detach() for part in trajectory)), worlds


def clip_samples(gradient: Tensor, ratio: float) -> tuple[Tensor, Tensor]:
    """Scales down each sample's gradient to at most `ratio` times the median norm of the batch.

        g_i <- g_i * min(1, ratio * median_j |g_j| / |g_i|)

    Contacts make a few gradients 1e3 to 1e5 times larger than the rest; without this, one of them is the
    direction of the update, and no bound on the norm of the sum can repair that.

    Args:
        gradient: [..., A].
        ratio: above 0; infinity leaves everything as it is.

    Returns: the same, scaled; and what each was multiplied by, [...].
    """
    norm = gradient.norm(dim=-1)
    scale = (ratio * norm.median() / norm).clamp(max=1.0).nan_to_num(1.0)  # 0 / 0: nothing to scale
    return scale.unsqueeze(-1) * gradient, scale
