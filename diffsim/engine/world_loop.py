"""Runs recorded kernels on the CPU, all of them for one world, then for the next.

A world's working memory so stays in the processor's cache, and a stage costs a call by pointer, some nanoseconds. A
launch by Warp costs microseconds, and goes through all worlds before the next stage.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import warp as wp

from diffsim.physics.scratch import Scratch

wp.set_module_options({"enable_backward": False})


@wp.func_native(
    """
    struct Call {
        void (*function)(void* bounds, void* arguments);
        void* bounds;
        void* arguments;
        int* world;
    };
    const Call* all = (const Call*)calls;
    for (int world = first; world < last; ++world) {
        for (int i = 0; i < count; ++i) {
            *all[i].world = world;
            all[i].function(all[i].bounds, all[i].arguments);
        }
    }
"""
)
def call_for_each_world(calls: wp.uint64, count: int, first: int, last: int) -> None:
    """Makes the calls for the worlds from first to before last."""
    ...


@wp.kernel
def world_loop_kernel(calls: wp.uint64, count: int, first: int, last: int) -> None:
    """One thread."""
    call_for_each_world(calls, count, first, last)


class _Call(ctypes.Structure):
    """As the native `Call`: addresses of a kernel's code, launch bounds and arguments, and of the number of a world."""

    _fields_ = [(name, ctypes.c_void_p) for name in ("function", "bounds", "arguments", "world")]


class WorldLoop:
    """Kernels in the order of their calls. An instance called makes the calls.

    Args:
        first: the first world.
        last: the one after the last world.
    """

    def __init__(self, first: int, last: int) -> None:
        self.first, self.last = first, last
        self._calls: list[_Call] = []
        self._made: dict[tuple[wp.Kernel, bytes], _Call] = {}
        self._kept: list[Any] = []  # memory that the calls point to, and the kernels' code
        self._launch: Any = None

    def add(self, kernel: wp.Kernel, inputs: Sequence[Any]) -> None:
        """Adds a kernel, whose arguments have a `Scratch` named s; it finds its world in `first_world`.

        Calls with the same arguments share them: so they stay in the cache.
        """
        launch: Any = wp.launch(kernel, dim=1, inputs=list(inputs), device="cpu", record_cmd=True)
        values = launch.params[1:]
        labels = [argument.label for argument in kernel.adj.args]
        fields = list(zip(labels, map(type, values), strict=True))
        kind: Any = type("Arguments", (ctypes.Structure,), {"_fields_": fields})
        arguments = kind(*values)
        key = kernel, bytes(arguments)
        if key not in self._made:
            world = ctypes.addressof(arguments) + kind.s.offset + Scratch.ctype.first_world.offset
            function = ctypes.cast(launch.hooks.forward, ctypes.c_void_p).value
            self._made[key] = _Call(function, ctypes.addressof(launch.bounds), ctypes.addressof(arguments), world)
            self._kept += [launch, arguments]
        self._calls.append(self._made[key])

    def __call__(self) -> None:
        """Makes the calls for all worlds of the share."""
        if self._launch is None:
            table = (_Call * len(self._calls))(*self._calls)
            inputs = [ctypes.addressof(table), len(table), self.first, self.last]
            self._launch = wp.launch(world_loop_kernel, dim=1, inputs=inputs, device="cpu", record_cmd=True)
            self._kept.append(table)
        self._launch.launch()
