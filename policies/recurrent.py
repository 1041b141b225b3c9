"""Gaussian policies with a memory: recurrent networks of the observations and of the actions that were taken."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any, ClassVar, Literal

import torch
from gymnasium.spaces import Box
from torch import Tensor, nn

from diffsim.checks import check_value
from diffsim.policies.distributions import DiagonalGaussian
from diffsim.policies.gaussian import LOG_STD_RANGE, box_squash, check_initial_std
from diffsim.policies.policy import StochasticPolicy
from diffsim.policies.sequences import Sequences
from diffsim.policies.squash import BoundedBox
from diffsim.policies.through_time import through_time


class RecurrentPolicy(StochasticPolicy):
    """Base of the policies whose mean is linear in the output h of a recurrent cell.

        s_t = cell([o_t, a_{t-1}], s_{t-1}),    h_t = the first part of s_t
        x_t = W h_t + b + std * z_t,   z ~ N(0, I)         u_t = center + half_width * tanh(x_t)

    a is the action in units of its half width, (u - center) / half_width. The memory is [s_t, a_t], and zero at the
    start of an episode. The standard deviation is learned, one number per action dimension.

    Args:
        observation_space: vectors, images, or what `Observations` makes vectors of.
        action_space: Box of floats with A numbers; those without two finite bounds are not squashed.
        hidden_size: units of the cell, at least 1.
        initial_std: standard deviation before squashing at the start of training, between exp(-5) and exp(2).
        bounds: how actions are kept within their bounds: "tanh", or "clip" of x to [-1, 1] (see `ClipBox`).
        normalize: normalise observations by their running mean and standard deviation; images are scaled by their
            bounds.
        out_scale: factor on the initial weights of the last layer; a small one starts near the middle action.
        **options: of `Policy`.

    Source: Duan et al. (2016), "Benchmarking Deep Reinforcement Learning for Continuous Control", section 4.3 and its
    code: 32 units, and the previous action as an input.
    """

    recurrent = True
    gates: ClassVar[int]
    """Blocks of rows in the cell's weights."""
    parts: ClassVar[int]
    """Vectors of hidden_size numbers in the cell's state."""

    def __init__(
        self,
        observation_space: Box,
        action_space: Box,
        *,
        hidden_size: int = 32,
        initial_std: float = 0.5,
        bounds: Literal["tanh", "clip"] = "tanh",
        normalize: bool = True,
        out_scale: float = 0.1,
        **options: Any,
    ) -> None:
        self.squash: BoundedBox
        super().__init__(observation_space, action_space, normalize, box_squash(action_space, bounds), **options)
        check_value("hidden_size", hidden_size, ">= 1")
        check_initial_std(initial_std)
        self.noise_size = self.action_size
        self.sizes = (self.parts * hidden_size, self.action_size)
        self.memory_size, self.hidden_size = sum(self.sizes), hidden_size
        self.inputs = nn.Linear(self.obs_size + self.action_size, self.gates * hidden_size)
        self.recurrence = nn.Linear(hidden_size, self.gates * hidden_size, bias=False)
        self.output = nn.Linear(hidden_size, self.action_size)
        self.log_std = nn.Parameter(torch.full((self.action_size,), math.log(initial_std)))
        for layer in (self.inputs, self.recurrence):
            for block in layer.weight.detach().chunk(self.gates):
                nn.init.orthogonal_(block)
        nn.init.orthogonal_(self.output.weight, gain=out_scale)
        nn.init.zeros_(self.inputs.bias)
        nn.init.zeros_(self.output.bias)

    @abstractmethod
    def cell(self, gates: Tensor, recurrent: Tensor, state: Tensor) -> Tensor:
        """The cell's next state: a function of every unit's numbers alone.

        Args:
            gates: linear map of the inputs, [..., gates * hidden_size].
            recurrent: linear map of the output h before the step, of the same shape.
            state: [..., parts * hidden_size].
        """

    def forward(self, obs: Tensor, noise: Tensor | None = None) -> Tensor:
        """Refuses: an action depends on the memory.

        Raises: TypeError.
        """
        raise TypeError(f"{type(self).__name__} has a memory: call step(obs, memory, noise)")

    def raw_distribution(self, obs: Tensor) -> DiagonalGaussian:
        """Refuses, as `forward`.

        Raises: TypeError.
        """
        raise TypeError(
            f"{type(self).__name__} has a memory: call draw(obs, memory, noise) or distributions(sequences)"
        )

    def draw(self, obs: Tensor, memory: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The raw choice x [N, A], and the memory after it [N, M]."""
        state, before = memory.split(self.sizes, -1)
        gates = self.inputs(torch.cat([self.features(obs), before], -1))
        state = self.cell(gates, self.recurrence(state[..., : self.hidden_size]), state)
        distribution = self._distribution(state[..., : self.hidden_size])
        raw = distribution.mode if noise is None else distribution.sample(self.check_noise(noise))
        return raw, torch.cat([state, self._unit(raw)], -1)

    def step(self, obs: Tensor, memory: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Actions [N, A] and the memory after them [N, M]."""
        raw, memory = self.draw(obs, memory, noise)
        return self.squash(raw), memory

    def distributions(self, seen: Tensor | Sequences) -> DiagonalGaussian:
        """Distributions of x for all steps of sequences, [T, N], differentiable through the memory.

        Raises: TypeError for single observations.
        """
        if not isinstance(seen, Sequences):
            raise TypeError(f"{type(self).__name__} has a memory: its distributions need Sequences, got single steps")
        starts = seen.starts[..., None]
        state, before = seen.memory.split(self.sizes, -1)
        before = torch.where(starts, 0.0, torch.cat([before[None], self._unit(seen.raw[:-1])]))
        gates = self.inputs(torch.cat([self.features(seen.obs), before], -1))
        with torch.no_grad():
            previous = []
            for gate, start in zip(gates.unbind(), starts.unbind(), strict=True):
                previous.append(torch.where(start, 0.0, state))
                state = self.cell(gate, self.recurrence(previous[-1][..., : self.hidden_size]), previous[-1])
        return self._distribution(self._parallel(gates, torch.stack(previous), ~seen.starts))

    def _parallel(self, gates: Tensor, state: Tensor, kept: Tensor) -> Tensor:
        """The outputs h_t [T, N, hidden_size] of all steps at once, with gradients through time.

        Args:
            gates: linear map of the inputs, [T, N, gates * hidden_size].
            state: the states before each step, [T, N, parts * hidden_size].
            kept: bool [T, N], whether the state before a step came from the step before it.
        """
        sizes = self.parts, self.hidden_size
        recurrent = self.recurrence(state[..., : self.hidden_size])
        after = self.cell(gates, recurrent, state).unflatten(-1, sizes)
        if not torch.is_grad_enabled():
            return after[..., 0, :]
        with torch.enable_grad():
            inputs = recurrent.detach().requires_grad_(), state.detach().requires_grad_()
            parts = self.cell(gates.detach(), *inputs).unflatten(-1, sizes).unbind(-2)
            each = [torch.autograd.grad(part.sum(), inputs, retain_graph=True) for part in parts]
        by_gates, by_state = (
            torch.stack(of_parts, 2).unflatten(-1, (-1, self.hidden_size)) * kept[..., None, None, None]
            for of_parts in zip(*each, strict=True)
        )
        return through_time(after, self.recurrence.weight, by_gates, by_state)[..., 0, :]

    def replay(self, obs: Tensor, noise: Tensor | None, starts: Tensor, memory: Tensor) -> Tensor:
        """Actions of all steps of a window, [T, N, A], differentiable through the memory."""
        actions = []
        for time in range(len(obs)):
            memory = torch.where(starts[time, :, None], 0.0, memory)
            action, memory = self.step(obs[time], memory, None if noise is None else noise[time])
            actions.append(action)
        return torch.stack(actions)

    def _distribution(self, output: Tensor) -> DiagonalGaussian:
        mean = self.output(output)
        return DiagonalGaussian(mean, self.log_std.clamp(*LOG_STD_RANGE).exp().expand_as(mean))

    def _unit(self, raw: Tensor) -> Tensor:
        """The action that `raw` leads to, in units of its half width: in [-1, 1]."""
        return (self.squash(raw) - self.squash.center) / self.squash.half_width


class GRUPolicy(RecurrentPolicy):
    """A Gaussian policy whose memory is a gated recurrent unit.

        r = sigmoid(W_r i + U_r h),    z = sigmoid(W_z i + U_z h),    n = tanh(W_n i + r * U_n h)
        h <- (1 - z) n + z h,          i = [o, a] with the observation and the previous action

    The reset gate r multiplies U_n h, as in cuDNN; in Duan et al. it multiplies h. The biases are those of W.

    Args:
        observation_space: vectors, images, or what `Observations` makes vectors of.
        action_space: Box of floats with A numbers; those without two finite bounds are not squashed.
        **options: of `RecurrentPolicy`.

    Source: Cho et al. (2014), "Learning phrase representations using RNN encoder-decoder".
    """

    gates, parts = 3, 1

    def __init__(self, observation_space: Box, action_space: Box, **options: Any) -> None:
        super().__init__(observation_space, action_space, **options)

    def cell(self, gates: Tensor, recurrent: Tensor, state: Tensor) -> Tensor:
        """The next h, [..., hidden_size]."""
        size = self.hidden_size
        reset, keep = torch.sigmoid(gates[..., : 2 * size] + recurrent[..., : 2 * size]).chunk(2, -1)
        new = torch.tanh(gates[..., 2 * size :] + reset * recurrent[..., 2 * size :])
        return new + keep * (state - new)


class LSTMPolicy(RecurrentPolicy):
    """A Gaussian policy whose memory is a long short-term memory.

        i, f, o = sigmoid(W i_t + U h),    g = tanh(W_g i_t + U_g h)
        c <- f * c + i * g,    h <- o * tanh(c),    i_t = [o_t, a_{t-1}] with the observation and the previous action

    The biases of the forget gate f start at 1 (Jozefowicz et al., 2015), all others at 0.

    Args:
        observation_space: vectors, images, or what `Observations` makes vectors of.
        action_space: Box of floats with A numbers; those without two finite bounds are not squashed.
        **options: of `RecurrentPolicy`.

    Source: Hochreiter & Schmidhuber (1997); Gers, Schmidhuber & Cummins (2000), "Learning to forget".
    """

    gates, parts = 4, 2

    def __init__(self, observation_space: Box, action_space: Box, **options: Any) -> None:
        super().__init__(observation_space, action_space, **options)
        size = self.hidden_size
        nn.init.ones_(self.inputs.bias.detach()[size : 2 * size])

    def cell(self, gates: Tensor, recurrent: Tensor, state: Tensor) -> Tensor:
        """The next [h, c], [..., 2 hidden_size]."""
        size, gates = self.hidden_size, gates + recurrent
        enter, forget, leave = torch.sigmoid(gates[..., : 3 * size]).chunk(3, -1)
        kept = forget * state[..., size:] + enter * torch.tanh(gates[..., 3 * size :])
        return torch.cat([leave * torch.tanh(kept), kept], -1)
