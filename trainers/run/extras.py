"""Packages that are not installed with diffsim, but by one of its extras."""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

from diffsim.trainers.errors import UsageError


def require_extra(what: str, extra: str, *packages: str) -> None:
    """Raises UsageError that names the extra unless all of its packages are installed."""
    if any(importlib.util.find_spec(package) is None for package in packages):
        raise UsageError(f'{what} needs the "{extra}" extra: pip install "diffsim-rl[{extra}]"')


def import_extra(what: str, extra: str, package: str) -> ModuleType:
    """The package `package` of an extra.

    Raises: UsageError that names the extra if it is not installed.
    """
    require_extra(what, extra, package)
    return importlib.import_module(package)
