"""Marks for Warp's code generator on functions that `wp.grad` differentiates, and on those that call it.

Warp 1.19 emits a module's functions in three passes: plain ones, their adjoints, then those that call
`wp.grad`. It sets the marks itself, but only along the path by which it first meets a function: gradients may
be silently zero, and functions called before they are declared.
"""

from collections.abc import Callable

import warp as wp


def _mark(function: wp.Function, name: str) -> wp.Function:
    """Sets one of the generator's marks."""
    if not hasattr(function.adj, name):
        raise RuntimeError(f"Warp {wp.__version__} no longer has the mark {name!r} that gradients of contacts need")
    setattr(function.adj, name, True)
    return function


def differentiable(function: Callable) -> wp.Function:
    """A Warp function whose adjoint is always emitted, so that `wp.grad` can be taken through it."""
    return _mark(wp.func(function), "force_adjoint_codegen")


def calls_gradient(function: Callable) -> wp.Function:
    """A Warp function that calls `wp.grad`, itself or through others; its callers must all be such ones."""
    return _mark(wp.func(function), "uses_grad_call")
