"""The interface of all policies."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium.spaces import Space
from torch import Tensor, nn

from diffsim.policies.distributions import Distribution
from diffsim.policies.encoder import CONVOLUTIONS, ImageEncoder
from diffsim.policies.normalizer import ObservationNormalizer
from diffsim.policies.sequences import Sequences
from diffsim.policies.spaces import Observations, is_image
from diffsim.policies.squash import Squash, TanhBox

FAR = 1e4
"""Magnitude above which numbers of float64 in an observation are shifted by their first value."""


def _constructor_signature(cls: type) -> inspect.Signature:
    """Signature of the constructor, with `**options` replaced by the keyword arguments of the base classes."""
    parameters: dict[str, inspect.Parameter] = {}
    for base in cls.__mro__:
        if "__init__" in vars(base):
            _, *own = inspect.signature(base.__init__).parameters.values()
            inherited = [p for p in own if p.kind is p.KEYWORD_ONLY]
            for p in inherited if parameters else own:
                parameters.setdefault(p.name, p)
            if all(p.kind is not p.VAR_KEYWORD for p in own):
                break
    named = [p for p in parameters.values() if p.kind is not p.VAR_KEYWORD]
    return inspect.Signature(sorted(named, key=lambda p: p.kind))


class Policy(nn.Module, ABC):
    """An actor whose randomness is an argument, so that its actions can be differentiated.

    A subclass's constructor may end with `**options` that it passes to `super().__init__`; the class then shows the
    options of its base classes in its signature.

    Args:
        observation_space: vectors, images, or what `Observations` makes vectors of.
        action_space: bounded vector Box [A], or the space that `squash` maps to.
        normalize: normalise observations by an `ObservationNormalizer`, which the algorithm updates by
            `policy.normalizer.update(obs)`. Images are scaled by their bounds instead.
        squash: map from raw outputs to the action space; `TanhBox` if None.
        clip_obs: clip normalised observations to [-clip_obs, clip_obs]; None does not clip.
        convolutions: channels, kernel size and stride of each convolution of images; vectors use none.
        feature_size: numbers to which a last layer of the encoder of images reduces its features; 0 for no such layer.

    Attributes:
        noise_size: numbers of standard normal noise per action; 0 for a deterministic policy.
        recurrent: whether the policy has a memory that `step` is given and returns.
        memory_size: M, numbers in this memory; 0 without one.
        action_space: of one copy.
        observations: converts observations of the space to vectors or images, which all methods take.
        obs_shape: shape of such a vector or image.
        obs_size: numbers in the features of an observation: O, or the output size of the encoder.
        origin: int64 [O], subtracted from observations in float64 before they are cast; see `center`. None for none.
        centered: whether `center` was called.
        normalizer: the `ObservationNormalizer`, or None.
        encoder: the `ImageEncoder`, or None for vectors.
        squash: map from raw outputs to the action space.

    Raises: ValueError if a space is of the wrong kind, or clip_obs is not above 0.
    """

    noise_size: int
    recurrent: ClassVar[bool] = False
    memory_size: int = 0

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.__signature__ = _constructor_signature(cls)

    def __init__(
        self,
        observation_space: Space,
        action_space: Space,
        normalize: bool,
        squash: Squash | None = None,
        *,
        clip_obs: float | None = None,
        convolutions: Sequence[Sequence[int]] = CONVOLUTIONS,
        feature_size: int = 0,
    ) -> None:
        super().__init__()
        self.observations = Observations(observation_space)
        space = self.observations.space
        images = is_image(space)
        self.action_space = action_space
        self.squash = TanhBox(action_space) if squash is None else squash
        self.encoder = ImageEncoder(space, convolutions, feature_size) if images else None
        self.obs_shape = space.shape
        self.obs_size = space.shape[0] if self.encoder is None else self.encoder.out_size
        self.action_size = self.squash.size
        normalizer = ObservationNormalizer(self.obs_size, clip_obs=clip_obs)
        self.normalizer = normalizer if normalize and not images else None
        self.centered = False
        self.origin: Tensor | None
        self.register_buffer("origin", None)

    @abstractmethod
    def forward(self, obs: Tensor, noise: Tensor | None = None) -> Tensor:
        """Chooses actions.

        Args:
            obs: [..., O].
            noise: [..., noise_size] standard normal, or None for the deterministic (mean) action.

        Returns: [..., A], inside the action space.
        Raises: ValueError if a size is wrong.
        """

    def initial_memory(self, num_envs: int) -> Tensor:
        """The memory of N copies at the start of an episode: zeros [N, M]."""
        return next(self.parameters()).new_zeros(num_envs, self.memory_size)

    def step(self, obs: Tensor, memory: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Chooses actions, and updates the memory. Without a memory this is `forward`.

        Args:
            obs: [N, O].
            memory: [N, M], from the last step, or `initial_memory` in an episode's first step.
            noise: as for `forward`.

        Returns: actions [N, A], and the memory after them [N, M].
        """
        return self(obs, noise), memory

    def replay(self, obs: Tensor, noise: Tensor | None, starts: Tensor, memory: Tensor) -> Tensor:
        """Chooses the actions of a whole window again, as a function of its observations.

        Args:
            obs: [T, N, O].
            noise: [T, N, noise_size], or None for mean actions.
            starts: bool [T, N], whether an episode began with a step: the memory is cleared before it.
            memory: [N, M], before the first step.

        Returns: [T, N, A].
        """
        return self(obs, noise)

    def center(self, obs: np.ndarray) -> None:
        """Sets `origin` by the first observations [N, O], if they are so large that float32 would round them away.

        Near 1e9, float32 has no numbers between two that are 64 apart.
        """
        self.centered = True
        if self.encoder is None and obs.dtype.itemsize == 8:
            first = np.nan_to_num(obs[0].astype(np.float64), posinf=0.0, neginf=0.0)
            far = (np.abs(first) > FAR) & (np.abs(first) < 2.0**62)
            if far.any():
                device = next(self.parameters()).device
                self.origin = torch.as_tensor(np.where(far, first, 0.0).round().astype(np.int64), device=device)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        """Loads the origin if there is one: it is not a buffer of every policy."""
        saved = state_dict.get(f"{prefix}origin")
        self.origin = None if saved is None else torch.zeros_like(saved, device=next(self.parameters()).device)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def decode(self, action: Tensor) -> Tensor:
        """Converts an action [..., A] to what `env.step` takes. By default they are the same."""
        return action

    def anneal(self, env_steps: int) -> None:
        """Updates what depends on the `env_steps` of training taken so far. By default nothing does."""

    def reset(self, ended: Tensor | None = None) -> None:
        """Clears the memory that the policy carries between observations. By default it has none.

        Args:
            ended: bool [N], the rows of the last observations whose episodes have ended; all rows if None.
        """

    def check_noise(self, noise: Tensor) -> Tensor:
        """Returns `noise` [..., noise_size].

        Raises: ValueError if its size is wrong.
        """
        if noise.shape[-1] != self.noise_size:
            raise ValueError(f"noise must have {self.noise_size} numbers in its last axis, got {noise.shape[-1]}")
        return noise

    def fresh_encoder(self) -> ImageEncoder | None:
        """An encoder like the policy's, with other weights, for a value; None for vectors."""
        return None if self.encoder is None else self.encoder.reinitialized()

    def features(self, obs: Tensor) -> Tensor:
        """Checks the size of `obs`, and normalises or encodes it: the network's input, [..., obs_size]."""
        if self.encoder is not None:
            return self.encoder(obs)
        if obs.shape[-1] != self.obs_size:
            raise ValueError(f"obs must have {self.obs_size} numbers in its last axis, got {obs.shape[-1]}")
        return obs if self.normalizer is None else self.normalizer(obs)


def as_tensor(policy: nn.Module, obs: np.ndarray) -> Tensor:
    """Vectors or images `obs` of an environment as a tensor of a policy's weights' type, less the policy's origin."""
    origin = getattr(policy, "origin", None)
    return torch.as_tensor(obs if origin is None else obs - origin.cpu().numpy()).to(next(policy.parameters()))


class StochasticPolicy(Policy):
    """A policy whose raw choices have a density, as likelihood ratios, entropies and divergences need."""

    @abstractmethod
    def raw_distribution(self, obs: Tensor) -> Distribution:
        """Distribution of the raw choice for each of `obs` [..., O]; `squash` maps the choice to an action."""

    def distributions(self, seen: Tensor | Sequences) -> Distribution:
        """Distributions of the raw choices of many steps.

        Args:
            seen: observations [..., O]; for a policy with memory, sequences [T, N].
        """
        if isinstance(seen, Sequences):
            raise TypeError(f"{type(self).__name__} has no memory: its distributions need observations, got Sequences")
        return self.raw_distribution(seen)

    def draw(self, obs: Tensor, memory: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The raw choices for `obs` [N, O], [N, F], and the memory after them, as `step`."""
        distribution = self.raw_distribution(obs)
        return distribution.mode if noise is None else distribution.sample(self.check_noise(noise)), memory

    def forward(self, obs: Tensor, noise: Tensor | None = None) -> Tensor:
        """Maps `obs` [..., O] and `noise` [..., noise_size] to actions; without noise, returns the mode."""
        distribution = self.raw_distribution(obs)
        return self.squash(distribution.mode if noise is None else distribution.sample(self.check_noise(noise)))
