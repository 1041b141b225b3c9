"""Exported policies give the actions of the policy, with normalisation and squashing inside, to 1e-6."""

import copy
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete, Tuple
from PIL import Image

import diffsim
from diffsim import policies
from diffsim.trainers.errors import UsageError
from diffsim.trainers.run.evaluation import OfficialEvaluation
from diffsim.trainers.run.export import export_policy
from diffsim.trainers.run.run_folder import RunFolder
from examples.numpy_player import Player, hop
from tests.trainers.commands import diffsim as command

OBS = Box(-np.inf, np.inf, (3,), np.float64)
IMAGE = Box(0, 255, (12, 12), np.uint8)
ACTION = Box(np.array([-1.0, -3.0], np.float32), np.array([2.0, 1.0], np.float32))
OPEN = Box(np.array([-1.0, -np.inf, 0.0], np.float32), np.array([2.0, np.inf, np.inf], np.float32))
CHOICES = MultiDiscrete([3, 2], start=[0, 5])
SMALL = {"hidden_sizes": (8, 8), "out_scale": 2.0}
MADE = {
    "deterministic": lambda: policies.DeterministicMLP(OBS, ACTION, **SMALL),
    "elu": lambda: policies.DeterministicMLP(OBS, ACTION, activation="elu", layer_norm=True, **SMALL),
    "softplus": lambda: policies.DeterministicMLP(OBS, ACTION, activation="softplus", normalize=False, **SMALL),
    "gaussian": lambda: policies.GaussianMLP(OBS, ACTION, bounds="clip", clip_obs=1.5, activation="silu", **SMALL),
    "state std": lambda: policies.GaussianMLP(OBS, OPEN, std="state", **SMALL),
    "full": lambda: policies.FullGaussianMLP(OBS, ACTION, activation="relu", **SMALL),
    "categorical": lambda: policies.CategoricalMLP(OBS, CHOICES, **SMALL),
    "q": lambda: policies.DiscreteQMLP(OBS, Discrete(4, start=-1), **SMALL),
    "one-hot": lambda: policies.RelaxedCategoricalMLP(OBS, CHOICES, **SMALL),
    "bits": lambda: policies.BernoulliMLP(OBS, MultiBinary(3), **SMALL),
    "linear": lambda: policies.LinearPolicy(OBS, ACTION, normalize=True),
    "linear choice": lambda: policies.LinearPolicy(OBS, Discrete(3), bias=False),
}
NETWORKS = {
    "hybrid": lambda: policies.HybridMLP(OBS, Tuple([ACTION, Discrete(3)]), **SMALL),
    "rbf": lambda: policies.RBFPolicy(OBS, ACTION),
    "tetris": lambda: policies.LinearChoice(Box(-9.0, 9.0, (6,)), Discrete(2)),
    "images": lambda: policies.GaussianMLP(IMAGE, ACTION, convolutions=((2, 4, 4),), **SMALL),
    "gru": lambda: policies.GRUPolicy(OBS, ACTION, hidden_size=8, out_scale=2.0),
    "lstm": lambda: policies.LSTMPolicy(OBS, ACTION, hidden_size=8, out_scale=2.0),
}
ALL = {**MADE, **NETWORKS}


def made(kind):
    """A policy with weights and statistics that are not the initial ones, and observations [5, O] for it."""
    torch.manual_seed(1)
    policy = ALL[kind]().float()
    with torch.no_grad():
        for weight in policy.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
    obs = torch.randn(5, *policy.obs_shape) * 2.0
    if kind == "images":
        obs = torch.randint(0, 256, (5, 12, 12)).float()
    if policy.normalizer is not None:
        policy.normalizer.update(3.0 * torch.randn(50, 3) + torch.tensor([1.0, -2.0, 0.5]))
    return policy, obs


def steps_of(run, policy, obs):
    """Actions of three steps, in which a memory is carried."""
    memory, actions = policy.initial_memory(5), []
    for time in range(3):
        out = run(obs + time, memory) if policy.recurrent else run(obs + time)
        action, memory = out if policy.recurrent else (out, memory)
        actions.append(np.asarray(action))
    return np.stack(actions)


@torch.no_grad()
def truth(policy, obs):
    if policy.recurrent:
        return steps_of(lambda o, m: policy.step(o, m), policy, obs)
    return steps_of(lambda o: policy.decode(policy(o)), policy, obs)


@pytest.mark.parametrize("kind", ALL)
def test_torchscript_gives_the_same_actions(kind, tmp_path):
    policy, obs = made(kind)
    loaded = torch.jit.load(str(export_policy(policy, tmp_path / "p.pt", "torchscript")))
    np.testing.assert_allclose(steps_of(loaded, policy, obs), truth(policy, obs), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", ALL)
def test_onnx_gives_the_same_actions(kind, tmp_path):
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    policy, obs = made(kind)
    session = runtime.InferenceSession(str(export_policy(policy, tmp_path / "p.onnx", "onnx")))

    def run(*inputs):
        named = zip(session.get_inputs(), inputs, strict=True)
        out = session.run(None, {part.name: value.numpy() for part, value in named})
        return (out[0], torch.as_tensor(out[1])) if policy.recurrent else out[0]

    np.testing.assert_allclose(steps_of(run, policy, obs), truth(policy, obs), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", MADE)
def test_numpy_gives_the_same_actions(kind, tmp_path):
    policy, obs = made(kind)
    player = Player(export_policy(policy, tmp_path / "p.npz", "npz"))
    expected = truth(policy, obs)
    np.testing.assert_allclose(steps_of(player, policy, obs.numpy()), expected, rtol=1e-6, atol=1e-6)
    assert player(obs[0].numpy()).shape == expected[0, 0].shape and len(np.unique(expected[0])) > 1


@pytest.mark.parametrize("kind", NETWORKS)
def test_other_networks_are_refused_as_arrays(kind, tmp_path):
    with pytest.raises(UsageError, match="format must be onnx or torchscript for "):
        export_policy(made(kind)[0], tmp_path / "p.npz", "npz")
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on Hopper-v5 after one iteration."""
    folder = tmp_path_factory.mktemp("hopper") / "run"
    words = ["--task", "Hopper-v5", "--num_envs", 2, "--horizon", 2, "--hidden_sizes", "[4]"]
    words += ["--out_scale", 1.0, "--evaluate_episodes", 1]
    assert command("fit", *words, "--iterations", 1, "--final_episodes", 1, "--run", folder) == 0
    return folder


def test_the_example_plays_in_plain_mujoco_as_in_gymnasium(run, capsys):
    """NumPy and mj_step give the states of Gymnasium's Hopper-v5 with the policy in torch."""
    assert command("export", run, "--format", "npz") == 0
    assert "obs [11]" in capsys.readouterr().out
    policy, env = diffsim.load_policy(run), gymnasium.make("Hopper-v5")
    obs, _ = env.reset(seed=3)
    simulated = env.unwrapped
    data = copy.deepcopy(simulated.data)
    for _ in range(20):
        obs, *_ = env.step(policy(obs))
    hop(Player(run / "policy.npz"), simulated.model, data, 20)
    np.testing.assert_allclose(data.qpos, simulated.data.qpos, rtol=0, atol=1e-5)
    env.close()


def test_a_planner_is_refused(capsys):
    assert command("export", Path(__file__).parent / "old_runs" / "PETS", "--format", "npz") == 2
    assert "an algorithm that trains a policy, got PETS, which plans each action" in capsys.readouterr().err


def test_a_missing_extra_is_named(run, monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert command("export", run) == 2
    assert 'format onnx needs the "export" extra: pip install "diffsim-rl[export]"' in capsys.readouterr().err


def test_play_needs_a_display_or_says_what_to_do(run, monkeypatch, capsys):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert command("play", run) == 2
    assert f"record a video: diffsim evaluate {run} --video, or --gif" in capsys.readouterr().err


def test_play_steps_the_official_environment_until_the_window_closes(run, monkeypatch):
    """The window closes after 30 steps; each is shown."""
    shown = []

    class Window:
        def __init__(self, model, data):
            self.data = data

        def __enter__(self):
            return self

        def __exit__(self, *exception):
            pass

        def is_running(self):
            return len(shown) < 30

        def sync(self):
            shown.append(self.data.qpos.copy())

    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr("diffsim.trainers.run.play_command.open_window", Window)
    assert command("play", run, "--speed", 1000) == 0
    assert len(shown) == 30 and len(np.unique(shown, axis=0)) == 30


def test_a_gif_has_the_pictures_of_an_episode(run, monkeypatch, tmp_path):
    """Of 50 pictures per second every second is kept."""
    pictures = [np.full((40, 640, 3), 10 * k, np.uint8) for k in range(9)]
    monkeypatch.setattr(OfficialEvaluation, "film", lambda self, policy: (iter(pictures), 50.0))
    assert command("evaluate", run, "--episodes", 1, "--gif") == 0
    with Image.open(RunFolder(run).gif) as gif:
        assert gif.n_frames == 5 and gif.size == (320, 20) and gif.info["duration"] == 40
