"""The algorithms that need derivatives, and those that do not, on the helicopter."""

import pytest
import torch

import diffsim
from diffsim.policies import HelicopterPolicy
from diffsim.trainers import cli
from diffsim.trainers.pathwise.bptt import BPTT
from diffsim.trainers.pathwise.pegasus import Pegasus
from diffsim.trainers.pathwise.shac import SHAC

TASK = "HelicopterHover-v0"
GAINS = {
    "theta": [-0.0513, 0.1348, 0.0185, -0.0322, 0.0, -0.3952, 0.0196, -0.0367, 0.0, 0.37375, 0.0, 0.09845],
    "trim": [0.02, 0.0, 0.0, 0.23],
}


def made(num_envs, **options):
    mdp = diffsim.make(TASK, num_envs=num_envs)
    return mdp, HelicopterPolicy(mdp.observation_space, mdp.action_space, **options).to(mdp.dtype)


@pytest.mark.parametrize(
    ("options", "horizon", "iterations", "least"),
    [
        ({}, 40, 8, 0.15),
        ({"gradient": "finite_differences", "perturbation": 1e-3}, 15, 1, 0.001),
        ({"optimizer": "coordinate", "learning_rate": 0.02}, 40, 1, 0.05),
    ],
)
def test_pegasus_increases_the_return_of_its_scenarios(options, horizon, iterations, least):
    """By the given part of the cost of the competition's controller."""
    mdp, policy = made(4, **GAINS)
    pegasus = Pegasus(mdp, policy, horizon=horizon, seed=0, gap_every=100, **options)
    before = pegasus.value()
    for _ in range(iterations):
        pegasus.train_iteration()
    assert pegasus.value() > before - least * before


def test_finite_differences_give_the_gradient_of_back_propagation():
    gradients = []
    for gradient in ("pathwise", "finite_differences"):
        mdp, policy = made(3, **GAINS)
        pegasus = Pegasus(mdp, policy, horizon=20, seed=0, gradient=gradient, perturbation=1e-5)
        gradients.append(torch.cat([g.flatten() for g in torch.autograd.grad(pegasus.loss(), pegasus.trained)]))
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("algorithm", [BPTT, SHAC])
def test_first_order_methods_learn_from_gains_of_zero(algorithm):
    """The cost of 5 s falls to less than a third."""
    mdp, policy = made(8)
    torch.manual_seed(0)
    judge = Pegasus(*made(8), horizon=50, seed=5)
    judge.policy = policy
    before = judge.value()
    trainer = algorithm(
        mdp, policy, horizon=25, seed=0, **({"learning_rate": 0.02} if algorithm is BPTT else {"value_epochs": 4})
    )
    for _ in range(30):
        trainer.train_iteration()
    assert judge.value() > 0.33 * before


def test_video(tmp_path):
    pytest.importorskip("imageio_ffmpeg", reason="needs the video extra")
    words = ["--task", TASK, "--algorithm", "BPTT", "--policy", "HelicopterPolicy", "--num_envs", "2", "--horizon", "2"]
    assert cli.main(["fit", *words, "--iterations", "1", "--final_episodes", "1", "--run", str(tmp_path / "run")]) == 0
    assert cli.main(["evaluate", str(tmp_path / "run"), "--episodes", "1", "--video"]) in (0, None)
    assert (tmp_path / "run" / "video.mp4").exists()


def test_commands(tmp_path, capsys):
    shared = ["--policy", "HelicopterPolicy", "--num_envs", "4", "--horizon", "10", "--iterations", "2"]
    shared += ["--task_kwargs", '{"wind": [1.0, 0.5]}', "--evaluate_every", "10", "--final_episodes", "1"]
    for task, own in (
        (TASK, ["--algorithm", "SHAC"]),
        (f"diffsim/{TASK}", ["--algorithm", "EvolutionStrategies", "--population", "4"]),
    ):
        run = tmp_path / own[1]
        assert cli.main(["fit", "--task", task, *own, *shared, "--run", str(run)]) in (0, None)
    assert cli.main(["evaluate", str(run), "--episodes", "1"]) in (0, None)
    assert cli.main(["fit", "--task", TASK, "--dynamics", "finite_differences", *shared]) == 2
    assert "need a MuJoCo model without randomize, got task 'HelicopterHover-v0'" in capsys.readouterr().err
