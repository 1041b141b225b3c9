"""The five stochastic computation graphs of Schulman et al. (2015), figure 2, with a picture and their gradients.

Each graph has Gaussian choices and costs whose expected gradient is known. The surrogate of the graph gives an estimate
from 100,000 samples; the last column is the distance from the exact gradient in standard errors.

    python -m examples.stochastic_graphs --output graphs.png
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.distributions import Normal

from diffsim.trainers.graphs import ScoreFunction, StochasticGraph, evaluate
from diffsim.trainers.graphs.drawing import draw_graph

SCORE = ScoreFunction()


class Example(NamedTuple):
    """A graph, a title, and the gradient of its objective by theta as a function of theta."""

    build: Callable[[Tensor], StochasticGraph]
    title: str
    exact: Callable[[float], float]


def choice_of_a_function(theta: Tensor) -> StochasticGraph:
    """(1) theta -> [x] -> (y) -> f: the mean of a choice is a function of theta."""
    graph = StochasticGraph()
    graph.input("theta", theta)
    graph.deterministic("x", lambda theta: theta.square(), "theta")
    graph.stochastic("y", lambda x: Normal(x, 1.0), "x", estimator=SCORE)
    graph.cost("f", lambda y: y.square(), "y")
    return graph


def function_of_a_choice(theta: Tensor) -> StochasticGraph:
    """(2) theta -> (x) -> [y] -> f: the cost depends on a function of the choice."""
    graph = StochasticGraph()
    graph.input("theta", theta)
    graph.stochastic("x", lambda theta: Normal(theta, 1.0), "theta", estimator=SCORE)
    graph.deterministic("y", lambda x: x.sin(), "x")
    graph.cost("f", lambda y: y, "y")
    return graph


def two_choices(theta: Tensor) -> StochasticGraph:
    """(3) theta -> (x) -> (y) -> f: only the first choice depends on theta directly."""
    graph = StochasticGraph()
    graph.input("theta", theta)
    graph.stochastic("x", lambda theta: Normal(theta, 1.0), "theta", estimator=SCORE)
    graph.stochastic("y", lambda x: Normal(x.sin(), 1.0), "x", estimator=SCORE)
    graph.cost("f", lambda y: y, "y")
    return graph


def choice_and_function(theta: Tensor) -> StochasticGraph:
    """(4) theta -> (x), theta -> [y], both -> f: the likelihood ratio and the chain rule add up."""
    graph = StochasticGraph()
    graph.input("theta", theta)
    graph.stochastic("x", lambda theta: Normal(theta, 1.0), "theta", estimator=SCORE)
    graph.deterministic("y", lambda theta: theta.square(), "theta")
    graph.cost("f", lambda x, y: x * y, "x", "y")
    return graph


def chain_of_costs(theta: Tensor) -> StochasticGraph:
    """(5) theta -> (x1), (x2), with x0 -> (x1) -> (x2) and a cost after each: the first cost is before x2."""
    graph = StochasticGraph()
    graph.input("theta", theta)
    graph.input("x0", torch.full_like(theta, 0.5))
    graph.stochastic("x1", lambda theta, x0: Normal(theta * x0, 1.0), "theta", "x0", estimator=SCORE)
    graph.stochastic("x2", lambda theta, x1: Normal(theta * x1, 1.0), "theta", "x1", estimator=SCORE)
    graph.cost("f1", lambda x1: x1.square(), "x1")
    graph.cost("f2", lambda x2: x2, "x2")
    return graph


DAMPED = math.exp(-0.5)  # E sin(m + z) = exp(-1/2) sin m for standard normal z
EXAMPLES = {
    "1": Example(choice_of_a_function, "(1) E[f(y)]", lambda theta: 4.0 * theta**3),
    "2": Example(function_of_a_choice, "(2) E[f(y(x))]", lambda theta: DAMPED * math.cos(theta)),
    "3": Example(two_choices, "(3) E[f(y)], y after x", lambda theta: DAMPED * math.cos(theta)),
    "4": Example(choice_and_function, "(4) E[f(x, y(θ))]", lambda theta: 3.0 * theta**2),
    "5": Example(chain_of_costs, "(5) E[f1(x1) + f2(x2)]", lambda theta: 0.5 * theta + theta),
}


def gradients(example: Example, theta: float, num_samples: int, generator: torch.Generator) -> Tensor:
    """The gradient estimate of each sample, [N]."""
    rows = torch.full((num_samples,), theta, dtype=torch.float64, requires_grad=True)
    found = evaluate(example.build(rows), generator=generator)
    return torch.autograd.grad(found.surrogate.sum(), rows)[0]


def draw_examples(path: str) -> None:
    """Draws the five graphs."""
    figure = Figure(figsize=(11, 5), layout="constrained")
    for axes, example in zip(figure.subplots(2, 3).flat, [*EXAMPLES.values(), None], strict=True):
        if example is None:
            axes.axis("off")
        else:
            draw_graph(example.build(torch.zeros(1)), axes=axes, title=example.title)
    figure.savefig(path, dpi=150)


def main(arguments: list[str] | None = None) -> None:
    """Prints the gradients, and draws the graphs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--theta", type=float, default=0.8, help="parameter")
    parser.add_argument("--samples", type=int, default=100_000, help="samples per graph")
    parser.add_argument("--output", help="file of the picture")
    options = parser.parse_args(arguments)
    generator = torch.Generator().manual_seed(0)
    print("graph    exact  estimate  standard errors")
    for name, example in EXAMPLES.items():
        each = gradients(example, options.theta, options.samples, generator)
        exact, mean, error = example.exact(options.theta), each.mean().item(), each.std().item() / len(each) ** 0.5
        print(f"({name})   {exact:8.4f}  {mean:8.4f}  {(mean - exact) / error:8.2f}")
    if options.output:
        draw_examples(options.output)


if __name__ == "__main__":
    main()
