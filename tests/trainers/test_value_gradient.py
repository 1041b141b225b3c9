"""The algorithms that climb a learned Q: against definitions and closed forms, and resumed to the bit."""

import io
from dataclasses import replace

import pytest
import torch
from rich.console import Console

from policies import DeterministicMLP, GaussianMLP
from trainers.checkpoint import read_checkpoint
from trainers.environments import make_env
from trainers.fit import train
from trainers.options import RunOptions
from trainers.run_folder import RunFolder
from trainers.value_gradient.ddpg import DDPG
from trainers.value_gradient.dpg import DPG
from trainers.value_gradient.sac import SAC
from trainers.value_gradient.td3 import TD3

OPTIONS = RunOptions(task="small", evaluate_every=2)
SMALL = {"steps": 12, "warmup_steps": 9, "batch_size": 8, "replay_size": 30, "critic_hidden_sizes": (8,)}
STATE = {"std": "state", "normalize": False}
CASES = {
    "DPG": (DPG, DeterministicMLP, {}, SMALL | {"updates_per_step": 1.0}),
    "on_policy": (DPG, DeterministicMLP, {}, SMALL | {"data": "on_policy"}),
    "DDPG": (DDPG, DeterministicMLP, {"normalize": False}, SMALL | {"num_steps": 3}),
    "TD3": (TD3, DeterministicMLP, {}, SMALL | {"updates_per_step": 0.4, "exploration": "ou"}),
    "SAC": (SAC, GaussianMLP, STATE, SMALL | {"updates_per_step": 2.0}),
}


def run(algorithm, path, iterations, *, resume=False):
    """Trains in `path` without a screen."""
    options = replace(OPTIONS, iterations=iterations)
    train(algorithm, options, RunFolder(path), Console(file=io.StringIO()), resume=resume)
    return algorithm


def make(cls, kind, env, seed=0, policy=None, **options):
    torch.manual_seed(seed)
    spaces = env.single_observation_space, env.single_action_space
    net = kind(*spaces, **{"hidden_sizes": (8,), **(policy or {})}).double()
    return cls(env, net, seed=seed, **options)


@pytest.mark.parametrize("task", ["Pendulum-v1", "diffsim/Hopper-v5"])
@pytest.mark.parametrize("name", CASES)
def test_resuming_is_exact_to_the_bit(tmp_path, name, task):
    cls, kind, policy, options = CASES[name]

    def fresh():
        return make(cls, kind, make_env(task, 2, seed=1), 1, policy, **options)

    whole = run(fresh(), tmp_path / "whole", 6)
    run(fresh(), tmp_path / "parts", 3)
    halfway = read_checkpoint(RunFolder(tmp_path / "parts").checkpoint)["state_dict"]
    parts = run(fresh(), tmp_path / "parts", 6, resume=True)
    assert whole.env_steps == parts.env_steps > 0 and whole.updates == parts.updates > 0
    assert torch.equal(whole.generator.get_state(), parts.generator.get_state())
    for name, value in whole.state_dict().items():
        assert torch.equal(value, parts.state_dict()[name]), name
        assert "weight" not in name or not torch.equal(value, halfway[name]), name
    for name, value in whole.env.state_dict().items():
        assert torch.equal(value, parts.env.state_dict()[name]), name
    rows = [RunFolder(tmp_path / name).read_metrics() for name in ("whole", "parts")]
    strip = [[{k: v for k, v in row.items() if k != "seconds"} for row in r] for r in rows]
    assert strip[0] == strip[1] and len(strip[0]) == 6
