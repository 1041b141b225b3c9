"""Training, evaluating and resuming on Tetris by the commands."""

import csv

import numpy as np
import pytest

from diffsim.tetris import DELLACHERIE_WEIGHTS
from diffsim.trainers import cli
from diffsim.trainers.errors import OptionError
from diffsim.trainers.experience.vector_env import SimulatedEnv, make_env

SMALL = ["--task_kwargs", '{"features": "dellacherie", "max_episode_steps": 60}', "--policy", "LinearChoice"]
SMALL += ["--num_envs", "16", "--horizon", "64", "--evaluate_every", "10", "--final_episodes", "3"]


def fit(folder, *words):
    cli.main(["fit", "--algorithm", "NaturalGradient", *SMALL, "--run", str(folder), *words])
    with (folder / "final.csv").open() as file:
        return np.mean([float(row["return"]) for row in csv.DictReader(file)])


def test_natural_gradient_learns_tetris(tmp_path, capsys):
    """60 placements allow 24 lines; the first policy, with weights of zero, clears none."""
    lines = fit(tmp_path / "run", "--task", "diffsim/Tetris-v0", "--iterations", "30")
    assert lines > 15
    assert cli.main(["evaluate", str(tmp_path / "run"), "--episodes", "2"]) in (0, None)
    capsys.readouterr()


def test_video(tmp_path):
    pytest.importorskip("imageio_ffmpeg", reason="needs the video extra")
    fit(tmp_path / "run", "--task", "diffsim/Tetris-v0", "--iterations", "1")
    cli.main(["evaluate", str(tmp_path / "run"), "--episodes", "1", "--video"])
    assert (tmp_path / "run" / "video.mp4").stat().st_size > 1000


def test_the_environments_one_by_one_are_trained_too(tmp_path):
    fit(tmp_path / "run", "--task", "Tetris-v0", "--iterations", "2")
    assert (tmp_path / "run" / "checkpoints" / "last.ckpt").exists()


def test_checkpoints_continue_a_game():
    env = make_env("diffsim/Tetris-v0", 2, seed=1, features="dellacherie")
    assert isinstance(env, SimulatedEnv) and env.simulated.max_episode_steps == 10_000

    def step(env):
        rows = env.obs.reshape(2, 34, 7)
        value = np.where(rows[..., 0] == 1, rows[..., 1:] @ np.array(DELLACHERIE_WEIGHTS), -np.inf)
        return env.step(value.argmax(1))

    for _ in range(10):
        step(env)
    other = make_env("diffsim/Tetris-v0", 2, seed=9, features="dellacherie")
    other.load_state_dict(env.state_dict())
    for _ in range(10):
        assert all(np.array_equal(a, b) for a, b in zip(step(env)[:4], step(other)[:4], strict=True))


def test_tetris_has_no_derivatives_and_no_noise(capsys):
    with pytest.raises(OptionError, match="process_noise must be 0"):
        make_env("diffsim/Tetris-v0", 2, process_noise=0.1)
    assert cli.main(["fit", "--algorithm", "SHAC", "--task", "Tetris-v0"]) == 2
    assert "algorithm must be one that needs no derivatives" in capsys.readouterr().err
