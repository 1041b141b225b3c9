"""Training runs without a screen."""

import io
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from trainers.algorithm import Algorithm
from trainers.fit import train
from trainers.options import RunOptions
from trainers.run_folder import RunFolder


def runner(options: RunOptions):
    """A function that trains an algorithm in a folder, by these options, up to a number of iterations."""

    def run(algorithm: Algorithm, path: Path, iterations: int, *, resume: bool = False) -> Algorithm:
        silent = Console(file=io.StringIO())
        train(algorithm, replace(options, iterations=iterations), RunFolder(path), silent, resume=resume)
        return algorithm

    return run
