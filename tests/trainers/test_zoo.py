"""The shipped policies have the returns of their cards, and are used as runs."""

import numpy as np
import pytest

from benchmarks import zoo as adding
from diffsim.trainers import load_policy
from diffsim.trainers.run.arguments import RunOptions, pick
from diffsim.trainers.run.build import official_evaluation
from diffsim.trainers.run.run_folder import existing_folder
from diffsim.trainers.zoo.zoo import FOLDER, Card, folder_of, names
from tests.trainers.commands import diffsim


@pytest.mark.parametrize("name", names())
def test_a_policy_is_what_its_card_says(name):
    """The better of two episodes: on another processor, rounding may make a robot fall."""
    folder = existing_folder("run", f"zoo:{name}")
    card, values = Card.read(folder.path), folder.read_config()
    assert (card.name, card.task, card.algorithm) == (name, values["task"], values["algorithm"])
    options = RunOptions(**pick(values, RunOptions))
    played = official_evaluation(options, 2, adding.FIRST_SEED).run(load_policy(f"zoo:{name}").policy)
    assert abs(float(played.returns.max()) - card.return_mean) <= 4 * card.return_std + 0.1 * abs(card.return_mean)


def test_the_zoo_is_small():
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) <= adding.LARGEST


def test_a_run_is_added_and_used(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["fit", "--task", "Pendulum-v1", "--algorithm", "SAC", "--iterations", 1, "--steps", 8, "--run", "runs/a"]
    assert diffsim(*words, "--hidden_sizes", "[4]", "--final_episodes", 1, "--evaluate_episodes", 1) == 0
    adding.main(["runs/a", "mine", "--config", "none", "--episodes", "2"], tmp_path / "zoo")
    monkeypatch.setattr("diffsim.trainers.zoo.zoo.FOLDER", tmp_path / "zoo")
    assert names() == ["mine"] and folder_of("mine") == tmp_path / "zoo" / "mine"
    obs = np.array([1.0, 0.0, 0.5], dtype=np.float32)
    assert np.array_equal(load_policy("zoo:mine")(obs), load_policy("runs/a")(obs))
    capsys.readouterr()
    assert diffsim("zoo") == diffsim("zoo", "mine") == 0
    assert "Pendulum-v1" in capsys.readouterr().out
    assert diffsim("export", "zoo:mine", "--format", "npz") == 0
    assert (tmp_path / "runs" / "zoo-mine" / "policy.npz").is_file()
    assert sorted(path.name for path in folder_of("mine").iterdir()) == ["card.yaml", "checkpoints", "config.yaml"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["evaluate", "zoo:hoper"], "zoo:NAME must be one of "),
        (["zoo", "hoper"], "got zoo:hoper"),
        (["fit", "--resume", "zoo:hopper"], "--resume must be a run of yours"),
    ],
)
def test_a_wrong_name_is_refused(words, message, capsys):
    assert diffsim(*words) == 2
    assert message in capsys.readouterr().err
