"""Parts of `benchmarks.gpu`: each measures its items one after the other, until its time is spent."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, TypeVar

import torch
import warp as wp
from torch import Tensor

import diffsim
from benchmarks.gpu_cases import Case, Skip, Worlds, error, modules, read_reference, visited
from benchmarks.gpu_report import Clock, Heading, Report, Row
from benchmarks.runs import CONFIGS
from diffsim.engine.checks import deferred_checks
from diffsim.engine.compilation import compile_modules, is_compiled
from diffsim.physics.scratch import FIELDS, RARE_FIELDS
from diffsim.trainers.algorithm import Algorithm
from diffsim.trainers.run.arguments import RunOptions, parse_fit, pick, resolved
from diffsim.trainers.run.build import build
from diffsim.types import kernel_dtype

SPEED = ("Hopper-v5", "Ant-v5", "Humanoid-v5", "unitree_go2_mjx")
MANY = 4096
"""Worlds of the checks of repeatability and of graphs, at most."""
LIMITS = {torch.float64: (1e-8, 1e-6), torch.float32: (1e-5, 1e-4)}
"""Largest errors of values and gradients, by the precision of tensors, with kernels in float64. On the CPU float32 has
up to 2e-6 and 2e-5, from rounding; on a GPU the order of operations differs, too."""
MEBIBYTE = 2**20

Item = TypeVar("Item")


@dataclass
class Setup:
    """What is measured, and where."""

    device: str
    worlds: list[int]
    cases: dict[str, Case | Skip]
    reference: Path
    env_steps: int
    report: Report
    clock: Clock

    def each(self, part: str, items: Iterable[Item], measure: Callable[[Item], tuple[Row, str]]) -> None:
        """Measures items and adds their rows. An error is reported, and the next item is measured."""
        for item in items:
            words = " ".join(map(str, item)) if isinstance(item, tuple) else str(item)
            if self.clock.left <= 0:
                self.report.skip(part, words, "no time left")
                continue
            try:
                self.report.add(part, *measure(item))
            except Skip as reason:
                self.report.skip(part, words, reason)
            except torch.cuda.OutOfMemoryError:
                self.report.skip(part, words, "out of memory")
            except Exception as failure:  # noqa: BLE001  (reported; the other results count)
                self.report.fail(part, f"{words}: {type(failure).__name__}: {failure}".strip()[:2000])
            gc.collect()
            if self.on_cuda:
                torch.cuda.empty_cache()

    @property
    def on_cuda(self) -> bool:
        """Whether the device is a GPU."""
        return self.device != "cpu"

    @property
    def many(self) -> int:
        """Worlds of the checks of repeatability and of graphs."""
        return min(MANY, max(self.worlds))

    def case(self, name: str) -> Case:
        """A case.

        Raises: Skip if its file was not found.
        """
        found = self.cases[name]
        if isinstance(found, Skip):
            raise found
        return found

    def synchronize(self) -> None:
        """Waits for the device."""
        if self.on_cuda:
            torch.cuda.synchronize(self.device)


def check_modules(setup: Setup) -> None:
    """Counts the compiled modules, and compiles the others."""

    def measure(_: str) -> tuple[Row, str]:
        if not setup.on_cuda:
            raise Skip("they are for GPUs")
        needed = {module for case in setup.cases.values() if isinstance(case, Case) for module in modules(case)}
        arch = wp.get_device(setup.device).arch
        ready = sum(is_compiled(module, arch) for module in needed)
        start = time.monotonic()
        compile_modules(needed, arch, report=lambda line: print(line, flush=True))
        seconds = time.monotonic() - start
        return {"architecture": arch, "modules": len(needed), "compiled before": ready, "seconds": seconds}, ""

    setup.each("modules", ["modules"], measure)


def check_parity(setup: Setup) -> None:
    """Compares values and gradients with those in the file."""

    def measure(name: str) -> tuple[Row, str]:
        expected = read_reference(setup.case(name), setup.reference)
        start = time.monotonic()
        worlds = Worlds(setup.case(name), len(expected["state"]), setup.device)
        inputs = worlds.tensors(expected)
        found = worlds.results(*inputs) | worlds.more_results(*inputs)
        errors = {key: error(key, value.double().cpu().numpy(), expected[key]) for key, value in found.items()}
        row = {"case": name, **errors, "seconds": time.monotonic() - start}
        if kernel_dtype == torch.float32:
            return row, ""  # stiff contacts have no digits to compare
        value_limit, slope_limit = LIMITS[diffsim.dtype]
        limits = {key: slope_limit if "gradient" in key or key == "Jacobian" else value_limit for key in errors}
        over = [f"{key} {value:.1e} > {limits[key]:.0e}" for key, value in errors.items() if not value <= limits[key]]
        return row, f"{name}: {', '.join(over)}" if over else ""

    setup.each("parity", setup.cases, measure)


def check_repeatability(setup: Setup) -> None:
    """Compares results bit by bit: of two calls, of other numbers of worlds, and of worlds in another order."""

    def measure(name: str) -> tuple[Row, str]:
        arrays = visited(setup.case(name))
        few, many = (Worlds(setup.case(name), n, setup.device) for n in (len(arrays["state"]), setup.many))
        inputs = many.tensors(arrays)
        first, second = many.results(*inputs), many.results(*inputs)
        order = torch.randperm(setup.many, generator=torch.Generator().manual_seed(0)).to(setup.device)
        shuffled = many.results(*(x[order] for x in inputs))
        alone = few.results(*few.tensors(arrays))
        index = torch.arange(setup.many, device=setup.device) % len(arrays["state"])
        holds = {
            "two calls": same(first, second),
            "other order": same({key: value[order] for key, value in first.items()}, shuffled),
            "other number": same({key: value[index] for key, value in alone.items()}, first),
        }
        broken = [key for key, value in holds.items() if not value]
        return {"case": name, "worlds": setup.many, **holds}, f"{name}: {', '.join(broken)}" if broken else ""

    setup.each("repeatability", setup.cases, measure)


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    """Whether tensors of the same names are the same bit for bit."""
    return all(torch.equal(value, second[name]) for name, value in first.items())


def check_graphs(setup: Setup) -> None:
    """Compares replayed graphs with launches that are not captured, bit by bit."""

    def measure(name: str) -> tuple[Row, str]:
        worlds = Worlds(setup.case(name), setup.many, setup.device)
        inputs = worlds.tensors(visited(setup.case(name)))
        worlds.results(*(torch.zeros_like(x) + x.mean(0) for x in inputs))  # captures, at other inputs
        replayed = worlds.results(*inputs)
        worlds.simulator.launch.captured = None
        equal = same(replayed, worlds.results(*inputs))
        return {"case": name, "worlds": setup.many, "same bits": equal}, "" if equal else f"{name} differs"

    setup.each("graphs", SPEED, measure)


def check_windows(setup: Setup) -> None:
    """Compares SHAC with windows as CUDA graphs to SHAC without, bit by bit, after a few iterations."""

    def measure(name: str) -> tuple[Row, str]:
        if not setup.on_cuda:
            raise Skip("a CPU captures no windows")
        row: Row = {"case": name}
        ends = []
        for graph in ("false", "true"):
            small = ("--horizon=8", "--num_envs=64", "--actor_epochs=1", "--value_epochs=1")
            algorithm = shac(setup, f"--task={name}", f"--cuda_graph={graph}", *small)
            algorithm.train_iteration()  # compiles and captures
            start = time.monotonic()
            for _ in range(3):
                algorithm.train_iteration()
            row["ms, captured" if graph == "true" else "ms, not captured"] = 1e3 * (time.monotonic() - start) / 3
            ends.append(dict(algorithm.policy.named_parameters()))
        row["same bits"] = same(*ends)
        return row, "" if row["same bits"] else f"{name} differs"

    setup.each("windows", [SPEED[0]], measure)


def measure_speed(setup: Setup) -> None:
    """Steps per second, and memory."""

    def measure(item: tuple[int, str]) -> tuple[Row, str]:
        count, name = item
        case = setup.case(name)
        arrays = visited(case, min(count, 256))
        before = peak(setup)
        worlds = Worlds(case, count, setup.device)
        state, action = worlds.tensors(arrays)
        simulator, steps = worlds.simulator, worlds.num_steps
        state = state[:, : simulator.model.nq + simulator.model.nv]

        def both() -> None:
            leaves = [x.detach().requires_grad_() for x in (state, action)]
            simulator.step(*leaves, num_steps=steps).sum().backward()

        forward_seconds = best_time(setup, lambda: simulator.step(state, action, num_steps=steps))
        forward_peak = peak(setup)
        both_seconds = best_time(setup, both)
        both_peak = peak(setup)
        row: Row = {"case": name, "worlds": count}
        for kind, seconds in (("forward", forward_seconds), ("forward + backward", both_seconds)):
            row[f"{kind}, ms"] = 1e3 * seconds
            row[f"{kind}, mj_steps/s"] = count * steps / seconds
            row[f"{kind}, env steps/s"] = count / seconds
        if setup.on_cuda:
            row["forward, MiB"] = (forward_peak - before) / MEBIBYTE
            row["forward + backward, MiB"] = (both_peak - before) / MEBIBYTE
            free, total = torch.cuda.mem_get_info(setup.device)
            row["in use, MiB"] = (total - free) / MEBIBYTE
        row["working memory, MiB"] = sum(map(size, simulator.launch.scratches)) / MEBIBYTE
        return row, ""

    first = sorted(setup.worlds, key=lambda count: abs(count - MANY))  # the most important before time runs out
    setup.each("speed", product(first, SPEED), measure)


def best_time(setup: Setup, call: Callable[[], object], seconds: float = 0.5, repeats: int = 3) -> float:
    """Seconds per call: the best of some repeats of about `seconds` each. Checks wait for the device once in each."""

    def run(calls: int) -> float:
        start = time.perf_counter()
        with deferred_checks():
            for _ in range(calls):
                call()
        setup.synchronize()
        return time.perf_counter() - start

    run(1)  # captures
    calls = min(100, max(1, round(seconds / run(1))))
    return min(run(calls) for _ in range(repeats)) / calls


def peak(setup: Setup) -> int:
    """Largest memory of torch since the last call, bytes; 0 on the CPU."""
    if not setup.on_cuda:
        return 0
    largest = torch.cuda.max_memory_allocated(setup.device)
    torch.cuda.reset_peak_memory_stats(setup.device)
    return largest


def size(scratch: Any) -> int:  # noqa: ANN401  (a Warp struct instance)
    """Bytes of the simulator's working memory. Worlds that share memory have stride 0."""
    arrays = [getattr(scratch, name) for name in FIELDS]
    arrays += [getattr(scratch.rare.members, name) for name in RARE_FIELDS]
    return sum(
        array.size * wp.types.type_size_in_bytes(array.dtype) // (1 if array.strides[0] else array.shape[0])
        for array in arrays
    )


def shac(setup: Setup, *options: str) -> Algorithm:
    """SHAC with the options of HalfCheetah-v5's configuration, and others."""
    config = f"--config={CONFIGS / 'shac_half_cheetah.yaml'}"
    bounds = ["--termination_bounds=null"] if any(word.startswith("--task=") for word in options) else []
    values = resolved(parse_fit([config, f"--device={setup.device}", *bounds, *options]))
    return build(RunOptions(**pick(values, RunOptions)), values)


def train(setup: Setup) -> None:
    """Trains SHAC on HalfCheetah-v5, and evaluates it in the official environment ten times."""

    def measure(name: str) -> tuple[Row, str]:
        algorithm, seconds = shac(setup, f"--decay_env_steps={setup.env_steps}"), 0.0
        before = setup.clock.left
        curve = setup.report.data["curve"] = [[0, 0.0, algorithm.evaluate()["return"]]]
        evaluation = before - setup.clock.left
        while algorithm.env_steps < setup.env_steps and setup.clock.left > evaluation:
            start = time.monotonic()
            algorithm.train_iteration()
            seconds += time.monotonic() - start
            if algorithm.crossed(max(1, setup.env_steps // 10)):
                curve.append([algorithm.env_steps, seconds, algorithm.evaluate()["return"]])
                setup.report.save()
        if curve[-1][0] < algorithm.env_steps:
            curve.append([algorithm.env_steps, seconds, algorithm.evaluate()["return"]])
        steps, seconds, reached = curve[-1]
        row = {"case": name, "env steps": steps, "of": setup.env_steps, "seconds": seconds}
        return {**row, "env steps/s": steps / max(seconds, 1e-9), "official return": reached}, ""

    setup.each("training", ["SHAC on HalfCheetah-v5"], measure)


PARTS: dict[str, tuple[Callable[[Setup], None], float, Heading]] = {
    "modules": (check_modules, 0.01, Heading("Modules", "Kernels compiled before the run, and what the others took.")),
    "parity": (
        check_parity,
        0.26,
        Heading(
            "Parity",
            "One control step, and gradients of a weighted sum of the next state and the reward, beside the CPU's in "
            "float64. Errors are those of the worst of 16 worlds, relative to its largest gradient, or to 1 + its "
            "largest value. Seconds include the first launches.",
        ),
    ),
    "repeatability": (
        check_repeatability,
        0.13,
        Heading("Repeatability", "Whether next states, rewards, forces and gradients are the same bit for bit."),
    ),
    "graphs": (
        check_graphs,
        0.07,
        Heading("Graphs", "Whether replayed graphs and launches that are not captured give the same bits."),
    ),
    "speed": (
        measure_speed,
        0.25,
        Heading(
            "Speed and memory",
            "Control steps of all worlds from visited states in contact, with the time of checks. MiB: torch's largest "
            "allocation, which includes the working memory; in use: of the whole GPU, also by graphs and modules.",
        ),
    ),
    "training": (
        train,
        0.25,
        Heading("Training", "Seconds without evaluations. Returns: three episodes of Gymnasium's environment."),
    ),
    "windows": (  # last, as a failed capture may leave the GPU unusable for the process
        check_windows,
        0.03,
        Heading("Windows", "Iterations of SHAC, 64 worlds and 8 steps, with each window as one graph and without."),
    ),
}
"""Parts by name: function, share of the time, heading."""
