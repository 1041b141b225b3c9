"""Runs recorded kernels on the CPU, all of them for one world, then for the next.

A world's working memory so stays in the processor's cache, and a stage costs a call by pointer, some nanoseconds. A
launch by Warp costs microseconds, and goes through all worlds before the next stage.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import warp as wp

from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.scratch import Scratch

wp.set_module_options({"enable_backward": False})


@wp.func_native(
    """
    struct Call {
        void (*function)(void* bounds, void* arguments);
        void* bounds;
        const unsigned long long* own;
        unsigned long long words;
    };
    const Call* all = (const Call*)calls;
    char* shared = (char*)arguments;
    unsigned long long* own = (unsigned long long*)(shared + own_offset);
    for (int world = first; world < last; ++world) {
        *(int*)(shared + world_offset) = world;
        for (int i = 0; i < count; ++i) {
            for (unsigned long long word = 0; word < all[i].words; ++word) own[word] = all[i].own[word];
            all[i].function(all[i].bounds, shared);
        }
    }
"""
)
def call_for_each_world(
    calls: wp.uint64, count: int, arguments: wp.uint64, world_offset: int, own_offset: int, first: int, last: int
) -> None:
    """Makes the calls for the worlds from first to before last, with the arguments at an address."""
    ...


@wp.kernel
def world_loop_kernel(
    calls: wp.uint64, count: int, arguments: wp.uint64, world_offset: int, own_offset: int, first: int, last: int
) -> None:
    """One thread."""
    call_for_each_world(calls, count, arguments, world_offset, own_offset, first, last)


class _Call(ctypes.Structure):
    """As the native `Call`: addresses of a kernel's code and launch bounds, and its own arguments."""

    _fields_ = [(name, ctypes.c_void_p) for name in ("function", "bounds", "own")] + [("words", ctypes.c_uint64)]


class _Shared(ctypes.Structure):
    """The first arguments of all kernels: the model, and the working memory."""

    _fields_ = [("m", ModelArrays.ctype), ("s", Scratch.ctype)]


class WorldLoop:
    """Kernels in the order of their calls. An instance called makes the calls.

    All kernels have the model and the working memory as first arguments, which they share: so these stay in the cache.

    Args:
        first: the first world.
        last: the one after the last world.
    """

    def __init__(self, first: int, last: int) -> None:
        self.first, self.last = first, last
        self._calls: list[_Call] = []
        self._shared = b""  # the shared arguments
        self._words = 0  # the largest number of words of a kernel's own arguments
        self._kept: list[Any] = []  # memory that the calls point to, and the kernels' code
        self._launch: Any = None

    def add(self, kernel: wp.Kernel, inputs: Sequence[Any]) -> None:
        """Adds a kernel, which finds its world in the `first_world` of its `Scratch`."""
        launch: Any = wp.launch(kernel, dim=1, inputs=list(inputs), device="cpu", record_cmd=True)
        model, scratch, *values = launch.params[1:]
        shared = bytes(_Shared(model, scratch))
        assert self._shared in (b"", shared), f"{kernel.key} has another model or working memory"
        self._shared = shared
        kind: Any = type("Own", (ctypes.Structure,), {"_fields_": [(f"_{i}", type(v)) for i, v in enumerate(values)]})
        words = -(-ctypes.sizeof(kind) // 8)
        own = (ctypes.c_uint64 * max(1, words)).from_buffer_copy(bytes(kind(*values)).ljust(8 * max(1, words), b"\0"))
        function = ctypes.cast(launch.hooks.forward, ctypes.c_void_p).value
        self._calls.append(_Call(function, ctypes.addressof(launch.bounds), ctypes.addressof(own), words))
        self._words = max(self._words, words)
        self._kept += [launch, own]

    def __call__(self) -> None:
        """Makes the calls for all worlds of the share."""
        if self._launch is None:
            table = (_Call * len(self._calls))(*self._calls)
            offset = ctypes.sizeof(_Shared)
            arguments = (ctypes.c_uint64 * (offset // 8 + self._words))()
            ctypes.memmove(arguments, self._shared, offset)
            world = _Shared.s.offset + Scratch.ctype.first_world.offset
            addresses = ctypes.addressof(table), len(table), ctypes.addressof(arguments)
            inputs = [*addresses, world, offset, self.first, self.last]
            self._launch = wp.launch(world_loop_kernel, dim=1, inputs=inputs, device="cpu", record_cmd=True)
            self._kept += [table, arguments]
        self._launch.launch()
