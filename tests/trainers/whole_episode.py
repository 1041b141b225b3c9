"""SHAC's gradient over a whole episode without value, against BPTT's and central differences."""

import copy

import torch

import diffsim
from diffsim.mdp import Scenarios
from diffsim.policies import DeterministicMLP
from diffsim.trainers.experience.rollout import rollout
from diffsim.trainers.pathwise.bptt import BPTT
from diffsim.trainers.pathwise.shac import SHAC


def make_shac(mdp, policy, **kwargs):
    torch.manual_seed(5)
    return SHAC(mdp, policy, **{"value_hidden_sizes": (8,), **kwargs})


def parameter_gradient(algorithm, scenarios, age=None):
    """The gradient that SHAC's two passes compute for its optimizer, as one vector."""
    age = torch.zeros_like(algorithm.age) if age is None else age
    window = algorithm.differentiate(scenarios, age)
    loss = algorithm.actor_loss(window.trajectory, scenarios.action_noise, algorithm.ascent(window))
    return -flat(torch.autograd.grad(loss, list(algorithm.actor.parameters())))


def flat(tensors):
    return torch.cat([tensor.flatten() for tensor in tensors])


def differences(value, parameters, eps=1e-6):
    """Central differences of `value()` along a fixed random direction, and the direction."""
    generator = torch.Generator().manual_seed(9)
    direction = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in parameters]
    ends = []
    with torch.no_grad():
        for step in (eps, -2 * eps):
            for p, d in zip(parameters, direction, strict=True):
                p += step * d
            ends.append(value())
        for p, d in zip(parameters, direction, strict=True):
            p += eps * d
    return (ends[0] - ends[1]).item() / (2 * eps), flat(direction)


def check(task):
    assert diffsim.dtype == torch.float64
    horizon, gamma = 6, 0.97
    mdp = diffsim.make(task, num_envs=3)
    torch.manual_seed(0)
    policy = DeterministicMLP(mdp.observation_space, mdp.action_space, hidden_sizes=(8,), out_scale=0.3).double()
    scenarios = Scenarios.draw(mdp, horizon, torch.Generator().manual_seed(0))
    assert not rollout(mdp, policy, scenarios)[0].ended.any()
    bptt = BPTT(mdp, policy, horizon=horizon, start="per_iteration", gamma=gamma)

    def objective():
        return bptt.objective(rollout(mdp, policy, scenarios)[0])

    whole = flat(torch.autograd.grad(objective(), list(policy.parameters())))
    options = {"horizon": horizon, "gamma": gamma, "actor_lam": 1.0, "undiscount": False}
    shac = make_shac(mdp, copy.deepcopy(policy), **options)
    with_value = parameter_gradient(shac, scenarios)
    torch.nn.init.zeros_(shac.critic.target.network[-1].weight)
    two_passes = parameter_gradient(shac, scenarios)
    torch.testing.assert_close(two_passes, whole, rtol=1e-10, atol=1e-12)
    expected, direction = differences(objective, list(policy.parameters()))
    assert abs(two_passes @ direction - expected) < 1e-6 * abs(expected)
    assert (with_value - whole).norm() > 1e-3 * whole.norm(), "negative control: the value changes the gradient"
