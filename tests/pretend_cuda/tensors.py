"""Tensors of the pretended device, and what each operation on them checks and counts."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing

from tests.pretend_cuda.devices import CPU, GENERATORS, full_device
from tests.pretend_cuda.waits import COUNTS, RECORDING, caller, wait

BETWEEN_DEVICES = {
    "aten._to_copy.default",
    "aten.copy_.default",
    "aten.lift_fresh.default",
    "aten.lift_fresh_copy.default",
    "aten.set_.source_Storage_storage_offset",
    "aten._foreach_copy_.default",
}
INDEXING = {"aten.index.Tensor", "aten.index_put_.default", "aten.index_put.default", "aten._index_put_impl_.default"}
READING = {
    "aten._local_scalar_dense.default",
    "aten.nonzero.default",
    "aten.masked_select.default",
    "aten.equal.default",
    "aten._unique2.default",
    "aten.is_nonzero.default",
    "aten.repeat_interleave.Tensor",
}


class Cuda(torch.Tensor):
    """A tensor that says it is on CUDA. Its numbers are in `elem`, a CPU tensor."""

    elem: torch.Tensor

    @staticmethod
    def __new__(cls, elem: torch.Tensor, device: torch.device) -> Cuda:
        assert type(elem) is not Cuda
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            elem.size(),
            strides=elem.stride(),
            storage_offset=elem.storage_offset(),
            dtype=elem.dtype,
            layout=elem.layout,
            device=device,
            requires_grad=False,
        )
        made.elem = elem
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        return dispatch(function, args, kwargs or {})

    def __init__(self, elem: torch.Tensor, device: torch.device) -> None:
        pass

    def __repr__(self, **kwargs: Any) -> str:
        return f"Cuda({self.elem!r}, {self.device})"

    def __reduce_ex__(self, protocol: int) -> Any:
        """Saved as a CPU tensor: what a checkpoint gives that is read with `map_location="cpu"`."""
        return self.elem.detach().__reduce_ex__(protocol)

    def __deepcopy__(self, memo: dict) -> Any:
        if id(self) not in memo:
            new = Cuda(self.elem.detach().clone(), self.device)
            parameter = getattr(self, "_is_param", False)
            memo[id(self)] = (
                torch.nn.Parameter(new, self.requires_grad) if parameter else new.requires_grad_(self.requires_grad)
            )
        return memo[id(self)]

    def data_ptr(self) -> int:
        return self.elem.data_ptr()

    def is_shared(self) -> bool:
        return True

    def share_memory_(self) -> Cuda:
        return self

    def pin_memory(self, *args: Any) -> Any:
        raise RuntimeError("cannot pin 'torch.cuda.FloatTensor' only dense CPU tensors can be pinned")

    def tolist(self) -> Any:
        wait("read")
        return self.elem.tolist()

    def __format__(self, spec: str) -> str:
        wait("read")
        return format(self.elem.item(), spec) if self.dim() == 0 else object.__format__(self, spec)

    def numpy(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(f"can't convert {self.device} device type tensor to numpy at {caller()}")

    __array__ = numpy

    def __getitem__(self, index: Any) -> torch.Tensor:
        return torch.Tensor.__getitem__(self, _index(index))

    def __setitem__(self, index: Any, value: Any) -> None:
        torch.Tensor.__setitem__(self, _index(index), value)


def _index(index: Any) -> Any:
    """Lists and arrays as CPU tensors: torch makes them on the device, below what can be intercepted."""

    def one(part: Any) -> Any:
        if isinstance(part, (list, np.ndarray)):
            wait("upload")
            return torch.as_tensor(np.asarray(part))
        return part

    return tuple(map(one, index)) if isinstance(index, tuple) else one(index)


def dispatch(function: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    """An operation with a pretended tensor, or one that makes a pretended tensor."""
    name = str(function)
    tensors = [x for x in pytree.tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
    own = {x.device for x in tensors if isinstance(x, Cuda)}
    wanted = full_device(kwargs.get("device"))
    if name not in BETWEEN_DEVICES:
        _check_devices(name, args, tensors, own)
    device = wanted or (min(own, key=str) if own else None)
    if name == "aten.copy_.default":
        device = args[0].device
    _check_generator(name, args, kwargs, device)
    _count(name, args, own, wanted)
    cuda = device is not None and device.type == "cuda"
    COUNTS["operations"] += cuda
    plain_args, plain_kwargs = pytree.tree_map(lambda x: x.elem if isinstance(x, Cuda) else x, (args, dict(kwargs)))
    if wanted is not None:
        plain_kwargs["device"] = CPU
    if name == "aten._pin_memory.default":
        return plain_args[0]
    out = function(*plain_args, **plain_kwargs)
    if name == "aten._to_copy.default" and out.numel() and out.data_ptr() == plain_args[0].data_ptr():
        out = out.clone()
    if not cuda:
        return out
    if RECORDING:
        RECORDING[0].append(partial(_again, function, plain_args, plain_kwargs, out))
    assert device is not None
    return _wrapped(function, args, kwargs, out, device, tensors)


def _again(function: Any, args: tuple, kwargs: dict[str, Any], out: Any) -> None:
    """Repeats an operation of a captured graph: with the present numbers of its arguments, into the same memory."""
    again = function(*args, **kwargs)
    for old, new in zip(pytree.tree_leaves(out), pytree.tree_leaves(again), strict=True):
        if isinstance(old, torch.Tensor) and old.numel() and old.data_ptr() != new.data_ptr():
            old.copy_(new)


def _check_devices(name: str, args: tuple, tensors: list[torch.Tensor], own: set[torch.device]) -> None:
    """Raises for tensors on different devices; numbers, and indices on the CPU, are allowed."""
    host = [x for x in tensors if not isinstance(x, Cuda) and x.device.type == "cpu"]
    mixed = len(own) > 1
    if own and host:
        if name in INDEXING:
            value = args[2] if len(args) > 2 else None
            foreign = isinstance(value, torch.Tensor) and not isinstance(value, Cuda) and value.dim() > 0
            mixed = mixed or not isinstance(args[0], Cuda) or foreign
        else:
            mixed = mixed or any(x.dim() > 0 for x in host)
    if mixed:
        found = sorted({str(x.device) for x in tensors})
        raise RuntimeError(f"Expected all tensors to be on the same device, but found {found} in {name} at {caller()}")


def _check_generator(name: str, args: tuple, kwargs: dict[str, Any], device: torch.device | None) -> None:
    """Raises if a generator is on another device than what it draws."""
    found = [*args, kwargs.get("generator")]
    generator = next((x for x in found if isinstance(x, torch.Generator)), None)
    if generator is not None and GENERATORS.get(generator._cdata, CPU).type != (device or CPU).type:
        kind, other = (device or CPU).type, GENERATORS.get(generator._cdata, CPU).type
        raise RuntimeError(f"Expected a '{kind}' device type for generator but found '{other}' in {name} at {caller()}")


def _count(name: str, args: tuple, own: set[torch.device], wanted: torch.device | None) -> None:
    """Counts a wait, if an operation is one."""
    to_copy, copy_ = name == "aten._to_copy.default", name == "aten.copy_.default"
    if own and name in READING:
        wait("read")
    elif (to_copy and own and wanted == CPU) or (copy_ and isinstance(args[1], Cuda) and not isinstance(args[0], Cuda)):
        wait("read")
    elif (to_copy and not own and wanted is not None and wanted.type == "cuda") or (
        copy_ and isinstance(args[0], Cuda) and not isinstance(args[1], Cuda) and args[1].dim() > 0
    ):
        wait("upload")
    elif name in INDEXING and isinstance(args[0], Cuda):
        masks = [i for i in args[1] if isinstance(i, torch.Tensor) and i.dtype == torch.bool]
        filled = len(args) > 2 and len(args[1]) == 1 and args[2].numel() == 1  # torch makes this a masked_fill
        if masks and not filled:
            wait("read")
        elif any(isinstance(i, torch.Tensor) and not isinstance(i, Cuda) for i in args[1]):
            wait("upload")


def _wrapped(function: Any, args: tuple, kwargs: Any, out: Any, device: torch.device, given: list[torch.Tensor]) -> Any:
    """Results as pretended tensors; those that were given, as the same objects."""
    seen = {id(x.elem): x for x in given if isinstance(x, Cuda)}

    def wrap(x: Any) -> Any:
        if not isinstance(x, torch.Tensor) or isinstance(x, Cuda):
            return x
        return seen.get(id(x)) if id(x) in seen else Cuda(x, device)

    wrapped = pytree.tree_map(wrap, out)
    if not (function._schema.is_mutable or "out" in kwargs):
        return return_and_correct_aliasing(function, args, kwargs, wrapped)
    for x in given:
        if isinstance(x, Cuda) and x.elem.shape != x.shape:
            raise NotImplementedError(f"{function} resized a tensor")
    return wrapped


class Mode(TorchDispatchMode):
    """Sends every operation of the device to `dispatch`, also those that make tensors."""

    def __torch_dispatch__(self, function: Any, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if str(function).startswith("prim"):
            return function(*args, **kwargs)
        leaves = pytree.tree_leaves((args, kwargs))
        wanted = kwargs.get("device")
        if (wanted is not None and torch.device(wanted).type == "cuda") or any(
            isinstance(x, (Cuda, torch.Generator)) for x in leaves
        ):
            return dispatch(function, args, kwargs)
        return function(*args, **kwargs)
