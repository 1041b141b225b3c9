"""The gradient of roll-outs of a simulated task against central differences of whole roll-outs."""

import torch

import diffsim
from diffsim.mdp import Scenarios
from diffsim.policies import DeterministicMLP
from diffsim.trainers.experience.rollout import rollout


def test_policy_gradient_equals_finite_differences():
    assert diffsim.dtype == torch.float64
    torch.manual_seed(0)
    mdp = diffsim.make("InvertedDoublePendulum-v5", num_envs=3)
    policy = DeterministicMLP(mdp.observation_space, mdp.action_space, hidden_sizes=(8,), out_scale=1.0).double()
    scenarios = Scenarios.draw(mdp, 8, torch.Generator().manual_seed(0))

    def value():
        return rollout(mdp, policy, scenarios)[0].reward.sum()

    gradient = torch.autograd.grad(value(), list(policy.parameters()))
    direction = [torch.randn_like(p) for p in policy.parameters()]
    with torch.no_grad():
        ends = []
        for sign in (1, -1):
            for p, d in zip(policy.parameters(), direction, strict=True):
                p += sign * 1e-6 * d
            ends.append(value())
            for p, d in zip(policy.parameters(), direction, strict=True):
                p -= sign * 1e-6 * d
    expected = (ends[0] - ends[1]).item() / 2e-6
    actual = sum((g * d).sum().item() for g, d in zip(gradient, direction, strict=True))
    # Central differences of step 1e-6 in float64 of a sum near 200: rounding 200 * 2e-16 / 2e-6, about 2e-8.
    assert abs(actual - expected) < 1e-6 * abs(expected) + 1e-7
    assert abs(expected) > 1e-3
