"""Baselines and control variates of score functions: terms with mean zero, in every derivative."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from diffsim.checks import check_value, require

SoftCosts = Callable[[Tensor, float], Tensor]
"""Maps z [N, ...] and a temperature to the costs [N] after the choice softmax(z / temperature), or sigmoid for bits."""


class Baseline(ABC):
    """A number that is subtracted from the costs after a choice, and does not depend on the choice.

    Attributes:
        parents: names of the nodes whose values it takes; none may depend on the choice.
    """

    parents: Sequence[str] = ()

    @abstractmethod
    def value(self, cost: Tensor, *values: Tensor) -> Tensor:
        """The baseline [N], from the costs after the choice [N] and the values of `parents`. A fit uses its graph."""


@dataclass(frozen=True)
class Constant(Baseline):
    """A fixed number."""

    number: float

    def value(self, cost: Tensor, *values: Tensor) -> Tensor:
        """The number, [N]."""
        return torch.full_like(cost, self.number)


@dataclass(frozen=True)
class LeaveOneOut(Baseline):
    """The mean cost of the other samples.

    Source: Kool, van Hoof & Welling (2019), "Buy 4 REINFORCE samples, get a baseline for free!".
    """

    def value(self, cost: Tensor, *values: Tensor) -> Tensor:
        """The means, [N]. Raises ValueError for a single sample."""
        require(len(cost) >= 2, "num_samples", ">= 2 for a leave-one-out baseline", len(cost))
        return (cost.sum() - cost) / (len(cost) - 1)


@dataclass(frozen=True)
class Learned(Baseline):
    """A function of nodes that do not depend on the choice, such as a network.

    Args:
        function: maps the parents' values [N, ...], detached, to [N].
        parents: their names.

    `evaluate` returns the squared error that fits it.
    """

    function: Callable[..., Tensor]
    parents: Sequence[str]

    def value(self, cost: Tensor, *values: Tensor) -> Tensor:
        """The function's value, [N]."""
        return self.function(*(value.detach() for value in values))


class ControlVariate(ABC):
    """A function c of the relaxed choice z, from which the choice follows: the argmax, or the sign, of z.

        E[c(z)] = E[p(x) / [p(x)] * c(z~)],    z~ drawn given the choice x

    Their difference is added to the surrogate. For a distribution that can be reparameterised, z and z~ are the choice
    itself, with and without its gradient.
    """

    @abstractmethod
    def value(self, relaxed: Tensor, soft_costs: SoftCosts) -> Tensor:
        """c(z), [N].

        Args:
            relaxed: z, [N, ...]: logits plus Gumbel noise, or logistic noise for Bernoulli; or the choice itself.
            soft_costs: costs after a relaxed choice.
        """


@dataclass(frozen=True)
class Relax(ControlVariate):
    """A free function, such as a network, trained to reduce the variance.

    Args:
        function: maps z [N, ...] to [N].

    Its own parameters get no useful gradient from the surrogate: minimise the squared gradient estimate, differentiated
    with `create_graph=True`.

    Source: Grathwohl et al. (2018), "Backpropagation through the void".
    """

    function: Callable[[Tensor], Tensor]

    def value(self, relaxed: Tensor, soft_costs: SoftCosts) -> Tensor:
        """The function's value, [N]."""
        return self.function(relaxed)


@dataclass(frozen=True)
class Rebar(ControlVariate):
    """The costs after the relaxed choice, softmax(z / temperature) or sigmoid(z / temperature).

    The costs must accept such values.

    Args:
        scale: factor.
        temperature: of the relaxation, above 0.

    Source: Tucker et al. (2017), "REBAR: low-variance, unbiased gradient estimates for discrete latent variable
    models".
    """

    scale: float = 1.0
    temperature: float = 0.5

    def __post_init__(self) -> None:
        check_value("temperature", self.temperature, "> 0")

    def value(self, relaxed: Tensor, soft_costs: SoftCosts) -> Tensor:
        """The scaled costs, [N]."""
        return self.scale * soft_costs(relaxed, self.temperature)
