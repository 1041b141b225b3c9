"""What enters from a vector environment: new arrays, whole episodes in every autoreset mode, no digit lost."""

from functools import partial

import numpy as np
import pytest
import torch
from gymnasium.spaces import Dict
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

from diffsim.policies import DeterministicMLP, GaussianMLP, as_tensor
from diffsim.trainers.experience.rollout import collect
from diffsim.trainers.experience.vector_env import ReplayedEnv
from diffsim.trainers.likelihood_ratio.ppo import PPO
from diffsim.trainers.value_gradient.td3 import TD3
from tests.trainers.odd_envs import make_odd
from tests.trainers.small_envs import Counter


class Named(Counter):
    """A `Counter` that observes a dictionary."""

    observation_space = Dict({"now": Counter.observation_space})

    def reset(self, *, seed=None, options=None):
        obs, info = super().reset(seed=seed)
        return {"now": obs}, info

    def step(self, action):
        obs, *rest = super().step(action)
        return {"now": obs}, *rest


LENGTHS = (2, 3)
"""Steps of the episodes of each copy."""


def counters(kind=SyncVectorEnv, cls=Counter, **kwargs):
    """Two copies that observe [episode, steps since it began]."""
    return kind([partial(cls, length) for length in LENGTHS], **kwargs)


def by_hand(steps):
    """The steps since the episode began before and after each of the first steps, [H, 2] each."""
    before = np.array([[time % length for length in LENGTHS] for time in range(steps)])
    return before, before + 1


@pytest.mark.parametrize("kind", [SyncVectorEnv, AsyncVectorEnv])
def test_environments_that_reuse_their_arrays_are_copied(kind):
    """With copy=False an environment returns the same array from every step and reset."""
    env = counters(kind, copy=False, autoreset_mode=AutoresetMode.DISABLED)
    obs, _ = env.reset()
    plain, _ = collect(env, lambda obs, noise: noise, obs, torch.zeros(7, 2, 1, dtype=torch.float64))
    algorithm = TD3(env, DeterministicMLP(env.single_observation_space, env.single_action_space).double())
    wrapped, _ = collect(algorithm.envs, lambda obs, noise: noise, algorithm.envs.obs, torch.zeros(7, 2, 1).double())
    before, after = by_hand(7)
    for trajectory in (plain, wrapped):
        np.testing.assert_array_equal(trajectory.obs[..., 1], before)
        np.testing.assert_array_equal(trajectory.next_obs[..., 1], after)
    kept = algorithm.envs.obs
    before_step = kept.copy()
    for _ in range(3):
        algorithm.act()
    np.testing.assert_array_equal(kept, before_step)
    stored = algorithm.replay.in_order()
    assert torch.equal(stored["next_obs"][..., 1], stored["obs"][..., 1] + 1)
    assert (stored["obs"][:, :, 1] == torch.tensor([[1, 1], [0, 2], [1, 0]])).all()
    env.close()


@pytest.mark.parametrize("cls", [Counter, Named])
@pytest.mark.parametrize("mode", AutoresetMode)
def test_every_step_is_a_transition_in_every_autoreset_mode(mode, cls):
    env = ReplayedEnv(counters(cls=cls, autoreset_mode=mode), 0)
    trajectory, _ = collect(env, lambda obs, noise: noise, env.obs, torch.ones(9, 2, 1, dtype=torch.float64))
    before, after = by_hand(9)
    np.testing.assert_array_equal(trajectory.obs[..., 1], before)
    np.testing.assert_array_equal(trajectory.next_obs[..., 1], after)
    assert torch.equal(trajectory.obs[..., 0], trajectory.next_obs[..., 0]), "of one episode"
    assert (trajectory.reward == 1).all()
    np.testing.assert_array_equal(trajectory.terminated, after == LENGTHS)


@pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP])
def test_processes_with_autoreset_resume_exactly(mode):
    """Loading compares the observations after a replay with the saved ones."""
    env = ReplayedEnv(AsyncVectorEnv([partial(make_odd, "SeesBitsDoesPushes")] * 2, autoreset_mode=mode), 3)
    for _ in range(5):
        *_, terminated, truncated, _ = env.step(np.zeros((2, 2)))
        if (ended := terminated | truncated).any():
            env.reset(options={"reset_mask": ended})
    saved, seen = env.state_dict(), env.obs
    env.reset(seed=4)
    assert not np.array_equal(env.obs, seen)
    env.seed = 3
    env.load_state_dict(saved)
    np.testing.assert_array_equal(env.obs, seen)
    env.env.close()


def test_processes_without_shared_memory_that_reset_themselves_later_are_refused():
    env = counters(AsyncVectorEnv, shared_memory=False)
    with pytest.raises(ValueError, match="autoreset_mode must be DISABLED, got AutoresetMode.NEXT_STEP of Async"):
        ReplayedEnv(env, 0)
    env.close()


def test_large_offsets_of_observations_do_not_hide_their_changes():
    """The observations are 1e9 plus numbers in [-1, 1], which float32 rounds to 1e9."""
    env = SyncVectorEnv([lambda: make_odd("SeesFarDoesPushes")] * 2, autoreset_mode=AutoresetMode.DISABLED)
    policy = GaussianMLP(env.single_observation_space, env.single_action_space)
    algorithm = PPO(env, policy, horizon=4)
    raw = algorithm.envs.obs
    trajectory, _ = algorithm.act(4)
    assert trajectory.obs.dtype == torch.float32 and len(trajectory.obs.flatten(0, 1).unique(dim=0)) == 8
    assert (trajectory.obs.abs() <= 3).all() and torch.equal(trajectory.obs[0], as_tensor(policy, raw))
    assert policy.origin is not None
    np.testing.assert_allclose(trajectory.obs[0].double() + policy.origin, raw, atol=1e-6)
