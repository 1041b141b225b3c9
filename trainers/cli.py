"""The `diffsim` command. A command's module is imported when it runs, so that --help is quick."""

from __future__ import annotations

import atexit
import gc
import importlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

from diffsim.checks import did_you_mean
from diffsim.trainers.errors import FailedRunsError, NonFiniteError, StoppedError, UsageError, WorkerError

COMMANDS = {
    "fit": ("run.fit_command:fit_command", "train a policy, or continue a run"),
    "evaluate": (
        "run.evaluate_command:evaluate_command",
        "evaluate a trained policy in the official Gymnasium environment",
    ),
    "play": ("run.play_command:play_command", "show a trained policy in MuJoCo's viewer"),
    "export": ("run.export_command:export_command", "write a trained policy as ONNX, TorchScript or arrays"),
    "compare": ("compare.compare:compare_command", "train many algorithms on many tasks, and write one report"),
    "sweep": ("sweep.sweep:sweep_command", "search for good options by Optuna, and write a report"),
    "report": ("compare.report:report_command", "write the report of a comparison from the runs that exist"),
    "gradients": (
        "gradients.gradients:gradients",
        "compare estimators of the policy gradient: variance, bias and cost by horizon",
    ),
    "zoo": ("zoo.zoo:zoo_command", "list the trained policies that are shipped"),
    "tasks": ("run.task_table:print_tasks", "list the environments and which of their features are supported"),
    "configs": ("run.task_table:print_configs", "list the configurations that are shipped"),
    "compile": (
        "run.compile_command:compile_command",
        "compile the kernels of a task or a model for GPUs, ahead of time",
    ),
    "collect": ("run.collect_command:collect_command", "record experience, as data for a model"),
    "fit-model": ("run.fit_model:fit_model", "fit a model of an environment to data"),
    "model-report": (
        "examine.report:model_report",
        "examine a model: errors, calibration, and the policy gradient through it",
    ),
    "completion": ("run.completion_command:completion_command", "print a script that completes words in a shell"),
}
"""Module and function of each command, and what it does. The function takes the arguments and a console."""

PURPOSES = "\n".join(f"  {name:<12}  {purpose}" for name, (_, purpose) in COMMANDS.items())
USAGE = f"""usage: diffsim COMMAND [options]

Model-based reinforcement learning through differentiable MuJoCo physics.

commands:
{PURPOSES}

diffsim COMMAND --help lists the options of a command; diffsim --version prints the version.
Modules of the current folder can be named:
  diffsim fit --config quickstart
  diffsim fit --task my_module:MyTask-v0 --algorithm my_module:MyAlgorithm --policy my_module:MyPolicy
"""


def load(command: str) -> Callable[..., Any]:
    """Imports the function of a command without the garbage collector, which would take a fifth of the time."""
    module, _, function = COMMANDS[command][0].partition(":")
    collecting = gc.isenabled()
    gc.disable()
    try:
        return getattr(importlib.import_module(f"diffsim.trainers.{module}"), function)
    finally:
        if collecting:
            gc.enable()


def run(command: str, argv: Sequence[str]) -> None:
    """Runs a command, with a console on standard output."""
    from rich.console import Console

    load(command)(argv, Console())


def ignore_interrupts_at_exit() -> None:
    """Ignores Ctrl-C while Python ends: a person who presses it again needs no traceback of a library's clean-up."""
    atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command. Returns 0, or 2 if its arguments are wrong, or 1 if it fails; prints why in one line.

    After Ctrl-C it returns 130, and after a SIGTERM that ended training 143.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # a person's own modules, as with `python -m`
    if not argv or argv[0] in ("-h", "--help"):
        print(USAGE, end="")
        return 0 if argv else 2
    if argv[0] == "--version":
        print(f"diffsim {version('diffsim-rl')}")
        return 0
    if argv[0] not in COMMANDS:
        hint = did_you_mean(argv[0], COMMANDS)
        print(f"diffsim: command must be one of {', '.join(COMMANDS)}, got {argv[0]!r}{hint}", file=sys.stderr)
        return 2
    name = f"diffsim {argv[0]}"
    try:
        run(argv[0], argv[1:])
    except UsageError as error:
        print(f"{name}: error: {error}", file=sys.stderr)
        return 2
    except (NonFiniteError, WorkerError, FailedRunsError, OSError, ImportError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    except StoppedError as error:
        ignore_interrupts_at_exit()
        return error.status
    except KeyboardInterrupt:
        ignore_interrupts_at_exit()
        print(f"{name}: interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
