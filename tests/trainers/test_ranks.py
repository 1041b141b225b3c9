"""A run with two ranks against the same run with one."""

import csv
import io
import os
import socket
import sys
import tempfile
from pathlib import Path

import pytest
import torch
from rich.console import Console

import diffsim
from diffsim.trainers.errors import OptionError
from diffsim.trainers.run.arguments import RunOptions, parse_fit, pick, resolved
from diffsim.trainers.run.build import build
from diffsim.trainers.run.checkpoint import read_checkpoint
from diffsim.trainers.run.fit_command import fit_command
from diffsim.trainers.run.run_folder import RunFolder
from tests import processes
from tests.processes import Process

SETTINGS = {
    "BPTT": ["--horizon=6"],
    "SHAC": ["--horizon=6", "--policy=GaussianMLP", "--value_windows=2", "--truncation_rate=0.1", "--clip_ratio=2"],
    "Pegasus": ["--horizon=6"],
}
SHARED = ["--task=Hopper-v5", "--num_envs=6", "--evaluate_every=2", "--evaluate_episodes=1", "--final_episodes=1"]


def torchrun(module, words):
    """Runs two processes as `torchrun` does, which sets these variables. They must succeed. Returns their output."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        store = {"MASTER_ADDR": "localhost", "MASTER_PORT": str(free.getsockname()[1])}
    shared = {**os.environ, **store, "TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    with tempfile.TemporaryFile("w+") as output:
        ranks = [
            Process(("-m", module, *words), output, output, env=shared | {"RANK": str(k), "LOCAL_RANK": str(k)})
            for k in range(2)
        ]
        codes = [process.wait() for process in ranks]
        output.seek(0)
        printed = output.read()
    assert codes == [0, 0], printed
    return printed


def trained(folder):
    """Weights and buffers, optimizers' states, and metrics without times."""
    state = read_checkpoint(folder.checkpoint)
    moments = [optimizer["state"] for optimizer in state["optimizer_states"]]
    with folder.metrics.open(newline="") as file:
        rows = [{name: float(text) for name, text in row.items() if text} for row in csv.DictReader(file)]
    return state["state_dict"], moments, [{k: v for k, v in row.items() if "seconds" not in k} for row in rows]


def test_two_processes_share_worlds():
    checks = str(Path(__file__).with_name("ranks_checks.py"))
    assert torchrun("pytest", ["-q", "-p", "no:cacheprovider", "-n", "0", checks]).count("10 passed") == 2


JOIN = """
import sys
from diffsim.trainers.run.ranks import any_rank, joined, num_ranks, rank
with joined("cpu"), open(f"{sys.argv[1]}{rank()}", "w") as file:
    file.write(f"{num_ranks()} {any_rank(rank() == 1)}")
"""


def test_torchrun_itself_gives_ranks(tmp_path):
    words = ["--standalone", "--nproc-per-node=2", "--no-python", sys.executable, "-c", JOIN, tmp_path / "rank"]
    processes.run("-m", "torch.distributed.run", *words, check=True)
    assert [(tmp_path / f"rank{k}").read_text() for k in range(2)] == ["2 True", "2 True"]


def test_sharing_needs_a_process_group():
    with pytest.raises(ValueError, match="process group"):
        diffsim.shard(diffsim.make("Hopper-v5", num_envs=2))


def test_sharing_needs_the_simulator(monkeypatch):
    task = diffsim.make("Hopper-v5", num_envs=2)
    monkeypatch.setattr(task, "simulated", False)
    with pytest.raises(ValueError, match="task must run on the simulator, got Hopper"):
        diffsim.shard(task)


@pytest.mark.parametrize("algorithm", SETTINGS)
def test_two_ranks_train_as_one_rank_and_resume(algorithm, tmp_path):
    one, two = RunFolder(tmp_path / "one"), RunFolder(tmp_path / "two")
    words = [*SHARED, *SETTINGS[algorithm], f"--algorithm={algorithm}"]
    fit_command([*words, "--iterations=4", f"--run={one.path}"], Console(file=io.StringIO()))
    first = 4 if algorithm == "Pegasus" else 2
    output = torchrun("diffsim.trainers.cli", ["fit", *words, f"--iterations={first}", f"--run={two.path}"])
    assert output.count("official return, 1 episodes") == 1  # only rank 0 prints
    if algorithm == "SHAC":
        torchrun("diffsim.trainers.cli", ["fit", f"--resume={two.path}", "--iterations=4"])
    elif algorithm == "BPTT":  # by one rank alone
        fit_command([f"--resume={two.path}", "--iterations=4"], Console(file=io.StringIO()))
    assert two.machine.read_text().splitlines()[0].endswith("; 2 ranks")
    *found, rows = trained(two)
    *expected, expected_rows = trained(one)
    torch.testing.assert_close(found, expected)
    for row, expected_row in zip(rows, expected_rows, strict=True):
        assert row == pytest.approx(expected_row)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--num_envs=7"], "num_envs must be a multiple of 2 to be shared by 2 ranks, got 7"),
        (["--algorithm=PPO"], "algorithm must learn through the simulator to be shared by 2 ranks, got 'PPO'"),
        (["--dynamics=finite_differences"], "dynamics must be simulator to be shared by 2 ranks"),
    ],
)
def test_runs_that_ranks_cannot_share_are_rejected(words, message, monkeypatch):
    monkeypatch.setattr("diffsim.trainers.run.build.num_ranks", lambda: 2)
    values = resolved(parse_fit(["--task=Hopper-v5", *words]))
    with pytest.raises(OptionError, match=message):
        build(RunOptions(**pick(values, RunOptions)), values)
