"""`diffsim collect`, `fit-model` and `model-report`, and their errors."""

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box

import diffsim
from diffsim.mdp import Scenarios
from diffsim.models import LearnedMDP, ModelFit, load_data
from diffsim.policies import GaussianMLP
from diffsim.trainers.cli import main
from diffsim.trainers.examine.diagnostics import (
    Calibration,
    calibration,
    doubling,
    gradient_alignment,
    open_loop,
    policy_gradient,
)
from diffsim.trainers.examine.report import verdict
from diffsim.trainers.run.checkpoint import read_checkpoint
from diffsim.trainers.run.collect_command import trained_policy
from diffsim.trainers.run.run_folder import RunFolder
from tests.models.linear_system import LinearGaussianSystem, perfect_model, system_data

TASK = "InvertedPendulum-v5"
SMALL = ["--num_members", "2", "--num_elites", "1", "--hidden_sizes", "[8]", "--reward_hidden_sizes", "[8]"]


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """Data and a fitted model, made by the commands."""
    folder = tmp_path_factory.mktemp("work")
    data, run = str(folder / "data"), str(folder / "run")
    assert main(["collect", "--task", TASK, "--steps", "150", "--seed", "1", "--output", data]) == 0
    fit = ["fit-model", "--data", data, "--run", run, *SMALL, "--max_epochs", "4", "--save_every", "1"]
    assert main(fit) == 0
    return folder


def test_collected_data_match_the_environment(work):
    stored = load_data(work / "data")
    assert len(stored.data) == 150 and stored.task == TASK and stored.observation_space.shape == (4,)
    mdp = diffsim.make(TASK, num_envs=150)
    state = stored.data.obs.to(mdp.dtype)  # the observation is the state
    reached = mdp.transition(state, stored.data.action.to(mdp.dtype))
    torch.testing.assert_close(mdp.observation(reached), stored.data.next_obs.to(mdp.dtype), rtol=1e-5, atol=1e-5)
    assert torch.equal(mdp.terminal(reached), stored.data.terminated)


def test_deterministic_collection_takes_mean_actions(tmp_path, capsys):
    run, data = str(tmp_path / "run"), str(tmp_path / "data")
    words = ["--task", TASK, "--algorithm", "A2C", "--iterations", "1", "--final_episodes", "1"]
    assert main(["fit", *words, "--hidden_sizes", "[8]", "--run", run]) == 0
    words = ["--task", TASK, "--steps", "100", "--policy", run, "--deterministic", "true", "--output", data]
    assert main(["collect", *words]) == 0
    stored = load_data(tmp_path / "data").data
    policy = trained_policy(run, load_data(tmp_path / "data").observation_space, Box(-3.0, 3.0, (1,), np.float32))
    torch.testing.assert_close(policy.to(stored.obs)(stored.obs).detach(), stored.action, rtol=1e-5, atol=1e-5)
    capsys.readouterr()


def test_fitting_reduces_the_loss_and_writes_a_checkpoint(work):
    folder = RunFolder(work / "run")
    rows = folder.read_metrics()
    assert len(rows) == 4 and rows[-1]["best_validation_loss"] < rows[0]["validation_loss"]
    assert read_checkpoint(folder.checkpoint)["diffsim"]["complete"]


def test_a_resumed_fit_equals_an_uninterrupted_one(work, monkeypatch, capsys):
    """Ctrl-C after two epochs of four, then --resume, gives the same weights, bit for bit."""
    path, epoch = work / "stopped", ModelFit.epoch

    def interrupted(self):
        losses = epoch(self)
        if self.epoch_count == 2:
            import signal

            signal.raise_signal(signal.SIGINT)
        return losses

    monkeypatch.setattr(ModelFit, "epoch", interrupted)
    assert main(["fit-model", "--data", str(work / "data"), "--run", str(path), *SMALL, "--max_epochs", "4"]) == 130
    assert "Stopped. To continue: diffsim fit-model --resume" in capsys.readouterr().out
    monkeypatch.setattr(ModelFit, "epoch", epoch)
    assert main(["fit-model", "--resume", str(path)]) == 0
    states = [read_checkpoint(RunFolder(p).checkpoint)["state_dict"] for p in (work / "run", path)]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    assert main(["fit-model", "--resume", str(path)]) == 2
    assert "--resume must be a run that has not finished" in capsys.readouterr().err


def test_the_report_is_a_page_with_figures(work, capsys):
    assert main(["model-report", str(work / "run"), "--horizons", "3", "--num_envs", "4"]) == 0
    page = (work / "run" / "model_report.md").read_text()
    for words in (
        "Open-loop error",
        "Calibration",
        "expected calibration error",
        "The simulator's reward is flat",
    ):
        assert words in page, words
    for name in ("errors", "scatter", "calibration"):
        assert f"(model_{name}.png)" in page and (work / "run" / f"model_{name}.png").stat().st_size > 1000
    assert "nan" not in page and not (work / "run" / "model_gradients.png").exists(), "1 per step for every action"


def test_the_report_compares_gradients_of_a_known_reward(work):
    fit = ["fit-model", "--data", str(work / "data"), "--run", str(work / "known"), *SMALL, "--max_epochs", "1"]
    assert main([*fit, "--reward", "InvertedPendulum-v5/upright"]) == 0
    assert main(["model-report", str(work / "known"), "--horizons", "3", "--num_envs", "4"]) == 0
    page = (work / "known" / "model_report.md").read_text()
    assert "| horizon | 1 | 2 | 3 |" in page and "| cosine |" in page and "(model_gradients.png)" in page
    assert (work / "known" / "model_gradients.png").stat().st_size > 1000 and "flat" not in page


@pytest.mark.parametrize(
    ("measured", "words"),
    [([0.99, 0.99], "underconfident"), ([0.1, 0.2], "overconfident"), ([0.5, 0.82], "The model is calibrated")],
)
def test_intervals_are_called_too_wide_or_too_narrow(measured, words):
    """99 % of the true values in the interval of nominal 50 % means that it is too wide."""
    found = Calibration(torch.tensor([0.5, 0.8]), torch.tensor(measured)[:, None], 0.0, 0.0)
    assert words in verdict(found)


def test_a_model_with_a_memory_is_fitted_and_examined(work, tmp_path):
    run = str(tmp_path / "run")
    words = ["--memory_size", "3", "--horizon", "3", "--max_epochs", "2"]
    assert main(["fit-model", "--data", str(work / "data"), "--run", run, *SMALL, *words]) == 0
    assert main(["model-report", run, "--horizons", "2", "--num_envs", "4"]) == 0
    assert "Open-loop error" in (tmp_path / "run" / "model_report.md").read_text()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["collect", "--task", TASK, "--steps", "0"], "steps must be >= 1, got 0"),
        (
            ["collect", "--task", TASK, "--steps", "9", "--deterministic", "true"],
            "deterministic must be false for the ran",
        ),
        (
            ["collect", "--task", "CartPole-v1", "--steps", "9"],
            "actions of the task must be a vector Box, got Discrete",
        ),
        (["collect", "--task", "Nope-v0", "--steps", "9"], "task must be an id of Gymnasium, "),
        (["collect", "--task", TASK, "--steps", "9", "--policy", "nowhere"], "policy must be the folder of a run"),
        (["fit-model", "--data", "nowhere"], "data must be a folder that diffsim collect or Minari wrote"),
        (["fit-model", "--data", "nowhere", "--widths", "3"], "unknown option --widths"),
        (["model-report", "nowhere"], "RUN must be the folder of a run"),
        (["model-report", "nowhere", "--horizons", "0"], "horizons must be >= 1, got 0"),
    ],
)
def test_errors_come_before_any_work(argv, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(argv) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_data_of_another_task_are_refused(work, capsys, tmp_path):
    other = str(tmp_path / "other")
    assert main(["collect", "--task", "Pendulum-v1", "--steps", "401", "--output", other]) == 0
    assert main(["model-report", str(work / "run"), "--data", other]) == 2
    assert "obs must have size 4, that of the model, got 3: the data are of another task" in capsys.readouterr().err
    assert main(["collect", "--task", TASK, "--steps", "9", "--output", other]) == 2
    assert "output must be a folder that does not exist yet" in capsys.readouterr().err


def test_collecting_too_little_writes_nothing(capsys, tmp_path):
    argv = ["collect", "--task", "Pendulum-v1", "--steps", "20", "--output", str(tmp_path / "short")]
    assert main(argv) == 2
    assert "data must have >= 2 episodes" in capsys.readouterr().err and not list(tmp_path.iterdir())


def perfect(num_envs):
    system = LinearGaussianSystem(num_envs)
    system.noise_size = 2
    model = perfect_model()
    spaces = system.observation_space, system.action_space
    return system, LearnedMDP(model, system_data(200), *spaces, num_envs=num_envs)


def make_policy(system):
    torch.manual_seed(0)
    policy = GaussianMLP(system.observation_space, system.action_space, hidden_sizes=(8,), out_scale=1.0)
    return policy.double()


def test_gradients_through_a_perfect_model_align_with_the_simulators():
    system, learned = perfect(2000)
    policy, generator = make_policy(system), torch.Generator().manual_seed(0)
    found = gradient_alignment(system, learned, policy, [1, 4], 0.9, generator)
    # Start states and action noise are the same; the process noises are not.
    assert min(found.cosine) > 0.99 and np.allclose(found.ratio, 1.0, atol=0.05)
    with torch.no_grad():
        learned.model.dynamics.network[-1].weight[0, 2] *= -1  # negative control: B with the wrong sign
    wrong = gradient_alignment(system, learned, policy, [4], 0.9, torch.Generator().manual_seed(0))
    assert wrong.cosine[0] < found.cosine[1] - 0.05
    with pytest.raises(ValueError, match="mdp and learned must have the same number of copies"):
        gradient_alignment(LinearGaussianSystem(3), learned, policy, [1], 1.0, generator)


def test_policy_gradient_is_the_gradient_of_the_mean_return():
    system, _ = perfect(5)
    policy = make_policy(system)
    scenarios = Scenarios.draw(system, 1, torch.Generator().manual_seed(0), action_noise_size=1)
    action = policy(scenarios.initial, scenarios.action_noise[0])
    expected = torch.autograd.grad(system.reward(scenarios.initial, action, action).mean(), list(policy.parameters()))
    found = policy_gradient(system, policy, scenarios, 0.9, slice(None))
    torch.testing.assert_close(found, torch.cat([g.flatten() for g in expected]))


def test_a_perfect_model_is_calibrated_and_a_wrong_one_is_not():
    model, data = perfect_model(), system_data(4000)
    found = calibration(model, data)
    assert (found.coverage - found.level[:, None]).abs().max() < 0.03 and found.expected_error < 0.015
    exact = -torch.distributions.Normal(0.0, torch.tensor([0.3, 0.1])).entropy().sum()
    assert found.nll == pytest.approx(-float(exact), abs=0.03)
    with torch.no_grad():
        model.dynamics.log_std -= 1.0
    assert calibration(model, data).expected_error > 0.2


def test_open_loop_error_of_a_perfect_model_is_the_noise():
    """One step: the noise divided by the deviation of the observations; two steps: with the noise propagated by A."""
    data = system_data(4000)
    found = open_loop(perfect_model(), data, 2, 4000, torch.Generator().manual_seed(0))
    system = LinearGaussianSystem(1)
    scale, noise = data.obs.std(0, correction=0), torch.diag(torch.tensor([0.09, 0.01], dtype=torch.float64))
    covariances = [noise, system.A @ noise @ system.A.T + noise]
    expected = [(covariance.diagonal() / scale**2).mean().sqrt() for covariance in covariances]
    torch.testing.assert_close(found.error, torch.stack(expected), rtol=0.05, atol=0)
    assert (found.low <= found.error + 1e-12).all() and (found.no_change > found.error).all()
    assert len(open_loop(perfect_model(), data, 99, 10, torch.Generator()).error) == 5  # the longest episode


def test_doubling():
    assert doubling(1) == [1] and doubling(8) == [1, 2, 4, 8] and doubling(10) == [1, 2, 4, 8, 10]
