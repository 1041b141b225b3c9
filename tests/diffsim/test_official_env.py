"""Tasks on C MuJoCo: the same steps as environments written by hand in NumPy, Gymnasium's contract, and pictures."""

import pickle

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

import diffsim
import diffsim.gym
from diffsim.tasks import TASKS, OfficialEnv, official_env
from diffsim.tasks.official import OfficialGoalEnv

from .official import SETTINGS, official
from .own_tasks import Cable, Forearm, Pendulum, SlideTo

OWN_SETTINGS = [(id, options) for id, options in SETTINGS if id.endswith("-v0")]
GYMNASIUMS = ["Hopper-v5", "InvertedDoublePendulum-v5", "Ant-v5", "Reacher-v5", "HalfCheetah-v5"]


def flat(env, obs):
    return gymnasium.spaces.flatten(env.observation_space, obs)


@pytest.mark.parametrize(("id", "options"), [*OWN_SETTINGS, *((id, {}) for id in GYMNASIUMS)])
def test_same_steps_as_environments_written_in_numpy(id, options):
    theirs = official(id, **options)
    cls = OfficialGoalEnv if "Goal" in id or "Push" in id else OfficialEnv
    ours = cls(TASKS[id], **options)
    assert ours.observation_space == theirs.observation_space and ours.action_space == theirs.action_space
    rng = np.random.default_rng(0)
    touched = 0
    for seed in range(3):
        theirs.reset(seed=seed)
        qpos, qvel = theirs.data.qpos.copy(), theirs.data.qvel.copy()
        if id == "PointPush-v0":
            qpos[:2] = qpos[2:4] + 0.07  # in contact soon
        ours.reset(seed=0)
        ours.set_state(qpos, qvel)
        theirs.reset(seed=0)
        theirs.set_state(qpos, qvel)
        for _ in range(15):
            action = rng.uniform(theirs.action_space.low, theirs.action_space.high)
            if id == "PointPush-v0":
                action = -np.abs(action)
            found, expected = ours.step(action), theirs.step(action)
            touched += theirs.data.ncon
            np.testing.assert_allclose(flat(ours, found[0]), flat(theirs, expected[0]), rtol=1e-12, atol=1e-12)
            assert found[1] == pytest.approx(expected[1], rel=1e-12, abs=1e-12)
            assert found[2] == expected[2]
            if cls is OfficialGoalEnv:
                assert found[4].keys() == expected[4].keys()
    assert touched > 0 or id not in ("PointPush-v0", "Hopper-v5")


@pytest.mark.parametrize("task", [Pendulum, Forearm, SlideTo, Cable])
@pytest.mark.filterwarnings("ignore:.*(observation space m..imum value|symmetric and normalized)")
def test_own_tasks_pass_gymnasiums_checker(task):
    env = official_env(task)
    assert env.spec.max_episode_steps == task.max_episode_steps
    check_env(env.unwrapped, skip_render_check=True)


def test_an_episode_ends_at_the_time_limit_and_depends_on_the_seed_only():
    def episode(seed):
        env = official_env("tests.diffsim.own_tasks:Pendulum-v0")
        rows, ended = [env.reset(seed=seed)[0]], False
        while not ended:
            obs, _, terminated, truncated, _ = env.step(np.full(1, 0.3, np.float32))
            rows.append(obs)
            ended = terminated or truncated
        return np.array(rows)

    first, again, other = episode(3), episode(3), episode(4)
    assert first.shape == (31, 4) and first.dtype == np.float64
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    env = official_env(Pendulum)
    assert not np.array_equal(env.reset(seed=3)[0], env.reset()[0])
    np.testing.assert_array_equal(env.reset(seed=3)[0], first[0])
    assert official_env(Pendulum, max_episode_steps=5).spec.max_episode_steps == 5


def test_the_goal_environment_has_dictionaries():
    env = official_env(SlideTo, reward_type="dense")
    obs, _ = env.reset(seed=0)
    assert set(obs) == {"achieved_goal", "desired_goal", "observation"} and env.observation_space.contains(obs)
    obs, reward, _, _, info = env.step(np.ones(1, np.float32))
    assert reward == pytest.approx(-abs(float(obs["achieved_goal"][0] - obs["desired_goal"][0])))
    assert reward == pytest.approx(float(env.unwrapped.compute_reward(obs["achieved_goal"], obs["desired_goal"], info)))
    assert info == {"is_success": -reward < 0.2}


def test_ids_of_gymnasium_and_of_this_package_are_registered_environments():
    assert official_env("CartPole-v1").spec.id == "CartPole-v1"
    assert type(official_env("CartPoleSwingUp-v0").unwrapped).__name__ == "CartPoleSwingUpEnv"
    assert type(official_env("Hopper-v5").unwrapped).__module__ == "gymnasium.envs.mujoco.hopper_v5"
    assert official_env(Pendulum).spec.id == "tests.diffsim.own_tasks:Pendulum"


def test_vector_environment_of_gymnasium_takes_it():
    make = [lambda: official_env(Pendulum)] * 2
    env = gymnasium.vector.SyncVectorEnv(make)
    assert env.reset(seed=0)[0].shape == (2, 4)
    assert pickle.loads(pickle.dumps(official_env(Pendulum).spec)).max_episode_steps == 30


def test_a_model_that_the_simulator_refuses():
    """`simulated = False` goes through the same doors, and the error of a model that lacks it names it."""
    env = diffsim.gym.make_vector_env(Cable, num_envs=2)
    env.reset(seed=0)
    assert env.step(np.zeros((2, 1)))[0].shape == (2, 4)
    mdp = diffsim.make(Cable, num_envs=2)
    state = mdp.initial(torch.Generator().manual_seed(0))
    action = torch.zeros(2, 1, dtype=mdp.dtype, requires_grad=True)
    next_state = mdp.transition(state, action)
    (gradient,) = torch.autograd.grad(mdp.reward(state, action, next_state).sum(), action)
    assert (gradient != 0).all()
    with pytest.raises(diffsim.UnsupportedModelError) as caught:
        type("Simulated", (Cable,), {"simulated": True})()
    assert "`simulated = False` in Simulated" in caught.value.__notes__[0]


def test_misuse():
    env = OfficialEnv(Pendulum)
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(np.zeros(1))
    env.reset(seed=0)
    with pytest.raises(ValueError, match="action must be 1 finite numbers"):
        env.step(np.zeros(2))
    with pytest.raises(ValueError, match="action must be 1 finite numbers"):
        env.step(np.array([np.nan]))
    with pytest.raises(TypeError, match="xml_file must be given"):
        type("NoModel", (Pendulum,), {"xml_file": None})()
    with pytest.raises(FloatingPointError, match="physics diverged"):
        env.set_state(np.zeros(1), np.full(1, 1e12))
        env.step(np.zeros(1))


def test_pictures(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "egl")
    env = official_env(Pendulum, render_mode="rgb_array", camera_name="side", width=60, height=40)
    env.reset(seed=0)
    try:
        first = env.render()
    except Exception as error:  # each OpenGL library has its own
        pytest.skip(f"no OpenGL: {error}")
    for _ in range(10):
        env.step(np.ones(1, np.float32))
    assert first.shape == (40, 60, 3) and not np.array_equal(first, env.render())
    assert env.metadata["render_fps"] == 50
    env.close()
