"""Ensembles of networks of equal shape, evaluated and trained in one batched pass."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from diffsim.checks import check_choice, check_values
from diffsim.models.statistics import Moments

Noise = Literal["state", "constant", "none"]

ACTIVATIONS: dict[str, type[nn.Module]] = {"silu": nn.SiLU, "elu": nn.ELU, "tanh": nn.Tanh, "relu": nn.ReLU}


class EnsembleLinear(nn.Module):
    """E linear maps, each applied to its own batch: y_e = x_e W_e + b_e.

    Args:
        num_members: E.
        in_size: I.
        out_size: O.
    """

    def __init__(self, num_members: int, in_size: int, out_size: int) -> None:
        super().__init__()
        weight = torch.empty(num_members, in_size, out_size)
        nn.init.trunc_normal_(weight, std=0.5 / math.sqrt(in_size))  # Chua et al. (2018)
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.zeros(num_members, 1, out_size))

    def forward(self, x: Tensor) -> Tensor:
        """Maps `x` [E, B, I] to [E, B, O]."""
        return torch.baddbmm(self.bias, x, self.weight)


def ensemble_mlp(
    num_members: int, in_size: int, hidden_sizes: Sequence[int], out_size: int, activation: str = "silu"
) -> nn.Sequential:
    """Builds E multilayer perceptrons as one batched module.

    Args:
        num_members: E, at least 1.
        in_size: size of the input, at least 1.
        hidden_sizes: widths of the hidden layers; empty for linear maps.
        out_size: size of the output, at least 1.
        activation: silu, elu, tanh or relu. Policy gradients pass through it, so prefer a smooth one.

    Raises: ValueError if a size is below 1, or the activation is unknown.
    """
    check_values(">= 1", num_members=num_members, hidden_sizes=min(hidden_sizes, default=1))
    check_choice("activation", activation, ACTIVATIONS)
    sizes = [in_size, *hidden_sizes]
    layers: list[nn.Module] = []
    for fan_in, fan_out in zip(sizes[:-1], sizes[1:], strict=True):
        layers += [EnsembleLinear(num_members, fan_in, fan_out), ACTIVATIONS[activation]()]
    return nn.Sequential(*layers, EnsembleLinear(num_members, sizes[-1], out_size))


PADDED_ROWS = 2**16
"""On a GPU, rows of all members up to which each member evaluates as many as all have: less than to ask how many."""


def by_member(network: Callable[[Tensor], Tensor], x: Tensor, member: Tensor, num_members: int) -> Tensor:
    """Evaluates each row by one member; each member evaluates its own rows only.

    Args:
        network: maps [E, B, I] to [E, B, O], each row independently.
        x: [N, I].
        member: int64 [N], the member for each row.
        num_members: E.

    Returns: [N, O].
    """
    if num_members == 1:
        return network(x.unsqueeze(0)).squeeze(0)
    # The i-th row of a member goes to position i of that member's batch.
    chosen = torch.nn.functional.one_hot(member, num_members)
    place = (chosen.cumsum(0) - 1).gather(1, member.unsqueeze(1)).squeeze(1)
    small = x.is_cuda and num_members * len(x) <= PADDED_ROWS
    size = len(x) if small else int(place.max()) + 1
    batch = x.new_zeros(num_members, size, x.shape[-1]).index_put((member, place), x)
    return network(batch)[member, place]


class GaussianEnsemble(nn.Module):
    """E models of p(y | x), each a multilayer perceptron with Gaussian output.

        y = m(x) + s(x) * w,   w ~ N(0, I)

    x and y are normalised by their mean and standard deviation in the data. The first axis of every parameter is the
    member, so all members are fitted at once, independently of each other.

    Args:
        in_size: I.
        out_size: O.
        num_members: E, at least 1.
        hidden_sizes: widths of the hidden layers; empty for a linear mean.
        activation: silu, elu, tanh or relu.
        noise: the standard deviation s: "state", a function of x whose logarithm stays between two learned bounds;
            "constant", one parameter per output; or "none", s = 0 and a fit by squared error.

    Source: Chua et al. (2018), "Deep reinforcement learning in a handful of trials using probabilistic dynamics
    models", appendix A.1.
    """

    in_mean: Tensor
    in_std: Tensor
    out_mean: Tensor
    out_std: Tensor

    def __init__(
        self,
        in_size: int,
        out_size: int,
        *,
        num_members: int = 1,
        hidden_sizes: Sequence[int] = (200, 200),
        activation: str = "silu",
        noise: Noise = "state",
    ) -> None:
        super().__init__()
        check_choice("noise", noise, get_args(Noise))
        self.num_members, self.in_size, self.out_size, self.noise = num_members, in_size, out_size, noise
        outputs = 2 * out_size if noise == "state" else out_size
        self.network = ensemble_mlp(num_members, in_size, hidden_sizes, outputs, activation)
        if noise == "state":
            self.max_log_std = nn.Parameter(torch.full((num_members, 1, out_size), 0.25))
            # Simulators are nearly deterministic: errors fall below exp(-5) of the data's standard deviation, and Adam
            # moves a bound by at most the learning rate per update. The authors bound the log variance by 0.5 and -10.
            self.min_log_std = nn.Parameter(torch.full((num_members, 1, out_size), -10.0))
        elif noise == "constant":
            self.log_std = nn.Parameter(torch.zeros(num_members, 1, out_size))
        for name, size in (("in", in_size), ("out", out_size)):
            self.register_buffer(f"{name}_mean", torch.zeros(size))
            self.register_buffer(f"{name}_std", torch.ones(size))

    def set_units(self, inputs: Moments, outputs: Moments) -> None:
        """Sets the means and standard deviations that normalise x [I] and y [O]."""
        for name, moments in (("in", inputs), ("out", outputs)):
            getattr(self, f"{name}_mean").copy_(moments.mean)
            getattr(self, f"{name}_std").copy_(moments.std)

    def normalised(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation of the normalised y for `x` [E, B, I]: [E, B, O] each.

        Without noise the log standard deviation is 0.
        """
        out = self.network((x - self.in_mean) / self.in_std)
        if self.noise != "state":
            return out, (self.log_std if self.noise == "constant" else torch.zeros_like(out)).expand_as(out)
        mean, log_std = out.chunk(2, dim=-1)
        log_std = self.max_log_std - softplus(self.max_log_std - log_std)
        return mean, self.min_log_std + softplus(log_std - self.min_log_std)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of y for `x` [E, B, I], in the units of y: [E, B, O] each."""
        mean, log_std = self.normalised(x)
        std = torch.zeros_like(mean) if self.noise == "none" else log_std.exp() * self.out_std
        return self.out_mean + self.out_std * mean, std

    def predict(self, x: Tensor, member: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of y for `x` [N, I], each row by its `member` [N]: [N, O] each."""
        out = by_member(lambda batch: torch.cat(self(batch), dim=-1), x, member, self.num_members)
        mean, std = out.chunk(2, dim=-1)
        return mean, std

    def nll(self, x: Tensor, y: Tensor) -> Tensor:
        """Negative log-likelihood -log p(y | x) of `y` [E, B, O], in nats: [E, B].

        Without noise, the standard deviation is taken as 1 in normalised units: half the squared error plus a constant.
        """
        mean, log_std = self.normalised(x)
        error = ((y - self.out_mean) / self.out_std - mean) * torch.exp(-log_std)
        constant = torch.log(self.out_std).sum() + 0.5 * math.log(2 * math.pi) * self.out_size
        return (0.5 * error.square() + log_std).sum(-1) + constant

    def bounds_penalty(self) -> Tensor:
        """Penalty on the width between the bounds of the log standard deviation: [E]. Zero without such bounds."""
        if self.noise != "state":
            return torch.zeros(self.num_members, device=self.in_mean.device, dtype=self.in_mean.dtype)
        return 0.01 * (self.max_log_std - self.min_log_std).sum((1, 2))
