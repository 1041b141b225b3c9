"""Expected times of the simulator on a GPU, from counted memory accesses: a prediction for the first run to test.

The stage kernels run on emulated lanes, compiled with a counter of every access to global memory. Between two syncs
the slowest lane decides; the sum of these maxima is the critical path of a world. States are visited by random
actions, in contact. The model of the GPU, whose numbers are assumptions, is in `GPU`.

    python -m benchmarks.cuda_model
"""

from __future__ import annotations

import ctypes
import math
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import torch
import warp as wp

import diffsim
from benchmarks.command import make_parser, page, parse, table
from benchmarks.runs import read_rows, write_rows
from diffsim.engine import stages
from diffsim.engine.lane_emulation import emulation
from diffsim.tasks import TASKS

NAMES = ("Hopper-v5", "Ant-v5", "Humanoid-v5")
WORLDS = (256, 1024, 4096, 32768)
SAMPLES = 4
"""States that are averaged."""
WARMUP = 60
"""Env steps before a state."""
ARGUMENTS = 65536
"""Bytes for the arguments of a kernel."""
COMPILER = ("g++", "-std=c++17", "-O2", "-fPIC", "-w")
COUNTER = Path(__file__).with_name("access_counter.cpp")


class Gpu(NamedTuple):
    """An H200, and what is assumed of code on it."""

    multiprocessors: int = 132
    clock: float = 1.7e9  # Hz, under load
    warps: int = 16  # resident per multiprocessor: 65,536 / (32 * 128 registers)
    issue: float = 4.0  # instructions per cycle of a multiprocessor
    instructions: float = 8.0  # per access of a lane: addresses, loop, arithmetic
    instruction_latency: float = 5.0  # cycles, dependent: 4 for integers and float32, 8 for some of float64
    cache_latency: float = 35.0  # cycles, of the multiprocessor's cache
    memory_latency: float = 270.0  # cycles, of the second-level cache
    overlap: float = 2.0  # accesses of a lane in flight
    cache: float = 200e3  # bytes of the multiprocessor's cache
    bandwidth: float = 4.3e12  # bytes/s of global memory, as measured on such a card
    sync: float = 30.0  # cycles
    launch: float = 2.5e-6  # s, of a kernel in a graph, with its start and end


GPU = Gpu()


@dataclass
class StageRow:
    """Counts of a stage's launches for one env step of one world, forward or in the adjoint."""

    task: str
    part: str
    kernel: str
    lanes: int  # 1 where a thread has one pair of geoms or one contact
    launches: int
    accesses: float
    critical: float  # accesses of the slowest lane between syncs, summed
    syncs: float
    sectors: float  # of 32 bytes, touched in a launch, summed over launches


@dataclass
class TimeRow:
    """Predicted time of an env step of N worlds."""

    task: str
    worlds: int
    forward: float  # s
    adjoint: float
    physics_steps: int

    @property
    def cells(self) -> list[str]:
        """A line of the table."""
        both = self.forward + self.adjoint
        rates = [self.worlds * self.physics_steps / seconds / 1e6 for seconds in (self.forward, both)]
        milliseconds = [f"{1e3 * seconds:.2f}" for seconds in (self.forward, self.adjoint)]
        return [self.task, f"{self.worlds:,}", *milliseconds, *(f"{rate:.2f}" for rate in rates)]


class Counter:
    """Counts accesses of stage kernels, by emulating their lanes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        library = folder / "counter.so"
        subprocess.run([*COMPILER, "-shared", str(COUNTER), "-o", str(library)], check=True)
        self.library = ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
        self.values = {name: ctypes.c_uint64.in_dll(self.library, name) for name in ("accesses", "bytes", "sectors")}
        self.arguments = ctypes.create_string_buffer(ARGUMENTS)
        start = ctypes.addressof(self.arguments)
        ctypes.c_uint64.in_dll(self.library, "ignored_start").value = start
        ctypes.c_uint64.in_dll(self.library, "ignored_end").value = start + ARGUMENTS
        self.counted: set[wp.Kernel] = set()
        self.phases: list[list[int]] = []
        self.totals: dict[tuple[str, int], np.ndarray] = defaultdict(lambda: np.zeros(5))
        self._emulation = emulation()
        self._pass_on = self._emulation._pass_on  # noqa: SLF001
        self._emulation._pass_on = self._finish_phase  # noqa: SLF001

    def _finish_phase(self) -> None:
        """Called where a lane syncs or ends: the accesses since its turn began belong to its phase."""
        lane = self._emulation._state.lane  # noqa: SLF001
        self.phases[lane].append(self.values["accesses"].value)
        self.values["accesses"].value = 0
        self._pass_on()

    def replace(self, kernel: wp.Kernel) -> None:
        """Makes a kernel's launches run its instrumented code."""
        if kernel in self.counted:
            return
        self.counted.add(kernel)
        wp.load_module(kernel.module, device="cpu")
        (executable,) = kernel.module.execs.values()
        hooks = executable.get_kernel_hooks(kernel)
        identifier = kernel.module.get_module_identifier(1)
        source = Path(wp.config.kernel_cache_dir) / identifier / f"{identifier}.cpp"
        target = self.folder / f"{identifier}.so"
        if not target.exists():
            instrumented = ["-fsanitize=thread", f"-I{Path(wp.__file__).parent / 'native'}", "-c", str(source)]
            subprocess.run([*COMPILER, *instrumented, "-o", str(target.with_suffix(".o"))], check=True)
            subprocess.run([*COMPILER, "-shared", str(target.with_suffix(".o")), "-o", str(target)], check=True)
        name = executable.get_kernel_mangled_name(kernel)
        function = ctypes.CDLL(str(target))[f"{name}_cpu_forward"]

        def forward(bounds: Any, arguments: Any) -> None:  # noqa: ANN401
            size = ctypes.sizeof(arguments._obj)  # noqa: SLF001
            ctypes.memmove(self.arguments, ctypes.addressof(arguments._obj), size)  # noqa: SLF001
            function(bounds, self.arguments)  # all lanes have the same arguments, and so share this copy

        hooks.forward = forward

    def with_lanes(self, launch: Callable[[], None], kernel: wp.Kernel, lanes: int) -> None:
        """Counts a launch with lanes."""
        self.replace(kernel)
        self._begin(lanes)
        launch()
        width = max(map(len, self.phases))
        counts = np.array([phases + [0] * (width - len(phases)) for phases in self.phases])
        self._end(kernel, lanes, counts.sum(), counts.max(0).sum(), width - 1)

    def alone(self, launch: Callable[[], None], kernel: wp.Kernel, threads: int) -> None:
        """Counts a launch whose threads have no lanes; the critical path is their mean."""
        self.replace(kernel)
        self._begin(1)
        launch()
        total = self.values["accesses"].value
        self._end(kernel, 1, total, total / max(1, threads // SAMPLES), 0)

    def _begin(self, lanes: int) -> None:
        self.phases = [[] for _ in range(lanes)]
        self.library.clear_sectors()
        self.values["accesses"].value = 0

    def _end(self, kernel: wp.Kernel, lanes: int, total: float, critical: float, syncs: float) -> None:
        sectors = self.values["sectors"].value
        one = np.array([total, critical, syncs, sectors]) / SAMPLES
        name = kernel.module.name.removeprefix("diffsim.stages.") + "." + kernel.key.rpartition(".")[2]
        self.totals[name, lanes] += [1, *one]


def visited_states(task: str) -> tuple[np.ndarray, np.ndarray]:
    """States and controls that random actions visit in the official environment."""
    env = gymnasium.make(task)
    env.action_space.seed(0)
    states, controls = [], []
    for sample in range(SAMPLES):
        env.reset(seed=sample)
        for _ in range(WARMUP):
            action = env.action_space.sample()
            if env.step(action)[2]:
                env.reset(seed=100 + sample)
        data = env.unwrapped.data  # pyright: ignore[reportAttributeAccessIssue]
        states.append(np.concatenate([data.qpos, data.qvel]))
        controls.append(action)
    return np.array(states), np.array(controls)


def count(task: str, folder: Path) -> list[StageRow]:
    """Counts the stages of an env step, forward and in the adjoint. Needs `DIFFSIM_LANES`."""
    made = TASKS[task](num_envs=SAMPLES)
    counter = Counter(folder)
    launch, single = stages.Stages._each, stages.Stages._threads  # noqa: SLF001

    def counted(self: stages.Stages, kernel: wp.Kernel, *arguments: Any) -> None:  # noqa: ANN401
        counter.with_lanes(lambda: launch(self, kernel, *arguments), kernel, self.lanes)

    def counted_alone(self: stages.Stages, kernel: wp.Kernel, threads: int, *arguments: Any) -> None:  # noqa: ANN401
        counter.alone(lambda: single(self, kernel, threads, *arguments), kernel, threads * self.num_worlds)

    stages.Stages._each, stages.Stages._threads = counted, counted_alone  # noqa: SLF001
    state, ctrl = (torch.tensor(value, dtype=diffsim.dtype) for value in visited_states(task))
    simulator = made.simulator
    rows = []
    state.requires_grad_()
    last = simulator.step(state, ctrl, made.frame_skip)
    parts = {"forward": dict(counter.totals)}
    counter.totals.clear()
    last.sum().backward()
    parts["adjoint"] = dict(counter.totals)
    for part, totals in parts.items():
        for (kernel, lanes), (launches, *numbers) in totals.items():
            rows.append(StageRow(task, part, kernel, lanes, int(launches), *map(float, numbers)))
    return rows


def seconds(row: StageRow, worlds: int, gpu: Gpu = GPU) -> float:
    """Predicted time of a stage's launches for N worlds."""
    per_warp = 32 // row.lanes if row.lanes > 1 else 32
    resident = gpu.multiprocessors * gpu.warps * per_warp
    threads = row.accesses / max(1.0, row.critical)
    waves = math.ceil(worlds / resident) if row.lanes > 1 else max(1.0, worlds * threads / resident)
    footprint = 32 * row.sectors / row.launches
    busy = min(gpu.warps * per_warp, math.ceil(worlds / gpu.multiprocessors))
    cached = min(1.0, gpu.cache / (busy * footprint)) if row.lanes > 1 else 1.0
    first = min(1.0, row.sectors / max(1.0, row.accesses))
    missed = first + (1 - first) * (1 - cached)
    latency = gpu.cache_latency + missed * (gpu.memory_latency - gpu.cache_latency)
    dependent = row.critical * (gpu.instructions * gpu.instruction_latency + latency / gpu.overlap)
    active = min(gpu.warps, math.ceil(worlds / per_warp / gpu.multiprocessors))
    issued = active * row.critical * gpu.instructions / gpu.issue
    cycles = waves * (max(dependent, issued) + row.syncs * gpu.sync)
    moved = worlds * 32 * row.sectors / gpu.bandwidth
    return max(cycles / gpu.clock, moved) + row.launches * gpu.launch


def predict(rows: list[StageRow]) -> list[TimeRow]:
    """Predicted times of all tasks."""
    times = []
    for task in dict.fromkeys(row.task for row in rows):
        steps = TASKS[task](num_envs=1).frame_skip
        for worlds in WORLDS:
            parts = {
                part: sum(seconds(row, worlds) for row in rows if (row.task, row.part) == (task, part))
                for part in ("forward", "adjoint")
            }
            times.append(TimeRow(task, worlds, parts["forward"], parts["adjoint"], steps))
    return times


def write_page(rows: list[StageRow], path: Path) -> None:
    """Writes the page."""
    header = "task | worlds: | forward ms: | adjoint ms: | forward M mj_steps/s: | forward and adjoint M mj_steps/s:"
    assumed = ", ".join(f"{name} {value:g}" for name, value in GPU._asdict().items())
    counts = (
        (r.task, r.part, r.kernel, r.lanes, r.launches, *(f"{n:,.0f}" for n in (r.accesses, r.critical, r.syncs)))
        for r in rows
    )
    titles = "task | part | kernel | lanes: | launches: | accesses: | critical path: | syncs:"
    text = page(
        "Expected times on an H200",
        "cuda_model",
        "Not measured on a GPU: a prediction from counts, for the first run to confirm or refute. Per env step.",
        table(header, (time.cells for time in predict(rows))),
        f"Assumed (`Gpu` in the benchmark says what each is): {assumed}. A stage takes the longer of its dependent"
        " chain, its instructions and its traffic, times the waves of worlds that fit the GPU, and its launches.",
        "Counted, per world and env step:",
        table(titles, counts),
    )
    path.write_text(text)


def main(arguments: list[str] | None = None) -> None:
    """Runs the benchmark."""
    parser = make_parser("cuda_model", __doc__)
    parser.add_argument("--task", choices=NAMES, help="count this task only, in this process, and write no page")
    options = parse(parser, arguments)
    if options.task:
        with tempfile.TemporaryDirectory() as folder:
            write_rows(count(options.task, Path(folder)), options.output / f"{options.task}.csv")
        return
    for task in NAMES:
        lanes = stages.lanes_of(TASKS[task](num_envs=1).simulator.model)
        command = [sys.executable, "-m", "benchmarks.cuda_model", "--task", task, "--output", str(options.output)]
        subprocess.run(command, check=True, env=os.environ | {"DIFFSIM_LANES": str(lanes)})
    rows = [row for task in NAMES for row in read_rows(StageRow, options.output / f"{task}.csv")]
    write_page(rows, options.output / "README.md")


if __name__ == "__main__":
    main()
