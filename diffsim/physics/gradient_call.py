"""Marks for Warp's code generator on functions that `wp.grad` differentiates or holds fixed, or that call it.

Warp 1.19 emits a module's functions in three passes: plain ones, their adjoints, then those that call
`wp.grad`. It sets the marks itself, but only along the path by which it first meets a function: gradients may
be silently zero, and functions called before they are declared.
"""

from collections.abc import Callable

import warp as wp


def _mark(owner: object, name: str, value: bool) -> None:
    """Sets one of the generator's marks on a function or on its adjoint."""
    if not hasattr(owner, name):
        raise RuntimeError(f"Warp {wp.__version__} no longer has the mark {name!r} that gradients of contacts need")
    setattr(owner, name, value)


def differentiable(function: Callable) -> wp.Function:
    """A Warp function whose adjoint is always emitted, so that `wp.grad` can be taken through it."""
    marked = wp.func(function)
    _mark(marked.adj, "force_adjoint_codegen", True)
    return marked


def no_gradient(function: Callable) -> wp.Function:
    """A Warp function that `wp.grad` holds fixed, such as a search whose result is a choice.

    No adjoint is emitted, which spares a quarter of the gradient's compilation. `wp.func_grad` with an empty function
    does the same, and builds what it decorates when it is imported.
    """
    marked = wp.func(function)
    _mark(marked, "is_differentiable", False)
    _mark(marked.adj, "skip_reverse_codegen", True)
    return marked


def calls_gradient(function: Callable) -> wp.Function:
    """A Warp function that calls `wp.grad`, itself or through others; its callers must all be such ones."""
    marked = wp.func(function)
    _mark(marked.adj, "uses_grad_call", True)
    return marked
