"""`diffsim completion`: prints a script that completes commands, options and names in a shell."""

from __future__ import annotations

import argparse
import contextlib
import io
import re
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from rich.console import Console

from diffsim.tasks import task_ids
from diffsim.trainers.cli import COMMANDS, load
from diffsim.trainers.run.arguments import CONFIGS, RunOptions, parameters_of
from diffsim.trainers.run.extras import import_extra
from diffsim.trainers.run.parsing import GIVEN, make_parser, parse
from diffsim.trainers.run.registry import ALGORITHMS, POLICIES, choose

FOLDERS = ("evaluate", "play", "export", "report", "model-report")
"""Commands whose first word is a folder."""
FILES = ("compare", "sweep")
"""Commands whose first word is a file."""
PATHS = ("--run", "--resume", "--output", "--data")
HOW = """Print a script for a shell, which completes commands, options and names. \
bash: diffsim completion bash > ~/.local/share/bash-completion/completions/diffsim. \
zsh: diffsim completion zsh > FOLDER/_diffsim, for a FOLDER in $fpath. \
fish: diffsim completion fish > ~/.config/fish/completions/diffsim.fish"""


def completion_command(argv: Sequence[str], console: Console) -> None:
    """Prints the script for the shell that `argv` names.

    Raises: UsageError without the completion extra.
    """
    parser = make_parser("completion", HOW)
    parser.add_argument("shell", type=Literal["bash", "zsh", "fish"], help="bash, zsh or fish.")
    shell = parse(parser, argv).shell
    shtab = import_extra("completion", "completion", "shtab")
    console.file.write(f"{shtab.complete(completed_parser(shtab), shell)}\n")


def completed_parser(shtab: Any) -> argparse.ArgumentParser:
    """A parser with all commands, the options of each, and the names that some of them take."""
    parser = argparse.ArgumentParser("diffsim")
    parser.add_argument("--version", action="store_true", help="print the version")
    commands = parser.add_subparsers()
    names = {"--algorithm": [*ALGORITHMS], "--policy": [*POLICIES], "--task": task_ids(), "--config": configs()}
    for command, (_, purpose) in COMMANDS.items():
        own = commands.add_parser(command, help=purpose)
        for option in fit_options() if command == "fit" else listed_options(command):
            action = own.add_argument(option, choices=names.get(option))
            if option in PATHS:
                action.complete = shtab.FILE  # pyright: ignore[reportAttributeAccessIssue]
        if command in FOLDERS + FILES:
            path = own.add_argument("path")
            path.complete = shtab.FILE if command in FILES else shtab.DIRECTORY  # pyright: ignore
    return parser


def configs() -> list[str]:
    """Names of the shipped configurations of `diffsim fit`."""
    return sorted(path.stem for path in CONFIGS.glob("*.yaml"))


def fit_options() -> Iterable[str]:
    """The options of `diffsim fit`, with those of all algorithms and policies."""
    classes = [choose("algorithm", name, ALGORITHMS) for name in ALGORITHMS]
    classes += [choose("policy", name, POLICIES) for name in POLICIES]
    names = [*RunOptions.__dataclass_fields__, "config", "resume"]
    names += [name for cls in classes for name in parameters_of(cls) if name not in GIVEN]
    return [f"--{name}" for name in dict.fromkeys(names) if name not in ("args", "kwargs")]


def listed_options(command: str) -> Iterable[str]:
    """The options that the help of a command lists."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
        load(command)(["--help"], Console(file=io.StringIO()))
    found = re.findall(r"^  (?:-h, )?(--[\w-]+)", text.getvalue(), re.MULTILINE)
    return [option for option in dict.fromkeys(found) if option != "--help"]
