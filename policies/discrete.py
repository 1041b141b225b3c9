"""Policies for discrete actions that pass gradients through the action: one-hot vectors and bits."""

from __future__ import annotations

from typing import Any, Literal

import torch
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete
from torch import Tensor

from diffsim.checks import check_choice, check_values, require
from diffsim.policies.distributions import Categoricals
from diffsim.policies.mlp_policy import MLPPolicy
from diffsim.policies.relaxed import (
    gumbel_softmax,
    one_hot_argmax,
    straight_through,
    straight_through_bernoulli,
    straight_through_gumbel,
    with_gradient_of,
)
from diffsim.policies.squash import Bits, OneHot

ESTIMATORS = ("gumbel_softmax", "straight_through_gumbel", "straight_through")


class RelaxedCategoricalMLP(MLPPolicy):
    """One discrete choice, or several independent ones, as one-hot vectors that pass gradients.

        p(k | o) = softmax_k(logits(o)),    u = a one-hot sample from p, or its relaxation

    The objective must accept such vectors: a learned Q(o, u), or dynamics of a mixture of actions. `decode` converts
    them to the indices that `env.step` takes. Without noise, the policy returns the most probable choice.

    Args:
        observation_space: vectors, images, or what `Observations` makes vectors of.
        action_space: Discrete, MultiDiscrete, MultiBinary, or a Box of integers; the choices are independent given o.
        out_scale: factor on the initial weights of the last layer; a small one starts near equal probabilities.
        estimator: "gumbel_softmax" returns points of the simplex; "straight_through_gumbel" one-hot vectors with the
            gradient of those points; "straight_through" one-hot vectors with the gradient of the probabilities.
        temperature: of Gumbel-softmax, above 0.
        final_temperature: temperature at the end of the annealing, above 0; `temperature` if None.
        anneal_env_steps: env steps over which the temperature is annealed geometrically, at least 1; None keeps it
            constant.
        **options: of `MLPPolicy`.

    Attributes:
        temperature: the present temperature, a buffer.
    """

    temperature: Tensor

    def __init__(
        self,
        observation_space: Box,
        action_space: Discrete | MultiDiscrete,
        *,
        out_scale: float = 0.01,
        estimator: Literal["gumbel_softmax", "straight_through_gumbel", "straight_through"] = "straight_through_gumbel",
        temperature: float = 1.0,
        final_temperature: float | None = None,
        anneal_env_steps: int | None = None,
        **options: Any,
    ) -> None:
        self.squash: OneHot
        squash = OneHot(action_space)
        super().__init__(observation_space, action_space, squash, squash.size, out_scale=out_scale, **options)
        check_choice("estimator", estimator, ESTIMATORS)
        final_temperature = temperature if final_temperature is None else final_temperature
        for name, value in (("temperature", temperature), ("final_temperature", final_temperature)):
            require(0 < value < float("inf"), name, "finite and > 0", value)
        check_values(">= 1", anneal_env_steps=anneal_env_steps)
        self.estimator, self.anneal_env_steps = estimator, anneal_env_steps
        self.temperature_range = temperature, final_temperature
        self.register_buffer("temperature", torch.tensor(temperature))
        self.noise_size, self.counts = squash.size, squash.counts

    def anneal(self, env_steps: int) -> None:
        """Sets the temperature of the annealing schedule after `env_steps` of training."""
        if self.anneal_env_steps is not None:
            first, last = self.temperature_range
            progress = min(env_steps / self.anneal_env_steps, 1.0)
            self.temperature.fill_(first ** (1.0 - progress) * last**progress)

    def distribution(self, obs: Tensor) -> Categoricals:
        """Probabilities of the indices, counted from 0, for `obs` [..., O]."""
        logits = self.network(self.features(obs)).split(self.counts, dim=-1)
        return Categoricals(tuple(part.log_softmax(-1) for part in logits))

    def forward(self, obs: Tensor, noise: Tensor | None = None) -> Tensor:
        """Maps `obs` [..., O] and `noise` [..., A] to one vector per choice, concatenated: [..., A]."""
        parts = self.distribution(obs).log_probs
        if noise is None:
            return torch.cat([with_gradient_of(part.exp(), one_hot_argmax(part)) for part in parts], dim=-1)
        noises = self.check_noise(noise).split(self.counts, dim=-1)
        return torch.cat([self._sample(*pair) for pair in zip(parts, noises, strict=True)], dim=-1)

    def decode(self, action: Tensor) -> Tensor:
        """Indices of the largest entries, as `env.step` takes them."""
        return self.squash.indices(action)

    def _sample(self, log_probs: Tensor, noise: Tensor) -> Tensor:
        if self.estimator == "straight_through":
            return straight_through(log_probs, noise)
        sample = gumbel_softmax if self.estimator == "gumbel_softmax" else straight_through_gumbel
        return sample(log_probs, noise, self.temperature)


class BernoulliMLP(MLPPolicy):
    """Independent bits, with the straight-through gradient of their probabilities.

        p(u_i = 1 | o) = sigmoid(logit_i(o))

    Args:
        observation_space: vectors, images, or what `Observations` makes vectors of.
        action_space: MultiBinary, with A bits.
        out_scale: factor on the initial weights of the last layer; a small one starts near equal probabilities.
        **options: of `MLPPolicy`.
    """

    def __init__(
        self, observation_space: Box, action_space: MultiBinary, *, out_scale: float = 0.01, **options: Any
    ) -> None:
        squash = Bits(action_space)
        super().__init__(observation_space, action_space, squash, squash.size, out_scale=out_scale, **options)
        self.noise_size = self.action_size

    def forward(self, obs: Tensor, noise: Tensor | None = None) -> Tensor:
        """Maps `obs` [..., O] and `noise` [..., A] to zeros and ones [..., A]; without noise, to the most probable."""
        logits = self.network(self.features(obs))
        if noise is None:
            return with_gradient_of(logits.sigmoid(), (logits > 0).to(logits))
        return straight_through_bernoulli(logits, self.check_noise(noise))

    def decode(self, action: Tensor) -> Tensor:
        """The bits [..., A] as int8, the type of MultiBinary."""
        return action.round().to(torch.int8)
