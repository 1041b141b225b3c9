"""Bases of the actor-critics: ActorCritic, A2C, A3C and PPO."""

from __future__ import annotations

from torch import nn

from diffsim.trainers.likelihood_ratio.on_policy import OnPolicy
from diffsim.trainers.maths.schedule import Decay, check_decay
from diffsim.trainers.options import option

DECAY_HELP = "env steps between which learning_rate falls linearly to 0: two counts, or the second; None for never."


class OnPolicyActorCritic(OnPolicy):
    """Follows the policy gradient by a first-order optimizer."""

    learning_rate: float = option(3e-4, "> 0", "step size of the policy's optimizer.")
    decay_env_steps: Decay = option(None, check_decay, DECAY_HELP)
    entropy_weight: float = option(0.0, ">= 0", "weight of the policy's entropy in the objective.")
    max_norm: float = option(0.5, "> 0", "gradients are scaled down to this norm.")


class WindowActorCritic(OnPolicyActorCritic):
    """Updates policy and value together, by one loss on windows of experience."""

    horizon: int = option(256, ">= 1", "H, steps of each copy per window.")
    lam: float = option(0.95, "in [0, 1]", "of the advantages, by GAE, and of the value's targets.")
    value_weight: float = option(0.5, "> 0", "weight of the value's squared error in the loss.")
    normalize_advantage: bool = option(
        True, "shift and scale the advantages of each update to mean 0 and standard deviation 1."
    )

    def trained_parameters(self) -> list[nn.Parameter]:
        """The parameters of policy and value."""
        return [*self.actor.parameters(), *self.value.parameters()]
