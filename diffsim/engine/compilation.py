"""Compiles the stage kernels of a model: several modules side by side, once per machine.

Warp compiles a module at its first launch, one after the other. `prepare` does it before: for the CPU in threads, for
CUDA by `compile_modules`, in processes, which needs no GPU. Warp finds the results in its kernel cache.
"""

from __future__ import annotations

import fcntl
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import warp as wp

from diffsim.collision.geometry import COLLIDERS
from diffsim.compile.model import Model
from diffsim.engine.stages import Stages, lanes_of
from diffsim.engine.world_loop import WorldLoop
from diffsim.physics.derived import body_quantities_kernel
from diffsim.physics.lanes import WORLDS_PER_BLOCK
from diffsim.physics.points import points_kernel
from diffsim.physics.tangent import to_tangent_kernel
from diffsim.stages.collide import detection_kernel, gradient_kernel

WORKER_MEMORY = 0.9
"""Memory of a compiling process, GB."""


class Module(NamedTuple):
    """A Warp module, and the size of the blocks that it is launched with."""

    name: str
    block_dim: int


class Compiled(NamedTuple):
    """A module that was compiled, and what it took."""

    module: Module
    seconds: float  # of the processor
    memory: float  # GB, the largest of its process so far


class CompilationError(RuntimeError):
    """A module could not be compiled."""


class _Recorder(Stages):
    """Records the modules that a model's launches need, and launches nothing."""

    def __init__(self, model: Model, looped: bool) -> None:
        names = ("implicit", "neq", "nellipsoid", "nline", "nservo", "fluid", "contact_terms", "noslip")
        fields = {name: model.field(name) for name in names}
        loop = WorldLoop(0, 0) if looped else None
        super().__init__(model, SimpleNamespace(**fields), None, 1, "none", loop=loop)
        self.modules: dict[Module, None] = {}

    def _pairs(self) -> dict[tuple[int, int], Any]:
        return self.model.kinds

    def _convex_pairs(self, height_fields: bool) -> Any:  # noqa: ANN401
        return self.model.convex_pairs(height_fields)

    def _each(self, kernel: wp.Kernel, *arguments: Any) -> None:  # noqa: ANN401, ARG002
        self.modules[Module(kernel.module.name, WORLDS_PER_BLOCK * self.lanes)] = None

    def _threads(self, kernel: wp.Kernel, threads: int, *arguments: Any) -> None:  # noqa: ANN401, ARG002
        self.modules[Module(kernel.module.name, 256)] = None


def modules_of(
    model: Model, forward: bool = True, adjoint: bool = True, parameters: bool = False, looped: bool = False
) -> list[Module]:
    """The modules of a model's launches on CUDA, or of its loops over worlds on the CPU.

    Args:
        model: the model.
        forward: whether to include steps and evaluations, and what tasks observe.
        adjoint: whether to include gradients.
        parameters: whether to include the gradient by physical parameters.
        looped: whether to list those of the CPU.
    """
    recorder = _Recorder(model, looped)
    small = []
    if forward:
        recorder.step(None, None, None, 1, None, None, None)
        recorder.evaluate(None, None, None, None, None)
        small += [points_kernel, body_quantities_kernel]
    if adjoint:
        recorder.step_adjoint(None, 1, None, *[None] * (10 if parameters else 9))
        small.append(to_tangent_kernel)
    block_dim = WORLDS_PER_BLOCK * lanes_of(model)
    return [*recorder.modules, *(Module(kernel.module.name, block_dim) for kernel in small)]


def prepare(model: Model, device: str, adjoint: bool, parameters: bool) -> None:
    """Compiles what forward launches, or those of the adjoint, need on a device, unless it is in the cache."""
    modules = modules_of(model, not adjoint, adjoint, parameters, looped=device == "cpu")
    if device == "cpu":
        load_stages([module for module in modules if module.name.startswith("diffsim.stages.")])
    else:
        compile_modules(modules, wp.get_device(device).arch)


def load_stages(modules: Iterable[Module]) -> None:
    """Loads modules on the CPU, in a thread per core. Those that are not in the cache are compiled.

    One process compiles at a time, so that several which start together do not all compile the same modules.
    """
    missing = [found for found in (find_module(module.name) for module in _longest_first(modules)) if not found.execs]
    if not missing:
        return
    processes = default_processes()
    if not all(map(_is_compiled_for_cpu, missing)):
        with _lock():
            compiled = [module for module in missing if not _is_compiled_for_cpu(module)]
            if compiled:
                place = f"once for this machine (kept in {cache_folder()})"
                print(f"diffsim: compiling {len(compiled)} modules for the CPU, {place}", file=sys.stderr)
                wp.force_load("cpu", modules=compiled, max_workers=processes)
    wp.force_load("cpu", modules=missing, max_workers=processes)


@contextmanager
def _lock() -> Iterator[None]:
    """Waits until no other process is in this block with the same cache."""
    cache_folder().mkdir(parents=True, exist_ok=True)
    with (cache_folder() / "diffsim.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)  # a fork of this process may still have the file open


def _is_compiled_for_cpu(module: wp.Module) -> bool:
    """Whether a module's code for the CPU is in the cache."""
    return any((cache_folder() / module.get_module_identifier(1)).glob("*.o"))


def find_module(name: str) -> wp.Module:
    """The Warp module of a name, with its kernels."""
    for prefix, maker in (("collide", detection_kernel), ("collide_gradient", gradient_kernel)):
        for kinds, collide in COLLIDERS.items():
            if name == f"diffsim.stages.{prefix}.{collide.key}":
                return maker(*kinds).module
    return wp.get_module(name)


def is_compiled(module: Module, arch: int, folder: Path | None = None) -> bool:
    """Whether a module's code for an architecture is in the cache, or in a folder of `compile_modules`."""
    identifier = find_module(module.name).get_module_identifier(module.block_dim)
    place = (folder or cache_folder()) / identifier
    return all((place / f"{identifier}.{end}").is_file() for end in (f"sm{arch}.cubin", "meta"))


def cache_folder() -> Path:
    """Warp's kernel cache."""
    wp.init()  # sets it
    return Path(wp.config.kernel_cache_dir)


def compile_module(module: Module, arch: int, folder: Path) -> None:
    """Compiles a module in this process, to FOLDER/IDENTIFIER/IDENTIFIER.smARCH.cubin, as in Warp's kernel cache."""
    compiled = find_module(module.name)
    before = compiled.options["block_dim"]
    compiled.options["block_dim"] = module.block_dim
    try:
        target = folder / compiled.get_module_identifier(module.block_dim)
        wp.compile_aot_module(compiled, arch=arch, use_ptx=False, module_dir=str(target))
    finally:
        compiled.options["block_dim"] = before


def compile_modules(
    modules: Iterable[Module],
    arch: int,
    folder: Path | None = None,
    processes: int | None = None,
    report: Callable[[str], None] = lambda line: print(line, file=sys.stderr),
) -> list[Compiled]:
    """Compiles modules that are not in the cache.

    Args:
        modules: see `modules_of`.
        arch: compute capability, 90 for sm_90.
        folder: where to write; None for Warp's kernel cache.
        processes: number of compiling processes; None for one per core, as far as memory allows.
        report: called with a line of progress when a module is done.

    Returns: what was compiled.

    Raises:
        CompilationError: has the compiler's message.
    """
    start = time.monotonic()
    missing = [module for module in modules if not is_compiled(module, arch, folder)]
    if not missing:
        return []
    processes = min(len(missing), processes or default_processes())
    folder = folder or cache_folder()
    report(f"diffsim: compiling {len(missing)} modules for sm_{arch}, once for this machine (kept in {folder})")
    queue = list(reversed(_longest_first(missing)))
    failures: list[str] = []
    done: list[Compiled] = []
    lock = threading.Lock()

    def work() -> None:
        with _Worker(arch, folder) as worker:
            while not failures:
                with lock:
                    if not queue:
                        return
                    module = queue.pop()
                compiled, message = worker.compile(module)
                with lock:
                    if compiled is None:
                        failures.append(f"{module.name} for sm_{arch}: {message}")
                    else:
                        done.append(compiled)
                        short = module.name.removeprefix("diffsim.").removeprefix("stages.")
                        report(f"  [{len(done)}/{len(missing)}] {short} {compiled.seconds:.1f} s")

    threads = [threading.Thread(target=work) for _ in range(processes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise CompilationError(failures[0])
    report(f"diffsim: compiled in {time.monotonic() - start:.0f} s")
    return done


def default_processes() -> int:
    """One process per core, as far as the free memory allows."""
    pages = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
    return max(1, min(len(os.sched_getaffinity(0)), int(pages / WORKER_MEMORY)))


SLOW = (
    "box_box",
    "respond",
    "collect",
    "smooth",
    "power",
    "capsule_cylinder",
    "implicit_adjoint",
    "elements",
    "rows",
    "capsule_box",
    "joined",
    "lines_gradient",
    "virtual",
    "gather",
)
"""Parts of the names of modules that compile for long; they start first, so that none is left for the end."""


def _longest_first(modules: Iterable[Module]) -> list[Module]:
    """Modules that compile for long first."""

    def rank(module: Module) -> int:
        return next((i for i, name in enumerate(SLOW) if name in module.name), len(SLOW))

    return sorted(modules, key=rank)


class _Worker:
    """A process that compiles modules whose names it reads."""

    def __init__(self, arch: int, folder: Path) -> None:
        command = [sys.executable, "-m", "diffsim.engine.compilation", str(arch), str(folder)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)

    def compile(self, module: Module) -> tuple[Compiled | None, str]:
        """Compiles a module; returns what it took, or what went wrong."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.process.stdin.write(f"{module.name} {module.block_dim}\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line.startswith("done"):
                seconds, memory = map(float, line.split()[1:])
                return Compiled(module, seconds, memory), ""
        return None, self.process.stderr.read()[-2000:] or "the compiler stopped"

    def __enter__(self) -> _Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


def _end_with(parent: int) -> None:
    """Ends this process, and what it compiles, when its parent has ended, by whatever signal."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _worker_main() -> None:
    """Compiles modules that standard input names."""
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    arch, folder = int(sys.argv[1]), Path(sys.argv[2])
    for line in sys.stdin:
        name, block_dim = line.split()
        start = time.process_time()
        compile_module(Module(name, int(block_dim)), arch, folder)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print("done", time.process_time() - start, memory, flush=True)


if __name__ == "__main__":
    _worker_main()
