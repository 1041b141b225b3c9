"""Positions only, noisy observations and delayed actions: by definition, on the simulator and in its twin."""

import gymnasium
import numpy as np
import pytest
import torch

import diffsim
from diffsim.mdp import Scenarios
from diffsim.tasks import official_env
from diffsim.trainers.errors import OptionError
from diffsim.trainers.experience.rollout import rollout
from diffsim.trainers.experience.vector_env import make_env
from diffsim.trainers.run.arguments import RunOptions
from diffsim.trainers.run.build import build_mdp
from tests.trainers.linear import LinearPolicy, LinearQuadratic

from .test_random_model import Wheel, seeded

VARIED = {"positions_only": True, "observation_noise": 0.1, "action_delay": 3}


def rows(mdp, values):
    return torch.tensor(values, dtype=mdp.dtype)


def test_an_action_is_executed_after_the_delay_and_zeros_before():
    inner = LinearQuadratic(2)
    mdp = diffsim.DelayedActions(inner, 3)
    state = mdp.initial(seeded())
    expected = state[:, : inner.state_size]
    actions = [rows(mdp, [[0.1 * k + 0.1], [-0.2 * k]]) for k in range(6)]
    for k, action in enumerate(actions):
        executed = actions[k - 3] if k >= 3 else torch.zeros_like(action)
        following = inner.transition(expected, executed)
        next_state = mdp.transition(state, action)
        assert torch.equal(next_state[:, : inner.state_size], following)
        assert torch.equal(
            next_state[:, inner.state_size :], torch.cat(([executed * 0] * 3 + actions)[k + 1 : k + 4], 1)
        )
        assert torch.equal(mdp.reward(state, action, next_state), inner.reward(expected, executed, following))
        state, expected = next_state, following


def test_noise_of_observations_is_normal_and_new_in_every_state():
    inner = LinearQuadratic(4000, noise_std=0.1, bound=2.0)
    mdp = diffsim.NoisyObservation(inner, 0.3)
    scenarios = Scenarios.draw(mdp, 3, seeded())
    noisy, _ = rollout(mdp, LinearPolicy(), scenarios)
    size, hidden = inner.state_size, scenarios.process_noise[..., : inner.noise_size]
    states = [scenarios.initial[:, :size]]
    for k in range(3):
        states.append(inner.transition(states[-1], noisy.action[k], hidden[k]))
    going = ~noisy.terminated.any(0)
    seen = torch.stack([*noisy.obs, noisy.next_obs[-1]])
    noise = (seen - torch.stack([inner.observation(state) for state in states]))[:, going].flatten(1)
    count = noise.shape[1]
    for k in range(4):
        assert noise[k].var().item() == pytest.approx(0.09, abs=4 * 0.09 * (2 / count) ** 0.5)
        assert abs(noise[k].mean().item()) < 4 * 0.3 / count**0.5
    independent = torch.corrcoef(noise) - torch.eye(4, dtype=noise.dtype)
    assert independent.abs().max() < 4 / count**0.5
    again, _ = rollout(mdp, LinearPolicy(), Scenarios.draw(mdp, 3, seeded()))
    assert all(torch.equal(a, b) for a, b in zip(noisy, again, strict=True))


@pytest.mark.parametrize(
    ("id", "options"),
    [
        ("Hopper-v5", {}),
        ("Hopper-v5", {"exclude_current_positions_from_observation": False}),
        ("Humanoid-v5", {}),
        ("Reacher-v5", {}),
        ("Pusher-v5", {}),
        ("InvertedDoublePendulum-v5", {}),
        ("CartPoleSwingUp-v0", {}),
        ("HelicopterHover-v0", {}),
    ],
)
def test_positions_are_the_numbers_that_velocities_do_not_change(id, options):
    task = diffsim.make(id, **options)
    seen = diffsim.make(id, positions_only=True, **options)
    state = task.initial(seeded())
    if id == "HelicopterHover-v0":
        moving = task.split(state)
        moving = torch.cat(moving._replace(velocity=moving.velocity + 1, rate=moving.rate + 1), dim=1)
    else:
        qpos, qvel, extras = task.split(state)
        force = extras.clone()
        if id == "InvertedDoublePendulum-v5":
            force[:, 2] += 1
        elif id == "Humanoid-v5":  # inertias are functions of positions, but no positions
            force += 1
        moving = torch.cat([qpos, qvel + 1, force], dim=1)
    same = (task.observation(state) == task.observation(moving))[0].nonzero()[:, 0]
    assert list(task.position_indices) == same.tolist()
    assert torch.equal(seen.observation(moving), task.observation(state)[:, same])
    assert seen.observation_space.shape == (len(same),)


def test_twin_sees_positions_and_delays_actions_as_the_simulator():
    options = {"positions_only": True, "action_delay": 3, "random_model": True, "max_episode_steps": 10}
    env, mdp = official_env(Wheel, **options), diffsim.make(Wheel, **options)
    env.reset(seed=2)
    state = torch.cat([env.unwrapped._state, torch.zeros(1, 3, dtype=mdp.dtype)], dim=1)
    for k in range(10):
        action = rows(mdp, [[0.3 * (-1) ** k - 0.05 * k]])
        next_state = mdp.transition(state, action)
        obs, reward, terminated, truncated, _ = env.step(action[0].numpy())
        assert obs == pytest.approx(mdp.observation(next_state)[0], abs=1e-11)
        assert reward == pytest.approx(float(mdp.reward(state, action, next_state)), abs=1e-11)
        assert (terminated, truncated) == (False, k == 9)
        state = next_state


def test_noise_of_the_twin_is_normal_and_repeats_with_the_seed():
    plain, noisy = (official_env("InvertedPendulum-v5", observation_noise=std) for std in (0.0, 0.2))

    def played(env, seed):
        seen = [env.reset(seed=seed)[0]]
        for _ in range(3):
            seen.append(env.step(np.zeros(1))[0])
        return np.concatenate(seen)

    noise = np.stack([played(noisy, seed) - played(plain, seed) for seed in range(150)])
    assert np.array_equal(noise[7], played(noisy, 7) - played(plain, 7))
    assert noise.var() == pytest.approx(0.04, abs=4 * 0.04 * (2 / noise.size) ** 0.5)
    correlation = np.corrcoef(noise.T) - np.eye(noise.shape[1])
    assert np.abs(correlation).max() < 5 / 150**0.5


def test_gradients_through_delayed_actions_and_noise_are_central_differences():
    mdp = diffsim.make(
        Wheel, num_envs=2, positions_only=False, observation_noise=0.1, action_delay=2, random_model=True
    )
    scenarios = Scenarios.draw(mdp, 5, seeded(3))
    gain = rows(mdp, [0.7, 0.2])

    def value(gain, initial):
        state, total = initial, 0.0
        for noise in scenarios.process_noise:
            action = (mdp.observation(state)[:, :1] * gain[0] + gain[1]).tanh()
            next_state = mdp.transition(state, action, noise)
            total = total + mdp.reward(state, action, next_state).sum()
            state = next_state
        return total

    leaves = [gain.requires_grad_(), scenarios.initial.clone().requires_grad_()]
    gradients = torch.autograd.grad(value(*leaves), leaves)
    for which, (leaf, gradient) in enumerate(zip(leaves, gradients, strict=True)):
        assert gradient.ne(0).any()
        for index in np.ndindex(*leaf.shape):
            ends = []
            for sign in (1, -1):
                moved = [value.detach().clone() for value in leaves]
                moved[which][index] += sign * 1e-6
                ends.append(float(value(*moved)))
            assert float(gradient[index]) == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-6, abs=1e-8)


def test_every_way_to_make_an_environment_takes_the_options():
    sizes = [
        gymnasium.make("diffsim/CartPoleSwingUp-v0", **VARIED).reset(seed=0)[0].shape,
        gymnasium.make("CartPoleSwingUp-v0", **VARIED).reset(seed=0)[0].shape,
        gymnasium.make_vec("diffsim/CartPoleSwingUp-v0", num_envs=2, **VARIED).reset(seed=0)[0].shape[1:],
        make_env("CartPoleSwingUp-v0", 2, **VARIED, max_episode_steps=20).obs.shape[1:],
        make_env("diffsim/CartPoleSwingUp-v0", 2, **VARIED, max_episode_steps=20).obs.shape[1:],
    ]
    assert sizes == [(3,)] * 5
    kwargs = {**VARIED, "max_episode_steps": 20}
    mdp = build_mdp(RunOptions("CartPoleSwingUp-v0", task_kwargs=kwargs, num_envs=2, reward_noise=0.1))
    assert (mdp.max_episode_steps, mdp.noise_size, mdp.observation_space.shape) == (20, 4, (3,))
    differences = RunOptions("InvertedPendulum-v5", task_kwargs=VARIED, num_envs=2, dynamics="finite_differences")
    assert build_mdp(differences).observation_space.shape == (2,)


@pytest.mark.parametrize(
    ("id", "options", "message"),
    [
        ("Hopper-v5", {"action_delay": 20, "max_episode_steps": 20}, "action_delay must be less than the 20 steps"),
        ("Hopper-v5", {"action_delay": -1}, "action_delay must be >= 0, got -1"),
        ("Hopper-v5", {"observation_noise": -0.1}, "observation_noise must be finite and >= 0, got -0.1"),
        ("PointPush-v0", {"positions_only": True}, "positions_only must be False for PointPush"),
        ("PointPush-v0", {"observation_noise": 0.1}, "observation_noise must be 0 for"),
    ],
)
def test_wrong_options_are_refused_on_both_sides(id, options, message):
    for make in (diffsim.make, official_env):
        with pytest.raises(ValueError, match=message):
            make(id, **options)


def test_environments_without_positions_or_boxes_are_refused():
    with pytest.raises(ValueError, match="positions_only must be False for Pendulum-v1, which names no positions"):
        official_env("Pendulum-v1", positions_only=True)
    with pytest.raises(ValueError, match="action_delay must be 0 for CartPole-v1"):
        official_env("CartPole-v1", action_delay=1)
    with pytest.raises(TypeError, match="action_delay must be an int, got 1.5"):
        diffsim.make("Hopper-v5", action_delay=1.5)
    with pytest.raises(ValueError, match="max_episode_steps must be >= 1, got 0"):
        diffsim.make("Hopper-v5", max_episode_steps=0)
    with pytest.raises(OptionError, match="reward_noise is an option of the run"):
        build_mdp(RunOptions("Hopper-v5", task_kwargs={"reward_noise": 1.0}))
