"""Runs `diffsim` in the process of the test, and reads the run folder that it wrote."""

import csv

import torch

from diffsim.trainers.cli import main
from diffsim.trainers.run.run_folder import RunFolder


def diffsim(*words):
    """Runs the command. Returns its exit status."""
    return main([str(word) for word in words])


def metrics(folder):
    """Rows of metrics.csv as text, without times."""
    with RunFolder(folder).metrics.open() as file:
        return [{k: v for k, v in row.items() if not k.endswith("seconds")} for row in csv.DictReader(file)]


def saved(folder):
    """The last checkpoint."""
    return torch.load(RunFolder(folder).checkpoint, weights_only=True)
