"""Whether a reward has a gradient to climb."""

from __future__ import annotations

import torch

from diffsim.mdp import MDP
from diffsim.trainers.errors import UsageError

NO_SLOPE = "the reward must depend on the actions; this task's has no gradient"


def require_sloped_reward(mdp: MDP) -> None:
    """Looks, without taking a step, whether the reward's graph reaches the action or the state reached.

    Raises: UsageError if it reaches neither.
    """
    state = mdp.initial(torch.Generator(mdp.device).manual_seed(0))
    assert mdp.action_space.shape is not None
    action = torch.zeros((mdp.num_envs, *mdp.action_space.shape), device=mdp.device, dtype=mdp.dtype)
    reached = state.detach().clone().requires_grad_()
    if not mdp.reward(state, action.requires_grad_(), reached).requires_grad:
        raise UsageError(NO_SLOPE)
