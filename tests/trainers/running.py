"""Training runs without output, and the check that resuming is exact."""

import io
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console

from diffsim.trainers.algorithm import Algorithm
from diffsim.trainers.run.arguments import RunOptions
from diffsim.trainers.run.checkpoint import read_checkpoint
from diffsim.trainers.run.fit_command import budget
from diffsim.trainers.run.run_folder import RunFolder
from diffsim.trainers.run.train import train


def runner(options: RunOptions):
    """A function that trains an algorithm in a folder, by these options, up to a number of iterations."""

    def run(algorithm: Algorithm, path: Path, iterations: int, *, resume: bool = False) -> Algorithm:
        folder, silent = RunFolder(path), Console(file=io.StringIO())
        checkpoint = folder.checkpoint if resume else None
        train(algorithm, budget(replace(options, iterations=iterations)), folder, silent, checkpoint)
        return algorithm

    return run


def assert_resumes_exactly(run, fresh, tmp_path: Path, trained: str, iterations: int = 6) -> list[dict[str, float]]:
    """Checks that a run with a stop halfway is bitwise equal to one without, and that weights called `trained` change.

    Returns: the rows of metrics.
    """
    whole = run(fresh(), tmp_path / "whole", iterations)
    run(fresh(), tmp_path / "parts", iterations // 2)
    halfway = read_checkpoint(RunFolder(tmp_path / "parts").checkpoint)
    assert halfway["diffsim"]["iteration"] == iterations // 2
    parts = run(fresh(), tmp_path / "parts", iterations, resume=True)
    assert whole.env_steps == parts.env_steps > 0 and whole.iteration == parts.iteration == iterations
    assert torch.equal(whole.generator.get_state(), parts.generator.get_state())
    for name, value in whole.state_dict().items():
        assert torch.equal(value, parts.state_dict()[name]), name
        assert trained not in name or not torch.equal(value, halfway["state_dict"][name]), name
    if hasattr(whole, "env"):
        for name, value in whole.env.state_dict().items():
            assert torch.equal(value, parts.env.state_dict()[name]), name
    rows = [RunFolder(tmp_path / name).read_metrics() for name in ("whole", "parts")]
    strip = [[{k: v for k, v in row.items() if not k.endswith("seconds")} for row in r] for r in rows]
    assert strip[0] == strip[1] and len(strip[0]) == iterations
    return rows[0]
