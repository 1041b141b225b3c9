"""Goal tasks: their Gymnasium environments, their rewards, and their gradients for pathwise methods."""

import gymnasium
import numpy as np
import pytest
import torch

import diffsim
from diffsim.mdp import Scenarios
from diffsim.wrappers import NoisyReward

from .official import official, random_transitions

GOAL_TASKS = ("ReacherGoal-v0", "PointPush-v0")
every_goal_task = pytest.mark.parametrize("id", GOAL_TASKS)
ENV_IDS = [prefix + id for prefix in ("", "diffsim/") for id in GOAL_TASKS]


@pytest.mark.parametrize("env_id", ENV_IDS)
@pytest.mark.parametrize("reward_type", ["sparse", "dense"])
def test_goal_environments_follow_gymnasium_robotics(env_id, reward_type):
    env = gymnasium.make(env_id, reward_type=reward_type, distance_threshold=0.05)
    env.action_space.seed(0)
    successes = []
    for seed in range(60):
        obs, _ = env.reset(seed=seed)
        assert list(obs) == ["achieved_goal", "desired_goal", "observation"] or set(obs) == set(env.observation_space)
        start = obs["desired_goal"]
        for _ in range(3):
            obs, reward, terminated, truncated, info = env.step(env.action_space.sample())
            assert env.observation_space.contains(obs) and not terminated and not truncated
            np.testing.assert_array_equal(obs["desired_goal"], start)
            recomputed = env.unwrapped.compute_reward(obs["achieved_goal"], obs["desired_goal"], info)
            assert reward == pytest.approx(float(recomputed), rel=1e-12)
            gap = np.linalg.norm(obs["achieved_goal"] - obs["desired_goal"])
            assert bool(info["is_success"]) == (gap < 0.05)
            if reward_type == "sparse":
                assert reward == (0.0 if gap < 0.05 else -1.0)
            elif "Reacher" in env_id:
                assert reward == pytest.approx(-gap)
            else:
                assert reward == pytest.approx(-gap - 0.5 * info["near_distance"])
                point, disc = obs["observation"][:2], obs["observation"][2:4]
                assert info["near_distance"] == pytest.approx(np.linalg.norm(point - disc))
        successes.append(bool(info["is_success"]))
    assert 1 <= sum(successes) <= 59
    env.close()


@pytest.mark.parametrize("env_id", ENV_IDS)
def test_rewards_of_many_goals_at_once(env_id):
    env = gymnasium.make(env_id, distance_threshold=0.5).unwrapped
    achieved, desired = np.zeros((3, 2)), np.array([[0.3, 0.0], [0.3, 0.5], [0.0, 0.49]])
    np.testing.assert_array_equal(env.compute_reward(achieved, desired, {}), [0.0, -1.0, 0.0])


@every_goal_task
def test_vector_environment_makes_the_steps_of_c_mujoco(id):
    # From the same states with the same actions: dictionaries, rewards and infos.
    ours, theirs = gymnasium.make_vec(f"diffsim/{id}", num_envs=4), [official(id) for _ in range(4)]
    rng = np.random.default_rng(0)
    obs, _ = ours.reset(seed=0)
    for world, env in enumerate(theirs):
        env.reset(seed=0)
        qpos, qvel, _ = ours.mdp.split(ours._state)
        env.set_state(qpos[world].numpy(), qvel[world].numpy())
        for key, value in env._get_obs().items():
            np.testing.assert_allclose(obs[key][world], value, atol=1e-12)
    for _ in range(20):
        actions = rng.uniform(-1, 1, (4, 2))
        obs, rewards, _, _, infos = ours.step(actions)
        for world, env in enumerate(theirs):
            expected, reward, _, _, info = env.step(actions[world])
            for key, value in expected.items():
                np.testing.assert_allclose(obs[key][world], value, atol=1e-6)
            assert rewards[world] == reward
            for key, value in info.items():
                np.testing.assert_allclose(infos[key][world], value, atol=1e-6)


@every_goal_task
def test_random_transitions_have_both_sparse_rewards(id):
    rewards = random_transitions(official(id, distance_threshold=0.1), 200).reward
    assert set(rewards) == {0.0, -1.0}


def test_flat_observations_are_in_gymnasiums_order():
    for id in GOAL_TASKS:
        mdp = diffsim.make(id, num_envs=2)
        state = mdp.initial(torch.Generator().manual_seed(0))
        parts = {"achieved_goal": mdp.achieved_goal(state), "desired_goal": mdp.desired_goal(state)}
        parts["observation"] = mdp.features(state)
        first = {key: value[0].numpy() for key, value in parts.items()}
        expected = gymnasium.spaces.flatten(mdp.goal_observation_space, first)
        np.testing.assert_array_equal(mdp.observation(state)[0].numpy(), expected)


def test_goals_are_reachable_and_not_reached_at_the_start():
    state = diffsim.make("ReacherGoal-v0", num_envs=2000).initial(torch.Generator().manual_seed(0))
    radius = state[:, 2:4].norm(dim=1)
    # The arm of 0.1 m and 0.11 m, bent by at most 165 degrees, reaches from 0.029 m to 0.21 m.
    assert radius.min() >= 0.05 and radius.max() <= 0.2
    mdp = diffsim.make("PointPush-v0", num_envs=2000)
    state = mdp.initial(torch.Generator().manual_seed(0))
    point, disc, goal = state[:, :2], state[:, 2:4], state[:, 4:6]
    assert (point - disc).norm(dim=1).min() > 0.07, "they do not touch"
    assert point.abs().max() < 0.3 and disc.abs().max() < 0.25 and goal.abs().max() < 0.25
    assert mdp.info(state)["is_success"].double().mean() < 0.15


@every_goal_task
def test_dense_returns_have_a_gradient_and_sparse_ones_have_none(id):
    for reward_type in ("dense", "sparse"):
        mdp = diffsim.make(id, num_envs=8, reward_type=reward_type)
        scenarios = Scenarios.draw(mdp, 5, torch.Generator().manual_seed(0))
        action = torch.full((8, 2), 0.3, dtype=mdp.dtype, requires_grad=True)
        state, total = scenarios.initial, 0.0
        for _ in range(5):
            reached = mdp.transition(state, action)
            total, state = total + mdp.reward(state, action, reached).sum(), reached
        if reward_type == "sparse":
            assert not total.requires_grad
        else:
            (gradient,) = torch.autograd.grad(total, action)
            assert gradient.isfinite().all() and (gradient.abs().sum(1) > 1e-4).all()


def test_pushing_moves_the_disc():
    mdp = diffsim.make("PointPush-v0", num_envs=1)
    state = torch.tensor([[-0.1, 0.0, 0.0, 0.0, 0.1, 0.0, *[0.0] * 6]], dtype=mdp.dtype)
    action = torch.tensor([[1.0, 0.0]], dtype=mdp.dtype)
    for _ in range(8):
        state = mdp.transition(state, action)
    assert mdp.info(state)["is_success"].item()
    assert abs(state[0, 3]) < 1e-9 and state[0, 2] - state[0, 0] > 0.069


def test_noisy_rewards_keep_dictionary_observations():
    env = gymnasium.make_vec("diffsim/PointPush-v0", num_envs=3, reward_noise=0.1)
    assert isinstance(env.mdp, NoisyReward)
    env.reset(seed=0)
    obs, rewards, _, _, info = env.step(np.zeros((3, 2)))
    assert set(obs) == {"achieved_goal", "desired_goal", "observation"} and info["is_success"].shape == (3,)
    assert not set(rewards) & {0.0, -1.0}


@pytest.mark.parametrize("make", [diffsim.make, gymnasium.make])
@every_goal_task
def test_options_out_of_range(make, id):
    with pytest.raises(ValueError, match="reward_type must be one of sparse, dense, got 'dens'"):
        make(id, reward_type="dens")
    with pytest.raises(ValueError, match="distance_threshold must be finite and > 0, got 0"):
        make(id, distance_threshold=0)
