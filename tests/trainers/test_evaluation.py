"""Evaluations with mean and sampled actions, their schedule by env steps, and the time they take."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box

from diffsim.policies import DeterministicMLP, GaussianMLP
from diffsim.policies.policy import Policy
from diffsim.trainers.cli import main
from diffsim.trainers.experience.goals import make_official
from diffsim.trainers.run.evaluation import OfficialEvaluation, keep_in_sight
from diffsim.trainers.run.recorder import Budget, Recorder
from diffsim.trainers.run.run_folder import RunFolder

SPACES = Box(-np.inf, np.inf, (10,)), Box(-1.0, 1.0, (2,))


class Noise(Policy):
    """A policy whose action is its noise. It records the noise."""

    noise_size = 2

    def __init__(self):
        super().__init__(*SPACES, normalize=False)
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.noises = []

    def forward(self, obs, noise=None):
        self.noises.append(None if noise is None else noise.clone())
        return torch.zeros(*obs.shape[:-1], 2) if noise is None else 0.1 * noise.clamp(-1, 1).to(obs)


def test_mean_actions_have_no_noise_and_sampled_ones_the_same_noise_at_every_call():
    policy, evaluation = Noise(), OfficialEvaluation("Reacher-v5", {}, episodes=2, stochastic=True)
    first = evaluation(policy)
    mean, sampled = policy.noises[:50], policy.noises[50:]
    assert all(noise is None for noise in mean) and len(sampled) == 50
    drawn = torch.cat(sampled)
    assert drawn.std() == pytest.approx(1.0, abs=0.15) and drawn.mean() == pytest.approx(0.0, abs=0.2)
    assert first["return"] != first["stochastic_return"] and evaluation(policy) == first
    assert "stochastic_return" not in OfficialEvaluation("Reacher-v5", {}, episodes=1)(Noise())


def test_episode_i_starts_from_the_state_of_seed_plus_i():
    """As Gymnasium's environment that is reset with that seed, played with the same actions."""
    policy = DeterministicMLP(*SPACES)
    found = OfficialEvaluation("Reacher-v5", {}, episodes=3, seed=7).run(policy).returns
    env, expected = gymnasium.make("Reacher-v5"), []
    for i in range(3):
        obs, total, truncated = env.reset(seed=7 + i)[0], 0.0, False
        while not truncated:
            with torch.no_grad():
                action = policy(torch.as_tensor(obs, dtype=torch.float32)).numpy()
            obs, reward, _, truncated, _ = env.step(action)
            total += reward
        expected.append(total)
    assert found == pytest.approx(expected, rel=1e-6)
    assert len(set(np.round(expected, 3))) == 3


def test_policy_without_noise_is_evaluated_once():
    policy = DeterministicMLP(*SPACES)
    metrics = OfficialEvaluation("Reacher-v5", {}, episodes=2, stochastic=True)(policy)
    assert metrics["return"] == metrics["stochastic_return"]
    gaussian = GaussianMLP(*SPACES)
    metrics = OfficialEvaluation("Reacher-v5", {}, episodes=2, stochastic=True)(gaussian)
    assert metrics["return"] > metrics["stochastic_return"] + 1, (
        "control: noise of standard deviation 0.5 lowers the return"
    )


def test_evaluate_every_steps_evaluates_after_the_first_iteration_that_reaches_a_multiple(tmp_path):
    """Iterations have 6 steps, and evaluations are due every 10: before training, and at 12, 24, 30 and 42."""
    words = ["fit", "--task", "Reacher-v5", "--num_envs", "2", "--horizon", "3", "--hidden_sizes", "[4]"]
    words += ["--evaluate_episodes", "1", "--final_episodes", "3", "--evaluate_every_steps", "10", "--env_steps", "42"]
    assert main([*words, "--run", str(tmp_path / "run")]) == 0
    folder = RunFolder(tmp_path / "run")
    rows = folder.read_metrics()
    assert [row["env_steps"] for row in rows if "eval/return" in row] == [0, 12, 24, 30, 42]
    spent = [row["eval_seconds"] for row in rows]
    assert 0 < spent[0] and spent == sorted(spent)
    assert spent[1] - spent[0] < 0.2 * (spent[2] - spent[1]), "no evaluation follows the first iteration"
    assert all(row["eval_seconds"] <= row["seconds"] for row in rows)
    assert len(folder.final.read_text().splitlines()) == 4
    torch_saved = torch.load(folder.checkpoint, weights_only=True)["diffsim"]["env_steps"]
    assert torch_saved == 42


def test_budget_of_seconds_does_not_count_evaluations(tmp_path, monkeypatch):
    """Each reading of the clock advances it by a second. Training ends after 20 s without those of evaluations."""
    ticks = iter(range(10_000))
    monkeypatch.setattr("diffsim.trainers.run.recorder.time.perf_counter", lambda: float(next(ticks)))
    words = ["fit", "--task", "Reacher-v5", "--num_envs", "2", "--horizon", "3", "--hidden_sizes", "[4]"]
    words += ["--evaluate_episodes", "1", "--final_episodes", "1", "--evaluate_every", "3", "--seconds", "20"]
    assert main([*words, "--run", str(tmp_path / "run")]) == 0
    rows = RunFolder(tmp_path / "run").read_metrics()
    trained = [row["seconds"] - row["eval_seconds"] for row in rows]
    assert trained[-2] < 20 <= trained[-1] + 1 and rows[-1]["eval_seconds"] > 0


def test_recorder_subtracts_seconds_of_evaluations(tmp_path):
    recorder = Recorder(RunFolder(tmp_path), Budget(-1, seconds=5.0, evaluate_every=1))
    recorder.elapsed = lambda: 10.0

    class Trainer:
        max_epochs = -1

    class Training:
        env_steps = iteration = 0

    recorder.eval_seconds = 5.1
    assert not recorder.complete(Trainer(), Training())
    recorder.eval_seconds = 5.0
    assert recorder.complete(Trainer(), Training())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--evaluate_every_steps", "0"], "evaluate_every_steps must be >= 1, got 0"),
        (["--final_episodes", "0"], "final_episodes must be >= 1, got 0"),
        (["--seconds", "0"], "seconds must be > 0, got 0"),
    ],
)
def test_ranges(words, message, capsys):
    assert main(["fit", "--task", "Reacher-v5", *words]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("task", "name"), [("Hopper-v5", "track"), ("Humanoid-v5", "track"), ("ReacherGoal-v0", "above")]
)
def test_camera_tracks_the_robot(task, name):
    env = make_official(task, render_mode="rgb_array")
    keep_in_sight(env)
    renderer = env.unwrapped.mujoco_renderer
    assert renderer.model.camera(renderer.camera_id).name == name


def test_model_without_a_tracking_camera_keeps_its_camera():
    env = make_official("InvertedPendulum-v5", render_mode="rgb_array")
    keep_in_sight(env)
    assert env.unwrapped.mujoco_renderer.camera_id == -1
    keep_in_sight(make_official("CartPole-v1", render_mode="rgb_array"))
