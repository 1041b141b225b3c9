"""A model class of one's own, from a module in the current folder, in every command."""

import shutil
from pathlib import Path

import pytest
import torch

from diffsim.models import Moments
from diffsim.trainers.cli import main
from examples.own_model import SymmetricModel

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_model.py"
SMALL = "{num_members: 2, num_elites: 1, hidden_sizes: [8], reward_hidden_sizes: [8]}"


def test_the_example_is_symmetric():
    model = SymmetricModel(2, 1, num_members=2, num_elites=1).double()
    model.dynamics.set_units(
        Moments(torch.ones(3), torch.full((3,), 2.0)), Moments(torch.full((2,), 0.5), torch.full((2,), 3.0))
    )
    x, member = torch.randn(5, 3, dtype=torch.float64), torch.tensor([0, 1, 1, 0, 0])
    mean, _ = model.dynamics.predict(x, member)
    torch.testing.assert_close(model.dynamics.predict(-x, member)[0], -mean)


@pytest.mark.parametrize("algorithm", ["ModelBased", "MBPO", "PETS"])
def test_an_own_model_is_trained_resumed_evaluated_and_examined(algorithm, tmp_path, monkeypatch, capsys):
    shutil.copy(EXAMPLE, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    words = ["fit", "--task", "InvertedPendulum-v5", "--algorithm", algorithm, "--model", "own_model:SymmetricModel"]
    words += ["--model_kwargs", SMALL, "--fit_kwargs", "{max_epochs: 1}", "--initial_steps", "60", "--run", "run"]
    words += ["--iterations", "2", "--evaluate_episodes", "1", "--final_episodes", "1"]
    words += {
        "ModelBased": ["--steps_per_iteration", "5", "--updates_per_iteration", "1", "--policy", "GaussianMLP"],
        "MBPO": ["--fit_every", "5", "--branches_per_step", "2", "--updates_per_step", "1", "--hidden_sizes", "[8]"],
        "PETS": ["--steps_per_iteration", "5", "--planner_kwargs", "{horizon: 2, num_plans: 4, num_best: 2}"],
    }[algorithm]
    assert main(words) == 0
    assert main(["fit", "--resume", "run", "--iterations", "3"]) == 0
    assert main(["evaluate", "run", "--episodes", "1"]) == 0
    assert main(["model-report", "run", "--horizons", "2", "--num_envs", "4"]) == 0
    capsys.readouterr()
