"""Command line of a benchmark, and its page of results in Markdown."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from diffsim.trainers.run.machine import describe_machine

RESULTS = Path(__file__).parent / "results"


def make_parser(name: str, doc: str | None, *, runs: bool = False) -> argparse.ArgumentParser:
    """A parser for `python -m benchmarks.<name>`, described by the first paragraph of the module's docstring."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=paragraphs(doc)[0])
    if runs:
        parser.add_argument("--runs", type=Path, default=Path("runs") / name, help="folder of the runs")
    parser.add_argument("--output", type=Path, default=RESULTS / name, help="folder of the results")
    return parser


def parse(parser: argparse.ArgumentParser, arguments: list[str] | None) -> argparse.Namespace:
    """Parses the options, creates the folder of the results, and limits PyTorch to one thread."""
    options = parser.parse_args(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    return options


def positive(kind: Callable[[str], Any]) -> Callable[[str], Any]:
    """An argparse type for numbers above zero."""

    def number(text: str) -> Any:
        value = kind(text)
        if value <= 0:
            raise argparse.ArgumentTypeError(f"must be > 0, got {text}")
        return value

    return number


def arguments_of(options: Any, *names: str) -> str:
    """Some options as command-line arguments."""
    return " ".join(f"--{name} {getattr(options, name)}" for name in names)


def paragraphs(doc: str | None) -> list[str]:
    """Paragraphs of a module's docstring."""
    return (doc or "").strip().split("\n\n")


def page(title: str, command: str, *parts: str, note: str = "") -> str:
    """A page: title; date, machine and command, with a note; and paragraphs or tables. Empty parts are left out."""
    made = f"{datetime.now(UTC):%Y-%m-%d}, {describe_machine()}. Made by `python -m benchmarks.{command}`{note}."
    return "\n\n".join([f"# {title}", made, *filter(None, parts)]) + "\n"


def table(header: str, rows: Iterable[Iterable[object]]) -> str:
    """A table. The titles in `header` are separated by |; columns whose title ends with a colon are right-aligned."""
    titles = header.split(" | ")
    rule = "|".join("---:" if title.endswith(":") else "---" for title in titles)
    lines = [" | ".join(title.removesuffix(":") for title in titles), *(" | ".join(map(str, row)) for row in rows)]
    first, *others = [f"| {line} |" for line in lines]
    return "\n".join([first, f"|{rule}|", *others])


def spread(values: Iterable[float], digits: int = 0) -> str:
    """Mean and population standard deviation; empty if there are no values."""
    found = list(values)
    return f"{np.mean(found):,.{digits}f} ± {np.std(found):,.{digits}f}" if found else ""
