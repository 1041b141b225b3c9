"""A window of experience, and the gradients of an objective inside it.

Back-propagating to the actions first, and from there to the policy's parameters by one batched product, gives the same
gradient as going all the way at once. In between, each sample's part can be seen, and held in check.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from diffsim.mdp import MDP, Scenarios
from diffsim.trainers.experience.mdp_wrappers import RecordedMDP
from diffsim.trainers.experience.rollout import Actor, Trajectory, Worlds, rollout


class DifferentiatedWindow(NamedTuple):
    """H steps of N worlds, without graph, and the derivatives of J, all that follows from each number included.

    Attributes:
        trajectory: what happened.
        worlds: where the worlds stand after it.
        action_gradient: dJ / du_t, later actions answering to what u_t changes: [H, N, A].
        state: s_t, after any reset: [H, N, S].
        next_state: s_{t+1}, before any reset: [H, N, S].
        state_gradient: dJ / ds_{t+1}, the reward r_t of reaching it included: [H, N, S].
    """

    trajectory: Trajectory
    worlds: Worlds
    action_gradient: Tensor
    state: Tensor
    next_state: Tensor
    state_gradient: Tensor


def differentiate_window(
    mdp: MDP,
    policy: Actor,
    scenarios: Scenarios,
    objective: Callable[[Trajectory], Tensor],
    *,
    age: Tensor | None = None,
    max_age: int | None = None,
) -> DifferentiatedWindow:
    """Rolls out, and differentiates `objective` by every action and every state reached.

    Args:
        mdp: as for `rollout`.
        policy: as for `rollout`.
        scenarios: as for `rollout`.
        objective: J, from the trajectory to a number with a graph.
        age: as for `rollout`.
        max_age: as for `rollout`.

    Returns: the window.
    """
    shape = (*scenarios.action_noise.shape[:2], *mdp.action_space.shape)
    probe = torch.zeros(shape, device=mdp.device, dtype=mdp.dtype, requires_grad=True)
    pending, recorded = iter(probe.unbind()), RecordedMDP(mdp)
    trajectory, worlds = rollout(
        recorded, lambda obs, noise: policy(obs, noise) + next(pending), scenarios, age=age, max_age=max_age
    )
    gradient, *state_gradient = torch.autograd.grad(
        objective(trajectory), [probe, *recorded.reached], materialize_grads=True
    )
    trajectory = Trajectory(*(part.detach() for part in trajectory))
    left, reached = torch.stack(recorded.left).detach(), torch.stack(recorded.reached).detach()
    return DifferentiatedWindow(trajectory, worlds, gradient, left, reached, torch.stack(state_gradient))


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


def gradient_metrics(gradient: Tensor, scale: Tensor) -> dict[str, Tensor]:
    """What gradients by the actions look like, [H, N, A], and the share that `scale` [H, N] changed."""
    norm = gradient.norm(dim=-1)
    return {
        "action_grad_median": norm.median(),
        "action_grad_max": norm.max(),
        "action_grad_growth": norm[0].median() / norm[-1].median(),
        "clipped": (scale < 1.0).to(norm).mean(),
    }
