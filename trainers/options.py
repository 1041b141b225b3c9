"""Declarations of options, made by `diffsim.options`, and checks of dataclasses of options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diffsim.checks import Rule, check_values
from diffsim.options import RENAMED, Option, bound, buffer, declare, given, option
from diffsim.trainers.errors import option_errors

__all__ = ["RENAMED", "Option", "bound", "buffer", "check_fields", "declare", "given", "option"]


def check_fields(options: Any, rules: Mapping[str, Rule]) -> None:
    """Checks fields of a dataclass of options by their rules; None is always valid.

    Raises: OptionError, as `name must be rule, got value`.
    """
    with option_errors():
        for name, rule in rules.items():
            check_values(rule, **{name: getattr(options, name)})
