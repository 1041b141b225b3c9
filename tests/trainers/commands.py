"""Runs `diffsim` in the process of the test, and reads the run folder that it wrote."""

import csv

import torch

from diffsim.trainers.cli import main
from diffsim.trainers.run.registry import ALGORITHMS, choose
from diffsim.trainers.run.run_folder import RunFolder
from diffsim.trainers.value_gradient.off_policy import OffPolicy


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


def shortening(name, horizon=8):
    """Options that shorten `diffsim fit` with an algorithm to a second; its horizon to 8 at most."""
    algorithm = choose("algorithm", name, ALGORITHMS)
    words = ["--iterations", 2, "--num_envs", 2, "--evaluate_episodes", 1, "--final_episodes", 1]
    if issubclass(algorithm, OffPolicy):
        words += ["--steps", 12, "--warmup_steps", 8, "--batch_size", 8]
    if "horizon" in algorithm.options:
        words += ["--horizon", min(horizon, 8)]
    return words
