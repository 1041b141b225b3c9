"""Checks that a reward has a gradient."""

from __future__ import annotations

import torch

from diffsim.mdp import MDP, action_size
from diffsim.trainers.errors import UsageError

NO_GRADIENT = "the reward must depend on the actions; the reward of this task has no gradient"


def require_reward_gradient(mdp: MDP) -> None:
    """Checks, without taking a step, that the reward depends differentiably on the action or on the next state.

    Raises: UsageError if it depends on neither.
    """
    state = mdp.initial(torch.Generator(mdp.device).manual_seed(0))
    action = torch.zeros((mdp.num_envs, action_size(mdp.action_space)), device=mdp.device, dtype=mdp.dtype)
    reached = state.detach().clone().requires_grad_()
    if not mdp.reward(state, action.requires_grad_(), reached).requires_grad:
        raise UsageError(NO_GRADIENT)
