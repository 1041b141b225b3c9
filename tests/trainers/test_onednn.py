"""Matrix products of compiled graphs by oneDNN: which ones are replaced, and their results."""

from typing import Literal

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from diffsim.trainers.value_gradient.compile_updates import compiled
from diffsim.trainers.value_gradient.onednn import OneDNNProducts

if not torch.backends.mkldnn.is_available():
    pytest.skip("oneDNN is not part of this torch", allow_module_level=True)


def drawn(*shape, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64).to(dtype)


def rewritten(function, *args, mode: Literal["symbolic", "fake"] = "fake"):
    """The graph of `function` after the pass, and its numbers of products by torch and by oneDNN."""
    module = make_fx(function, tracing_mode=mode)(*args)
    OneDNNProducts()(module.graph)
    module.graph.lint()
    module.recompile()
    targets = [str(node.target) for node in module.graph.nodes]
    return module, sum("mm" in x and "diffsim" not in x for x in targets), targets.count("diffsim.mm.default")


def gapped(x):
    """A tensor equal to `x` with gaps between its rows in memory."""
    return torch.cat([x, torch.full_like(x, torch.nan)], dim=-1)[..., : x.shape[-1]]


LARGE = {
    "mm": (torch.mm, ((130, 100), (100, 90)), 1),
    "addmm": (torch.addmm, ((90,), (130, 100), (100, 90)), 1),
    "bmm": (torch.bmm, ((3, 130, 100), (3, 100, 90)), 3),
    "baddbmm": (torch.baddbmm, ((3, 1, 90), (3, 130, 100), (3, 100, 90)), 3),
    "one broadcast to many": (lambda a, b: torch.bmm(a.expand(3, -1, -1), b), ((1, 130, 100), (3, 100, 90)), 3),
}
LAYOUTS = {
    "as they are": lambda x: x,
    "transposed": lambda x: x.mT.contiguous().mT if x.dim() > 1 else x,
    "with gaps": gapped,
    "transposed, with gaps": lambda x: gapped(x.mT).mT if x.dim() > 1 else x,
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", LARGE)
def test_a_replaced_product_has_the_same_value(monkeypatch, name, layout):
    """In all memory layouts, compared with float64."""
    monkeypatch.setattr("diffsim.trainers.value_gradient.onednn.SMALLEST", 130 * 100 * 90)
    function, shapes, count = LARGE[name]
    args = [LAYOUTS[layout](drawn(*shape)) for shape in shapes]
    module, theirs, ours = rewritten(function, *args)
    assert (theirs, ours) == (0, count)
    # Sums of 100 products of numbers around 1: each addition rounds by 6e-8 of the sum so far, which is 10 to 40.
    torch.testing.assert_close(module(*args), function(*(x.double() for x in args)).float(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("case", ["one multiplication too few", "float64", "unknown sizes", "a factor"])
def test_other_products_are_not_replaced(monkeypatch, case):
    monkeypatch.setattr(
        "diffsim.trainers.value_gradient.onednn.SMALLEST", 130 * 100 * 90 + (case == "one multiplication too few")
    )
    dtype = torch.float64 if case == "float64" else torch.float32
    args = [drawn(*shape, dtype=dtype) for shape in ((90,), (130, 100), (100, 90))]
    alpha = 2.0 if case == "a factor" else 1.0
    mode: Literal["symbolic", "fake"] = "symbolic" if case == "unknown sizes" else "fake"
    module, theirs, ours = rewritten(lambda *each: torch.addmm(*each, alpha=alpha), *args, mode=mode)
    assert (theirs, ours) == (1, 0)
    torch.testing.assert_close(module(*args), torch.addmm(*args, alpha=alpha))


def test_compiled_gradients_use_onednn():
    """The forward product and its two gradients."""
    a, b = drawn(1, 256, 128).requires_grad_(), drawn(1, 128, 256).requires_grad_()
    gradients = compiled(lambda a, b: torch.autograd.grad(torch.bmm(a, b).square().sum(), (a, b)))
    gradients(a, b)
    with torch.profiler.profile() as profile:
        found = gradients(a, b)
    calls = {event.key: event.count for event in profile.key_averages()}
    assert calls["diffsim::mm"] == calls["mkldnn::_linear_pointwise"] == 3
    # Gradients are around 360: sums of 256 products of numbers around 20 and 1, rounded by 6e-8 of up to about 1,000.
    product = 2.0 * a.double() @ b.double()
    for gradient, expected in zip(found, (product @ b.double().mT, a.double().mT @ product), strict=True):
        torch.testing.assert_close(gradient.double(), expected, rtol=1e-5, atol=1e-2)
