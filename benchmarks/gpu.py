"""Checks and measures the simulator on a GPU, in a few minutes: parity with the CPU, repeatability, graphs, speed,
memory, and a training run.

    python -m benchmarks.gpu --prepare KERNELS --robots ROBOTS                # on any machine: compile for a GPU
    WARP_CACHE_PATH=KERNELS python -m benchmarks.gpu --check --robots ROBOTS  # on the GPU's machine

`--check` writes a JSON file and a page after each result, so that a run that is stopped loses nothing. It ends with
status 1 if a check failed. Its reference values are in a file that `--reference` writes on a CPU, in float64.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import torch
import warp as wp

import diffsim
from benchmarks.command import RESULTS, make_parser, parse, positive
from benchmarks.gpu_cases import Case, Skip, find_cases, make_reference, modules, write_reference
from benchmarks.gpu_parts import PARTS, Setup
from benchmarks.gpu_report import Clock, Report
from diffsim.engine.compilation import compile_modules


def parser() -> argparse.ArgumentParser:
    """Options of the program."""
    result = make_parser("gpu", __doc__)
    modes = result.add_mutually_exclusive_group(required=True)
    modes.add_argument("--check", action="store_true", help="check and measure")
    modes.add_argument("--prepare", type=Path, metavar="KERNELS", help="fill a kernel cache for a GPU's machine")
    modes.add_argument("--reference", action="store_true", help="write the reference values")
    add = result.add_argument
    here = "cuda:0" if torch.cuda.is_available() else "cpu"
    add("--device", default=here, help="default: the first GPU, or else the CPU")
    add("--worlds", nargs="+", type=positive(int), default=[256, 4096, 32768], help="default 256 4096 32768")
    add("--seconds", type=positive(float), default=450.0, help="time of all parts, default 450")
    add("--parts", nargs="+", choices=list(PARTS), default=list(PARTS), help="default: all")
    add("--env-steps", type=positive(int), default=100_000, help="of the training run, default 100000")
    add("--robots", type=Path, help="folder with robots' MJCF files; without it, no robots")
    add("--arch", type=positive(int), default=90, help="compute capability for --prepare, default 90")
    return result


def reference(options: argparse.Namespace) -> None:
    """Writes the reference values, in a process with float64."""
    if diffsim.dtype != torch.float64:
        arguments = ["--reference", "--output", str(options.output)]
        arguments += [] if options.robots is None else ["--robots", str(options.robots)]
        command = [sys.executable, "-m", "benchmarks.gpu", *arguments]
        subprocess.run(command, env={**os.environ, "DIFFSIM_X64": "1"}, check=True)
        return
    results = {case.name: make_reference(case) for case in present(find_cases(options.robots))}
    write_reference(results, options.output / "reference.npz")


def prepare(options: argparse.Namespace) -> None:
    """Compiles the modules of all cases to where Warp looks for them if WARP_CACHE_PATH names the folder."""
    folder = options.prepare / wp.config.version
    needed = {module for case in present(find_cases(options.robots)) for module in modules(case)}
    compile_modules(needed, options.arch, folder, report=lambda line: print(line, flush=True))
    for source in folder.rglob("*.cu"):
        source.unlink()  # Warp loads the code without it
    print(f"{len(needed)} modules for sm_{options.arch} are in {options.prepare}: set WARP_CACHE_PATH to it")


def present(cases: dict[str, Case | Skip]) -> list[Case]:
    """The cases that were found; prints why the others were not."""
    for name, case in cases.items():
        if isinstance(case, Skip):
            print(f"{name} skipped: {case}", flush=True)
    return [case for case in cases.values() if isinstance(case, Case)]


def check(options: argparse.Namespace, command: str) -> bool:
    """Runs the parts; returns whether all checks held."""
    report = Report(options.output, command, options.device, {name: part[2] for name, part in PARTS.items()})
    path = options.output / "reference.npz"
    setup = Setup(
        device=options.device,
        worlds=options.worlds,
        cases=find_cases(options.robots),
        reference=path if path.exists() else RESULTS / "gpu" / path.name,
        env_steps=options.env_steps,
        report=report,
        clock=Clock(options.seconds),
    )
    total = sum(PARTS[name][1] for name in options.parts)
    for name in options.parts:
        part, share, _ = PARTS[name]
        setup.clock.begin(share / total)
        part(setup)
    print(f"{len(report.data['failed'])} checks failed, {setup.clock.passed:.0f} s", flush=True)
    return not report.data["failed"]


def main(arguments: list[str] | None = None) -> None:
    """Prepares, checks, or writes the reference values."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parse(parser(), arguments)
    if options.reference:
        reference(options)
    elif options.prepare:
        prepare(options)
    elif not check(options, " ".join(arguments)):
        sys.exit(1)


if __name__ == "__main__":
    main()
