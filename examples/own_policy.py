"""A policy of your own.

In the folder of this file:

diffsim fit --task Reacher-v5 --algorithm SHAC --policy own_policy:LinearPolicy --scale 0.05 --iterations 50
"""

from __future__ import annotations

from gymnasium.spaces import Space
from torch import Tensor, nn

from diffsim.policies import Policy


class LinearPolicy(Policy):
    """Deterministic actions, linear in the normalised observation and squashed into the bounds.

    Args:
        observation_space: vector Box [O].
        action_space: bounded vector Box [A].
        scale: standard deviation of the initial weights.
    """

    noise_size = 0

    def __init__(self, observation_space: Space, action_space: Space, *, scale: float = 0.1) -> None:
        super().__init__(observation_space, action_space, normalize=True)
        self.layer = nn.Linear(self.obs_size, self.action_size)
        nn.init.normal_(self.layer.weight, std=scale)

    def forward(self, obs: Tensor, noise: Tensor | None = None) -> Tensor:
        """Maps `obs` [..., O] to actions [..., A]."""
        return self.squash(self.layer(self.features(obs)))
