"""A policy for actions with continuous and discrete parts."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import torch
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete, Tuple
from torch import Tensor, nn

from diffsim.checks import check_choice, check_value, require
from diffsim.mdp import action_parts
from diffsim.policies.distributions import Categoricals, DiagonalGaussian, Mixed
from diffsim.policies.gaussian import LOG_STD_RANGE, box_squash, check_initial_std
from diffsim.policies.mlp_policy import MLPPolicy
from diffsim.policies.policy import StochasticPolicy
from diffsim.policies.squash import Indices, Squash, float_box


class MixedSquash(Squash):
    """Maps numbers and indices [..., A + F] to the numbers of an action, in the order of the space's parts.

    Args:
        space: Tuple or Dict of vector Boxes of floats, A numbers together, and F Discrete spaces; at least one of each.
        bounds: "tanh" or "clip", for the Boxes.

    Attributes:
        num_numbers: A.
        counts: K_f, the number of values of each choice.

    Raises: TypeError or ValueError if the space is of another kind.
    """

    order: Tensor

    def __init__(self, space: Tuple | Dict, bounds: str) -> None:
        super().__init__()
        if not isinstance(space, Tuple | Dict):
            raise TypeError(f"action_space must be Tuple or Dict, got {type(space).__name__}")
        parts = action_parts(space)
        boxes = [float_box(part) for part in parts if isinstance(part, Box)]
        choices = [part for part in parts if isinstance(part, Discrete)]
        require(bool(boxes) and bool(choices), "action_space", "one with Box and Discrete parts", space)
        low, high = (np.concatenate([getattr(part, name) for part in boxes]) for name in ("low", "high"))
        self.numbers = box_squash(Box(low, high, dtype=np.float32), bounds)
        counts, starts = ([int(getattr(part, name)) for part in choices] for name in ("n", "start"))
        self.choices = Indices(MultiDiscrete(counts, start=starts))
        self.num_numbers, self.counts = self.numbers.size, self.choices.counts
        self.size = self.num_numbers + len(choices)
        number, choice, order = 0, self.num_numbers, []
        for part in parts:
            count = 1 if isinstance(part, Discrete) else part.shape[0]  # pyright: ignore[reportOptionalSubscript]
            start = choice if isinstance(part, Discrete) else number
            order += range(start, start + count)
            choice, number = (choice + count, number) if isinstance(part, Discrete) else (choice, number + count)
        self.register_buffer("order", torch.tensor(order))

    def forward(self, x: Tensor) -> Tensor:
        """Maps `x` [..., A + F] to actions [..., A + F]."""
        numbers, indices = x[..., : self.num_numbers], x[..., self.num_numbers :]
        return torch.cat([self.numbers(numbers), indices + self.choices.start], dim=-1)[..., self.order]

    def indices(self, action: Tensor) -> Tensor:
        """The indices, int64 [..., F], in actions [..., A + F]."""
        ordered = action[..., self.order.argsort()]
        return ordered[..., self.num_numbers :].round().long() - self.choices.start


class HybridMLP(StochasticPolicy, MLPPolicy):
    """Normally distributed numbers and discrete choices, independent given the observation, from one perceptron.

        x = mean(o) + std * z,    u = center + half_width * tanh(x),    p(k_f | o) = softmax(logits_f(o))

    An action is a row of numbers, in the order of the space's parts, with the value of a Discrete part as a number. Its
    continuous part has a gradient.

    Args:
        observation_space: vectors, images, or what `Observations` makes vectors of.
        action_space: Tuple or Dict of bounded vector Boxes and Discrete spaces, at least one of each.
        std: standard deviation before squashing: "fixed" is `initial_std`; "learned" is one parameter per number.
        initial_std: above 0; between exp(-5) and exp(2) unless it is fixed.
        bounds: how numbers are kept within their bounds: "tanh", or "clip" of x to [-1, 1] (see `ClipBox`).
        **options: of `MLPPolicy`.
    """

    def __init__(
        self,
        observation_space: Box,
        action_space: Tuple | Dict,
        *,
        std: Literal["fixed", "learned"] = "learned",
        initial_std: float = 0.5,
        bounds: Literal["tanh", "clip"] = "tanh",
        **options: Any,
    ) -> None:
        self.squash: MixedSquash
        squash = MixedSquash(action_space, bounds)
        check_choice("std", std, ("fixed", "learned"))
        super().__init__(observation_space, action_space, squash, squash.num_numbers + sum(squash.counts), **options)
        check_value("initial_std", initial_std, "> 0")
        if std == "learned":
            check_initial_std(initial_std)
        self.noise_size, self.std = squash.size, std
        offset = torch.full((squash.num_numbers,), math.log(initial_std))
        if std == "learned":
            self.log_std = nn.Parameter(offset)
        else:
            self.register_buffer("log_std", offset)

    def raw_distribution(self, obs: Tensor) -> Mixed:
        """Distribution of numbers before squashing, and of indices counted from 0."""
        mean, *logits = self.network(self.features(obs)).split([self.squash.num_numbers, *self.squash.counts], dim=-1)
        log_std = self.log_std if self.std == "fixed" else self.log_std.clamp(*LOG_STD_RANGE)
        numbers = DiagonalGaussian(mean, log_std.exp().expand_as(mean))
        return Mixed(numbers, Categoricals(tuple(part.log_softmax(-1) for part in logits)))
