"""Installs the pretended device in torch, Warp and Lightning, for this process and for good."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
import torch._dynamo
import torch._inductor  # imported before anything is replaced
import warp as wp

from tests.pretend_cuda.devices import CURRENT, NUM_DEVICES, Generator, full_device
from tests.pretend_cuda.libraries import UnavailableError
from tests.pretend_cuda.tensors import Cuda, Mode
from tests.pretend_cuda.waits import COUNTS, RECORDING, wait


def install() -> None:
    """Installs the device, and tries it.

    Raises: UnavailableError if torch or Warp do not work as this device expects.
    """
    try:
        _install_torch()
        _install_warp()
        _install_engine()
        _install_lightning()
        Mode().__enter__()
        _try_out()
    except (AttributeError, ImportError, RuntimeError, TypeError, AssertionError) as error:
        raise UnavailableError(f"torch's internals have moved: {error}") from error


def _try_out() -> None:
    """Computes a gradient on the device."""
    x = torch.arange(3.0, device="cuda:1", requires_grad=True)
    (x.cos() * torch.randn(3, generator=torch.Generator("cuda:1"), device="cuda:1")).sum().backward()
    assert x.grad is not None and x.grad.device == torch.device("cuda:1"), "a gradient is on another device"


class _Stream:
    """A stream of the device: nothing runs apart from the host."""

    def __init__(self, device: Any = None) -> None:
        self.device, self.cuda_stream = full_device(device or "cuda"), 0

    def synchronize(self) -> None:
        wait("synchronize")

    def wait_stream(self, other: Any) -> None:
        pass


class _Graph:
    """A CUDA graph: the operations of a capture, done again with the present numbers in the same memory."""

    def __init__(self) -> None:
        self.operations: list[Callable[[], None]] = []

    def replay(self) -> None:
        COUNTS["graphs"] += 1
        for operation in self.operations:
            operation()


@contextmanager
def _capture(graph: _Graph) -> Iterator[None]:
    """Captures what the device does; it runs, too, which it would not on a GPU."""
    RECORDING.append(graph.operations)
    try:
        yield
    finally:
        RECORDING.pop()


def _install_torch() -> None:
    torch.__future__.set_swap_module_params_on_conversion(True)  # a moved parameter stays the same object
    torch.Generator = Generator
    torch.inference_mode = lambda mode=True: torch.no_grad() if mode else torch.enable_grad()

    def set_device(device: Any) -> None:
        CURRENT[0] = device if isinstance(device, int) else (torch.device(device).index or 0)
        torch._C._accelerator_setDeviceIndex(CURRENT[0])

    properties = SimpleNamespace(name="pretended", total_memory=1, major=9, minor=0, multi_processor_count=132)
    for name, value in {
        "_lazy_init": lambda: None,
        "is_available": lambda: True,
        "is_initialized": lambda: True,
        "device_count": lambda: NUM_DEVICES,
        "current_device": lambda: CURRENT[0],
        "set_device": set_device,
        "get_device_name": lambda device=None: "pretended",
        "get_device_properties": lambda device=None: properties,
        "get_device_capability": lambda device=None: (9, 0),
        "synchronize": lambda device=None: wait("synchronize"),
        "current_stream": _Stream,
        "Stream": _Stream,
        "stream": nullcontext,
        "CUDAGraph": _Graph,
        "graph": _capture,
        "memory_allocated": lambda device=None: 0,
        "max_memory_allocated": lambda device=None: 0,
        "reset_peak_memory_stats": lambda device=None: None,
        "mem_get_info": lambda device=None: (2**30, 2**30),
        "empty_cache": lambda: None,
        "is_current_stream_capturing": lambda: bool(RECORDING),
        "manual_seed": lambda seed: None,
        "manual_seed_all": lambda seed: None,
        "get_rng_state_all": list,
        "set_rng_state_all": lambda states: None,
    }.items():
        getattr(torch.cuda, name)  # raises if torch has no such function any more
        setattr(torch.cuda, name, value)
    torch.version.cuda = "13.0"
    torch.backends.cuda.is_built = lambda: True
    torch._C._cuda_getCompiledVersion = lambda: 13000
    torch._C._cuda_getDeviceCount = lambda: NUM_DEVICES
    torch.tensor, torch.as_tensor = _moving(torch.tensor), _moving(torch.as_tensor)


def _moving(make: Any) -> Any:
    """A function that makes a tensor on the CPU, and then moves it."""

    def call(data: Any, *args: Any, device: Any = None, requires_grad: bool = False, **kwargs: Any) -> torch.Tensor:
        made = make(data, *args, **kwargs)
        made = made if device is None else made.to(device)
        return made.requires_grad_() if requires_grad else made

    return call


def _install_warp() -> None:
    """Gives Warp's CPU device the names of the pretended ones."""
    wp.init()
    runtime = wp._src.context.runtime
    for index in range(NUM_DEVICES):
        runtime.device_map[f"cuda:{index}"] = runtime.cpu_device
    from_torch, launch, replay, get_device = wp.from_torch, wp.launch, wp.capture_launch, wp.get_device

    def pretended_from_torch(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> wp.array:
        tensor = tensor.detach()
        array = from_torch(tensor.elem if isinstance(tensor, Cuda) else tensor, *args, **kwargs)
        array.pretended = isinstance(tensor, Cuda)
        return array

    def pretended_launch(kernel: Any, *args: Any, **kwargs: Any) -> Any:
        COUNTS["launches"] += 1
        cuda = str(kwargs.get("device")).startswith("cuda")
        arrays = [value for value in kwargs.get("inputs", ()) if isinstance(value, wp.array)]
        assert all(getattr(array, "pretended", cuda) == cuda for array in arrays), f"{kernel.key}: array elsewhere"
        again = partial(launch, kernel, *args, **{**kwargs, "stream": None})
        if RECORDING:
            RECORDING[0].append(again)
        return again()

    def pretended_replay(graph: Any, stream: Any = None) -> None:
        COUNTS["replays"] += 1
        assert not RECORDING, "a graph cannot be launched in a capture"
        replay(graph)

    def pretended_device(device: Any = None) -> Any:
        cuda = str(device).startswith("cuda")
        pretended = SimpleNamespace(is_cuda=True, is_cpu=False, alias=str(device), arch=90)
        return pretended if cuda else get_device(device)

    wp.from_torch, wp.launch, wp.capture_launch = pretended_from_torch, pretended_launch, pretended_replay
    wp.get_device = pretended_device
    wp.synchronize_device = lambda device=None: wait("synchronize")
    wp.stream_from_torch = lambda stream=None: None


def _install_engine() -> None:
    """Runs the kernels for CUDA with one lane per world, without a compiler for CUDA."""
    import diffsim.engine.compilation
    import diffsim.engine.launch
    import diffsim.engine.stages

    diffsim.engine.stages.lanes_of = diffsim.engine.launch.lanes_of = lambda model: 1
    diffsim.engine.launch.prepare = lambda *arguments: None
    diffsim.engine.compilation.compile_modules = lambda *arguments, **options: []


def _install_lightning() -> None:
    import lightning.fabric.accelerators.cuda as fabric
    from lightning.pytorch.accelerators.cuda import CUDAAccelerator

    CUDAAccelerator.is_available = staticmethod(lambda: True)
    CUDAAccelerator.auto_device_count = staticmethod(lambda: NUM_DEVICES)
    CUDAAccelerator.get_parallel_devices = staticmethod(lambda devices: [torch.device("cuda", i) for i in devices])
    CUDAAccelerator.setup_device = lambda self, device: torch.cuda.set_device(device)
    CUDAAccelerator.teardown = lambda self: None
    fabric.num_cuda_devices = lambda: NUM_DEVICES
    fabric.is_cuda_available = lambda: True
    fabric._get_all_visible_cuda_devices = lambda: list(range(NUM_DEVICES))
