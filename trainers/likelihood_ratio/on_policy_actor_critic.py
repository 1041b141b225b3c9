"""Bases of the actor-critics: ActorCritic, A2C, A3C and PPO."""

from __future__ import annotations

from torch import nn

from diffsim.trainers.likelihood_ratio.on_policy import OnPolicy
from diffsim.trainers.maths.schedule import Decay, check_decay
from diffsim.trainers.options import option

DECAY_HELP = (
    "env steps between which learning_rate falls linearly to 0: two counts, or the second; budget for the run's "
    "env_steps; None for never."
)


class OnPolicyActorCritic(OnPolicy):
    """Follows the policy gradient by a first-order optimizer."""

    learning_rate: float = option("step size of the policy's optimizer.", "> 0", default=3e-4)
    decay_env_steps: Decay = option(DECAY_HELP, check_decay, default=None)
    entropy_weight: float = option("weight of the policy's entropy in the objective.", ">= 0", default=0.0)
    max_norm: float = option("gradients are scaled down to this norm.", "> 0", default=0.5)


class WindowActorCritic(OnPolicyActorCritic):
    """Updates policy and value together, by one loss on windows of experience."""

    horizon: int = option("H, steps of each copy per window.", ">= 1", default=256)
    lam: float = option("of the advantages, by GAE, and of the value's targets.", "in [0, 1]", default=0.95)
    value_weight: float = option("weight of the value's squared error in the loss.", "> 0", default=0.5)
    normalize_advantage: bool = option(
        "shift and scale the advantages of each update to mean 0 and standard deviation 1.", default=True
    )

    def iteration_size(self) -> int:
        """Env steps of an iteration: a window in every copy."""
        return self.horizon * self.env.num_envs

    def trained_parameters(self) -> list[nn.Parameter]:
        """The parameters of policy and value."""
        return [*self.actor.parameters(), *self.value.parameters()]
