"""A Gaussian policy, squashed into the action space."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from gymnasium.spaces import Box
from torch import Tensor, nn

from policies.network import mlp
from policies.policy import Policy

LOG_STD_RANGE = (-5.0, 2.0)  # bounds of a learned log deviation, as in Haarnoja et al. (2018)


class GaussianMLP(Policy):
    """Actions from a normal distribution around a perceptron's output, squashed by tanh.

        x = mean(o) + std(o) * z,   z ~ N(0, I)         u = center + half_width * tanh(x)

    Args:
        observation_space: vector Box [O].
        action_space: bounded vector Box [A].
        hidden_sizes: widths of the hidden layers.
        activation: tanh, elu, silu, softplus or relu.
        layer_norm: normalise each hidden layer before its activation.
        normalize: normalise observations by their running mean and deviation.
        out_scale: factor on the initial weights of the last layer; small starts near the middle action.
        std: "fixed" keeps `initial_std`; "learned" learns one deviation per action dimension; "state" lets
            the network choose it from the observation.
        initial_std: deviation before squashing, at the start of training; above 0, and between exp(-5) and
            exp(2) unless it is fixed.
    """

    def __init__(
        self,
        observation_space: Box,
        action_space: Box,
        *,
        hidden_sizes: Sequence[int] = (64, 64),
        activation: str = "tanh",
        layer_norm: bool = False,
        normalize: bool = True,
        out_scale: float = 0.1,
        std: Literal["fixed", "learned", "state"] = "learned",
        initial_std: float = 0.5,
    ) -> None:
        super().__init__(observation_space, action_space, normalize)
        if std not in ("fixed", "learned", "state"):
            raise ValueError(f"std must be one of fixed, learned, state, got {std!r}")
        if not initial_std > 0:
            raise ValueError(f"initial_std must be > 0, got {initial_std}")
        log_std = math.log(initial_std)
        if std != "fixed" and not LOG_STD_RANGE[0] < log_std < LOG_STD_RANGE[1]:
            low, high = (math.exp(bound) for bound in LOG_STD_RANGE)
            raise ValueError(f"initial_std must be within ({low:.4f}, {high:.4f}), got {initial_std}")
        self.noise_size = self.action_size
        self.std = std
        out_size = 2 * self.action_size if std == "state" else self.action_size
        self.network = mlp(
            self.obs_size, hidden_sizes, out_size, activation=activation, layer_norm=layer_norm, out_scale=out_scale
        )
        offset = torch.full((self.action_size,), log_std)
        if std == "learned":
            self.log_std = nn.Parameter(offset)
        else:
            self.register_buffer("log_std", offset)

    def distribution(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation, before squashing, of each action number: two tensors [..., A]."""
        out = self.network(self.see(obs))
        if self.std == "fixed":
            return out, self.log_std.exp().expand_as(out)
        if self.std == "learned":
            return out, self.log_std.clamp(*LOG_STD_RANGE).exp().expand_as(out)
        mean, log_std = out.chunk(2, dim=-1)
        return mean, (self.log_std + log_std).clamp(*LOG_STD_RANGE).exp()

    def forward(self, obs: Tensor, noise: Tensor | None = None) -> Tensor:
        """Maps `obs` [..., O] and `noise` [..., A] to actions [..., A]; no noise gives the mean's action."""
        mean, std = self.distribution(obs)
        if noise is None:
            return self.squash(mean)
        return self.squash(mean + std * self._checked(noise))

    def log_prob(self, obs: Tensor, action: Tensor) -> Tensor:
        """Log density of `action` [..., A] given `obs` [..., O]: [...].

            log p(u) = log N(x; mean, std^2) - log |du / dx|,    x = atanh((u - center) / half_width)

        An action that was rounded onto a bound has lost its x; `sample` gives action and density at once.
        Source: Haarnoja et al. (2018), "Soft Actor-Critic", appendix C.
        """
        if action.shape[-1] != self.action_size:
            raise ValueError(f"action must have {self.action_size} numbers, got {action.shape[-1]}")
        mean, std = self.distribution(obs)
        return self._log_density(self.squash.inverse(action), mean, std)

    def sample(self, obs: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Action [..., A] for `obs` [..., O] and `noise` [..., A], and its log density [...].

        Exact for every noise, even where tanh saturates. Both are differentiable.
        """
        mean, std = self.distribution(obs)
        x = mean + std * self._checked(noise)
        return self.squash(x), self._log_density(x, mean, std)

    def _log_density(self, x: Tensor, mean: Tensor, std: Tensor) -> Tensor:
        z = (x - mean) / std
        normal = -0.5 * z.square() - torch.log(std) - 0.5 * math.log(2.0 * math.pi)
        return normal.sum(-1) - self.squash.log_det(x)

    def _checked(self, noise: Tensor) -> Tensor:
        if noise.shape[-1] != self.noise_size:
            raise ValueError(f"noise must have {self.noise_size} numbers in its last axis, got {noise.shape[-1]}")
        return noise
