"""Deep deterministic policy gradients."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from diffsim.checks import require
from diffsim.trainers.experience.replay_batch import ReplayBatch
from diffsim.trainers.maths.polyak import polyak_update, target_network
from diffsim.trainers.options import option
from diffsim.trainers.value_gradient.deterministic import Deterministic
from diffsim.trainers.value_gradient.optimizer_step import OptimizerStep


def check_target_range(name: str, value: Any) -> None:
    """Raises ValueError unless `value` is None or a lower and a higher bound."""
    if value is not None:
        require(len(value) == 2 and value[0] < value[1], name, "a lower and a higher bound", value)


class DDPG(Deterministic):
    """Deep deterministic policy gradients: deterministic policy gradients with a replay buffer and target networks.

        critic   minimise mean (Q(o, u) - y)^2,    y = r + gamma Q'(o', mu'(o')),   y = r where o' is terminal;
                 y is clipped to `target_range`
        actor    maximise mean Q(o, mu(o)) - action_penalty * mean mu(o)^2, the action in units of half widths
        targets  Q', mu' <- target_rate * (Q', mu') + (1 - target_rate) * (Q, mu)

    A `target_rate` of 0 is DDPG without target networks. For images the network is that of the source (three layers of
    32 channels, 200-200), with an encoder that the critic alone trains, kernels of 3 and strides of 2.

    Acts by u = mu(o) + noise, within the bounds, except for a part `random_action_rate` of random actions. Where
    dQ/du rarely changes its sign, as with sparse rewards, tanh saturates and learning stops; the penalty prevents that.

    Source: Lillicrap et al. (2016), "Continuous control with deep reinforcement learning": algorithm 1, and the
    settings of section 7 (networks 400-300, scales of both noises, weight decay, rates, batches of 64), without batch
    normalisation and with a warm-up. `configs/ddpg_half_cheetah.yaml` has the settings of later comparisons. Random
    actions, penalty and bounds of targets: Plappert et al. (2018), "Multi-goal reinforcement learning", appendix A.
    """

    run_defaults = {
        "num_envs": 1,
        "evaluate_every": 10,
        "policy": "DeterministicMLP",
        "hidden_sizes": (400, 300),
        "activation": "relu",
        "normalize": False,
    }

    image_defaults = {
        "convolutions": ((32, 3, 2), (32, 3, 2), (32, 3, 2)),
        "hidden_sizes": (200, 200),
        "critic_hidden_sizes": (200, 200),
        "share_encoder": True,
        "batch_size": 64,
        "replay_size": 100_000,
    }

    exploration: Literal["gaussian", "ou"] = option(default="ou")
    batch_size: int = option(default=64)
    target_range: tuple[float, float] | None = option(
        "bounds that y is clipped to, for returns with known bounds; None for no clipping.",
        check_target_range,
        default=None,
    )
    target_rate: float = option(default=0.999)
    learning_rate: float = option(default=1e-4)
    critic_learning_rate: float = option(default=1e-3)
    critic_weight_decay: float = option(default=1e-2)
    critic_hidden_sizes: Sequence[int] = option(default=(400, 300))

    def setup(self) -> None:
        """Makes critic, replay buffer, noise and target networks."""
        super().setup()
        self.target_bounds = (-math.inf, math.inf) if self.target_range is None else tuple(self.target_range)
        self.target_critic = target_network(self.critic)
        self.target_policy = target_network(self.policy)

    def learn(self, steps: Sequence[OptimizerStep], batch: ReplayBatch) -> dict[str, Tensor]:
        """Updates the critic, the policy, then the target networks."""
        policy_step, critic_step = steps
        batch = self.encoded(batch, self.target_critic)
        with torch.no_grad():
            next_value = self.target_critic(batch.next_obs, self.target_policy(batch.next_obs))[0]
            target = (batch.reward + batch.discount * next_value).clamp(*self.target_bounds)
        value = self.critic(batch.obs, batch.action)[0]
        critic_loss = (value - target).square().mean()
        critic_step(critic_loss)
        actor_loss = self.actor_loss(batch.obs.detach())
        policy_step(actor_loss)
        polyak_update(self.target_critic, self.critic, self.target_rate)
        polyak_update(self.target_policy, self.policy, self.target_rate)
        return {"critic_loss": critic_loss.detach(), "value": -actor_loss.detach()}
