"""Saving and restoring the state of environments exactly, and how algorithms get their environment."""

import copy

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorWrapper

from diffsim.trainers.cli import main
from diffsim.trainers.errors import CheckpointError, OptionError
from diffsim.trainers.experience.rollout import collect
from diffsim.trainers.experience.sync_vector_env import FastSyncVectorEnv
from diffsim.trainers.experience.vector_env import ReplayedEnv, episode_seed, make_env, resumable
from diffsim.trainers.run.arguments import default_policy, official_id
from tests.trainers.small_envs import Counter

TASKS = ("CartPole-v1", "Hopper-v5", "diffsim/Hopper-v5")


def follow(env, actions):
    """Observations, rewards and ends under `actions` [H, N, ...]; copies are reset when their episode ends."""
    steps = []
    for action in actions:
        _, reward, terminated, truncated, _ = env.step(action)
        if (ended := terminated | truncated).any():
            env.reset(options={"reset_mask": ended})
        steps.append((env.obs.copy(), reward.copy(), ended))
    return [np.stack(parts) for parts in zip(*steps, strict=True)]


def draw(env, steps, seed):
    env.action_space.seed(seed)
    return [env.action_space.sample() for _ in range(steps)]


@pytest.mark.parametrize("task", TASKS)
def test_a_restored_state_is_exact(task):
    env = make_env(task, 3, seed=4)
    ended = follow(env, draw(env, 60, 0))[2]
    assert ended.any(0).all()
    saved, other = env.state_dict(), make_env(task, 3, seed=4)
    other.load_state_dict(saved)
    assert np.array_equal(other.obs, env.obs)
    for one, two in zip(*(follow(e, draw(e, 60, 1)) for e in (env, other)), strict=True):
        assert np.array_equal(one, two)


@pytest.mark.parametrize("task", TASKS)
def test_equal_seeds_give_equal_observations_and_other_seeds_others(task):
    runs = [follow(env, draw(env, 20, 0))[0] for env in (make_env(task, 2, seed=s) for s in (1, 1, 2))]
    assert np.array_equal(runs[0], runs[1]) and not np.array_equal(runs[0], runs[2])
    assert not np.array_equal(runs[0][:, 0], runs[0][:, 1]), "the copies differ"


@pytest.mark.parametrize("task", ["Hopper-v5", "ReacherGoal-v0"])
def test_fast_vector_env_equals_gymnasiums_without_infos(task):
    def make():
        return gymnasium.make(task, disable_env_checker=True, max_episode_steps=30)

    own = FastSyncVectorEnv([make] * 3)
    theirs = SyncVectorEnv([make] * 3, autoreset_mode=AutoresetMode.DISABLED)
    seeds, kept = [3, 4, 5], []
    first, info = own.reset(seed=seeds)
    assert same(first, theirs.reset(seed=seeds)[0]) and not info
    for time, action in enumerate(draw(own, 100, 0)):
        *ours, empty = own.step(action)
        *gymnasiums, merged = theirs.step(action)
        assert merged and not empty
        assert all(same(*pair) for pair in zip(ours, gymnasiums, strict=True))
        ended = ours[2] | ours[3] | (np.arange(3) == 1 if time == 9 else False)
        if ended.any():
            seeds = [100 * time + n if chosen else None for n, chosen in enumerate(ended)]
            fresh, info = own.reset(seed=seeds, options={"reset_mask": ended})
            assert same(fresh, theirs.reset(seed=seeds, options={"reset_mask": ended.copy()})[0]) and not info
            kept.append((fresh, copy.deepcopy(fresh)))
    assert len(kept) > 3 and all(same(*pair) for pair in kept), "returned observations must not change later"


def test_copies_whose_episode_has_ended_must_be_reset():
    env = FastSyncVectorEnv([lambda: Counter(2)] * 2)
    env.reset(seed=[0, 1])
    env.step(np.zeros((2, 1)))
    ended = env.step(np.zeros((2, 1)))[2]
    assert ended.all()
    env.reset(seed=[2, None], options={"reset_mask": np.array([True, False])})
    with pytest.raises(AssertionError, match=r"copies that have ended must be reset: \[False  True\]"):
        env.step(np.zeros((2, 1)))


def same(one, two):
    """Whether two observations, arrays or dictionaries of arrays, are equal."""
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(np.array_equal(one[name], two[name]) for name in one)
    return np.array_equal(one, two)


def test_time_limits_are_restored():
    env = make_env("CartPole-v1", 2, seed=0, max_episode_steps=9)
    follow(env, draw(env, 5, 0))
    other = make_env("CartPole-v1", 2, seed=0, max_episode_steps=9)
    other.load_state_dict(env.state_dict())
    ended = follow(other, draw(env, 4, 1))[2]
    assert ended.tolist() == [[False] * 2] * 3 + [[True] * 2]


def test_only_actions_of_current_episodes_are_saved():
    env = make_env("CartPole-v1", 2, seed=0)
    follow(env, draw(env, 300, 0))
    assert len(env.state_dict()["actions"]) == env.age.max() < 100


def test_an_environment_with_unseeded_randomness_is_refused():
    class Restless(Counter):
        def reset(self, *, seed=None, options=None):
            obs, info = super().reset()
            return obs + np.random.default_rng().random(), info

    def make():
        return ReplayedEnv(SyncVectorEnv([lambda: Restless(9)] * 2, autoreset_mode=AutoresetMode.DISABLED), 0)

    env = make()
    follow(env, np.zeros((3, 2, 1)))
    with pytest.raises(CheckpointError, match="must be a function of its seed and actions"):
        make().load_state_dict(env.state_dict())


def test_episodes_have_different_seeds():
    seeds = {episode_seed(seed, copy, k) for seed in range(5) for copy in range(20) for k in range(20)}
    assert len(seeds) >= 1999  # among 2,000 draws from 2^32, two agree with probability 1 / 2,000


def test_simulated_transitions_equal_gymnasiums():
    """A window that `collect` makes with our simulator, repeated in Gymnasium from the same state."""
    env = make_env("diffsim/Hopper-v5", 2, seed=0)
    official = gymnasium.make("Hopper-v5").unwrapped
    noise = torch.randn(30, 2, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    state = env.state_dict()["state"][0].numpy()
    trajectory, _ = collect(env, lambda obs, noise: noise.clamp(-1, 1), env.obs, noise)
    official.reset(seed=0)
    official.set_state(state[:6], state[6:])
    last = trajectory.ended[:, 0].nonzero()[0].item() if trajectory.ended[:, 0].any() else 29
    for t in range(last + 1):
        obs, reward, terminated, _, _ = official.step(trajectory.action[t, 0].numpy())
        np.testing.assert_allclose(trajectory.next_obs[t, 0], obs, rtol=1e-6, atol=1e-7)
        assert trajectory.reward[t, 0].item() == pytest.approx(reward, rel=1e-6)
        assert trajectory.terminated[t, 0].item() == terminated


def test_other_vector_environments_with_autoreset_are_refused():
    env = SyncVectorEnv([lambda: Counter(2)], autoreset_mode=AutoresetMode.DISABLED)
    assert isinstance(resumable(env, 0), ReplayedEnv)
    for mode in (AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP):
        with pytest.raises(ValueError, match="autoreset_mode must be DISABLED, got AutoresetMode.* of VectorWrapper"):
            resumable(VectorWrapper(SyncVectorEnv([lambda: Counter(2)], autoreset_mode=mode)), 0)
    simulated = gymnasium.make_vec("diffsim/Reacher-v5", num_envs=2)
    assert resumable(simulated, 0).obs.shape == (2, 10)


def test_the_default_policy_follows_from_the_action_space():
    assert default_policy("PPO", "CartPole-v1") == "CategoricalMLP"
    assert default_policy("PPO", "diffsim/Hopper-v5") == default_policy("PPO", "Hopper-v5") == "GaussianMLP"
    assert default_policy("BPTT", "Hopper-v5") == default_policy("DDPG", "Hopper-v5") == "DeterministicMLP"
    assert official_id("diffsim/Hopper-v5") == official_id("Hopper-v5") == "Hopper-v5"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--task", "Nowhere-v0", "--algorithm", "PPO"], "or diffsim/<id>, got 'Nowhe"),
        (["--task", "CartPole-v1", "--algorithm", "SHAC"], "algorithm must be one that needs no derivatives"),
        (["--task", "diffsim/CartPole-v1", "--algorithm", "PPO"], "id must be one of Ant-v5"),
        (["--task", "CartPole-v1", "--algorithm", "PPO", "--policy", "DeterministicMLP"], "must be a gymnasium.spaces"),
        (["--task", "Hopper-v5", "--algorithm", "PPO", "--policy", "DeterministicMLP"], "policy must be a stochastic"),
        (["--task", "Hopper-v5", "--algorithm", "PPO", "--policy", "CategoricalMLP"], "must be Discrete, MultiDisc"),
        (
            ["--task", "Hopper-v5", "--algorithm", "PPO", "--process_noise", "0.1"],
            "process_noise must be 0 for an environment of Gymn",
        ),
        (
            ["--task", "tests.trainers.odd_envs:SeesListDoesPushes-v0", "--algorithm", "PPO"],
            "observation_space must be a Box, Discrete, MultiDiscrete or MultiBinary space, or a Dict or Tuple of",
        ),
        (["--task", "CartPole-v1", "--algorithm", "TRPO", "--shrink", "1"], "shrink must be in (0, 1), got 1.0"),
    ],
)
def test_errors_are_one_line(words, message, tmp_path, capsys):
    assert main(["fit", *words, "--run", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and not (tmp_path / "run").exists()


def test_noise_is_refused_for_gymnasiums_environments():
    with pytest.raises(OptionError, match="reward_noise must be 0"):
        make_env("CartPole-v1", 1, reward_noise=0.5)
