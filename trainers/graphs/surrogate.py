"""The surrogate of a stochastic computation graph: the loss whose gradient estimates that of the expected costs."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

import diffsim.trainers.graphs.draws as draws
from diffsim.checks import require
from diffsim.trainers.graphs.estimators import ScoreFunction
from diffsim.trainers.graphs.graph import StochasticGraph
from diffsim.trainers.graphs.walk import Estimators, Walk, called, value_of


class Evaluated(NamedTuple):
    """One evaluation of a graph.

    Attributes:
        surrogate: of each sample, [N]; its value is the sum of the costs, plus control variates.
        costs: by name, [N] each, without graph.
        baseline_loss: squared errors of learned baselines, [N].
    """

    surrogate: Tensor
    costs: dict[str, Tensor]
    baseline_loss: Tensor


def surrogate(
    graph: StochasticGraph,
    estimators: Estimators | None = None,
    *,
    num_samples: int | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """The loss whose gradient estimates that of the expected sum of the costs, over N samples.

        mean_n sum_c exp(tau_c - [tau_c]) c + (terms of mean zero),    tau_c = sum of log p(x) over x that c depends on

    x are the nodes with a score function; [.] is held constant. Only costs that depend on a choice multiply its score.

    Args:
        graph: what to differentiate.
        estimators: for stochastic nodes by name, in place of those that the graph declares.
        num_samples: N; None for the number of rows of the graph's inputs.
        generator: source of randomness; None for torch's global one.

    Returns: a number.
    Raises: ValueError if a name is not of a stochastic node, N is not known or disagrees with the inputs, or an
    estimator does not fit its distribution.
    Source: Schulman, Heess, Weber & Abbeel (2015), theorem 1 and corollary 1; Foerster et al. (2018), DiCE.
    """
    return evaluate(graph, estimators, num_samples=num_samples, generator=generator).surrogate.mean()


def evaluate(
    graph: StochasticGraph,
    estimators: Estimators | None = None,
    *,
    num_samples: int | None = None,
    generator: torch.Generator | None = None,
) -> Evaluated:
    """The surrogate of each sample, the costs, and the loss that fits learned baselines. Arguments as `surrogate`."""
    if all(node.kind != "cost" for node in graph.nodes.values()):
        raise ValueError("graph must have a cost, got none")
    chosen = {name: node.estimator for name, node in graph.nodes.items() if node.estimator is not None}
    for name, estimator in (estimators or {}).items():
        if name not in graph.stochastic_names:
            raise ValueError(f"estimators must name nodes among {', '.join(graph.stochastic_names)}, got {name!r}")
        chosen[name] = estimator
    _check_baselines(graph, chosen)
    num_samples = _count(graph, num_samples)
    walk = Walk(graph, chosen, _noises(graph, generator), num_samples)
    found = walk.run(0, {}, {})
    return Evaluated(found.surrogate, {name: cost.detach() for name, cost in found.costs.items()}, found.loss)


@torch.no_grad()
def sample(
    graph: StochasticGraph, *, num_samples: int | None = None, generator: torch.Generator | None = None
) -> dict[str, Tensor]:
    """Draws all nodes. Returns their values by name, [N, ...], without inputs and parameters."""
    return _values(graph, _noises(graph, generator), _count(graph, num_samples))


@torch.no_grad()
def check_edges(
    graph: StochasticGraph, *, num_samples: int | None = None, generator: torch.Generator | None = None
) -> None:
    """Draws every stochastic node anew, one at a time: nodes that do not depend on it must keep their values.

    This finds a function that reads more than its arguments, such as a simulator with a state of its own. With a
    missing edge, the score of a choice would not multiply all costs that depend on it, and the gradient be biased.

    Raises: ValueError that names the missing edge.
    """
    noises, count = _noises(graph, generator), _count(graph, num_samples)
    before = _values(graph, noises, count)
    for name in graph.stochastic_names:
        after = _values(graph, {**noises, name: draws.Noise(name, noises[name].seed + 2**31, None)}, count)
        for other in before:
            same = torch.equal(before[other], after[other])
            if other != name and not same and name not in graph.ancestors(other):
                raise ValueError(
                    f"{other!r} must have {name!r} among its ancestors, because it changes with it, "
                    f"got parents {', '.join(graph.nodes[other].parents) or 'none'}"
                )


def _values(graph: StochasticGraph, noises: dict[str, draws.Noise], num_samples: int) -> dict[str, Tensor]:
    """Values of all nodes except inputs and parameters."""
    values: dict[str, Any] = {}
    for node in graph.nodes.values():
        if node.kind == "stochastic":
            values[node.name] = draws.draw(called(node, values), noises[node.name])
        else:
            values[node.name] = called(node, values) if node.kind == "cost" else value_of(node, values, num_samples)
    return {name: value for name, value in values.items() if graph.nodes[name].kind not in ("input", "parameter")}


def _noises(graph: StochasticGraph, generator: torch.Generator | None) -> dict[str, draws.Noise]:
    """Noise of each stochastic node. Seeds are below 2^31: torch's generator on the CPU takes 32 bits."""
    device = None if generator is None else generator.device
    names = graph.stochastic_names
    seeds = torch.randint(2**28, (len(names),), generator=generator, device=device).tolist()
    return {name: draws.Noise(name, 8 * seed, graph.nodes[name].noise) for name, seed in zip(names, seeds, strict=True)}


def _count(graph: StochasticGraph, num_samples: int | None) -> int:
    """N. Raises ValueError if it is unknown, or not that of the inputs."""
    rows = graph.num_rows
    if num_samples is None and rows is None:
        raise ValueError("num_samples must be given for a graph without inputs, got None")
    require(num_samples in (None, rows) or rows is None, "num_samples", f"{rows}, the rows of the inputs", num_samples)
    count = rows if num_samples is None else num_samples
    assert count is not None
    require(count >= 1, "num_samples", ">= 1", count)
    return count


def _check_baselines(graph: StochasticGraph, estimators: Estimators) -> None:
    """Raises ValueError if a baseline depends on the choice that it is for."""
    for name, estimator in estimators.items():
        baseline = estimator.baseline if isinstance(estimator, ScoreFunction) else None
        for parent in () if baseline is None else baseline.parents:
            if parent not in graph.nodes:
                raise ValueError(f"parents of the baseline of {name!r} must be nodes, got {parent!r}")
            if parent == name or name in graph.ancestors(parent):
                raise ValueError(f"the baseline of {name!r} must not depend on it, got parent {parent!r}")
