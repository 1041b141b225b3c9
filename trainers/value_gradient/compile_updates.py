"""Updates compiled by torch.compile, with their gradients and optimizer steps, as one graph."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from types import FunctionType, MethodType
from typing import Any, ParamSpec, TypeVar

import torch

from diffsim.trainers.errors import UsageError

P = ParamSpec("P")
R = TypeVar("R")


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """`function`, which torch compiles into one graph at the first call, with the gradients that it takes inside.

    Raises: ValueError if this version of torch cannot compile torch.autograd.grad.
    """
    from torch._dynamo import config  # takes seconds, and is rarely needed

    if not hasattr(config, "trace_autograd_ops"):
        raise ValueError(
            f"compile_updates needs a version of torch that compiles torch.autograd.grad, got {torch.__version__}"
        )
    from diffsim.trainers.value_gradient.onednn import OneDNNProducts

    options: dict[str, Any] = {}
    if torch.backends.mkldnn.is_available():
        options["post_grad_custom_post_pass"] = OneDNNProducts()
    whole = torch.compile(with_own_code(function), fullgraph=True, options=options)

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        with config.patch(trace_autograd_ops=True):
            return whole(*args, **kwargs)

    return call


def with_own_code(function: Callable[P, R]) -> Callable[P, R]:
    """A copy of a function, or of a method of the same object, with a copied code object.

    torch.compile caches graphs by code object. A second object's method has the same code, and reuses the graph of the
    first where torch's guards find no difference. These guards ignore hooks of modules: without the copy, a module with
    a hook would run the graph made for one without.
    """
    if isinstance(function, MethodType):
        return MethodType(with_own_code(function.__func__), function.__self__)
    assert isinstance(function, FunctionType)
    code, name = function.__code__.replace(), function.__name__
    copied = FunctionType(code, function.__globals__, name, function.__defaults__, function.__closure__)
    copied.__kwdefaults__ = function.__kwdefaults__
    return copied


def require_compiler(device: torch.device) -> None:
    """Compiles a small function for `device`.

    Raises: UsageError if torch cannot.
    """
    try:
        torch.compile(torch.sin)(torch.zeros(2, device=device))
    except Exception as error:
        reason = str(error).strip().splitlines()
        message = f"compile_updates must be false, since torch cannot compile here: {' '.join(reason[:2])}"
        raise UsageError(message) from error
