"""The graphs of the paper's table against the printed estimators, their pictures, and what an import loads."""

import subprocess
import sys
from collections import Counter

import matplotlib.pyplot as plt
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, Polygon, Rectangle

from diffsim.trainers.graphs import Enumerated, StochasticGraph, evaluate, sample
from diffsim.trainers.graphs.drawing import draw_graph, label, layout
from examples.stochastic_graphs import EXAMPLES, draw_examples, gradients, main

X0 = 0.5
PRINTED = {  # with the values of the nodes put in, for N(mean, 1): d log p / d mean = value - mean
    "1": lambda t, v: 2 * t * (v["y"] - v["x"]) * v["y"] ** 2,
    "2": lambda t, v: (v["x"] - t) * v["y"],
    "3": lambda t, v: (v["x"] - t) * v["y"],
    "4": lambda t, v: (v["x"] - t) * v["x"] * v["y"] + 2 * t * v["x"],
    "5": lambda t, v: X0 * (v["x1"] - t * X0) * (v["x1"] ** 2 + v["x2"]) + v["x1"] * (v["x2"] - t * v["x1"]) * v["x2"],
}
EDGES = {"1": 3, "2": 3, "3": 3, "4": 4, "5": 6}


@pytest.mark.parametrize("name", EXAMPLES)
def test_surrogates_are_the_printed_estimators_and_unbiased(name):
    theta = torch.full((200,), 0.8, dtype=torch.float64, requires_grad=True)
    graph = EXAMPLES[name].build(theta)
    found = evaluate(graph, generator=torch.Generator().manual_seed(0))
    (each,) = torch.autograd.grad(found.surrogate.sum(), theta)
    values = sample(graph, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(each, PRINTED[name](theta.detach(), values), rtol=1e-12, atol=1e-12)
    many = gradients(EXAMPLES[name], 0.8, 100_000, torch.Generator().manual_seed(1))
    assert (many.mean() - EXAMPLES[name].exact(0.8)).abs() < 4 * many.std() / len(many) ** 0.5


@pytest.mark.parametrize("name", EXAMPLES)
def test_pictures_have_a_shape_for_each_kind_of_node_and_an_arrow_for_each_edge(name):
    graph = EXAMPLES[name].build(torch.zeros(1))
    axes = draw_graph(graph, axes=Figure().subplots())
    kinds = Counter(node.kind for node in graph.nodes.values())
    shapes = Counter(type(patch) for patch in axes.patches)
    assert shapes[Circle] == kinds["stochastic"] and shapes[Rectangle] == kinds["deterministic"]
    assert shapes[Polygon] == kinds["cost"] and shapes[FancyArrowPatch] == EDGES[name]
    assert {text.get_text() for text in axes.texts} == {label(node) for node in graph.nodes}
    places = layout(graph)
    assert len(set(places.values())) == len(places)
    assert all(places[parent][0] < places[name][0] for name, node in graph.nodes.items() for parent in node.parents)


def test_nodes_with_one_estimator_share_a_colour_and_the_legend_names_it(tmp_path):
    graph = EXAMPLES["5"].build(torch.zeros(1))
    axes = draw_graph(graph, {"x2": Enumerated()}, path=tmp_path / "graph.png")
    first, second = (patch.get_facecolor() for patch in axes.patches if isinstance(patch, Circle))
    legend = axes.get_legend()
    assert first != second and legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["score function", "enumerated"]
    assert plt.imread(tmp_path / "graph.png").std() > 0.05


def test_labels():
    names = ["theta", "x", "x12", "r_3", "first cost", "value"]
    assert [label(name) for name in names] == [r"$\theta$", "$x$", "$x_{12}$", "$r_{3}$", "first cost", "value"]


def test_the_example_prints_estimates_and_draws(tmp_path, capsys):
    main(["--samples", "2000", "--output", str(tmp_path / "graphs.png")])
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert [row[0] for row in rows] == [f"({name})" for name in EXAMPLES]
    assert all(abs(float(row[3])) < 4 for row in rows)
    draw_examples(str(tmp_path / "again.png"))
    assert (tmp_path / "graphs.png").read_bytes() == (tmp_path / "again.png").read_bytes()


def test_importing_loads_no_physics_and_no_lightning():
    code = (
        "import sys, diffsim.trainers.graphs as graphs; graphs.StochasticGraph;"
        "sys.exit(bool({'warp', 'mujoco', 'lightning', 'matplotlib'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_node_without_children_and_a_lone_cost_can_be_drawn():
    graph = StochasticGraph()
    graph.input("a", torch.zeros(1))
    graph.input("unused", torch.zeros(1))
    graph.cost("f", lambda a: a, "a")
    assert len(draw_graph(graph).texts) == 3
