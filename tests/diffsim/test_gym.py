"""Gymnasium environments of MDPs: registration, spaces, auto-reset, seeds, and Gymnasium's own checker."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

import diffsim
from diffsim.gym import VectorEnv
from diffsim.tasks import TASKS

every_task = pytest.mark.parametrize("id", TASKS)


@every_task
# It advises bounded observations and actions in [-1, 1], also for Gymnasium's own environments.
@pytest.mark.filterwarnings("ignore:.*(observation space m..imum value|symmetric and normalized)")
def test_passes_gymnasiums_checker(id):
    check_env(gymnasium.make(f"diffsim/{id}", disable_env_checker=True).unwrapped, skip_render_check=True)


def parts(*values):
    """The arrays of observations and other values; dictionaries are expanded."""
    return [array for value in values for array in (value.values() if isinstance(value, dict) else [value])]


@every_task
def test_same_spaces_and_types_as_gymnasiums_vector_environment(id):
    ours, theirs = gymnasium.make_vec(f"diffsim/{id}", num_envs=3), gymnasium.make_vec(id, num_envs=3)
    assert isinstance(ours, gymnasium.vector.VectorEnv)
    assert ours.num_envs == 3
    for space in ("observation_space", "action_space", "single_observation_space", "single_action_space"):
        assert getattr(ours, space) == getattr(theirs, space)
    assert ours.metadata["autoreset_mode"] == theirs.metadata["autoreset_mode"] == AutoresetMode.NEXT_STEP
    assert ours.spec.max_episode_steps == theirs.spec.max_episode_steps
    obs, expected = parts(ours.reset(seed=0)[0]), parts(theirs.reset(seed=0)[0])
    actions = theirs.action_space.sample()
    obs += parts(*ours.step(actions)[:4])
    expected += parts(*theirs.step(actions)[:4])
    for value, other in zip(obs, expected, strict=True):
        assert isinstance(value, np.ndarray)
        assert (value.shape, value.dtype) == (other.shape, other.dtype)
    assert ours.observation_space.contains(ours.reset(seed=1)[0])


@every_task
def test_seeds(id):
    def run(seed):
        env = gymnasium.make_vec(f"diffsim/{id}", num_envs=4)
        env.action_space.seed(0)
        arrays = parts(env.reset(seed=seed)[0])
        for _ in range(60):
            arrays += parts(*env.step(env.action_space.sample())[:4])
        return arrays

    first, again, other = run(5), run(5), run(6)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])
    env = gymnasium.make_vec(f"diffsim/{id}", num_envs=4)
    # Without a seed a random one is used; later resets continue with the same generator.
    other = gymnasium.make_vec(f"diffsim/{id}", num_envs=4)
    assert not np.array_equal(parts(env.reset()[0])[0], parts(other.reset()[0])[0])
    assert not np.array_equal(parts(env.reset(seed=1)[0])[0], parts(env.reset()[0])[0])


def test_next_step_autoreset_after_termination():
    env = gymnasium.make_vec("diffsim/InvertedPendulum-v5", num_envs=3)
    env.reset(seed=0)
    actions = np.array([[3.0], [0.0], [-3.0]])
    ended = np.zeros(3, dtype=bool)
    ends = np.zeros(3, dtype=int)
    for _ in range(60):
        obs, rewards, terminated, truncated, _ = env.step(actions)
        # A copy that ended in the last step was reset: a new observation, reward 0, no end.
        assert (np.abs(obs[ended]) <= 0.01).all()
        assert (rewards[ended] == 0).all() and not terminated[ended].any()
        # The others return the observation they reached, even if it is terminal.
        np.testing.assert_array_equal(terminated, (np.abs(obs[:, 1]) > 0.2) & ~ended)
        np.testing.assert_array_equal(rewards, (~terminated & ~ended).astype(float))
        assert not truncated.any()
        ended = terminated
        ends += terminated
    assert ends[0] >= 2 and ends[2] >= 2


def test_truncation_counts_steps_of_each_copy():
    env = gymnasium.make_vec("diffsim/Reacher-v5", num_envs=2, max_episode_steps=4)
    env.reset(seed=0)
    actions = np.zeros((2, 2))
    env.step(actions)
    env.step(actions)
    env.reset(options={"reset_mask": np.array([False, True])})
    pattern = [env.step(actions)[3].tolist() for _ in range(9)]
    # Copy 0 has made 2 steps, copy 1 none; an end takes one more call, for the reset.
    assert [row[0] for row in pattern] == [False, True, False, False, False, False, True, False, False]
    assert [row[1] for row in pattern] == [False, False, False, True, False, False, False, False, True]


def test_default_time_limit():
    env = gymnasium.make_vec("diffsim/Reacher-v5", num_envs=1)
    env.reset(seed=0)
    truncated = [bool(env.step(np.zeros((1, 2)))[3][0]) for _ in range(51)]
    assert truncated == [False] * 49 + [True, False]


def test_reset_mask_keeps_the_other_copies():
    env = gymnasium.make_vec("diffsim/Swimmer-v5", num_envs=3)
    before = env.reset(seed=0)[0]
    after = env.reset(options={"reset_mask": np.array([False, True, False])})[0]
    np.testing.assert_array_equal(after[[0, 2]], before[[0, 2]])
    assert not np.array_equal(after[1], before[1])
    with pytest.raises(ValueError, match="reset_mask"):
        env.reset(options={"reset_mask": [True, False, True]})


def test_options_reach_the_task():
    env = gymnasium.make_vec("diffsim/Swimmer-v5", num_envs=2, exclude_current_positions_from_observation=False)
    assert env.reset(seed=0)[0].shape == (2, 10)
    with pytest.raises(TypeError, match="got frameskip"):
        gymnasium.make_vec("diffsim/Swimmer-v5", num_envs=2, frameskip=2)


def test_the_same_physics_as_the_mdp():
    mdp = diffsim.make("InvertedDoublePendulum-v5", num_envs=5)
    env = VectorEnv(mdp)
    env.reset(seed=0)
    state, actions = env._state, np.linspace(-0.2, 0.2, 5)[:, None]
    obs, rewards, terminated, _, _ = env.step(actions)
    action = torch.as_tensor(actions, dtype=mdp.dtype)
    next_state = mdp.transition(state, action)
    np.testing.assert_array_equal(obs, mdp.observation(next_state).double().numpy())
    np.testing.assert_array_equal(rewards, mdp.reward(state, action, next_state).double().numpy())
    np.testing.assert_array_equal(terminated, mdp.terminal(next_state).numpy())


def test_wrappers_of_gymnasium():
    env = gymnasium.make_vec("diffsim/Reacher-v5", num_envs=2)
    env = gymnasium.wrappers.vector.RecordEpisodeStatistics(env)
    env.reset(seed=0)
    total = np.zeros(2)
    for _ in range(50):
        _, rewards, _, _, info = env.step(np.full((2, 2), 0.1))
        total += rewards
    np.testing.assert_allclose(info["episode"]["r"], total, rtol=1e-6)
    np.testing.assert_array_equal(info["episode"]["l"], 50)


def test_misuse():
    env = gymnasium.make_vec("diffsim/Reacher-v5", num_envs=2)
    with pytest.raises(gymnasium.error.ResetNeeded, match="reset"):
        env.step(np.zeros((2, 2)))
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"actions must have shape \(2, 2\), got \(2,\)"):
        env.step(np.zeros(2))
    with pytest.raises(ValueError, match="(?s)ctrl"):
        env.step(np.full((2, 2), np.nan))
    with pytest.raises(ValueError, match="max_episode_steps must be >= 1 or None, got 0"):
        VectorEnv(diffsim.make("Reacher-v5"), max_episode_steps=0)
    with pytest.raises(gymnasium.error.Error, match="Swimer"):
        gymnasium.make_vec("diffsim/Swimer-v5")
