"""Plants faults in the code, one at a time, and runs the tests that should notice them.

    python -m benchmarks.mutants                 # all of mutants.toml; exit status 1 if fewer than 95 % are caught
    python -m benchmarks.mutants sac ppo         # those whose name contains one of these words

A mutant is a line that is changed as the module is imported: no file is written. Each runs in a fork of this process,
which has imported the large libraries, and ends with the first test that fails. The tests must pass without faults.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
import tempfile
import time
import tomllib
import traceback
import types
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

ROOT = Path(__file__).parents[1]
LIBRARIES = ("torch", "warp", "mujoco", "gymnasium", "lightning.pytorch.loggers", "scipy.stats", "pytest")
REQUIRED = 0.95
"""Fraction of mutants that the tests must catch."""
INTERNAL_ERROR = 3  # pytest's exit status


class Mutant(NamedTuple):
    """A fault.

    Attributes:
        name: what is wrong.
        module: imported name of the module.
        old: text that occurs once in its source.
        new: text in its place.
        tests: files, folders or names of tests, from the root of the repository.
    """

    name: str
    module: str
    old: str
    new: str
    tests: tuple[str, ...]


def read_mutants() -> list[Mutant]:
    """The mutants of mutants.toml: tables by module, each with `tests` and `faults`, of name, old and new text."""
    tables = tomllib.loads(Path(__file__).with_suffix(".toml").read_text())
    return [
        Mutant(name, f"diffsim.{module}", old, new, tuple(f"tests/{test}" for test in table["tests"]))
        for module, table in tables.items()
        for name, old, new in table["faults"]
    ]


def mutated(mutant: Mutant, source: str) -> str:
    """The source with the fault. Raises ValueError unless the old text occurs exactly once."""
    if (count := source.count(mutant.old)) != 1:
        raise ValueError(f"{mutant.module} must have {mutant.old!r} once, for {mutant.name!r}, got {count} times")
    return source.replace(mutant.old, mutant.new)


def fits(mutant: Mutant) -> bool:
    """Whether the source has the text that the fault replaces; the code may have changed since it was written."""
    return source_file(mutant).read_text().count(mutant.old) == 1


class _Importer(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module with its fault."""

    def __init__(self, mutant: Mutant) -> None:
        self.mutant = mutant

    def find_spec(self, name: str, path: object = None, target: object = None) -> importlib.machinery.ModuleSpec | None:
        if name != self.mutant.module:
            return None
        file = source_file(self.mutant)
        return importlib.util.spec_from_file_location(name, file, loader=self)

    def exec_module(self, module: types.ModuleType) -> None:
        assert module.__file__ is not None
        source = mutated(self.mutant, Path(module.__file__).read_text())
        exec(compile(source, module.__file__, "exec"), module.__dict__)


def source_file(mutant: Mutant) -> Path:
    """The file of its module."""
    return ROOT / Path(*mutant.module.split(".")).with_suffix(".py")


def is_caught(mutant: Mutant) -> bool:
    """Whether a test fails, in a fork of this process.

    Raises: RuntimeError with pytest's output, if it could not run the tests.
    """
    with tempfile.TemporaryFile("w+") as output:
        child = os.fork()
        if not child:
            _run(mutant, output.fileno())
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status not in (0, 1):
            output.seek(0)
            raise RuntimeError(f"pytest ended with status {status}:\n{output.read()[-3000:]}")
    return status == 1


def _run(mutant: Mutant, output: int) -> NoReturn:
    """Runs the tests in this process, and ends it with pytest's exit status."""
    status = INTERNAL_ERROR
    try:
        for stream in (1, 2):
            os.dup2(output, stream)
        os.chdir(ROOT)
        sys.meta_path.insert(0, _Importer(mutant))
        pytest = importlib.import_module("pytest")
        status = int(pytest.main(["-q", "-x", "-n", "0", "-p", "no:cacheprovider", *mutant.tests]))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def main(words: Sequence[str]) -> int:
    """Runs the mutants whose names or modules contain one of the words. Returns the exit status."""
    chosen = [m for m in read_mutants() if not words or any(word in f"{m.module} {m.name}" for word in words)]
    for library in LIBRARIES:
        importlib.import_module(library)
    importlib.import_module("torch").set_num_threads(1)
    caught = 0
    for mutant in chosen:
        start = time.monotonic()
        result = "no text" if not fits(mutant) else "caught" if is_caught(mutant) else "missed"
        caught += result == "caught"
        print(f"{result:7} {time.monotonic() - start:5.0f} s  {mutant.module}: {mutant.name}", flush=True)
    print(f"{caught} of {len(chosen)} mutants caught")
    return int(caught < REQUIRED * len(chosen))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
