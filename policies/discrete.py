"""Policies for discrete actions whose gradient comes through the action: one-hot vectors and bits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete
from torch import Tensor

from diffsim.policies.distributions import Categoricals
from diffsim.policies.network import mlp
from diffsim.policies.policy import Policy
from diffsim.policies.relaxed import (
    corner,
    gumbel_softmax,
    straight_through,
    straight_through_bernoulli,
    straight_through_gumbel,
    with_gradient_of,
)
from diffsim.policies.squash import Bits, OneHot

ESTIMATORS = ("gumbel_softmax", "straight_through_gumbel", "straight_through")


class RelaxedCategoricalMLP(Policy):
    """One choice, or several independent ones, as one-hot vectors that a gradient passes through.

        p(k | o) = softmax_k(logits(o)),    u = a one-hot draw from p, or its relaxation

    What is optimised must take such vectors: a learned Q(o, u), or dynamics of a mixture of actions. For
    `env.step`, `decode` gives the indices. No noise gives the likeliest choice.

    Args:
        observation_space: vector Box [O].
        action_space: Discrete, or MultiDiscrete with one axis, whose choices are independent given o.
        hidden_sizes: widths of the hidden layers.
        activation: tanh, elu, silu, softplus or relu.
        layer_norm: normalise each hidden layer before its activation.
        normalize: normalise observations by their running mean and deviation.
        out_scale: factor on the initial weights of the last layer; small starts near equal probabilities.
        estimator: "gumbel_softmax" acts by points within the simplex; "straight_through_gumbel" by one-hot vectors
            with their gradient; "straight_through" by one-hot vectors with the gradient of the probabilities.
        temperature: of Gumbel-softmax, above 0.
        final_temperature: what it falls to; `temperature` if None.
        anneal_env_steps: env steps in which it does, geometrically, at least 1; it stays if None.

    Attributes:
        temperature: a buffer, the present one.
    """

    temperature: Tensor

    def __init__(
        self,
        observation_space: Box,
        action_space: Discrete | MultiDiscrete,
        *,
        hidden_sizes: Sequence[int] = (64, 64),
        activation: str = "tanh",
        layer_norm: bool = False,
        normalize: bool = True,
        out_scale: float = 0.01,
        estimator: Literal["gumbel_softmax", "straight_through_gumbel", "straight_through"] = "straight_through_gumbel",
        temperature: float = 1.0,
        final_temperature: float | None = None,
        anneal_env_steps: int | None = None,
    ) -> None:
        self.squash: OneHot
        super().__init__(observation_space, action_space, normalize, OneHot(action_space))
        if estimator not in ESTIMATORS:
            raise ValueError(f"estimator must be one of {', '.join(ESTIMATORS)}, got {estimator!r}")
        final_temperature = temperature if final_temperature is None else final_temperature
        for name, value in (("temperature", temperature), ("final_temperature", final_temperature)):
            if not 0 < value < float("inf"):
                raise ValueError(f"{name} must be finite and > 0, got {value}")
        if anneal_env_steps is not None and anneal_env_steps < 1:
            raise ValueError(f"anneal_env_steps must be >= 1, got {anneal_env_steps}")
        self.estimator, self.ends, self.anneal_env_steps = estimator, (temperature, final_temperature), anneal_env_steps
        self.register_buffer("temperature", torch.tensor(temperature))
        self.noise_size, self.counts = self.action_size, self.squash.counts
        self.network = mlp(
            self.obs_size,
            hidden_sizes,
            self.action_size,
            activation=activation,
            layer_norm=layer_norm,
            out_scale=out_scale,
        )

    def anneal(self, env_steps: int) -> None:
        """Sets the temperature for what follows `env_steps` of training."""
        if self.anneal_env_steps is not None:
            first, last = self.ends
            progress = min(env_steps / self.anneal_env_steps, 1.0)
            self.temperature.fill_(first ** (1.0 - progress) * last**progress)

    def distribution(self, obs: Tensor) -> Categoricals:
        """Probabilities of the indices, counted from 0, for `obs` [..., O]."""
        logits = self.network(self.features(obs)).split(self.counts, dim=-1)
        return Categoricals(tuple(part.log_softmax(-1) for part in logits))

    def forward(self, obs: Tensor, noise: Tensor | None = None) -> Tensor:
        """Maps `obs` [..., O] and `noise` [..., A] to one vector per choice, side by side: [..., A]."""
        parts = self.distribution(obs).log_probs
        if noise is None:
            return torch.cat([with_gradient_of(part.exp(), corner(part)) for part in parts], dim=-1)
        noises = self.checked(noise).split(self.counts, dim=-1)
        return torch.cat([self._draw(*pair) for pair in zip(parts, noises, strict=True)], dim=-1)

    def decode(self, action: Tensor) -> Tensor:
        """The indices of the largest entries, as `env.step` takes them."""
        return self.squash.indices(action)

    def _draw(self, log_probs: Tensor, noise: Tensor) -> Tensor:
        if self.estimator == "straight_through":
            return straight_through(log_probs, noise)
        draw = gumbel_softmax if self.estimator == "gumbel_softmax" else straight_through_gumbel
        return draw(log_probs, noise, self.temperature)


class BernoulliMLP(Policy):
    """Independent bits, with the straight-through gradient of their probabilities.

        p(u_i = 1 | o) = sigmoid(logit_i(o))

    Args:
        observation_space: vector Box [O].
        action_space: MultiBinary with one axis [A].
        hidden_sizes: widths of the hidden layers.
        activation: tanh, elu, silu, softplus or relu.
        layer_norm: normalise each hidden layer before its activation.
        normalize: normalise observations by their running mean and deviation.
        out_scale: factor on the initial weights of the last layer; small starts near equal probabilities.
    """

    def __init__(
        self,
        observation_space: Box,
        action_space: MultiBinary,
        *,
        hidden_sizes: Sequence[int] = (64, 64),
        activation: str = "tanh",
        layer_norm: bool = False,
        normalize: bool = True,
        out_scale: float = 0.01,
    ) -> None:
        super().__init__(observation_space, action_space, normalize, Bits(action_space))
        self.noise_size = self.action_size
        self.network = mlp(
            self.obs_size,
            hidden_sizes,
            self.action_size,
            activation=activation,
            layer_norm=layer_norm,
            out_scale=out_scale,
        )

    def forward(self, obs: Tensor, noise: Tensor | None = None) -> Tensor:
        """Maps `obs` [..., O] and `noise` [..., A] to zeros and ones [..., A]; no noise gives the likelier ones."""
        logits = self.network(self.features(obs))
        if noise is None:
            return with_gradient_of(logits.sigmoid(), (logits > 0).to(logits))
        return straight_through_bernoulli(logits, self.checked(noise))

    def decode(self, action: Tensor) -> Tensor:
        """The bits as MultiBinary has them, int8."""
        return action.round().to(torch.int8)
