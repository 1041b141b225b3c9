"""The algorithms that learn Q, where the exact one is known: on a linear system with quadratic cost."""

import pytest
import torch
from torch import nn

from diffsim.gym import VectorEnv
from diffsim.policies import Policy
from diffsim.policies.squash import ClipBox
from diffsim.trainers.maths.polyak import polyak_update
from diffsim.trainers.value_gradient.ddpg import DDPG
from diffsim.trainers.value_gradient.dpg import DPG
from diffsim.trainers.value_gradient.svg0 import SVG0
from tests.trainers.linear import DiscountedLinearQuadratic

GAIN, GAMMA = [[-4.0, -3.0]], DiscountedLinearQuadratic.gamma


class Linear(Policy):
    """The policy u = K o + std * z, whose actions stay far from their bounds."""

    def __init__(self, mdp, std):
        super().__init__(mdp.observation_space, mdp.action_space, False, ClipBox(mdp.action_space))
        self.K = nn.Parameter(torch.tensor(GAIN, dtype=torch.float64))
        self.noise_size = 1 if std else 0
        if std:
            self.log_std = nn.Parameter(torch.tensor([std], dtype=torch.float64).log())

    def forward(self, obs, noise=None):
        mean = obs @ self.K.T
        return mean if noise is None or not self.noise_size else mean + self.log_std.exp() * noise


def features(obs, action):
    """All products of two of (o, u - K o), and 1: [..., 7]. These features are nearly uncorrelated."""
    x = torch.cat([obs, action - obs @ torch.tensor(GAIN, dtype=torch.float64).T], -1)
    i, j = torch.triu_indices(3, 3)
    return torch.cat([x[..., i] * x[..., j], torch.ones_like(x[..., :1])], -1)


class Quadratic(nn.Module):
    """A quadratic function of (o, u), with seven coefficients."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(7, dtype=torch.float64))

    def forward(self, obs, action):
        return (features(obs, action) @ self.weight)[None]


def make(cls, std=0.0, num_envs=16, **options):
    """The algorithm on the linear system, with episodes of 20 steps."""
    mdp = DiscountedLinearQuadratic(num_envs, max_episode_steps=20)
    return cls(VectorEnv(mdp), Linear(mdp, std), Quadratic(), gamma=GAMMA, learning_rate=1e-12, **options), mdp


def coefficients(mdp, std, gamma=GAMMA):
    """Coefficients of the exact Q, from its values at random points."""
    generator = torch.Generator().manual_seed(9)
    x, u = (torch.randn(50, size, generator=generator, dtype=torch.float64) for size in (2, 1))
    q = mdp.q_value(x, u, torch.tensor(GAIN, dtype=torch.float64), std, gamma)
    return torch.linalg.lstsq(features(x, u), q).solution


def anneal(algorithm, iterations):
    """Trains while the critic's learning rate falls from 1 to 0.003."""
    for k in range(iterations):
        algorithm.optimizers[1].param_groups[0]["lr"] = 0.003 ** (k / iterations)
        algorithm.iterate()
    return algorithm.critic.weight.detach()


OFF_POLICY = {"exploration": "gaussian", "exploration_std": 0.02, "warmup_steps": 0, "batch_size": 64}
OFF_POLICY |= {"steps": 160, "updates_per_step": 0.25}


@pytest.mark.parametrize(
    ("cls", "options"),
    [
        (DPG, OFF_POLICY),
        (DDPG, OFF_POLICY | {"target_rate": 0.8, "critic_weight_decay": 0.0}),
        (SVG0, {"horizon": 20, "lam": 0.5, "normalize_reward": False}),
    ],
)
def test_the_critic_converges_to_the_exact_q(cls, options):
    """Time limits, every 20 steps, must not change Q. Negative control: the Q of another discount."""
    std = 0.5 if cls is SVG0 else 0.0
    algorithm, mdp = make(cls, std, **options)
    found, exact = anneal(algorithm, 60 if cls is SVG0 else 25), coefficients(mdp, std)
    tolerance = 0.05 if cls is SVG0 else 0.01
    assert (found - exact).norm() < tolerance * exact.norm()
    assert (found - coefficients(mdp, std, gamma=0.85)).norm() > 3 * tolerance * exact.norm()


def exact_gradient(mdp, std):
    """dJ/dK and, with noise, dJ/dlog_std, by differentiating the closed form of J."""
    K = torch.tensor(GAIN, dtype=torch.float64, requires_grad=True)
    log_std = torch.tensor([std], dtype=torch.float64).log().requires_grad_()
    objective = mdp.objective(K, log_std.exp() if std else 0.0)
    return torch.cat([g.flatten() for g in torch.autograd.grad(objective, [K, log_std][: 2 if std else 1])])


def estimates(algorithm, mdp, std, repeats=200, count=50):
    """The policy's gradient of its own loss, on states of the discounted process: [repeats, P]."""
    generator, found = torch.Generator().manual_seed(3), []
    parameters = [algorithm.policy.K, *([algorithm.policy.log_std] if std else [])]
    x = mdp.visited(algorithm.policy.K.detach(), std, repeats * count, generator).view(repeats, count, 2)
    for obs in x:
        noise = [torch.randn(count, 1, generator=generator, dtype=torch.float64)] if std else []
        gradients = torch.autograd.grad(-algorithm.actor_loss(obs, *noise), parameters)
        found.append(torch.cat([g.flatten() for g in gradients]) / (1 - mdp.gamma))
    return torch.stack(found)


@pytest.mark.parametrize(("cls", "std"), [(DPG, 0.0), (SVG0, 0.5)])
def test_the_policys_gradient_is_exact(cls, std):
    """Within four standard errors, with the exact Q. Negative control: the Q of another discount."""
    algorithm, mdp = make(cls, std)
    exact = exact_gradient(mdp, std)
    for gamma, right in ((GAMMA, True), (0.8, False)):
        with torch.no_grad():
            algorithm.critic.weight.copy_(coefficients(mdp, std, gamma))
        each = estimates(algorithm, mdp, std)
        error = each.std(0) / len(each) ** 0.5
        assert (error < 0.1 * exact.abs()).all(), "there must be enough samples"
        assert bool(((each.mean(0) - exact).abs() < 4 * error).all()) == right


def test_svg0_without_noise_is_dpg():
    """For the same states and critic, their gradients differ in proportion to std."""
    dpg, mdp = make(DPG)
    obs = mdp.visited(dpg.policy.K.detach(), 0.0, 500, torch.Generator().manual_seed(0))
    noise = torch.randn(500, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with torch.no_grad():
        dpg.critic.weight.copy_(coefficients(mdp, 0.0))
    (limit,) = torch.autograd.grad(dpg.actor_loss(obs), dpg.policy.K)
    apart = []
    for std in (1e-1, 1e-3, 1e-6):
        svg0, _ = make(SVG0, std)
        svg0.critic.load_state_dict(dpg.critic.state_dict())
        (gradient,) = torch.autograd.grad(svg0.actor_loss(obs, noise), svg0.policy.K)
        apart.append(((gradient - limit).norm() / limit.norm()).item())
    assert apart[0] == pytest.approx(100 * apart[1], rel=1e-6) and apart[1] == pytest.approx(1000 * apart[2], rel=1e-3)
    assert 1e-4 < apart[0] < 1e-1 and apart[2] < 1e-6


def test_on_policy_dpg_learns_from_each_step_once_with_the_target_of_sarsa():
    """One update by hand: the gradient of mean (Q(o, u) - r - gamma Q(o', mu(o')))^2 over the copies' last step."""
    algorithm, mdp = make(DPG, num_envs=4, data="on_policy", steps=4)
    with torch.no_grad():
        algorithm.critic.weight.copy_(torch.arange(7.0))
    seen = []
    update, algorithm.update = algorithm.update, lambda batch: seen.append(batch) or update(batch)
    before = torch.as_tensor(algorithm.env.obs)
    algorithm.iterate()
    (batch,) = seen
    K = algorithm.policy.K.detach()
    torch.testing.assert_close(batch.obs, before)
    torch.testing.assert_close(batch.action, before @ K.T)
    torch.testing.assert_close(batch.next_obs, mdp.transition(before, before @ K.T))
    assert algorithm.updates == 1 and len(algorithm.replay) == 4
    critic = Quadratic()
    critic.weight.data = torch.arange(7.0, dtype=torch.float64)
    error = critic(before, before @ K.T)[0] - batch.reward
    error = error - GAMMA * critic(batch.next_obs, batch.next_obs @ K.T)[0].detach()
    (gradient,) = torch.autograd.grad(error.square().mean(), critic.weight)
    torch.testing.assert_close(algorithm.critic.weight.grad, gradient)


def test_polyak_update_averages_weights():
    target, net = Quadratic(), Quadratic()
    with torch.no_grad():
        target.weight.fill_(1.0)
        net.weight.fill_(3.0)
    polyak_update(target, net, 0.75)
    assert torch.equal(target.weight, torch.full((7,), 1.5, dtype=torch.float64))
