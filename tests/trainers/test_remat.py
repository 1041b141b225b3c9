"""Forward data of a window, kept or computed again: the same gradients, and the memory by hand."""

import pytest
import torch

import diffsim
from diffsim.policies import DeterministicMLP, GaussianMLP
from diffsim.trainers import BPTT, SHAC
from diffsim.trainers.experience.kept_memory import kept_bytes
from diffsim.trainers.experience.rollout import rollout


def trained(cls, policy_class, task="Hopper-v5", **options):
    """Parameters and metrics after three iterations; episodes of 5 steps end within the windows."""
    mdp = diffsim.make(task, num_envs=4, process_noise=0.1)
    mdp.max_episode_steps = 5
    torch.manual_seed(0)
    policy = policy_class(mdp.observation_space, mdp.action_space, hidden_sizes=(16,)).to(mdp.dtype)
    algorithm = cls(mdp, policy, horizon=6, **options)
    metrics = [algorithm.train_iteration() for _ in range(3)]
    return [*algorithm.state_dict().values()], metrics


@pytest.mark.parametrize(
    ("cls", "policy", "options"),
    [
        (BPTT, GaussianMLP, {}),
        (SHAC, DeterministicMLP, {"value_slope_weight": 0.1}),
        (SHAC, GaussianMLP, {"entropy_weight": 0.01}),
    ],
)
def test_training_gives_the_same_bits(cls, policy, options):
    kept, metrics = trained(cls, policy, **options)
    again, same = trained(cls, policy, remat=True, **options)
    assert metrics == same
    assert all(torch.equal(a, b) for a, b in zip(kept, again, strict=True))


def window(task, num_envs, horizon, remat):
    """A roll-out, and the bytes that its graph keeps."""
    mdp = diffsim.make(task, num_envs=num_envs)
    policy = DeterministicMLP(mdp.observation_space, mdp.action_space, hidden_sizes=(64, 64)).to(mdp.dtype)
    scenarios = diffsim.Scenarios.draw(mdp, horizon, torch.Generator().manual_seed(0))
    rollout(mdp, policy, scenarios)  # the simulator allocates its own memory
    (trajectory, _), size = kept_bytes(lambda: rollout(mdp, policy, scenarios, remat=remat))
    assert trajectory.reward.requires_grad
    return mdp, size


@pytest.mark.parametrize(("task", "num_envs", "horizon"), [("Hopper-v5", 3, 4), ("Humanoid-v5", 2, 3)])
def test_memory_by_hand(task, num_envs, horizon):
    """Kept: state and observation before each step; of the trajectory observations, action, reward and two flags.

    Without remat also the evaluation points of all physics steps, in float64, which are most of it.
    """
    mdp, recomputed = window(task, num_envs, horizon, True)
    obs, action = mdp.observation_space.shape[0], mdp.action_space.shape[0]
    floats = mdp.state_size + obs + obs + obs + action + 1
    ages = 8 * num_envs
    assert recomputed == horizon * num_envs * (floats * mdp.dtype.itemsize + 2) + ages
    _, kept = window(task, num_envs, horizon, False)
    stages = 4 if mdp.mj_model.opt.integrator == 1 else 1
    points = mdp.frame_skip * stages * (mdp.mj_model.nq + 2 * mdp.mj_model.nv) * 8
    assert kept > recomputed + horizon * num_envs * points


def test_humanoid_with_4096_worlds_and_32_steps_fits_in_a_gigabyte():
    mdp, size = window("Humanoid-v5", 2, 4, True)
    assert size / (2 * 4) * 4096 * 32 * 4 / mdp.dtype.itemsize < 1e9  # in float32


def test_kept_bytes_of_simple_functions():
    x = torch.ones(1000, requires_grad=True)
    result, size = kept_bytes(lambda: (x * 2).exp())  # exp keeps its result only, and x is given
    assert size == 4000 and result.requires_grad
    result, size = kept_bytes(lambda: ((x * 2).exp() * 3).sin())  # sin keeps its input, exp its result
    assert size == 12000 and result.requires_grad
    assert kept_bytes(lambda: (x * 2).exp().sum().item())[1] == 0
