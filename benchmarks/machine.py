"""Where results are kept, and the machine and versions that they come from."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from diffsim.trainers.run.machine import describe_machine

RESULTS = Path(__file__).parent / "results"

__all__ = ["RESULTS", "describe_machine", "positive"]


def positive(kind: Callable[[str], Any]) -> Callable[[str], Any]:
    """An argparse type that takes only numbers above zero."""

    def parse(text: str) -> Any:
        value = kind(text)
        if value <= 0:
            raise argparse.ArgumentTypeError(f"must be > 0, got {text}")
        return value

    return parse
