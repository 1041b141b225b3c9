"""The declaration of a stochastic computation graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor, nn

from diffsim.trainers.graphs.estimators import Estimator

Kind = Literal["input", "parameter", "deterministic", "stochastic", "cost"]


@dataclass(frozen=True)
class Node:
    """A node of a `StochasticGraph`.

    Attributes:
        name: its name.
        kind: what it is.
        parents: names of the nodes whose values `function` takes, in this order.
        function: maps the parents' values to the node's value, or to the distribution of a stochastic node.
        value: of an input or a parameter.
        estimator: of a stochastic node, unless `surrogate` is given another; None for the default.
        noise: standard normal numbers that draw a stochastic node; None to draw them too.
    """

    name: str
    kind: Kind
    parents: tuple[str, ...] = ()
    function: Callable[..., Any] | None = None
    value: Any = None
    estimator: Estimator | None = None
    noise: Tensor | None = None


class StochasticGraph:
    """A directed acyclic graph of deterministic, stochastic and cost nodes.

        graph = StochasticGraph()
        graph.parameter("theta", theta)
        graph.stochastic("x", lambda theta: Normal(theta, 1.0), "theta")
        graph.cost("f", lambda x: x.square(), "x")

    The objective is the expected sum of all costs. Every node's value is a tensor whose first axis counts N samples. A
    node is declared after its parents, so that there are no cycles. A function may read nothing that depends on a
    stochastic node except its arguments: `check_edges` finds functions that do.

    Attributes:
        nodes: by name, in order of declaration.
    """

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}

    def input(self, name: str, value: Tensor) -> str:
        """Declares a given value, [N, ...], one row per sample. Returns the name, as all declarations do.

        Raises: ValueError if the number of rows is not that of other inputs, or the name is taken.
        """
        if value.dim() == 0 or self.num_rows not in (None, len(value)):
            wanted = "N" if self.num_rows is None else str(self.num_rows)
            raise ValueError(f"input {name!r} must have {wanted} rows, got shape {tuple(value.shape)}")
        return self._add(Node(name, "input", value=value))

    def parameter(self, name: str, value: Tensor | nn.Module) -> str:
        """Declares a parameter that all samples share.

        Functions get a tensor [...] as [N, ...], and a module as it is.

        Raises: ValueError if the name is taken.
        """
        return self._add(Node(name, "parameter", value=value))

    def deterministic(self, name: str, function: Callable[..., Tensor], *parents: str) -> str:
        """Declares a function of other nodes.

        Args:
            name: of the node.
            function: maps the parents' values [N, ...] to [N, ...].
            *parents: names of its arguments.

        Raises: ValueError if the name is taken, or a parent is unknown or a cost.
        """
        return self._add(Node(name, "deterministic", parents, function))

    def stochastic(
        self,
        name: str,
        distribution: Callable[..., Any],
        *parents: str,
        estimator: Estimator | None = None,
        noise: Tensor | None = None,
    ) -> str:
        """Declares a random choice.

        Args:
            name: of the node.
            distribution: maps the parents' values [N, ...] to a distribution of `torch.distributions`, or of
                `diffsim.policies`, with one row per sample.
            *parents: names of its arguments.
            estimator: what gives the gradient through this choice. By default `Reparameterised` if the distribution
                can be reparameterised, else `ScoreFunction`.
            noise: standard normal numbers that determine the choice: of the value's shape, or for a categorical choice
                of `torch.distributions` that of its logits. None to draw them.

        Raises: ValueError if the name is taken, or a parent is unknown or a cost.
        """
        return self._add(Node(name, "stochastic", parents, distribution, estimator=estimator, noise=noise))

    def cost(self, name: str, function: Callable[..., Tensor], *parents: str) -> str:
        """Declares a cost, or a reward: a function of other nodes, [N].

        Raises: ValueError if the name is taken, or a parent is unknown or a cost.
        """
        return self._add(Node(name, "cost", parents, function))

    @property
    def num_rows(self) -> int | None:
        """N of the inputs; None without inputs."""
        return next((len(node.value) for node in self.nodes.values() if node.kind == "input"), None)

    @property
    def stochastic_names(self) -> list[str]:
        """Names of the stochastic nodes."""
        return [node.name for node in self.nodes.values() if node.kind == "stochastic"]

    def ancestors(self, name: str) -> frozenset[str]:
        """Names of the nodes that `name` depends on, directly or through others."""
        return self._ancestors[name]

    def descendants(self, name: str) -> frozenset[str]:
        """Names of the nodes that depend on `name`, directly or through others."""
        return frozenset(other for other in self.nodes if name in self._ancestors[other])

    def costs_after(self, name: str) -> list[str]:
        """Names of the costs that depend on `name`."""
        return [node.name for node in self.nodes.values() if node.kind == "cost" and name in self.ancestors(node.name)]

    @cached_property
    def _ancestors(self) -> dict[str, frozenset[str]]:
        found: dict[str, frozenset[str]] = {}
        for node in self.nodes.values():
            found[node.name] = frozenset(node.parents).union(*(found[parent] for parent in node.parents))
        return found

    def _add(self, node: Node) -> str:
        if node.name in self.nodes:
            raise ValueError(f"name must be a new one, got {node.name!r} again")
        for parent in node.parents:
            known = [name for name, other in self.nodes.items() if other.kind != "cost"]
            if parent not in known:
                raise ValueError(f"parents of {node.name!r} must be among {', '.join(known)}, got {parent!r}")
        self.nodes[node.name] = node
        self.__dict__.pop("_ancestors", None)
        return node.name


def parameter_rows(value: Tensor | nn.Module, num_samples: int) -> Tensor | nn.Module:
    """A parameter as functions get it: a tensor [...] as [N, ...], a module as it is."""
    return value.expand(num_samples, *value.shape) if isinstance(value, torch.Tensor) else value
