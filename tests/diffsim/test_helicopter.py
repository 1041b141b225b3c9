"""The helicopter: the batch in torch against Euler steps in NumPy, closed forms, finite differences, known returns."""

import math

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

import diffsim
from diffsim.helicopter_env import HelicopterHoverEnv
from diffsim.mdp import Scenarios
from diffsim.tasks import helicopter_model as model

from .helicopter import baseline, fly

WINDY = {"wind": (2.0, -1.0), "wind_range": 0.5, "wind_amplitude": 1.5, "wind_frequency": 0.7}


def state_of(mdp, env):
    """The state of the NumPy environment as a row."""
    parts = (*env.velocity, *env.position, *env.rate, *env.quaternion, *env.gust, *env.mean_wind, *env.phase)
    return torch.tensor([[*parts, float(env.time), float(env.crashed)]], dtype=mdp.dtype)


@pytest.mark.parametrize("options", [{}, WINDY, {"noise_scale": 3.0}])
def test_the_same_numbers_as_euler_steps_in_numpy(options):
    """Random actions from a moving, turned helicopter until after a crash."""
    draw, env = np.random.default_rng(0), HelicopterHoverEnv(**options)
    mdp = diffsim.make("HelicopterHover-v0", **options)
    tolerance = {"rtol": 1e-10, "atol": 1e-11} if mdp.dtype == torch.float64 else {"rtol": 2e-5, "atol": 2e-5}
    ends = 0
    for episode in range(4):
        env.reset(seed=episode)
        env.velocity, env.position = tuple(draw.normal(0, 0.5, 3)), tuple(draw.normal(0, 3, 3))
        env.rate, half = tuple(draw.normal(0, 0.3, 3)), draw.normal(0, 0.04, 3)
        env.quaternion = (*half, math.sqrt(1 - half @ half))
        state = state_of(mdp, env)
        for _ in range(60):
            action, noise = draw.normal(0, 0.1, 4) + [0, 0, 0, 0.23], draw.standard_normal(6)
            reached = mdp.transition(state, *(torch.tensor(part[None]).to(state) for part in (action, noise)))
            env.advance(action, noise)
            torch.testing.assert_close(reached, state_of(mdp, env), **tolerance)
            obs = torch.tensor(env._observation()[None], dtype=mdp.dtype)
            torch.testing.assert_close(mdp.observation(reached), obs, **tolerance)
            reward = torch.tensor([env._reward()], dtype=mdp.dtype)
            torch.testing.assert_close(mdp.reward(state, None, reached), reward, rtol=1e-4, atol=1e-4)
            assert bool(mdp.terminal(reached)) == env.crashed
            state = state_of(mdp, env)
            ends += env.crashed
    assert ends > 10


def test_hover_without_turbulence_ends_at_the_equilibrium_of_the_forces():
    """Along the body's y axis 9.81 sin(roll) = 0.54, along z 42.15 collective = 9.81 cos(roll); no rates, no yaw.

    The controller then fixes the body's position: aileron and elevator are zero there.
    """
    total, length, state = fly(baseline, steps=1500, noise_scale=0.0)
    roll = math.asin(0.54 / 9.81)
    collective = 9.81 * math.cos(roll) / 42.15
    y, z = (0.02 - 0.7475 * math.sin(roll / 2)) / 0.0196, (collective - 0.23) / 0.0513
    mdp = diffsim.make("HelicopterHover-v0", noise_scale=0.0)
    expected = torch.zeros(12).index_put((torch.tensor([4, 5, 9]),), torch.tensor([y, z, math.sin(roll / 2)]))
    torch.testing.assert_close(mdp.observation(state)[0], expected.to(mdp.dtype), rtol=1e-3, atol=1e-4)
    assert length == 1500 and total < -1500 * 0.9 * (y**2 + z**2)


def test_the_first_euler_steps_by_hand():
    """Full collective from rest: v_z after k steps by v' = v + dt (9.81 - 42.15 - 0.49 v), and p' = 0.01 * 33.04."""
    env, speed, rate = HelicopterHoverEnv(noise_scale=0.0), 0.0, 0.0
    env.reset(seed=0)
    for _ in range(10):
        speed += 0.01 * (9.81 - 42.15 - 0.49 * speed)
        rate += 0.01 * (-8.16 * rate + 70.54 * 0.02)
    env.step(np.array([0.0, 0.0, 0.02, 2.0]))  # clipped to 1; the rudder turns about the vertical axis
    assert env.velocity[2] == pytest.approx(speed) and env.rate[2] == pytest.approx(rate)
    assert env.quaternion[3] == pytest.approx(
        math.cos(0.5 * 0.01 * sum(0.01 * 70.54 * 0.02 * sum((1 - 0.0816) ** j for j in range(k)) for k in range(10)))
    )


def test_gradients_equal_central_differences():
    torch.manual_seed(0)
    mdp = diffsim.make("HelicopterHover-v0", num_envs=3, **WINDY)
    mdp.dtype = torch.float64
    mdp._constants = type(mdp._constants).on(mdp.device, mdp.dtype)
    state = mdp.initial(torch.Generator().manual_seed(1))
    quaternion = torch.nn.functional.normalize(torch.tensor([0.05, -0.04, 0.08, 0.99], dtype=torch.float64), dim=0)
    state[:, :9] += 0.1 * torch.randn(3, 9, dtype=torch.float64)
    state[1:, 9:13] = quaternion  # the first copy is level, and turns not at all
    state[0, :9] = 0.0
    state[:, 13:19] = 0.1 * torch.randn(3, 6)
    action, noise = 0.1 * torch.randn(3, 4, dtype=torch.float64), torch.randn(3, 6, dtype=torch.float64)

    def step(state, action, noise):
        reached = mdp.transition(state, action, noise)
        return reached[:, :19], mdp.observation(reached), mdp.reward(state, action, reached)

    inputs = [value.requires_grad_() for value in (state, action, noise)]
    assert torch.autograd.gradcheck(step, inputs, eps=1e-6, atol=1e-7)


def test_returns_of_the_competitions_controller():
    """Means and standard deviations of another implementation over 5 episodes, without wind and with two winds.

    The means differ by less than three standard errors of their difference.
    """
    known = [((0.0, 0.0), -939, 40), ((2.5, 0.0), -6631, 241), ((5.0, 5.0), -122_444, 700)]
    wind = torch.tensor([wind for wind, _, _ in known]).repeat_interleave(16, 0)
    total, length, _ = fly(baseline, num_envs=48, wind=wind)
    assert (length == 6000).all()
    for part, (_, expected, std) in zip(total.split(16), known, strict=True):
        assert abs(part.mean() - expected) < 3 * math.sqrt(std**2 / 5 + part.var() / 16)


def test_crashes():
    """Without controls the helicopter falls: v_z > 5 m/s after 0.52 s, -1748.8 for each step that is left."""
    total, length, state = fly(lambda obs: torch.zeros(len(obs), 4, dtype=obs.dtype), num_envs=4)
    assert ((length >= 6) & (length <= 7)).all()
    assert model.CRASH_REWARD == pytest.approx(-1748.8, abs=0.05)
    torch.testing.assert_close(total, model.CRASH_REWARD * (6000 - length), rtol=1e-4, atol=0)
    mdp = diffsim.make("HelicopterHover-v0", noise_scale=0.0)
    trim = torch.tensor([model.TRIM], dtype=mdp.dtype)
    for index in range(6):  # each of the three axes, which the original does not test for z
        for sign in (-1, 1):
            state = mdp.initial(torch.Generator())
            state[0, index] = sign * ((4.95 if index < 3 else 19.99) + (0.2 if index < 3 else 0.0))
            state[0, (index + 3) % 6] = sign * 0.5  # towards the bound, or away from the middle
            assert bool(mdp.terminal(mdp.transition(state, trim, torch.zeros(1, 6)))) is True, (index, sign)
    assert not mdp.terminal(mdp.transition(mdp.initial(torch.Generator()), trim, torch.zeros(1, 6)))


def test_turbulence_has_the_stated_distribution():
    """n' = 0.8 n + 0.4 sigma w has the stationary standard deviation 0.4 sigma / sqrt(1 - 0.64) = sigma * 2 / 3."""
    mdp = diffsim.make("HelicopterHover-v0", num_envs=4000)
    state = mdp.initial(torch.Generator().manual_seed(0))
    for noise in torch.randn(40, 4000, 6, dtype=mdp.dtype, generator=torch.Generator().manual_seed(1)):
        state = mdp.transition(state, torch.tensor([model.TRIM], dtype=mdp.dtype).expand(4000, 4), noise)
    std = mdp.split(state).gust.std(0)
    torch.testing.assert_close(std, torch.tensor(model.NOISE_STD, dtype=mdp.dtype) * 2 / 3, rtol=0.05, atol=0)


def test_wind_is_drawn_for_each_episode():
    mdp = diffsim.make("HelicopterHover-v0", num_envs=1000, wind=(1.0, -2.0), wind_range=3.0)
    wind = mdp.split(mdp.initial(torch.Generator().manual_seed(0))).wind
    assert (wind - torch.tensor([1.0, -2.0])).abs().max() < 3 and wind.std(0).allclose(
        torch.tensor(3 / 3**0.5, dtype=mdp.dtype), rtol=0.1
    )
    env = HelicopterHoverEnv(wind=(1.0, -2.0), wind_range=3.0)
    drawn = [env.reset(seed=seed) and env.mean_wind for seed in range(200)]
    assert np.abs(np.array(drawn) - [1, -2]).max() < 3 and np.std(drawn, 0).min() > 1.4


def test_gymnasium_and_scenarios_accept_it():
    env = gymnasium.make("HelicopterHover-v0", render_mode="rgb_array")
    assert env.spec.max_episode_steps == 6000
    with pytest.warns(UserWarning, match="Box observation space"):
        check_env(env.unwrapped, skip_render_check=True)
    env.reset(seed=0)
    frame = env.render()
    assert frame.shape == (240, 480, 3) and len(np.unique(frame.reshape(-1, 3), axis=0)) > 3
    many = gymnasium.make_vec("diffsim/HelicopterHover-v0", num_envs=2)
    obs, _ = many.reset(seed=0)
    assert obs.shape == (2, 12) and many.step(np.zeros((2, 4)))[1].shape == (2,)
    mdp = diffsim.make("HelicopterHover-v0", num_envs=2)
    assert Scenarios.draw(mdp, 5, torch.Generator()).process_noise.shape == (5, 2, 6)


def test_bad_arguments():
    for options, message in (
        ({"wind": 3.0}, "wind must be two finite numbers, north and east, got 3.0"),
        ({"wind": (0.0, math.nan)}, "wind must be two finite numbers"),
        ({"wind_range": -1.0}, "wind_range must be finite and >= 0, got -1.0"),
        ({"noise_scale": math.inf}, "noise_scale must be finite and >= 0, got inf"),
    ):
        for make in (lambda **o: diffsim.make("HelicopterHover-v0", **o), HelicopterHoverEnv):
            with pytest.raises(ValueError, match=message):
                make(**options)
    mdp = diffsim.make("HelicopterHover-v0", num_envs=2)
    state, zeros = mdp.initial(torch.Generator()), torch.zeros(2, 4, dtype=mdp.dtype)
    with pytest.raises(ValueError, match=r"noise must have shape \(2, 6\), got None"):
        mdp.transition(state, zeros)
    with pytest.raises(ValueError, match="action must be finite"):
        mdp.transition(state, zeros * math.nan, torch.zeros(2, 6))
    env = HelicopterHoverEnv()
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(np.zeros(4))
    env.reset(seed=0)
    with pytest.raises(ValueError, match="action must be 4 finite numbers"):
        env.step(np.zeros(3))
