"""What every policy answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from gymnasium.spaces import Box, Space
from torch import Tensor, nn

from diffsim.policies.distributions import Distribution
from diffsim.policies.encoder import CONVOLUTIONS, ImageEncoder, is_image
from diffsim.policies.normalizer import ObservationNormalizer
from diffsim.policies.squash import Squash, TanhBox


class Policy(nn.Module, ABC):
    """An actor whose randomness is an argument, so that its actions can be differentiated.

    Args:
        observation_space: vector Box [O], or images of integers: see `ImageEncoder`.
        action_space: bounded vector Box [A], or what `squash` maps to.
        normalize: see observations through a running `ObservationNormalizer`, which whoever trains the
            policy updates by `policy.normalizer.update(obs)`; otherwise see them as they are. Images are scaled by
            their bounds instead.
        squash: from raw outputs to the action space; tanh if None.
        clip_obs: keep normalised observations within this distance of 0; None for no bound.
        convolutions: channels, kernel and stride of each layer that looks at images; a vector has none.

    Attributes:
        noise_size: numbers of standard normal noise an action takes; 0 for a deterministic policy.
        obs_size: numbers that the perceptron reads of an observation: O, or what comes out of the encoder.
        normalizer: the `ObservationNormalizer`, or None.
        encoder: the `ImageEncoder`, or None for vectors.
        squash: from raw outputs to the action space.

    Raises: ValueError if a space is of another kind, or clip_obs is not above 0.
    """

    noise_size: int

    def __init__(
        self,
        observation_space: Space,
        action_space: Space,
        normalize: bool,
        squash: Squash | None = None,
        *,
        clip_obs: float | None = None,
        convolutions: Sequence[Sequence[int]] = CONVOLUTIONS,
    ) -> None:
        super().__init__()
        images = is_image(observation_space)
        if not isinstance(observation_space, Box) or not (images or len(observation_space.shape) == 1):
            kind, shape = type(observation_space).__name__, observation_space.shape
            raise ValueError(f"observation_space must be a vector or integer-image Box, got shape {shape} of {kind}")
        self.squash = TanhBox(action_space) if squash is None else squash
        self.encoder = ImageEncoder(observation_space, convolutions) if images else None
        self.obs_size = observation_space.shape[0] if self.encoder is None else self.encoder.out_size
        self.action_size = self.squash.size
        normalizer = ObservationNormalizer(self.obs_size, clip_obs=clip_obs)
        self.normalizer = normalizer if normalize and not images else None

    @abstractmethod
    def forward(self, obs: Tensor, noise: Tensor | None = None) -> Tensor:
        """Chooses actions.

        Args:
            obs: [..., O].
            noise: [..., noise_size] standard normal, or None for the deterministic (mean) action.

        Returns: [..., A], inside the action space.
        Raises: ValueError if a size is wrong.
        """

    def decode(self, action: Tensor) -> Tensor:
        """An action [..., A] as `env.step` takes it: itself, unless the policy acts by what a gradient can pass."""
        return action

    def anneal(self, env_steps: int) -> None:
        """Sets what changes in the course of training, by the `env_steps` taken so far: nothing, here."""

    def forget(self, ended: Tensor | None = None) -> None:
        """Lets go of what is carried from one observation to the next, where episodes `ended`: nothing, here.

        Args:
            ended: bool [N], by row of the last observations; everywhere if None.
        """

    def checked(self, noise: Tensor) -> Tensor:
        """The noise [..., noise_size] itself.

        Raises: ValueError if its size is wrong.
        """
        if noise.shape[-1] != self.noise_size:
            raise ValueError(f"noise must have {self.noise_size} numbers in its last axis, got {noise.shape[-1]}")
        return noise

    def features(self, obs: Tensor) -> Tensor:
        """What the perceptron reads of an observation: checked, and normalised or encoded. [..., obs_size]."""
        if self.encoder is not None:
            return self.encoder(obs)
        if obs.shape[-1] != self.obs_size:
            raise ValueError(f"obs must have {self.obs_size} numbers in its last axis, got {obs.shape[-1]}")
        return obs if self.normalizer is None else self.normalizer(obs)


class StochasticPolicy(Policy):
    """A policy whose raw choices have a density: what likelihood ratios, entropies and divergences are made of."""

    @abstractmethod
    def raw_distribution(self, obs: Tensor) -> Distribution:
        """The distribution of the choice for each of `obs` [..., O], before `squash` makes an action of it."""

    def forward(self, obs: Tensor, noise: Tensor | None = None) -> Tensor:
        """Maps `obs` [..., O] and `noise` [..., noise_size] to actions; no noise gives the likeliest choice."""
        distribution = self.raw_distribution(obs)
        return self.squash(distribution.mode if noise is None else distribution.sample(self.checked(noise)))
