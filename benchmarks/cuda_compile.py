"""Compilation of the simulator's kernels for GPUs, and the resources of each: no GPU is needed.

From an empty cache, for models of growing size: wall-clock seconds with one process per core, processor seconds, and
memory of the largest process. For every kernel: registers, stack, and loads and stores of local memory (spills).

    python -m benchmarks.cuda_compile --arch 80 90 100
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.command import make_parser, page, parse, table
from benchmarks.cubin import kernel_resources
from benchmarks.runs import read_rows, write_rows
from diffsim.collision.geometry import COLLIDERS
from diffsim.engine.compilation import Module, compile_modules, default_processes, find_module, modules_of
from diffsim.tasks import TASKS

STAGES = ("implicit", "implicit_adjoint", "implicit_bias", "implicit_forces", "implicit_fluid", "implicit_lines")
STAGES += ("joined", "lines", "lines_gradient", "ellipsoids", "servos", "parameters", "sensed")
TIMED = ("Hopper-v5", "Humanoid-v5", "everything")
MAIN_ARCH = 90
ARCHITECTURES = (80, 90, 100)
"""Those of the page."""
BEFORE = """One kernel for all of a launch, as before (sm_90, float64, one core): `step` 130 s and 1.5 GB, `adjoint`
459 s and 4.6 GB; 255 registers and 4 kB of stack, one thread per world."""


@dataclass
class KernelRow:
    """A kernel, and its module's compilation."""

    arch: int
    precision: str
    module: str
    kernel: str
    seconds: float
    memory: float
    registers: int
    stack: int
    loads: int
    stores: int
    code: int


@dataclass
class TimeRow:
    """Compilation of all modules of a model from an empty cache."""

    arch: int
    precision: str
    model: str
    modules: int
    processes: int
    wall: float
    processor: float
    memory: float


def modules(model: str) -> list[Module]:
    """The modules of a task, or of a model with every feature."""
    if model != "everything":
        return modules_of(TASKS[model](num_envs=1).simulator.model)
    found = modules_of(TASKS["Humanoid-v5"](num_envs=1).simulator.model)
    found += [Module(f"diffsim.stages.{name}", 256) for name in STAGES]
    for collide in COLLIDERS.values():
        found += [Module(f"diffsim.stages.{kind}.{collide.key}", 256) for kind in ("collide", "collide_gradient")]
    return list(dict.fromkeys(found))


def measure(arch: int, precision: str, model: str, folder: Path) -> tuple[TimeRow, list[KernelRow]]:
    """Compiles a model's modules into an empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    needed, start = modules(model), time.monotonic()
    compiled = compile_modules(needed, arch, folder)
    wall, rows = time.monotonic() - start, []
    for module, seconds, memory in compiled:
        name = module.name.removeprefix("diffsim.").removeprefix("stages.")
        identifier = find_module(module.name).get_module_identifier(module.block_dim)
        for resources in kernel_resources(next(folder.rglob(f"{identifier}.sm{arch}*.cubin"))):
            kernel = resources.name.split("_cuda_kernel")[0].rsplit("_", 1)[0].rpartition("locals__")[2]
            rows.append(KernelRow(arch, precision, name, kernel, seconds, memory, *resources[1:]))
    processor = sum(one.seconds for one in compiled)
    memory = max(one.memory for one in compiled)
    return TimeRow(arch, precision, model, len(needed), default_processes(), wall, processor, memory), rows


def write_page(times: list[TimeRow], kernels: list[KernelRow], command: str, path: Path) -> None:
    """Writes the page."""
    timed = table(
        "GPU | kernels | model | modules: | wall s: | processor s: | largest process GB:",
        (
            (f"sm_{t.arch}", t.precision, t.model, t.modules, f"{t.wall:.0f}", f"{t.processor:.0f}", f"{t.memory:.2f}")
            for t in times
        ),
    )
    parts = [f"From an empty cache, {times[0].processes} processes.", timed, BEFORE]
    most = []
    for arch, precision in dict.fromkeys((row.arch, row.precision) for row in kernels):
        own = [row for row in kernels if (row.arch, row.precision) == (arch, precision)]
        spilling = [row for row in own if row.loads + row.stores > 5]
        worst = max(own, key=lambda row: row.loads + row.stores)
        most.append(
            (
                f"sm_{arch}",
                precision,
                len(own),
                max(row.registers for row in own),
                max(row.stack for row in own),
                len(spilling),
                f"{worst.kernel} ({worst.loads} and {worst.stores})",
            )
        )
    header = "GPU | kernels | number: | most registers: | largest stack B: | with more than 5 local accesses: | most"
    parts += ["Resources of all kernels:", table(header, most)]
    first = [row for row in kernels if (row.arch, row.precision) == (MAIN_ARCH, "float64")]
    if first:
        header = "module | kernel | processor s: | registers: | stack B: | local loads: | local stores: | code kB:"
        rows = (
            (r.module, r.kernel, f"{r.seconds:.1f}", r.registers, r.stack, r.loads, r.stores, r.code // 1000)
            for r in sorted(first, key=lambda row: (row.module, row.kernel))
        )
        parts += ["Each kernel for sm_90 in float64; seconds are those of its module:", table(header, rows)]
    path.write_text(page("Compilation for GPUs", command, *parts))


def measure_part(arch: int, precision: str, output: Path) -> None:
    """Measures one architecture in this process's precision, and writes the rows."""
    times, kernels = [], []
    with tempfile.TemporaryDirectory() as folder:
        for model in TIMED if arch == MAIN_ARCH else TIMED[-1:]:
            row, kernels = measure(arch, precision, model, Path(folder) / "cache")
            times.append(row)
    write_rows(times, output / f"times-{precision}-{arch}.csv")
    write_rows(kernels, output / f"kernels-{precision}-{arch}.csv")


def main(arguments: list[str] | None = None) -> None:
    """Runs the benchmark."""
    parser = make_parser("cuda_compile", __doc__)
    parser.add_argument("--arch", type=int, nargs="+", default=[90, 80, 100], help="compute capabilities")
    parser.add_argument("--precision", nargs="+", choices=["float64", "float32"], default=["float64", "float32"])
    parser.add_argument("--part", action="store_true", help="measure in this process, and write no page")
    options = parse(parser, arguments)
    pairs = [(precision, arch) for arch in options.arch for precision in options.precision]
    if options.part:
        for precision, arch in pairs:
            measure_part(arch, precision, options.output)
        return
    for precision, arch in pairs:
        command = [sys.executable, "-m", "benchmarks.cuda_compile", "--part", "--precision", precision]
        command += ["--arch", str(arch), "--output", str(options.output)]
        subprocess.run(command, check=True, env=os.environ | {"DIFFSIM_KERNELS": precision, "DIFFSIM_X64": "0"})
    files = [f"{precision}-{arch}.csv" for precision in ("float64", "float32") for arch in ARCHITECTURES]
    times = [row for file in files for row in read_rows(TimeRow, options.output / f"times-{file}")]
    kernels = [row for file in files for row in read_rows(KernelRow, options.output / f"kernels-{file}")]
    write_page(times, kernels, "cuda_compile", options.output / "README.md")


if __name__ == "__main__":
    main()
