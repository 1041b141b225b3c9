"""Exploration noise of deterministic policies, and the penalty on large actions."""

import math

import pytest
import torch

from diffsim.policies import DeterministicMLP
from diffsim.trainers.experience.vector_env import make_env
from diffsim.trainers.value_gradient.ddpg import DDPG
from diffsim.trainers.value_gradient.exploration import Exploration


def make(num_envs=2, **options):
    """DDPG on Pendulum-v1, whose actions are in [-2, 2]."""
    torch.manual_seed(0)
    env = make_env("Pendulum-v1", num_envs)
    spaces = env.single_observation_space, env.single_action_space
    policy = DeterministicMLP(*spaces, hidden_sizes=(8,), out_scale=1.0).double()
    return DDPG(env, policy, critic_hidden_sizes=(8,), **options)


@pytest.mark.parametrize(("kind", "correlation"), [("gaussian", 0.0), ("ou", 0.85)])
def test_moments_of_exploration_noise(kind, correlation):
    """Ornstein-Uhlenbeck: variance std^2 / (1 - 0.85^2), correlation of neighbours 0.85; starts at 0."""
    exploration = Exploration(kind, 0.2, 500, 4).double()
    generator = torch.Generator().manual_seed(0)
    steps = [exploration(torch.randn(500, 4, generator=generator, dtype=torch.float64)) for _ in range(60)]
    last, one_before = steps[-1].flatten(), steps[-2].flatten()
    deviation = 0.2 / math.sqrt(1 - correlation**2)
    assert last.std().item() == pytest.approx(deviation, rel=0.1)
    assert torch.corrcoef(torch.stack([last, one_before]))[0, 1].item() == pytest.approx(correlation, abs=0.07)
    exploration.reset(torch.arange(500) < 250)
    assert not exploration.last[:250].any() and exploration.last[250:].all()


def test_random_actions_have_the_configured_rate_and_are_uniform():
    """4,000 actions; binomial and uniform moments within 4 standard errors. Other actions are the policy's own.

    The sample standard deviation of 1,200 uniform numbers has a relative error of sqrt(0.2 / 1200) = 0.013.
    """
    ddpg = make(exploration_std=0.0, random_action_rate=0.3)
    ddpg.noise.last = torch.zeros(4000, 1, dtype=torch.float64)  # as with that number of copies
    obs = torch.randn(1, 3, dtype=torch.float64).expand(4000, 3)
    own = ddpg.policy(obs[:1])
    action = ddpg.explore(obs)
    random = action[(action - own).abs().squeeze(-1) > 1e-9]
    assert abs(len(random) / 4000 - 0.3) < 4 * math.sqrt(0.3 * 0.7 / 4000)
    assert random.abs().max() <= 2.0
    error = 2.0 / math.sqrt(3 * len(random))
    assert abs(random.mean().item()) < 4 * error
    assert random.std().item() == pytest.approx(2.0 / math.sqrt(3), rel=0.05)


def test_actions_with_large_noise_are_on_the_bounds():
    ddpg = make(exploration_std=100.0)
    action = torch.cat([ddpg.explore(torch.zeros(2, 3, dtype=torch.float64)) for _ in range(20)])
    assert action.abs().max() == 2.0 and (action.abs() == 2.0).double().mean() > 0.8


def test_the_penalty_is_the_mean_squared_action_in_units_of_half_widths():
    """Value and gradient; the half width is 2."""
    plain, penalised = make(action_penalty=0.0), make(action_penalty=0.7)
    obs = torch.randn(50, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    losses = [ddpg.actor_loss(obs) for ddpg in (plain, penalised)]
    expected = 0.7 * (penalised.policy(obs) / 2.0).square().mean()
    torch.testing.assert_close(losses[1] - losses[0], expected)
    gradients = [
        torch.autograd.grad(loss, next(iter(ddpg.policy.parameters())))[0]
        for loss, ddpg in zip((*losses, expected), (plain, penalised, penalised), strict=True)
    ]
    torch.testing.assert_close(gradients[1] - gradients[0], gradients[2])
