"""What every policy answers."""

from __future__ import annotations

from abc import ABC, abstractmethod

from gymnasium.spaces import Box
from torch import Tensor, nn

from policies.normalizer import ObservationNormalizer
from policies.squash import TanhBox


class Policy(nn.Module, ABC):
    """An actor whose randomness is an argument, so that its actions can be differentiated.

    Args:
        observation_space: vector Box [O].
        action_space: bounded vector Box [A].
        normalize: see observations through a running `ObservationNormalizer`, which whoever trains the
            policy updates by `policy.normalizer.update(obs)`; otherwise see them as they are.

    Attributes:
        noise_size: numbers of standard normal noise an action takes; 0 for a deterministic policy.
        normalizer: the `ObservationNormalizer`, or None.
        squash: from the network's output to the action space.
    """

    noise_size: int

    def __init__(self, observation_space: Box, action_space: Box, normalize: bool) -> None:
        super().__init__()
        if len(observation_space.shape) != 1:
            raise ValueError(f"observation_space must be a vector, got shape {observation_space.shape}")
        self.obs_size = observation_space.shape[0]
        self.action_size = action_space.shape[0]
        self.normalizer = ObservationNormalizer(self.obs_size) if normalize else None
        self.squash = TanhBox(action_space)

    @abstractmethod
    def forward(self, obs: Tensor, noise: Tensor | None = None) -> Tensor:
        """Chooses actions.

        Args:
            obs: [..., O].
            noise: [..., noise_size] standard normal, or None for the deterministic (mean) action.

        Returns: [..., A], inside the action space.
        Raises: ValueError if a size is wrong.
        """

    def see(self, obs: Tensor) -> Tensor:
        """The observation as the network sees it: checked, and normalised if asked. [..., O]."""
        if obs.shape[-1] != self.obs_size:
            raise ValueError(f"obs must have {self.obs_size} numbers in its last axis, got {obs.shape[-1]}")
        return obs if self.normalizer is None else self.normalizer(obs)
