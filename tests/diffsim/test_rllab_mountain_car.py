"""Rllab's mountain car: the batch in torch against NumPy, the motion along the track, energy, differences, ends."""

import math

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from scipy.integrate import solve_ivp

import diffsim
from diffsim.rllab_env import RllabMountainCarEnv

TASK = "RllabMountainCar-v0"


def height(x, width=4.0):
    """Of the car's centre: the mean of the heights of two points at 0.2 m to both sides, and the clearance."""
    track = [1 - math.cos(2 * math.pi * (x + side) / width) for side in (-0.2, 0.2)]
    return sum(track) / 2 + 0.117


@pytest.mark.parametrize("options", [{}, {"random_model": True, "drag": 0.0}])
def test_the_same_numbers_as_in_numpy(options):
    """Whole episodes, with the actions of a driver that reaches the goal, and of one that often does not."""
    draw, env = np.random.default_rng(0), RllabMountainCarEnv(**options)
    mdp = diffsim.make(TASK, **options)
    ends = 0
    for episode in range(4):
        env.reset(seed=episode)
        state = torch.tensor([[env.x, env.v, env.width][: mdp.state_size]], dtype=mdp.dtype)
        for _ in range(500):
            action = np.array([math.copysign(1.5, env.v)]) if episode % 2 else draw.uniform(-1.5, 1.5, 1)
            obs, reward, terminated, truncated, _ = env.step(action)
            given = torch.tensor(action[None], dtype=mdp.dtype)
            reached = mdp.transition(state, given)
            np.testing.assert_allclose(mdp.observation(reached)[0], obs, rtol=1e-8, atol=1e-8)
            assert mdp.reward(state, given, reached).item() == pytest.approx(reward, abs=1e-8)
            assert mdp.terminal(reached).item() == terminated and not truncated
            state, ends = reached, ends + terminated
            if terminated:
                break
    assert ends >= 2


@pytest.mark.parametrize("width", [4.0, 3.2])
def test_motion_along_the_track(width):
    """Length s along the track by Newton: m s'' = u - c s' - m g dh/ds, with dx/ds = 1 / sqrt(1 + h'^2)."""
    mdp = diffsim.make(TASK, random_model=True)
    force, step = 0.7, 1e-6

    def rate(_, state):
        x, speed = state
        slope = (height(x + step, width) - height(x - step, width)) / (2 * step)
        cosine = 1 / math.sqrt(1 + slope**2)
        return [speed * cosine, (force - 0.34 * speed) / 0.4 - 10 * slope * cosine]

    state = torch.tensor([[0.1, 2.0, width]], dtype=mdp.dtype)
    slope = (height(0.1 + step, width) - height(0.1 - step, width)) / (2 * step)
    start = [0.1, 2.0 * math.sqrt(1 + slope**2)]
    expected = solve_ivp(rate, (0, 1.0), start, rtol=1e-10, atol=1e-12).y[0, -1]
    for _ in range(20):
        state = mdp.transition(state, torch.tensor([[force]], dtype=mdp.dtype))
    assert state[0, 0].item() == pytest.approx(expected, abs=1e-5)  # of RK4 with steps of 0.025 s
    assert mdp.reward(state, None, state).item() == pytest.approx(height(state[0, 0].item(), width) - 1)


def test_energy_is_conserved_without_drag_and_force():
    mdp = diffsim.make(TASK, num_envs=5, drag=0.0)
    state = mdp.initial(torch.Generator().manual_seed(0))

    def energy(state):
        k = math.pi / 2
        slope = math.cos(0.2 * k) * k * (k * state[:, 0]).sin()
        return 0.5 * 0.4 * (1 + slope**2) * state[:, 1] ** 2 + 0.4 * 10 * mdp.height(state)

    first = energy(state)
    for _ in range(500):
        state = mdp.transition(state, torch.zeros(5, 1, dtype=mdp.dtype))
    torch.testing.assert_close(energy(state), first, rtol=0, atol=2e-5)


@pytest.mark.parametrize("options", [{}, {"random_model": True}])
def test_gradients_equal_central_differences(options):
    mdp = diffsim.make(TASK, num_envs=3, **options)
    state = mdp.initial(torch.Generator().manual_seed(1))
    state[:, 0] = torch.tensor([-1.2, 0.1, 0.5])
    action = torch.tensor([[0.3], [-0.6], [0.9]], dtype=mdp.dtype)

    def outputs(state, action):
        middle = mdp.transition(state, action)
        reached = mdp.transition(middle, -action)
        return reached, mdp.observation(reached), mdp.reward(middle, -action, reached)

    inputs = (state.requires_grad_(), action.requires_grad_())
    assert torch.autograd.gradcheck(outputs, inputs, eps=1e-5, rtol=1e-6, atol=1e-6)


def test_starts_ends_and_rewards():
    mdp = diffsim.make(TASK, num_envs=2000, random_model=True)
    x, velocity, width = mdp.initial(torch.Generator().manual_seed(0)).unbind(1)
    assert not x.any()
    for drawn, low, high in ((velocity, -1, 1), (width, 3, 5)):
        assert low <= drawn.min() < low + 0.01 and high - 0.01 < drawn.max() < high
    state = torch.tensor([[0.59, 9.0], [0.61, 0.0], [-1.99, 0.0], [-2.01, 0.0]], dtype=mdp.dtype)
    plain = diffsim.make(TASK, num_envs=4)
    assert plain.terminal(state).tolist() == [False, True, False, True]
    expected = [height(x) - 1 for x in state[:, 0].tolist()]
    np.testing.assert_allclose(plain.reward(state, None, state), expected)
    assert plain.position_indices == (0,) and plain.max_episode_steps == 500 and plain.dt == 0.05


# It advises bounded observations, as for Gymnasium's own environments.
@pytest.mark.filterwarnings("ignore:.*observation space m..imum value")
def test_the_environments_pass_gymnasiums_checker():
    check_env(gymnasium.make(TASK, random_model=True, disable_env_checker=True).unwrapped, skip_render_check=True)
    check_env(gymnasium.make(f"diffsim/{TASK}", disable_env_checker=True).unwrapped, skip_render_check=True)
    assert gymnasium.make(TASK).spec.max_episode_steps == 500


def test_misuse():
    mdp, env = diffsim.make(TASK), RllabMountainCarEnv()
    state = mdp.initial(torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match="action"):
        mdp.transition(state, torch.zeros(1, 2, dtype=mdp.dtype))
    with pytest.raises(ValueError, match="action"):
        mdp.transition(state, torch.full((1, 1), torch.nan, dtype=mdp.dtype))
    with pytest.raises(ValueError, match="noise must be None"):
        mdp.transition(state, torch.zeros(1, 1, dtype=mdp.dtype), torch.zeros(1, 1))
    with pytest.raises(ValueError, match="drag must be finite and >= 0, got -1"):
        diffsim.make(TASK, drag=-1.0)
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(np.zeros(1))
    env.reset(seed=0)
    with pytest.raises(ValueError, match="action must be 1 finite number"):
        env.step(np.full(1, np.nan))
