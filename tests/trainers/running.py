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
        folder, silent = RunFolder(path), Console(file=io.StringIO())
        checkpoint = folder.checkpoint if resume else None
        train(algorithm, replace(options, iterations=iterations), folder, silent, checkpoint)
        return algorithm

    return run
