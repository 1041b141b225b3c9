"""`diffsim compile`: compiles the kernels of a task or a model for GPUs, ahead of time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console

from diffsim.checks import did_you_mean
from diffsim.compile.model import Model
from diffsim.compile.unsupported import UnsupportedModelError
from diffsim.engine.compilation import CompilationError, compile_modules, modules_of
from diffsim.engine.simulator import Simulator
from diffsim.tasks import find_task, task_ids
from diffsim.trainers.errors import FailedRunsError, OptionError
from diffsim.trainers.options import check_fields
from diffsim.trainers.run.parsing import make_parser, parse


@dataclass(frozen=True)
class CompileOptions:
    """Options of `diffsim compile`.

    Args:
        model: id of a task (see `diffsim tasks`), or path of an MJCF file.
        arch: compute capability, 90 for an H100 or H200, or a list of several; None for those of this machine's GPUs.
        output: folder of the compiled modules; None for the cache where the simulator looks for them.
        processes: number of compiling processes; 0 for one per core, as far as memory allows.
        forward_only: leave out the gradients.
        parameters: include gradients by physical parameters.
    """

    model: str
    arch: int | list[int] | None = None
    output: str | None = None
    processes: int = 0
    forward_only: bool = False
    parameters: bool = False

    def __post_init__(self) -> None:
        check_fields(self, {"processes": ">= 0"})
        for arch in self.given:
            if arch < 70:
                raise OptionError(f"arch must be at least 70 (Volta, the oldest with independent threads), got {arch}")

    @property
    def given(self) -> list[int]:
        """The compute capabilities of the option."""
        return [self.arch] if isinstance(self.arch, int) else self.arch or []

    @property
    def architectures(self) -> list[int]:
        """The compute capabilities."""
        if self.given:
            return self.given
        found = {torch.cuda.get_device_capability(i) for i in range(torch.cuda.device_count())}
        if not found:
            raise OptionError("arch must be given where there is no GPU, for example --arch 90 for an H100 or H200")
        return sorted(10 * major + minor for major, minor in found)


def compile_command(argv: Sequence[str], console: Console) -> None:
    """Compiles what the options in `argv` name.

    Raises: OptionError if the model or an option is not valid; FailedRunsError if the compiler fails.
    """
    parser = make_parser("compile", "Compile the kernels of a task or a model for GPUs, ahead of time.")
    parser.usage = "diffsim compile MODEL [options]"
    parser.add_class_arguments(CompileOptions)
    given = parse(parser, [f"--model={argv[0]}", *argv[1:]] if argv and not argv[0].startswith("-") else argv)
    options = CompileOptions(**given.as_dict())
    architectures = options.architectures
    modules = modules_of(find_model(options.model), adjoint=not options.forward_only, parameters=options.parameters)
    folder = None if options.output is None else Path(options.output)
    for arch in architectures:
        try:
            compiled = compile_modules(
                modules, arch, folder, options.processes or None, lambda line: console.print(line, highlight=False)
            )
        except CompilationError as error:
            raise FailedRunsError(str(error)) from None
        if not compiled:
            console.print(f"all {len(modules)} modules are compiled for sm_{arch}", highlight=False)


def find_model(name: str) -> Model:
    """The model of a task's id, or of an MJCF file.

    Raises: OptionError if there is none, or if it has unsupported features.
    """
    try:
        task = find_task(name)
        if task is not None:
            simulator = getattr(task(num_envs=1), "simulator", None)
            if not isinstance(simulator, Simulator):
                raise OptionError(f"model must have kernels to compile, got {name!r}, which the simulator does not run")
            return simulator.model
        if Path(name).is_file():
            return Model.from_mjcf(name)
    except (UnsupportedModelError, ValueError) as error:
        raise OptionError(f"model {name!r} cannot be simulated: {error}") from None
    hint = did_you_mean(name, task_ids())
    raise OptionError(f"model must be the id of a task or the path of an MJCF file, got {name!r}{hint}")
