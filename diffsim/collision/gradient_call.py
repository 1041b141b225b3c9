"""Decorators that mark functions for Warp's code generator: differentiated by `wp.grad`, held fixed by it, calling it.

Warp 1.19 emits the functions of a module in three passes: plain functions, their adjoints, then functions that call
`wp.grad`. It sets these marks itself, but only along the path on which it first meets a function. Without the
decorators some gradients are silently zero, and some functions are called before their declaration.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import warp as wp


def _mark(owner: object, name: str, value: bool) -> None:
    """Sets a mark of the code generator on a function or on its adjoint."""
    if not hasattr(owner, name):
        raise RuntimeError(f"Warp {wp.__version__} no longer has the mark {name!r}, which contact gradients need")
    setattr(owner, name, value)


def differentiable(
    function: Callable | None = None, *, inline: bool | None = None, module: wp.Module | None = None
) -> Any:  # noqa: ANN401
    """Makes a Warp function whose adjoint is always emitted, so that `wp.grad` can differentiate it.

    `inline` and `module` are as in `wp.func`.
    """
    if function is None:
        return partial(differentiable, inline=inline, module=module)
    marked = wp.func(inline=inline, module=module)(function)
    _mark(marked.adj, "force_adjoint_codegen", True)
    return marked


def no_gradient(function: Callable) -> wp.Function:
    """Makes a Warp function that `wp.grad` holds fixed, for example a search for a discrete choice.

    Warp emits no adjoint for it, which saves a quarter of the gradient's compile time. `wp.func_grad` with an empty
    function has the same effect, but builds the decorated function at import.
    """
    marked = wp.func(function)
    _mark(marked, "is_differentiable", False)
    _mark(marked.adj, "skip_reverse_codegen", True)
    return marked


def calls_gradient(
    function: Callable | None = None, *, inline: bool | None = None, module: wp.Module | None = None
) -> Any:  # noqa: ANN401
    """Makes a Warp function that calls `wp.grad`, directly or not. All its callers must have this decorator too.

    `inline` and `module` are as in `wp.func`.
    """
    if function is None:
        return partial(calls_gradient, inline=inline, module=module)
    marked = wp.func(inline=inline, module=module)(function)
    _mark(marked.adj, "uses_grad_call", True)
    return marked
