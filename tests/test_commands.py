"""The commands of the README and of docs/ run, shortened; `test_cli.py` runs those with a configuration."""

import shlex
from pathlib import Path

import pytest

from diffsim.trainers.likelihood_ratio import on_policy
from tests.test_readme import commands
from tests.trainers.commands import diffsim, shortening

ROOT = Path(__file__).parents[1]
FIT = [command for command in commands("diffsim fit --task ") if "$" not in command and "A3C" not in command]
"""All but those of A3C, whose processes are tested with it."""
CHAIN = {
    "fit --task Reacher-v5 --algorithm BPTT": [*shortening("BPTT"), "--hidden_sizes", "[4]"],
    "evaluate runs/Reacher-v5-BPTT-seed-0": ["--episodes", 1],
    "fit --resume runs/Reacher-v5-BPTT-seed-0": ["--iterations", 3],
    "collect --task InvertedPendulum-v5": ["--steps", 100],
    "fit-model --data data/InvertedPendulum-v5": ["--max_epochs", 1, "--hidden_sizes", "[4]"],
    "model-report runs/model-InvertedPendulum-v5-seed-0": ["--horizons", 3, "--num_envs", 4],
    "compare configs/compare/pendulums.yaml --check true": [],
}
"""How commands start that need what the ones before them wrote, and the options that shorten them."""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder with our configurations and examples, as the root of the repository."""
    for name in ("configs", "examples"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(on_policy, "NORMALIZER_WARM_UP_STEPS", 32)


@pytest.mark.parametrize("command", FIT)
def test_fit_runs(command):
    words = shlex.split(command)[1:]
    short = shortening(words[words.index("--algorithm") + 1])
    short += ["--workers", 1] if "--workers" in words else []  # processes of search are tested with it
    short += ["--task_kwargs", '{"max_num_frames_per_episode": 100}'] if "ALE/" in command else []
    assert diffsim(*words, *short) == 0


def test_commands_that_build_on_each_other():
    for start, short in CHAIN.items():
        command = next(command for command in commands("diffsim ") if command.startswith(f"diffsim {start}"))
        assert diffsim(*shlex.split(command)[1:], *short) == 0, command
