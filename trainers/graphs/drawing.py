"""Pictures of stochastic computation graphs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, FancyArrowPatch, Patch, Polygon, Rectangle

from diffsim.trainers.graphs.estimators import Estimator
from diffsim.trainers.graphs.graph import Node, StochasticGraph

Positions = Mapping[str, tuple[float, float]]

RADIUS = 0.32
"""Half the size of a node; neighbours are 1 apart."""
COLORS = ("#7fb3d5", "#f5b971", "#8fcf9f", "#e39aa7", "#b9a5d8", "#c9c27a", "#9fd3d8", "#c7c7c7")
GREEK = {"alpha", "beta", "gamma", "epsilon", "theta", "phi", "mu", "pi", "sigma", "rho", "eta", "omega"}


def draw_graph(
    graph: StochasticGraph,
    estimators: Mapping[str, Estimator] | None = None,
    *,
    axes: Axes | None = None,
    path: str | Path | None = None,
    positions: Positions | None = None,
    title: str = "",
) -> Axes:
    """Draws a graph: stochastic nodes as circles, deterministic ones as squares, costs as diamonds.

    Inputs have no border. Stochastic nodes with the same estimator have one colour, which the legend explains.

    Args:
        graph: what to draw.
        estimators: as for `surrogate`.
        axes: where to draw; a new figure if None.
        path: file of the new picture; None to write none. Without effect on given axes.
        positions: x and y of nodes by name; by default a node is to the right of its parents.
        title: above the picture.

    Returns: the axes.
    """
    places = {**layout(graph), **(positions or {})}
    chosen = {name: graph.nodes[name].estimator for name in graph.stochastic_names} | dict(estimators or {})
    kinds = [type(estimator).__name__ for estimator in chosen.values() if estimator is not None]
    colors = dict(zip(dict.fromkeys(kinds), COLORS, strict=False))
    figure = None
    if axes is None:
        figure = Figure(figsize=_size(places.values()), layout="constrained")
        axes = figure.subplots()
    for node in graph.nodes.values():
        for parent in node.parents:
            axes.add_patch(_arrow(places, parent, node.name))
    for node in graph.nodes.values():
        estimator = chosen.get(node.name)
        face = colors[type(estimator).__name__] if estimator is not None else "white"
        shape = _shape(node, places[node.name], face)
        if shape is not None:
            axes.add_patch(shape)
        axes.text(*places[node.name], label(node.name), ha="center", va="center", fontsize=11, zorder=3)
    xs, ys = zip(*places.values(), strict=True)
    axes.set(xlim=(min(xs) - 0.6, max(xs) + 0.6), ylim=(min(ys) - 0.6, max(ys) + 0.6), aspect="equal")
    axes.axis("off")
    axes.set_title(title, fontsize=10)
    if colors:
        marks = [
            Line2D([], [], marker="o", ls="", mfc=color, mec="k", ms=9, label=_words(kind))
            for kind, color in colors.items()
        ]
        axes.legend(handles=marks, loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=3, frameon=False, fontsize=9)
    if figure is not None and path is not None:
        figure.savefig(path, dpi=150)
    return axes


def layout(graph: StochasticGraph) -> dict[str, tuple[float, float]]:
    """Places nodes: x is the length of the longest path to a node; y is near the mean of its parents' y.

    A node without parents is one step to the left of its first child; parameters are below all others.
    """
    depth: dict[str, int] = {}
    for node in graph.nodes.values():
        depth[node.name] = 1 + max((depth[parent] for parent in node.parents), default=-1)
    children = {name: [n.name for n in graph.nodes.values() if name in n.parents] for name in graph.nodes}
    for name, node in graph.nodes.items():
        if not node.parents and children[name]:
            depth[name] = min(depth[child] for child in children[name]) - 1
    places: dict[str, tuple[float, float]] = {}
    parameters = [name for name, node in graph.nodes.items() if node.kind == "parameter" and len(children[name]) > 1]
    for name in sorted((name for name in graph.nodes if name not in parameters), key=depth.__getitem__):
        near = [places[parent][1] for parent in graph.nodes[name].parents if parent in places]
        wanted = sum(near) / len(near) if near else 0.0
        taken = {y for x, y in places.values() if x == depth[name]}
        free = (wanted + step for size in range(len(graph.nodes)) for step in (size, -size))
        places[name] = depth[name], next(y for y in free if all(abs(y - other) > 0.9 for other in taken))
    lowest = min((y for _, y in places.values()), default=0.0)
    for row, name in enumerate(parameters):
        places[name] = min(depth[child] for child in children[name]) - 1.0, lowest - 1.0 - row
    return places


def label(name: str) -> str:
    """A node's name as mathematics: digits as an index, Greek letters by name."""
    match = re.fullmatch(r"([A-Za-z]+?)_?(\d*)", name)
    if match is None or (len(match[1]) > 2 and match[1] not in GREEK):
        return name
    letter = f"\\{match[1]}" if match[1] in GREEK else match[1]
    return f"${letter}_{{{match[2]}}}$" if match[2] else f"${letter}$"


def _shape(node: Node, place: tuple[float, float], face: str) -> Patch | None:
    """The border of a node."""
    x, y = place
    style = {"facecolor": face, "edgecolor": "black", "linewidth": 1.2, "zorder": 2}
    if node.kind == "stochastic":
        return Circle(place, RADIUS, **style)
    if node.kind == "deterministic":
        side = 0.85 * RADIUS
        return Rectangle((x - side, y - side), 2 * side, 2 * side, **style)
    if node.kind == "cost":
        half = 1.25 * RADIUS
        return Polygon([(x - half, y), (x, y + half), (x + half, y), (x, y - half)], **style)
    return None


def _arrow(places: Positions, parent: str, child: str) -> FancyArrowPatch:
    """An edge: curved if it is in line with other nodes that lie between."""
    (x0, y0), (x1, y1) = places[parent], places[child]
    between = any(
        name not in (parent, child)
        and min(x0, x1) - 0.1 <= x <= max(x0, x1) + 0.1
        and min(y0, y1) - 0.1 <= y <= max(y0, y1) + 0.1
        and abs((x1 - x0) * (y - y0) - (y1 - y0) * (x - x0)) < 0.4 * max(abs(x1 - x0), abs(y1 - y0))
        for name, (x, y) in places.items()
    )
    length = ((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5 or 1.0
    start, end = ((RADIUS + gap) / length for gap in (0.02, 0.08))
    tail = (x0 + start * (x1 - x0), y0 + start * (y1 - y0))
    head = (x1 - end * (x1 - x0), y1 - end * (y1 - y0))
    style = f"arc3,rad={-0.35 if between else 0.0}"
    return FancyArrowPatch(
        tail,
        head,
        arrowstyle="-|>",
        mutation_scale=11,
        color="0.25",
        connectionstyle=style,
        shrinkA=0,
        shrinkB=0,
        zorder=1,
    )


def _size(places: Iterable[tuple[float, float]]) -> tuple[float, float]:
    """Width and height of a figure in inches."""
    xs, ys = zip(*places, strict=True)
    return 0.9 * (max(xs) - min(xs) + 1.4), 0.9 * (max(ys) - min(ys) + 2.0)


def _words(kind: str) -> str:
    """The name of an estimator's class in words: `score function`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", kind).lower()
