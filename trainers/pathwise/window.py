"""A window of experience, and the gradients of an objective with respect to its actions and states.

The gradient is back-propagated first to the actions, then to the policy's parameters in one batched product. The result
is the same as in one pass. In between, the gradient of each sample can be measured and clipped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from diffsim.engine.checks import Reading
from diffsim.mdp import MDP, Scenarios, action_size
from diffsim.trainers.errors import NonFiniteError
from diffsim.trainers.experience.rollout import Actor, Trajectory, Worlds, rollout, window_checks


class DifferentiatedWindow(NamedTuple):
    """H steps of N worlds, without graph, and the total derivatives of an objective J.

    Attributes:
        trajectory: of the window.
        worlds: states and ages after it.
        action_gradient: dJ / du_t, including the effect on later actions of the policy through the observations, but
            not that through the previous action in its memory: [H, N, A].
        state: s_t, after any reset: [H, N, S].
        next_state: s_{t+1}, before any reset: [H, N, S].
        state_gradient: dJ / ds_{t+1}, including the reward r_t for reaching it: [H, N, S].
        num_terminated: number of steps that ended in a terminal state; read with the window's checks.
    """

    trajectory: Trajectory
    worlds: Worlds
    action_gradient: Tensor
    state: Tensor
    next_state: Tensor
    state_gradient: Tensor
    num_terminated: Reading


def differentiate_window(
    mdp: MDP,
    policy: Actor,
    scenarios: Scenarios,
    objective: Callable[[Trajectory], Tensor],
    *,
    age: Tensor | None = None,
    max_age: int | None = None,
    memory: Tensor | None = None,
    remat: bool = False,
) -> DifferentiatedWindow:
    """Rolls out, and differentiates `objective` with respect to every action and every state that a step reached.

    Args:
        mdp: as for `rollout`.
        policy: as for `rollout`.
        scenarios: as for `rollout`.
        objective: J, maps the trajectory to a number with a graph.
        age: as for `rollout`.
        max_age: as for `rollout`.
        memory: as for `rollout`.
        remat: as for `rollout`.

    Returns: the window.
    Raises: NonFiniteError that names world and time step, if the gradient of an action is not finite.
    """

    def explain() -> None:
        raise NonFiniteError(explain_nonfinite(mdp, policy, scenarios, objective, **options))

    visited: list[tuple[Tensor, Tensor]] = []
    options: dict[str, Any] = {"age": age, "max_age": max_age, "memory": memory}
    with window_checks() as checks:
        probe = zero_actions(mdp, scenarios)
        trajectory, worlds = rollout(mdp, policy, scenarios, added=probe, visited=visited, remat=remat, **options)
        states, next_states = zip(*visited, strict=True)
        gradient, *state_gradient = torch.autograd.grad(
            objective(trajectory), [probe, *next_states], materialize_grads=True
        )
        checks.add(~gradient.isfinite().all(), explain)
        terminated = checks.read(trajectory.terminated.sum())
    trajectory = Trajectory(*(part.detach() for part in trajectory))
    left, reached = torch.stack(states).detach(), torch.stack(next_states).detach()
    return DifferentiatedWindow(trajectory, worlds, gradient, left, reached, torch.stack(state_gradient), terminated)


def zero_actions(mdp: MDP, scenarios: Scenarios) -> Tensor:
    """Zeros to add to the actions of a roll-out, for the derivatives with respect to these: [H, N, A]."""
    shape = (*scenarios.action_noise.shape[:2], action_size(mdp.action_space))
    return torch.zeros(shape, device=mdp.device, dtype=mdp.dtype, requires_grad=True)


def explain_nonfinite(
    mdp: MDP,
    policy: Actor,
    scenarios: Scenarios,
    objective: Callable[[Trajectory], Tensor],
    *,
    age: Tensor | None = None,
    max_age: int | None = None,
    memory: Tensor | None = None,
) -> str:
    """Repeats a roll-out whose gradient is not finite, and finds the world and time step of the cause.

    Back-propagation goes backwards in time, so the cause is at the latest step whose action has a non-finite gradient.

    Args:
        mdp: as for `rollout`.
        policy: as for `rollout`.
        scenarios: those of the roll-out to explain.
        objective: maps the trajectory to the number that was differentiated.
        age: as for `rollout`.
        max_age: as for `rollout`.
        memory: as for `rollout`.

    Returns: one sentence.
    """
    probe = zero_actions(mdp, scenarios)
    trajectory, _ = rollout(mdp, policy, scenarios, added=probe, age=age, max_age=max_age, memory=memory)
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
            f"the last of {len(bad.flatten(1).any(1).nonzero())} steps with a non-finite gradient"
        )
    return "the gradients of all actions are finite, but not those of the policy's parameters"


def clip_samples(gradient: Tensor, ratio: float, counted: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Scales down each sample's gradient to at most `ratio` times the median norm of the batch.

        g_i <- g_i * min(1, ratio * median_j |g_j| / |g_i|)

    Contacts make a few gradients 1e3 to 1e5 times larger than the rest. Without clipping, one of them alone determines
    the direction of the update; a bound on the norm of the sum does not change that direction.

    Args:
        gradient: [..., A].
        ratio: above 0; infinity for no clipping.
        counted: bool [...], the samples of the median; None for all.

    Returns: the scaled gradients, and the factor of each, [...].
    """
    norm = gradient.norm(dim=-1)
    median = norm.median() if counted is None else torch.where(counted, norm, torch.nan).nanmedian()
    scale = (ratio * median / norm).clamp(max=1.0).nan_to_num(1.0)  # 0 / 0: nothing to scale
    return scale.unsqueeze(-1) * gradient, scale


def gradient_metrics(gradient: Tensor, scale: Tensor) -> dict[str, Tensor]:
    """Statistics of the gradients of actions [H, N, A], and the part of them that `scale` [H, N] changed."""
    norm = gradient.norm(dim=-1)
    return {
        "action_grad_median": norm.median(),
        "action_grad_max": norm.max(),
        "action_grad_growth": norm[0].median() / norm[-1].median(),
        "clipped": (scale < 1.0).to(norm).mean(),
    }


def register_worlds(algorithm: nn.Module, mdp: MDP, policy: nn.Module) -> None:
    """Registers buffers for worlds that continue from window to window.

    They are `state` [N, S], `age` int64 [N], `running_return` [N], the undiscounted return so far, and `memory` [N, M]
    of the policy, which is saved if M is above 0.
    """
    size = getattr(policy, "memory_size", 0)
    zeros = torch.zeros(mdp.num_envs, device=mdp.device, dtype=mdp.dtype)
    algorithm.register_buffer("state", zeros[:, None].repeat(1, mdp.state_size))
    algorithm.register_buffer("age", zeros.long())
    algorithm.register_buffer("running_return", zeros)
    algorithm.register_buffer("memory", zeros[:, None].repeat(1, size), persistent=size > 0)
