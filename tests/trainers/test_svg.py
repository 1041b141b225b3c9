"""SVG against back-propagation through the system itself, with the same noise."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box

from diffsim.mdp import Scenarios
from diffsim.models import LearnedMDP, from_windows
from diffsim.policies import DeterministicMLP, FullGaussianMLP, GaussianMLP
from diffsim.trainers.experience.rollout import rollout
from diffsim.trainers.model_based.svg import SVG, VARIANTS, infer_action_noise
from diffsim.trainers.pathwise.bptt import BPTT
from tests.models.linear_system import LinearGaussianSystem, linear_model, perfect_model, system_data

N, H = 6, 5
SYSTEM = LinearGaussianSystem(N)


def make_policy(cls=GaussianMLP, seed=0, **kwargs):
    torch.manual_seed(seed)
    options = {"hidden_sizes": (8,), "normalize": False, "out_scale": 1.0, **kwargs}
    return cls(SYSTEM.observation_space, SYSTEM.action_space, **options).double()


def experience(policy, seed=0):
    """H steps of the policy in the system: the scenarios, the trajectory and the data."""
    generator = torch.Generator().manual_seed(seed)
    mdp = LinearGaussianSystem(N)
    mdp.noise_size = 2
    scenarios = Scenarios.draw(mdp, H, generator, action_noise_size=1)
    trajectory, _ = rollout(mdp, policy, scenarios)
    detached = [part.detach() for part in trajectory]
    obs, action, *_ = detached
    return scenarios, trajectory, from_windows(*detached, policy.log_prob(obs, action).detach())


def svg(policy, data, model=None, **kwargs):
    model = perfect_model() if model is None else model
    mdp = LearnedMDP(model, data, SYSTEM.observation_space, SYSTEM.action_space, num_envs=N)
    return SVG(mdp, policy, **{"horizon": H, **kwargs})


def all_windows(algorithm):
    """One window per episode, from its start."""
    return algorithm.mdp.data.sequences(algorithm.mdp.data.episode_starts(), algorithm.horizon)


def gradient(value, policy):
    return torch.cat([g.flatten() for g in torch.autograd.grad(value, list(policy.parameters()))])


@pytest.mark.parametrize("gamma", [1.0, 0.9])
def test_svg_inf_with_a_perfect_model_equals_bptt_on_the_same_noise(gamma):
    policy = make_policy()
    scenarios, trajectory, data = experience(policy)
    algorithm = svg(policy, data, gamma=gamma, **{**VARIANTS["SVGInf"], "horizon": H})
    found = algorithm.infer(*all_windows(algorithm))
    torch.testing.assert_close(found.scenarios.process_noise, scenarios.process_noise, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(found.scenarios.action_noise, scenarios.action_noise, rtol=1e-10, atol=1e-12)
    system = LinearGaussianSystem(N)
    system.noise_size = 2
    bptt = BPTT(system, policy, horizon=H, start="per_iteration", gamma=gamma)
    expected = gradient(H * bptt.objective(trajectory), policy)
    ours = gradient(algorithm.objective(found), policy)
    torch.testing.assert_close(ours, expected, rtol=1e-11, atol=1e-11)
    assert expected.norm() > 0.1


def test_wrong_noise_changes_the_gradient():
    """Negative control: noise assigned to the wrong windows."""
    policy = make_policy()
    _, trajectory, data = experience(policy)
    algorithm = svg(policy, data, gamma=1.0, **{**VARIANTS["SVGInf"], "horizon": H})
    found = algorithm.infer(*all_windows(algorithm))
    wrong = replace(found.scenarios, process_noise=found.scenarios.process_noise.flip(1))
    exact = gradient(algorithm.objective(found), policy)
    other = gradient(algorithm.objective(found._replace(scenarios=wrong)), policy)
    assert (other - exact).norm() > 0.05 * exact.norm()


def test_a_wrong_model_and_another_policy_reproduce_the_data():
    """Noise is inferred for this model and this policy, so the roll-out equals the data of another policy."""
    _, _, data = experience(make_policy(seed=0))
    model = linear_model()
    algorithm = svg(make_policy(seed=1), data, model)
    window, valid = all_windows(algorithm)
    found = algorithm.infer(window, valid)
    trajectory, _ = rollout(algorithm.mdp, algorithm.policy, found.scenarios)
    torch.testing.assert_close(trajectory.next_obs, window["next_obs"], rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(trajectory.action, window["action"], rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(trajectory.reward, window["reward"], rtol=1e-11, atol=1e-11)


def test_importance_weights_are_clipped_ratios_of_densities():
    old, new = make_policy(seed=0), make_policy(seed=1)
    _, _, data = experience(old)
    algorithm = svg(new, data, max_weight=1e9, **VARIANTS["SVG1"])
    window, valid = algorithm.draw()
    obs, action = window["obs"][0], window["action"][0]
    expected = (new.log_prob(obs, action) - old.log_prob(obs, action)).exp()
    torch.testing.assert_close(algorithm.weigh(window, valid), expected.detach())
    assert (expected - 1).abs().max() > 0.1
    algorithm.max_weight = 1.0
    assert (algorithm.weigh(window, valid) <= 1.0).all()
    same = svg(old, data, **VARIANTS["SVG1"])
    torch.testing.assert_close(same.weigh(*same.draw()), torch.ones(N, dtype=torch.float64))


def test_objective_of_svg1_by_hand():
    """J = rho (r(o, u) + gamma V'(A o + B u + noise)) at one transition."""
    policy = make_policy()
    _, _, data = experience(policy)
    algorithm = svg(policy, data, gamma=0.9, **VARIANTS["SVG1"])
    window, valid = algorithm.draw()
    found = algorithm.infer(window, valid)
    obs, noise = window["obs"][0], found.scenarios.process_noise[0]
    action = policy(obs, found.scenarios.action_noise[0])
    reached = SYSTEM.transition(obs, action, noise)
    value = SYSTEM.reward(obs, action, reached) + 0.9 * algorithm.target_value(reached)
    torch.testing.assert_close(algorithm.objective(found), value.mean())
    torch.testing.assert_close(gradient(algorithm.objective(found), policy), gradient(value.mean(), policy))


def test_windows_end_with_their_episode():
    """The value is 0 after termination and V after truncation; later steps do not count."""
    policy = make_policy()
    _, _, data = experience(policy)
    terminated = torch.zeros(len(data), dtype=torch.bool)
    terminated[2 * H - 1] = True  # episode 1 terminates; episode 0 is truncated
    algorithm = svg(policy, replace(data, terminated=terminated), gamma=1.0, horizon=4, importance_weights=False)
    window, valid = algorithm.mdp.data.sequences(torch.tensor([3, H + 3]).repeat(3), 4)
    found = algorithm.infer(window, valid)
    assert valid.sum(0).tolist() == [2] * N and found.last[1].all() and found.last.sum() == N
    rewards = data.reward.unflatten(0, (N, H))[:2, 3:].sum(1)
    last_value = algorithm.target_value(data.next_obs[H - 1])
    expected = (rewards.sum() + last_value) / 2
    torch.testing.assert_close(algorithm.objective(found), expected)


def test_the_value_is_fitted_to_one_step_targets():
    policy = make_policy()
    _, _, data = experience(policy)
    algorithm = svg(policy, data, gamma=0.5, value_updates=100, target_rate=0.0, importance_weights=False)
    constant = replace(data, reward=torch.ones(len(data), dtype=torch.float64))
    algorithm.mdp.data = constant
    algorithm.max_norm = float("inf")
    algorithm.fit_value(algorithm.optimizers[1])
    # With r = 1 at every step and gamma = 1/2, V = 2 everywhere.
    assert (algorithm.value(data.obs) - 2.0).abs().mean() < 0.25


def test_recent_limits_windows_to_the_latest_transitions():
    policy = make_policy()
    data = system_data(100)
    algorithm = svg(policy, data, recent=10, horizon=1)
    window, _ = algorithm.draw()
    assert (window["obs"][0][:, None] == data.obs[90:]).all(-1).any(1).all()


def test_action_noise_is_inferred_for_diagonal_gaussian_policies_only():
    policy, noise = make_policy(std="state"), torch.randn(7, 1, dtype=torch.float64)
    obs = torch.randn(7, 2, dtype=torch.float64)
    found = infer_action_noise(policy, obs, policy(obs, noise).detach())
    torch.testing.assert_close(found, noise, rtol=1e-9, atol=1e-9)
    assert infer_action_noise(make_policy(DeterministicMLP), obs, noise).shape == (7, 0)
    with pytest.raises(TypeError, match="policy must be a GaussianMLP, .*got FullGaussianMLP"):
        infer_action_noise(make_policy(FullGaussianMLP), obs, noise)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"horizon": 0}, "horizon must be >= 1, got 0"),
        ({"gamma": 0.0}, r"gamma must be in \(0, 1\], got 0.0"),
        ({"max_weight": 0.5}, "max_weight must be >= 1, got 0.5"),
        ({"target_rate": 1.0}, r"target_rate must be in \[0, 1\), got 1.0"),
    ],
)
def test_errors_name_argument_rule_and_value(kwargs, message):
    with pytest.raises(ValueError, match=message):
        svg(make_policy(), system_data(50), **kwargs)


def test_unknown_densities_and_other_mdps_are_refused():
    algorithm = svg(make_policy(), system_data(50))
    with pytest.raises(ValueError, match="importance weights need log_prob in the data, got nan"):
        algorithm.weigh(*algorithm.draw())
    with pytest.raises(TypeError, match="mdp must be a LearnedMDP, .*got LinearGaussianSystem"):
        SVG(SYSTEM, make_policy())
    assert isinstance(SYSTEM.observation_space, Box) and np.isinf(SYSTEM.observation_space.high).all()
