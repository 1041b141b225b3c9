"""Matrix products by oneDNN in compiled graphs.

torch multiplies float32 matrices on the CPU by MKL, which uses its fastest code on Intel's processors only. On one core
of an AMD EPYC with AVX-512, MKL reaches 105 GFLOP/s for 256 x 256 matrices; oneDNN, which torch contains too, 225.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch._inductor.custom_graph_pass import CustomGraphPass, get_hash_for_files
from torch.fx import Graph, Node
from torch.fx.node import map_arg

SMALLEST = 2**20
"""Number of multiplications from which on a product by oneDNN is faster, in spite of its overhead per call."""

aten = torch.ops.aten
PRODUCTS = (aten.mm.default, aten.bmm.default)
SUMS = (aten.addmm.default, aten.baddbmm.default)
"""Products to which something is added."""

library = torch.library.Library("diffsim", "DEF")
library.define("mm(Tensor a, Tensor b) -> Tensor")


@torch.library.impl(library, "mm", "CPU")
def mm(a: Tensor, b: Tensor) -> Tensor:
    """The product of float32 `a` [M, K] and `b` [K, N]."""
    return torch.ops.mkldnn._linear_pointwise(_dense(a), _dense(b).T, None, "none", [], "")


@torch.library.impl(library, "mm", "Meta")
def mm_shape(a: Tensor, b: Tensor) -> Tensor:
    """Shape and type of the product."""
    return a.new_empty(a.shape[0], b.shape[1])


def _dense(x: Tensor) -> Tensor:
    """`x` [M, N], copied if its rows or columns are not contiguous: oneDNN is a hundred times slower then."""
    return x if x.is_contiguous() or x.T.is_contiguous() else x.contiguous()


class OneDNNProducts(CustomGraphPass):
    """A pass of Inductor that replaces all large products of a graph by oneDNN's."""

    def __call__(self, graph: Graph) -> None:
        """Changes `graph`."""
        for node in list(graph.nodes):
            if is_large_product(node):
                with graph.inserting_before(node):
                    node.replace_all_uses_with(by_onednn(graph, node))
                graph.erase_node(node)

    def uuid(self) -> Any:
        """Key of torch's cache on disk: graphs made by another version of this file are not reused."""
        return get_hash_for_files((__file__,))


def is_large_product(node: Node) -> bool:
    """Whether `node` multiplies float32 matrices on the CPU, of known and sufficient size."""
    if node.op != "call_function" or node.target not in PRODUCTS + SUMS or node.kwargs:
        return False
    a, b = (_value(x) for x in node.args[-2:])
    sizes = (*a.shape, b.shape[-1])
    known = all(isinstance(size, int) for size in sizes)
    return known and math.prod(sizes[-3:]) >= SMALLEST and a.dtype == torch.float32 and a.device.type == "cpu"


def by_onednn(graph: Graph, node: Node) -> Node:
    """Adds nodes to `graph` that compute what `node` does; for a batch, one product after another."""

    def call(function: Any, *args: Any) -> Node:
        new = graph.call_function(function, args)
        new.meta["val"] = function(*map_arg(args, _value))
        return new

    *summand, a, b = node.args
    if _value(a).dim() == 2:
        product = call(torch.ops.diffsim.mm.default, a, b)
    else:
        pairs = [[call(aten.select.int, x, 0, k) for x in (a, b)] for k in range(len(_value(a)))]
        products = [call(torch.ops.diffsim.mm.default, *pair) for pair in pairs]
        product = call(aten.cat.default, [call(aten.unsqueeze.default, x, 0) for x in products])
    return call(aten.add.Tensor, product, *summand) if summand else product


def _value(node: Any) -> Tensor:
    """A fake tensor with the shape and type of the node's result."""
    return node.meta["val"]
