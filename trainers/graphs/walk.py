"""Visits the nodes of a stochastic computation graph, and adds up its surrogate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

import diffsim.trainers.graphs.draws as draws
from diffsim.checks import require
from diffsim.policies import Distribution
from diffsim.trainers.graphs.estimators import (
    Enumerated,
    Estimator,
    GumbelSoftmax,
    MeasureValued,
    Reparameterised,
    ScoreFunction,
    StraightThrough,
)
from diffsim.trainers.graphs.graph import Node, StochasticGraph, parameter_rows
from diffsim.trainers.graphs.measure_valued import measure_valued_term

Estimators = Mapping[str, Estimator]


class Found(NamedTuple):
    """Surrogate [N], costs by name [N], with their graph, and loss of the baselines [N]."""

    surrogate: Tensor
    costs: dict[str, Tensor]
    loss: Tensor


@dataclass
class Walk:
    """One evaluation: visits the nodes in order, and returns to each choice when the costs after it are known."""

    graph: StochasticGraph
    estimators: Estimators
    noises: dict[str, draws.Noise]
    num_samples: int
    nodes: list[Node] = field(init=False)

    def __post_init__(self) -> None:
        self.nodes = list(self.graph.nodes.values())

    def run(self, start: int, values: dict[str, Any], scores: dict[str, Tensor], *, plain: bool = False) -> Found:
        """Evaluates the nodes from index `start` on.

        Args:
            start: index of the first node.
            values: of the nodes before it.
            scores: log probabilities of the score functions before it.
            plain: for the costs alone, without terms of choices.
        """
        values, scores, costs = dict(values), dict(scores), {}
        total = loss = torch.zeros(())
        waiting: list[tuple[int, Any, dict[str, Any]]] = []
        for index in range(start, len(self.nodes)):
            node = self.nodes[index]
            if node.kind == "stochastic":
                distribution = called(node, values)
                estimator = self.estimator(node.name, distribution)
                if isinstance(estimator, Enumerated):
                    rest = self.enumerated(index, distribution, estimator.most, values, scores, plain)
                    total, loss, costs = total + rest.surrogate, loss + rest.loss, costs | rest.costs
                    break
                values[node.name] = choose(estimator, distribution, self.noises[node.name])
                if isinstance(estimator, ScoreFunction):
                    scores[node.name] = self.rows(node, draws.log_prob(distribution, values[node.name]))
                waiting.append((index, distribution, dict(values)))
            elif node.kind == "cost":
                costs[node.name] = self.rows(node, called(node, values))
                total = total + self.box(self.graph.ancestors(node.name), scores) * costs[node.name]
            else:
                values[node.name] = value_of(node, values, self.num_samples)
        for index, distribution, known in [] if plain else waiting:
            term, error = self.term(index, distribution, known, scores, costs)
            total, loss = total + term, loss + error
        return Found(total, costs, loss)

    def estimator(self, name: str, distribution: Any) -> Estimator:
        """What gives the gradient through a node: what was chosen, or the default for its distribution."""
        default = Reparameterised() if draws.can_reparameterise(distribution) else ScoreFunction()
        return self.estimators.get(name, default)

    def enumerated(
        self, index: int, distribution: Any, most: int, values: dict[str, Any], scores: dict[str, Tensor], plain: bool
    ) -> Found:
        """Sum over all values of a discrete node, weighted by their probabilities."""
        name, total, loss, costs = self.nodes[index].name, torch.zeros(()), torch.zeros(()), {}
        for value in draws.support(distribution, name, most):
            p = draws.log_prob(distribution, value).exp()
            rest = self.run(index + 1, {**values, name: value}, scores, plain=plain)
            total, loss = total + p * rest.surrogate, loss + p.detach() * rest.loss
            costs = {key: costs.get(key, 0.0) + p * cost for key, cost in rest.costs.items()}
        return Found(total, costs, loss)

    def term(
        self, index: int, distribution: Any, values: dict[str, Any], scores: dict[str, Tensor], costs: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """What a choice adds to the surrogate, and the squared error of its baseline."""
        name = self.nodes[index].name
        estimator, after = self.estimator(name, distribution), self.graph.costs_after(name)
        nothing = torch.zeros(())

        def costs_at(value: Tensor) -> Tensor:
            found = self.run(index + 1, {**values, name: value}, scores, plain=True).costs
            return torch.stack([found[cost] for cost in after]).sum(0)

        if not after:
            return nothing, nothing
        if isinstance(estimator, MeasureValued):
            return measure_valued_term(distribution, values[name], self.noises[name], costs_at), nothing
        if not isinstance(estimator, ScoreFunction):
            return nothing, nothing
        term, loss = nothing, nothing
        before, own = self.box(self.graph.ancestors(name), scores), self.box({name}, scores)
        if (baseline := estimator.baseline) is not None:
            cost = torch.stack([costs[each] for each in after]).sum(0).detach()
            guess = self.rows(self.nodes[index], baseline.value(cost, *(values[parent] for parent in baseline.parents)))
            term, loss = before * (1.0 - own) * guess.detach(), (guess - cost).square()
        if (variate := estimator.control_variate) is not None:
            free, given = relaxed_pair(distribution, values[name], self.noises[name])

            def soft_costs(z: Tensor, temperature: float) -> Tensor:
                _require_relaxable(name, distribution, "Rebar")
                return costs_at(draws.softened(distribution, z, temperature))

            term = term + before * (variate.value(free, soft_costs) - own * variate.value(given, soft_costs))
        return term, loss

    def box(self, names: Any, scores: dict[str, Tensor]) -> Tensor:
        """The magic box of score functions: 1, whose derivatives are those of their probability over its value."""
        parts = [score for name, score in scores.items() if name in names]
        if not parts:
            return torch.ones(())
        tau = torch.stack(parts).sum(0)
        return (tau - tau.detach()).exp()

    def rows(self, node: Node, value: Tensor) -> Tensor:
        """Returns a value of shape [N]. Raises ValueError for other shapes."""
        what = {"cost": "value", "stochastic": "log probability or baseline"}[node.kind]
        require(
            value.shape == (self.num_samples,), f"{what} of {node.name!r}", f"[{self.num_samples}]", list(value.shape)
        )
        return value


def choose(estimator: Estimator, distribution: Any, noise: draws.Noise) -> Tensor:
    """The value of a stochastic node, with the gradient that its estimator gives it.

    Raises: ValueError if the estimator does not fit the distribution.
    """
    if isinstance(estimator, Reparameterised):
        if not draws.can_reparameterise(distribution):
            kind = type(distribution).__name__
            raise ValueError(f"distribution of {noise.name!r} must have rsample for Reparameterised, got {kind}")
        return draws.draw(distribution, noise)
    if isinstance(estimator, StraightThrough | GumbelSoftmax):
        distribution = draws.independent(distribution)
        _require_relaxable(noise.name, distribution, type(estimator).__name__)
        if isinstance(estimator, StraightThrough):
            return draws.straight_through_choice(distribution, noise)
        return draws.soft_choice(distribution, noise, estimator.temperature, discrete=estimator.hard)
    return draws.draw(distribution, noise).detach()


def relaxed_pair(distribution: Any, choice: Tensor, noise: draws.Noise) -> tuple[Tensor, Tensor]:
    """The relaxed choice from which `choice` follows, and one drawn given the choice: [N, ...] each.

    Raises: ValueError if the distribution has neither a relaxation nor a reparameterisation.
    """
    distribution = draws.independent(distribution)
    if draws.can_reparameterise(distribution):
        return draws.draw(distribution, noise), choice
    _require_relaxable(noise.name, distribution, "a control variate")
    return draws.relaxed(distribution, noise), draws.relaxed_given(distribution, choice, noise)


def _require_relaxable(name: str, distribution: Any, what: str) -> None:
    """Raises ValueError unless a discrete distribution has a relaxation."""
    if not draws.relaxable(draws.independent(distribution)):
        kind = type(distribution).__name__
        raise ValueError(f"distribution of {name!r} must be Bernoulli or OneHotCategorical for {what}, got {kind}")


def called(node: Node, values: dict[str, Any]) -> Any:
    """What the node's function returns.

    Raises: TypeError if it is no distribution, for a stochastic node, or else no tensor.
    """
    assert node.function is not None
    found = node.function(*(values[parent] for parent in node.parents))
    kinds = (Distribution, draws.TorchDistribution) if node.kind == "stochastic" else (Tensor,)
    if not isinstance(found, kinds):
        wanted = "distribution" if node.kind == "stochastic" else "tensor"
        raise TypeError(f"function of {node.name!r} must return a {wanted}, got {type(found).__name__}")
    return found


def value_of(node: Node, values: dict[str, Any], num_samples: int) -> Any:
    """The value of an input, a parameter or a deterministic node."""
    if node.kind == "deterministic":
        return called(node, values)
    return parameter_rows(node.value, num_samples) if node.kind == "parameter" else node.value
