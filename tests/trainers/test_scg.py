"""Hybrid actions: environments, the task with a gearbox against C MuJoCo, and trainers on them."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete, Tuple

import diffsim
from diffsim.gym import Env, VectorEnv
from diffsim.mdp import action_size
from diffsim.policies import GaussianMLP, HybridMLP
from diffsim.structured_actions import flattened, structured
from diffsim.trainers.likelihood_ratio.ppo import PPO
from diffsim.trainers.pathwise.scg import SCG
from diffsim.trainers.run.api import evaluate, fit, load_policy
from diffsim.trainers.run.arguments import RunOptions, default_policy
from tests.trainers.hybrid_linear import GearedLinearQuadratic
from tests.trainers.running import assert_resumes_exactly, runner

TASK = "CartPoleGears-v0"


def hybrid(mdp, seed=3, **options):
    torch.manual_seed(seed)
    return HybridMLP(mdp.observation_space, mdp.action_space, hidden_sizes=(8,), **options).to(mdp.dtype)


def test_numbers_and_structured_actions_convert_to_each_other():
    box = Box(np.array([-1.0, -3.0], np.float32), np.array([2.0, 1.0], np.float32))
    space = Tuple((Discrete(4, start=2), Dict(a=box, b=Discrete(3))))
    space.seed(0)
    assert action_size(space) == 4
    samples = [space.sample() for _ in range(5)]
    rows = np.stack([flattened(space, sample) for sample in samples])
    assert rows.shape == (5, 4)
    for row, sample in zip(rows, samples, strict=True):
        gear, rest = structured(space, row)
        assert gear == sample[0] and rest["b"] == sample[1]["b"] and np.array_equal(rest["a"], sample[1]["a"])
    gears, rest = structured(space, rows)
    assert gears.shape == (5,) and gears.dtype == np.int64 and rest["a"].shape == (5, 2)
    assert np.array_equal(flattened(space, (gears, rest)), rows)


def test_the_task_equals_its_environment_on_c_mujoco_and_the_plain_task_with_signed_forces():
    env, plain = gymnasium.make(TASK, start="hanging"), gymnasium.make("CartPoleSwingUp-v0", reset_noise_scale=0.1)
    mdp = diffsim.make(TASK)
    env.reset(seed=0)
    plain.reset(seed=0)
    env.action_space.seed(0)
    data, other = env.unwrapped.data, plain.unwrapped.data
    state = torch.as_tensor(np.concatenate([data.qpos, data.qvel]))[None].to(mdp.dtype)
    for _ in range(60):
        action = env.action_space.sample()
        (throttle,), gear = action
        obs, reward, *_ = env.step(action)
        plain.step(np.array([throttle * (gear - 1.0)]))
        numbers = torch.tensor([[throttle, gear]], dtype=mdp.dtype)
        reached = mdp.transition(state, numbers)
        torch.testing.assert_close(mdp.observation(reached)[0].double(), torch.as_tensor(obs), rtol=1e-7, atol=1e-8)
        assert mdp.reward(state, numbers, reached).item() == pytest.approx(reward, abs=1e-6)
        state = reached
    np.testing.assert_allclose(data.qpos, other.qpos, rtol=1e-12, atol=1e-13)
    assert np.abs(data.qvel).max() > 0.1


def test_the_throttle_has_the_gradient_of_finite_differences_and_the_gear_has_none():
    mdp = diffsim.make(TASK, num_envs=3)
    state = mdp.initial(torch.Generator().manual_seed(0))
    action = torch.tensor([[0.3, 0.0], [0.5, 1.0], [0.7, 2.0]], dtype=mdp.dtype, requires_grad=True)
    (gradient,) = torch.autograd.grad(mdp.transition(state, action)[:, 2].sum(), action)
    step = torch.tensor([1e-5, 0.0], dtype=mdp.dtype)
    with torch.no_grad():
        ahead, behind = (mdp.transition(state, action + sign * step)[:, 2] for sign in (1, -1))
    torch.testing.assert_close(gradient[:, 0], (ahead - behind) / 2e-5, rtol=1e-5, atol=1e-8)
    assert (gradient[:, 1] == 0).all() and gradient[1, 0] == 0
    assert gradient[0, 0].item() < -0.1 and gradient[2, 0].item() > 0.1


def test_episodes_start_upright_or_hanging():
    for start, cosine in (("upright", 1.0), ("hanging", -1.0)):
        mdp = diffsim.make(TASK, num_envs=200, start=start)
        obs = mdp.observation(mdp.initial(torch.Generator().manual_seed(0)))
        assert (obs[:, 1] * cosine > 0.8).all() and obs[:, 0].std().item() == pytest.approx(0.1, rel=0.2)
        env = gymnasium.make(TASK, start=start)
        assert env.reset(seed=0)[0][1] * cosine > 0.8
    with pytest.raises(ValueError, match="start must be one of upright, hanging, got 'lying'"):
        diffsim.make(TASK, start="lying")


@pytest.mark.parametrize("named", [True, False])
def test_vector_environments_take_structured_actions(named):
    mdp = GearedLinearQuadratic(4, named=named)
    env, single = VectorEnv(mdp), Env(GearedLinearQuadratic(1, named=named))
    env.reset(seed=0)
    env.action_space.seed(0)
    actions = env.action_space.sample()
    state = env.worlds()[0]
    obs, reward, *_ = env.step(actions)
    numbers = torch.as_tensor(flattened(mdp.action_space, actions))
    reached = mdp.transition(state, numbers)
    np.testing.assert_allclose(obs, reached)
    np.testing.assert_allclose(reward, mdp.reward(state, numbers, reached))
    single.reset(seed=0)
    single.action_space.seed(0)
    assert np.isfinite(single.step(single.action_space.sample())[0]).all()


def test_scg_learns_gears_and_forces():
    """With a tiny discount, force and gear have only costs: the lowest gear and no force are best."""
    mdp = GearedLinearQuadratic(64, max_episode_steps=4)
    policy = hybrid(mdp, normalize=False)
    trainer = SCG(mdp, policy, gamma=0.01, horizon=4, learning_rate=1e-2, actor_ema=0.0, value_epochs=1)
    for _ in range(100):
        trainer.train_iteration()
    obs = mdp.initial(torch.Generator().manual_seed(0))
    action = policy(obs)
    assert (policy.squash.indices(action) == 0).all()
    assert action[:, 0].abs().max() < 0.3


def test_resuming_is_exact(tmp_path):
    def fresh():
        mdp = GearedLinearQuadratic(3, noise_std=0.1, max_episode_steps=10)
        return SCG(mdp, hybrid(mdp), horizon=4, value_epochs=2)

    run = runner(RunOptions(task="linear", evaluate_every=5))
    assert_resumes_exactly(run, fresh, tmp_path, "network", iterations=20)


def test_ppo_learns_from_hybrid_actions_too():
    env = VectorEnv(GearedLinearQuadratic(8, max_episode_steps=20))
    policy = hybrid(env.mdp)
    before = [parameter.clone() for parameter in policy.parameters()]
    metrics = PPO(env, policy, horizon=16).train_iteration()
    assert all(np.isfinite(value) for value in metrics.values())
    assert any(not torch.equal(old, new) for old, new in zip(before, policy.parameters(), strict=True))


def test_a_run_is_evaluated_in_the_environment_on_c_mujoco(tmp_path):
    mdp = diffsim.make(TASK, num_envs=2)
    fit(SCG(mdp, hybrid(mdp), horizon=4), iterations=1, folder=tmp_path / "run")
    loaded = load_policy(tmp_path / "run", hybrid(mdp))
    env = gymnasium.make(TASK)
    obs, _ = env.reset(seed=0)
    action = loaded(obs)
    assert env.action_space.contains((action[0].astype(np.float32), action[1]))
    env.step(action)
    assert evaluate(hybrid(mdp), TASK, episodes=1).lengths.tolist() == [250]
    assert default_policy("PPO", TASK) == "HybridMLP"


def test_other_policies_and_options_are_refused():
    mdp, plain = GearedLinearQuadratic(2), diffsim.make("CartPoleSwingUp-v0")
    with pytest.raises(TypeError, match="policy must be a HybridMLP, got GaussianMLP"):
        SCG(plain, GaussianMLP(plain.observation_space, plain.action_space))
    with pytest.raises(ValueError, match="actor_epochs must be 1 for actions with discrete parts, got 2"):
        SCG(mdp, hybrid(mdp), actor_epochs=2)
    with pytest.raises(ValueError, match=r"action must have shape \(1, 2\), got \(1, 1\)"):
        diffsim.make(TASK).transition(torch.zeros(1, 4, dtype=diffsim.dtype), torch.zeros(1, 1, dtype=diffsim.dtype))
    env = VectorEnv(mdp)
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"actions must have shape \(2, 2\), got \(3, 2\)"):
        env.step((np.zeros((3, 1)), np.full(3, 5)))
