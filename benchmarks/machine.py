"""Command line of a benchmark, the folder of its results, and the machine and versions that they come from."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from diffsim.trainers.run.machine import describe_machine

RESULTS = Path(__file__).parent / "results"

__all__ = ["RESULTS", "describe_machine", "made_by", "make_parser", "paragraphs", "positive"]


def paragraphs(doc: str | None) -> list[str]:
    """Paragraphs of a module's docstring."""
    return (doc or "").strip().split("\n\n")


def make_parser(name: str, doc: str | None) -> argparse.ArgumentParser:
    """A parser for `python -m benchmarks.<name>`, described by the first paragraph of the module's docstring."""
    return argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=paragraphs(doc)[0])


def made_by(command: str) -> str:
    """Date, machine and versions, and the command that made a page."""
    return f"{datetime.now(UTC):%Y-%m-%d}, {describe_machine()}. Made by `{command}`"


def positive(kind: Callable[[str], Any]) -> Callable[[str], Any]:
    """An argparse type for numbers above zero."""

    def parse(text: str) -> Any:
        value = kind(text)
        if value <= 0:
            raise argparse.ArgumentTypeError(f"must be > 0, got {text}")
        return value

    return parse
