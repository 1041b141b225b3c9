"""Functions with hand-written gradients in torch autograd: gradient, second derivative, forward mode and `vmap`.

For y = f(x) and cotangents ybar of y, a subclass of `Differentiable` computes f and the gradient J(x)' ybar. The
derivatives along a direction w of the inputs are central differences of these, of order 4:

    J(x) w = d/de f(x + e w),    d/dx <w, J(x)' ybar> = d/de J(x + e w)' ybar    at e = 0

The second holds because second derivatives are symmetric. It is the Hessian-vector product of <ybar, f>.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import reduce
from inspect import signature
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function, forward_ad

STEP = 1e-6
"""h: the largest change of a number in a row of the inputs is 2 h. Contacts change within 1e-4 m; a larger h reaches
beyond where they begin or end, a smaller one loses digits to rounding. In float64 the median error of Hessian-vector
products is 1e-9, relative to their norm."""

WEIGHTS = {1: 8 / 12, 2: -1 / 12}
"""Weights of f(x + k h w) - f(x - k h w) in h * df/dw. Source: Fornberg (1988), Generation of finite difference
formulas on arbitrarily spaced grids, table 1."""

MaybeTensor = Tensor | None


class Differentiable(ABC):
    """A function of tensors, and its gradient. Inputs and results have one row per world.

    Attributes:
        num_outputs: number of results that are differentiable; they come first.
        kept: indices of the results that `gradient` reads.
        fixed: indices of the inputs along which there are no differences; they need not have rows.
        fixed_refusal: why.
        refusal: why there are neither second derivatives nor forward mode; None if there are.
    """

    num_outputs: int
    kept: tuple[int, ...] = ()
    fixed: tuple[int, ...] = ()
    fixed_refusal: str = ""
    refusal: str | None = None

    def __call__(self, *inputs: MaybeTensor) -> tuple[Tensor, ...]:
        """The results for some inputs, differentiable."""
        if _nothing_differentiates():
            return self.results(*inputs)
        return _Call.apply(self, *inputs)

    def exact(self) -> Differentiable:
        """The same function of float64 tensors, for differences."""
        return self

    @abstractmethod
    def results(self, *inputs: Any) -> tuple[Tensor, ...]:  # noqa: ANN401
        """Computes f: the differentiable results, then the others. No autograd."""

    @abstractmethod
    def gradient(
        self, inputs: Sequence[Any], kept: Sequence[Tensor], bars: Sequence[MaybeTensor], wanted: Sequence[bool]
    ) -> tuple[MaybeTensor, ...]:
        """Computes the cotangents of the inputs. No autograd.

        Args:
            inputs: those of `results`.
            kept: the results that `kept` selects.
            bars: cotangents of the differentiable results, of which at least one is not None; None for zero.
            wanted: which inputs' cotangents are needed; the others may be None.
        """


def _map_slices(function: type[Function]) -> Callable[..., tuple[tuple[MaybeTensor, ...], tuple[int | None, ...]]]:
    """A rule for `torch.func.vmap`: one call after another."""

    def rule(info: Any, in_dims: tuple, *arguments: Any) -> tuple[tuple[MaybeTensor, ...], tuple[int | None, ...]]:  # noqa: ANN401
        def part(value: Any, dim: Any, index: int) -> Any:  # noqa: ANN401
            return value.select(dim, index) if isinstance(value, Tensor) and dim is not None else value

        calls = [
            function.apply(*(part(value, dim, i) for value, dim in zip(arguments, in_dims, strict=True)))
            for i in range(info.batch_size)
        ]
        columns = [None if column[0] is None else torch.stack(column) for column in zip(*calls, strict=True)]
        return tuple(columns), tuple(None if column is None else 0 for column in columns)

    return rule


class _Call(Function):
    """Results of a `Differentiable`. The arguments are the function and its inputs."""

    @staticmethod
    def forward(call: Differentiable, *inputs: MaybeTensor) -> tuple[Tensor, ...]:  # noqa: D102
        return call.results(*inputs)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple[Tensor, ...]) -> None:  # noqa: ANN401, D102
        ctx.call, *tensors = inputs
        ctx.num_inputs, ctx.num_results = len(tensors), len(output)
        tensors += [output[i] for i in ctx.call.kept]
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(*output[ctx.call.num_outputs :])
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx: Any, *bars: MaybeTensor) -> tuple[MaybeTensor, ...]:  # noqa: ANN401, D102
        saved = ctx.saved_tensors  # once: torch's checkpoints allow no more
        inputs, kept = saved[: ctx.num_inputs], saved[ctx.num_inputs :]
        wanted = tuple(ctx.needs_input_grad[1:])
        return None, *_gradient(ctx.call, wanted, inputs, kept, bars[: ctx.call.num_outputs])

    @staticmethod
    def jvp(ctx: Any, _: None, *tangents: MaybeTensor) -> tuple[MaybeTensor, ...]:  # noqa: ANN401, D102
        call, tensors = ctx.call, ctx.saved_tensors
        if not call.num_outputs:
            return (None,) * ctx.num_results
        inputs, kept = tensors[: ctx.num_inputs], tensors[ctx.num_inputs :]
        outputs = _along(call, inputs, kept, [None] * call.num_outputs, tangents, [False] * len(inputs))[0]
        return *outputs, *[None] * (ctx.num_results - call.num_outputs)


class _Gradient(Function):
    """Gradient of a `Differentiable`. The arguments: the function, `wanted`, inputs, kept results, cotangents."""

    @staticmethod
    def forward(call: Differentiable, wanted: tuple[bool, ...], *tensors: MaybeTensor) -> tuple[MaybeTensor, ...]:  # noqa: D102
        _refuse_old_vmap(tensors)
        inputs, kept, bars = _split(call, wanted, tensors)
        return call.gradient(inputs, kept, bars, wanted)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple[MaybeTensor, ...]) -> None:  # noqa: ANN401, D102
        ctx.call, ctx.wanted, *tensors = inputs
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx: Any, *directions: MaybeTensor) -> tuple[MaybeTensor, ...]:  # noqa: ANN401, D102
        call, wanted = ctx.call, ctx.needs_input_grad[2 : 2 + len(ctx.wanted)]
        inputs, kept, bars = _split(call, wanted, ctx.saved_tensors)
        outputs, gradient = _along(call, inputs, kept, bars, directions, wanted)
        outputs = [None if bar is None else output for bar, output in zip(bars, outputs, strict=True)]
        return None, None, *gradient, *[None] * len(kept), *outputs

    @staticmethod
    def jvp(ctx: Any, _call: None, _wanted: None, *tangents: MaybeTensor) -> tuple[MaybeTensor, ...]:  # noqa: ANN401, D102
        call, wanted = ctx.call, ctx.wanted
        inputs, kept, bars = _split(call, wanted, ctx.saved_tensors)
        directions, _, bar_tangents = _split(call, wanted, tangents)
        of_bars = _gradient(call, wanted, inputs, kept, bar_tangents)
        of_inputs = _along(call, inputs, kept, bars, directions, wanted)[1]
        return _sum(of_bars, of_inputs)


class _Along(Function):
    """Derivatives along a direction. The arguments: those of `_Gradient`, then a direction of the inputs.

    Results: J w for each output, then the Hessian-vector product for each input. Both are linear in w.
    """

    @staticmethod
    def forward(call: Differentiable, wanted: tuple[bool, ...], *tensors: MaybeTensor) -> tuple[MaybeTensor, ...]:  # noqa: D102
        _refuse_old_vmap(tensors)
        count = len(wanted)
        directions = tensors[-count:]
        inputs, _, bars = _split(call, wanted, tensors[:-count])
        call, places = call.exact(), [inputs[0]] * call.num_outputs + list(inputs)
        inputs, bars, directions = (_double(part) for part in (inputs, bars, directions))
        rate = _largest_rate(directions)
        bars = [None if bar is None else _times(bar, rate / STEP) for bar in bars]

        def at(place: int) -> list[Any]:
            """Outputs and gradient at a distance from the inputs, both divided by the length of the differences."""
            shifts = [None if w is None else _times(w, place * STEP / rate) for w in directions]
            moved = _sum(inputs, shifts)
            results = call.results(*moved)
            outputs = [_times(value, rate / STEP) for value in results[: call.num_outputs]]
            kept = [results[i] for i in call.kept]
            return [*outputs, *(call.gradient(moved, kept, bars, wanted) if any(wanted) else [None] * count)]

        differences = [
            [None if b is None else weight * (b - a) for a, b in zip(at(-place), at(place), strict=True)]
            for place, weight in WEIGHTS.items()
        ]
        totals = zip(_sum(*differences), places, strict=True)
        return tuple(None if total is None else total.to(place.dtype) for total, place in totals)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple[MaybeTensor, ...]) -> None:  # noqa: ANN401, D102
        ctx.call, ctx.wanted, *tensors = inputs
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx: Any, *bars: MaybeTensor) -> tuple[MaybeTensor, ...]:  # noqa: ANN401, D102
        call, count = ctx.call, len(ctx.wanted)
        saved = ctx.saved_tensors
        tensors, directions = saved[:-count], saved[-count:]
        inputs, kept, own_bars = _split(call, ctx.wanted, tensors)
        output_bars, gradient_bars = bars[: call.num_outputs], bars[call.num_outputs :]
        wanted = tuple(direction is not None for direction in directions)
        of_outputs = _gradient(call, wanted, inputs, kept, output_bars)
        of_gradient = _along(call, inputs, kept, own_bars, gradient_bars, wanted)[1]
        of_directions = [bar if want else None for bar, want in zip(_sum(of_outputs, of_gradient), wanted, strict=True)]
        return None, None, *[None] * len(tensors), *of_directions

    @staticmethod
    def jvp(ctx: Any, _call: None, _wanted: None, *tangents: MaybeTensor) -> tuple[MaybeTensor, ...]:  # noqa: ANN401, D102
        count = len(ctx.wanted)
        inputs, kept, bars = _split(ctx.call, ctx.wanted, ctx.saved_tensors[:-count])
        outputs, gradient = _along(ctx.call, inputs, kept, bars, tangents[-count:], ctx.wanted)
        return *outputs, *gradient


class _Once(Function):
    """The identity, without a derivative."""

    @staticmethod
    def forward(value: Tensor) -> tuple[Tensor]:  # noqa: D102
        return (value.view_as(value),)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple[Tensor]) -> None:  # noqa: ANN401, D102
        pass

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> tuple[Tensor]:  # noqa: ANN401, D102
        raise NotImplementedError(
            "third derivatives of the physics, and forward mode over forward mode, are not supported "
            "(torch.func.hessian, forward over reverse mode, is)"
        )

    jvp = backward


for _function in (_Call, _Gradient, _Along, _Once):
    _function.vmap = staticmethod(_map_slices(_function))
    _function.forward.__signature__ = signature(_function.forward)  # torch asks for it in every call

_is_of_old_vmap: Callable[[Tensor], bool] = getattr(
    getattr(torch._C, "_functorch", None), "is_legacy_batchedtensor", lambda _: False
)


def _nothing_differentiates() -> bool:
    """Whether autograd, forward mode and the transforms of `torch.func` are off: then a call costs half the time."""
    off = not torch.is_grad_enabled() and forward_ad._current_level < 0
    return off and not torch._C._are_functorch_transforms_active()


def _refuse_old_vmap(tensors: Sequence[MaybeTensor]) -> None:
    """Raises if a tensor comes from the `vmap` that torch used before `torch.func`, for which there are no rules."""
    if any(tensor is not None and _is_of_old_vmap(tensor) for tensor in tensors):
        raise NotImplementedError(
            "the physics does not support vectorize=True, is_grads_batched=True and check_batched_grad=True: "
            "use torch.func.jacrev, torch.func.jacfwd or torch.func.hessian"
        )


def _gradient(
    call: Differentiable,
    wanted: tuple[bool, ...],
    inputs: Sequence[MaybeTensor],
    kept: Sequence[Any],
    bars: Sequence[MaybeTensor],
) -> tuple[MaybeTensor, ...]:
    """Cotangents of the inputs."""
    if all(bar is None for bar in bars):
        return (None,) * len(inputs)
    if _nothing_differentiates():
        _refuse_old_vmap(bars)
        return call.gradient(inputs, kept, bars, wanted)
    return _Gradient.apply(call, wanted, *inputs, *kept, *bars)


def _along(
    call: Differentiable,
    inputs: Sequence[MaybeTensor],
    kept: Sequence[MaybeTensor],
    bars: Sequence[MaybeTensor],
    directions: Sequence[MaybeTensor],
    wanted: Sequence[bool],
) -> tuple[Sequence[MaybeTensor], Sequence[MaybeTensor]]:
    """Derivatives of outputs and gradient along a direction of the inputs.

    Raises: NotImplementedError if the function has none, or none along this direction.
    """
    if call.refusal:
        raise NotImplementedError(call.refusal)
    if any(directions[i] is not None for i in call.fixed):
        raise NotImplementedError(call.fixed_refusal)
    if all(direction is None for direction in directions):
        return [None] * call.num_outputs, [None] * len(inputs)
    if all(bar is None for bar in bars):
        wanted = [False] * len(inputs)
    once = [None if value is None else _Once.apply(value)[0] for value in (*inputs, *kept, *bars)]
    results = _Along.apply(call, tuple(wanted), *once, *directions)
    return results[: call.num_outputs], results[call.num_outputs :]


def _split(call: Differentiable, wanted: Sequence[bool], tensors: Sequence[Any]) -> tuple[Sequence[Any], ...]:
    """Inputs, kept results and cotangents."""
    last = len(wanted) + len(call.kept)
    return tensors[: len(wanted)], tensors[len(wanted) : last], tensors[last:]


def _double(tensors: Sequence[MaybeTensor]) -> list[MaybeTensor]:
    """Tensors in float64."""
    return [None if tensor is None else tensor.double() for tensor in tensors]


def _sum(*rows: Sequence[MaybeTensor]) -> tuple[MaybeTensor, ...]:
    """Sums of columns; None where all are None."""
    columns = [[value for value in column if value is not None] for column in zip(*rows, strict=True)]
    return tuple(reduce(torch.add, column) if column else None for column in columns)


def _largest_rate(directions: Sequence[MaybeTensor]) -> Tensor:
    """The largest number in each row of the directions, [N]; 1 in rows of zeros."""
    parts = [direction.flatten(1).abs() for direction in directions if direction is not None]
    rate = torch.cat(parts, dim=1).amax(1)
    return torch.where(rate > 0, rate, 1.0)


def _times(value: Tensor, factor: Tensor) -> Tensor:
    """Multiplies each row of `value` by its number of `factor` [N]."""
    return value * factor.view(-1, *[1] * (value.dim() - 1))
