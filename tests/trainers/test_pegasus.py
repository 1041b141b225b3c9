"""PEGASUS on a linear system and on simulated tasks: its objective, optimizers, scenarios and gap."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import diffsim
from diffsim.policies import DeterministicMLP, GaussianMLP
from diffsim.trainers.errors import NonFiniteError, UsageError
from diffsim.trainers.experience.rollout import rollout
from diffsim.trainers.maths.returns import first_episode
from diffsim.trainers.pathwise.derivative_free import central_differences, coordinate_sweep, with_gradient
from diffsim.trainers.pathwise.pegasus import Pegasus
from diffsim.trainers.run.arguments import RunOptions
from diffsim.trainers.run.run_folder import RunFolder
from tests import processes
from tests.trainers.linear import LinearPolicy, LinearQuadratic, NoisyLinearPolicy
from tests.trainers.running import assert_resumes_exactly, runner

ROOT = Path(__file__).parents[2]
OPTIONS = RunOptions(task="linear", evaluate_every=5)


run = runner(OPTIONS)


def column(path, name):
    return [row[name] for row in RunFolder(path).read_metrics() if name in row]


# ------------------------------------------------------------------------------------------------ the objective


def test_objective_is_the_mean_discounted_return_of_first_episodes_by_hand():
    algorithm = Pegasus(LinearQuadratic(2), LinearPolicy(), horizon=3, gamma=0.5)
    trajectory, _ = rollout(algorithm.mdp, algorithm.policy, algorithm.own_scenarios()[0])
    reward = torch.tensor([[1.0, 1.0], [2.0, 2.0], [4.0, 4.0]])
    ended = torch.tensor([[False, False], [True, False], [False, False]])
    trajectory = trajectory._replace(reward=reward, terminated=ended, truncated=torch.zeros_like(ended))
    # World 0 ends after its second step: 1 + 0.5 * 2. World 1 does not end: 1 + 0.5 * 2 + 0.25 * 4.
    assert algorithm.objective(trajectory).item() == pytest.approx((2 + 3) / 2)


@pytest.mark.parametrize("batches", [1, 3])
def test_pathwise_gradient_equals_the_closed_form(batches):
    mdp, policy = LinearQuadratic(4), LinearPolicy()
    algorithm = Pegasus(mdp, policy, horizon=12, num_scenarios=4 * batches)
    (gradient,) = torch.autograd.grad(-algorithm.loss(), policy.K)
    initial = torch.cat([scenarios.initial for scenarios in algorithm.own_scenarios()])
    expected = mdp.gain_gradient(policy.K.detach(), initial, 12)
    torch.testing.assert_close(gradient, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(-algorithm.loss().detach(), algorithm.value(), rtol=1e-14, atol=0)
    # J is a polynomial in K: the error of central differences falls with the square of the step.
    errors = []
    for step in (1e-2, 1e-3):
        (differences,) = central_differences(algorithm.value, [policy.K], step)
        errors.append(((differences - expected).norm() / expected.norm()).item())
    assert errors[1] < 1e-5 and errors[1] == pytest.approx(errors[0] / 100, rel=0.05)


def test_finite_differences_equal_the_pathwise_gradient_on_a_simulated_task():
    mdp = diffsim.make("InvertedDoublePendulum-v5", num_envs=3, process_noise=0.3, reward_noise=0.1)
    torch.manual_seed(0)
    policy = DeterministicMLP(mdp.observation_space, mdp.action_space, hidden_sizes=(), normalize=False).double()
    gradients = []
    for kind in ("pathwise", "finite_differences"):
        algorithm = Pegasus(mdp, policy, horizon=8, gradient=kind, perturbation=1e-5)
        gradients.append(torch.autograd.grad(algorithm.loss(), list(policy.parameters())))
    for pathwise, differences in zip(*gradients, strict=True):
        torch.testing.assert_close(pathwise, differences, rtol=1e-5, atol=1e-6)


def test_only_the_first_episode_of_a_world_counts():
    mdp, policy = LinearQuadratic(20, bound=1.0), LinearPolicy((0.0, 0.0))
    algorithm = Pegasus(mdp, policy, horizon=9)
    (scenarios,) = algorithm.own_scenarios()
    trajectory, _ = rollout(mdp, policy, scenarios)
    assert trajectory.ended.any() and not first_episode(trajectory.ended).all()
    total = 0.0
    for world in range(20):
        for t in range(9):
            total += trajectory.reward[t, world].item()
            if trajectory.ended[t, world]:
                break
    assert algorithm.value().item() == pytest.approx(total / 20, rel=1e-12)
    # Steps after the first episode do not matter.
    algorithm.scenarios = [replace(scenarios, resets=scenarios.resets + 1)]
    assert algorithm.value().item() == pytest.approx(total / 20, rel=1e-12)


# ------------------------------------------------------------------------------------------------ the scenarios

SAME_RETURN = """
import torch, diffsim
from diffsim.policies import GaussianMLP
from diffsim.trainers.pathwise.pegasus import Pegasus

torch.manual_seed(3)
mdp = diffsim.make("Hopper-v5", num_envs=4, process_noise=1.0, reward_noise=0.1)
policy = GaussianMLP(mdp.observation_space, mdp.action_space, hidden_sizes=(8,)).to(mdp.dtype)
for seed in {seeds}:
    print(Pegasus(mdp, policy, horizon=20, num_scenarios=8, seed=seed).value().item().hex())
"""


def test_same_scenarios_and_parameters_give_bitwise_equal_returns_across_processes(capsys):
    exec(SAME_RETURN.format(seeds=(5, 6)), {})
    first, other = capsys.readouterr().out.splitlines()
    assert processes.run("-c", SAME_RETURN.format(seeds=(5,)), check=True).stdout.splitlines() == [first]
    assert other != first


def test_scenarios_are_fixed_nested_and_different_from_fresh_ones():
    def own(seed, num_scenarios):
        mdp = LinearQuadratic(2, noise_std=0.1)
        algorithm = Pegasus(mdp, NoisyLinearPolicy(), horizon=5, num_scenarios=num_scenarios, seed=seed)
        return algorithm, algorithm.own_scenarios()

    algorithm, few = own(0, 4)
    assert algorithm.own_scenarios() is few and len(few) == 2
    for name in ("initial", "process_noise", "action_noise"):
        assert not torch.equal(getattr(few[0], name), getattr(few[1], name))
        assert not torch.equal(getattr(few[0], name), getattr(own(1, 4)[1][0], name))
        assert all(torch.equal(getattr(a, name), getattr(b, name)) for a, b in zip(few, own(0, 8)[1], strict=False))
        assert not torch.equal(getattr(algorithm.draw(algorithm.generator), name), getattr(few[0], name))


# ------------------------------------------------------------------------------------------------ the optimizers


def test_lbfgs_finds_the_best_gain_and_never_decreases_the_objective(tmp_path):
    mdp, policy = LinearQuadratic(4), LinearPolicy((0.0, 0.0))
    algorithm = run(Pegasus(mdp, policy, horizon=15, optimizer="lbfgs"), tmp_path, 15)
    initial = algorithm.own_scenarios()[0].initial
    gradient = mdp.gain_gradient(policy.K.detach(), initial, 15)
    start = mdp.gain_gradient(torch.zeros(1, 2, dtype=torch.float64), initial, 15)
    assert gradient.norm() < 1e-6 * start.norm()
    assert algorithm.env_steps > 15 * 15 * 4, "every roll-out of the line search counts"
    objective = column(tmp_path, "objective")
    assert all(after >= before for before, after in zip(objective, objective[1:], strict=False))


@pytest.mark.parametrize("optimizer", ["lbfgs", "coordinate"])
def test_objective_never_decreases_with_contacts_and_noise(tmp_path, optimizer):
    torch.manual_seed(0)
    mdp = diffsim.make("Hopper-v5", num_envs=4, process_noise=0.5)
    policy = GaussianMLP(mdp.observation_space, mdp.action_space, hidden_sizes=(), normalize=False).double()
    run(Pegasus(mdp, policy, horizon=10, optimizer=optimizer, gap_every=100), tmp_path, 5)
    objective = column(tmp_path, "objective")
    assert all(after >= before for before, after in zip(objective, objective[1:], strict=False))
    assert objective[-1] > objective[0] + 0.1


@pytest.mark.parametrize(
    ("kwargs", "iterations"),
    [
        ({"optimizer": "adam", "learning_rate": 0.3}, 100),
        ({"optimizer": "adam", "learning_rate": 0.3, "gradient": "finite_differences"}, 60),
        ({"optimizer": "lbfgs", "gradient": "finite_differences", "perturbation": 1e-4}, 12),
        ({"optimizer": "coordinate"}, 25),
    ],
    ids=["adam", "adam_differences", "lbfgs_differences", "coordinate"],
)
def test_every_optimizer_reaches_the_same_return(tmp_path, kwargs, iterations):
    best = Pegasus(LinearQuadratic(4), LinearPolicy((-5.8279, -3.6282)), horizon=15)  # the result of L-BFGS
    assert torch.autograd.grad(best.loss(), best.policy.K)[0].norm() < 1e-3
    algorithm = Pegasus(LinearQuadratic(4), LinearPolicy((0.0, 0.0)), horizon=15, gap_every=1000, **kwargs)
    start = algorithm.value()
    run(algorithm, tmp_path, iterations)
    lost = (best.value() - algorithm.value()) / (best.value() - start)
    assert -1e-9 < lost < 1e-2


def test_coordinate_sweep_by_hand():
    x = torch.tensor([0.0, 0.0], dtype=torch.float64)
    steps = torch.tensor([1.0, 1.0], dtype=torch.float64)
    before = coordinate_sweep(lambda: -((x[0] - 4) ** 2) - (x[1] + 0.75) ** 2, [x], steps)
    # x0: the step forwards to 1 helps, and doubles. x1: forwards does not help; backwards to -1 does, and doubles.
    assert before == -(16 + 0.5625) and x.tolist() == [1.0, -1.0] and steps.tolist() == [2.0, -2.0]
    coordinate_sweep(lambda: -((x[0] - 4) ** 2) - (x[1] + 0.75) ** 2, [x], steps)
    # x0: the step to 3 helps. x1: neither -3 nor 1 helps, and the step halves.
    assert x.tolist() == [3.0, -1.0] and steps.tolist() == [4.0, -1.0]


def test_central_differences_restore_parameters_and_become_gradients():
    x = torch.randn(3, dtype=torch.float64, requires_grad=True)
    before = x.detach().clone()
    gradient = central_differences(lambda: (x**3).sum(), [x], 1e-3)
    assert torch.equal(x.detach(), before)
    torch.testing.assert_close(gradient[0], 3 * before**2 + 1e-6)
    value = with_gradient(torch.tensor(7.0, dtype=torch.float64), [x], gradient)
    assert value.item() == 7.0 and torch.equal(torch.autograd.grad(value, x)[0], gradient[0])


# ------------------------------------------------------------------------------------------------ the gap


def gap_of(mdp, policy, scale):
    algorithm = Pegasus(mdp, policy, horizon=10, num_scenarios=20, num_fresh=400)
    if scale != 1:
        algorithm.scenarios = [replace(s, initial=scale * s.initial) for s in algorithm.own_scenarios()]
    return algorithm.measure_gap()


def test_gap_is_the_difference_of_returns_within_its_error():
    mdp, policy = LinearQuadratic(20), LinearPolicy()
    same = gap_of(mdp, policy, 1)
    assert abs(same["gap"]) < 4 * same["gap_error"]
    assert same["gap"] == same["own_return"] - same["fresh_return"]
    # Negative control: scenarios that start at rest have a higher return than fresh ones.
    easy = gap_of(mdp, policy, 0)
    assert easy["own_return"] == 0 and easy["gap"] > 2 * easy["gap_error"] > 0


def test_gap_shrinks_as_m_grows(tmp_path):
    def gap(m, seed):
        policy = LinearPolicy()
        run(
            Pegasus(LinearQuadratic(m, noise_std=0.5), policy, horizon=10, gap_every=99, seed=seed),
            tmp_path / f"{m}-{seed}",
            6,
        )
        own = Pegasus(LinearQuadratic(m, noise_std=0.5), policy, horizon=10, seed=seed).value()
        return (own - Pegasus(LinearQuadratic(4000, noise_std=0.5), policy, horizon=10, seed=99).value()).item()

    few, many = (sum(gap(m, seed) for seed in range(5)) / 5 for m in (1, 64))
    assert few > 4 * abs(many)


def test_m_grows_only_if_the_gap_is_too_large(tmp_path):
    def scenarios(max_gap, name, **kwargs):
        mdp = LinearQuadratic(2, noise_std=0.5)
        algorithm = Pegasus(mdp, LinearPolicy(), horizon=10, gap_every=1, max_gap=max_gap, max_scenarios=9, **kwargs)
        run(algorithm, tmp_path / name, 6)
        return column(tmp_path / name, "scenarios")

    assert scenarios(1e9, "never") == [2] * 6
    assert scenarios(None, "not asked") == [2] * 6
    wide = scenarios(0.0, "open")
    gaps = column(tmp_path / "open", "gap")
    expected = 2.0
    for m, gap in zip(wide, gaps, strict=True):
        assert m == expected
        expected = min(2 * expected, 8) if gap > 0 else expected
    assert wide[-1] > 2


# ------------------------------------------------------------------------------------------------ resuming and errors


@pytest.mark.parametrize(
    "kwargs",
    [
        {"optimizer": "lbfgs", "gap_every": 3, "max_gap": 0.0, "max_scenarios": 12},
        {"optimizer": "adam"},
        {"optimizer": "coordinate", "gap_every": 4},
    ],
    ids=["lbfgs_growing", "adam", "coordinate"],
)
def test_resuming_is_bitwise_exact(tmp_path, kwargs):
    def fresh():
        torch.manual_seed(3)
        mdp = LinearQuadratic(3, noise_std=0.3, bound=5.0)
        policy = GaussianMLP(mdp.observation_space, mdp.action_space, hidden_sizes=(4,)).double()
        return Pegasus(mdp, policy, horizon=5, seed=4, num_fresh=6, **kwargs)

    rows = assert_resumes_exactly(run, fresh, tmp_path, "policy.network.0.weight", iterations=10)
    assert "max_gap" not in kwargs or rows[-1]["scenarios"] > 3


def test_nonfinite_gradient_is_traced(tmp_path):
    class Kinked(LinearQuadratic):
        def transition(self, state, action, noise=None):
            return super().transition(state, action) + torch.sqrt(action * 0.0)

    policy = LinearPolicy()
    with pytest.raises(NonFiniteError, match="the gradient must be finite; the gradient of action.* is nan in world"):
        run(Pegasus(Kinked(3), policy, horizon=5), tmp_path, 1)
    assert torch.equal(policy.K.detach(), LinearPolicy().K.detach())


def test_reward_without_gradient_is_rejected_if_the_gradient_is_needed(tmp_path):
    class Blind(LinearQuadratic):
        def reward(self, state, action, next_state):
            return super().reward(state, action, next_state).detach()

    with pytest.raises(UsageError, match="reward must depend on the actions"):
        run(Pegasus(Blind(3), LinearPolicy(), horizon=5), tmp_path / "rejected", 1)
    policy = LinearPolicy((0.0, 0.0))
    run(Pegasus(Blind(3), policy, horizon=5, gradient="finite_differences"), tmp_path / "trained", 2)
    assert policy.K.abs().max() > 0


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"horizon": 0}, "horizon must be >= 1, got 0"),
        ({"num_scenarios": 0}, "num_scenarios must be >= 1, got 0"),
        ({"num_scenarios": 4}, "num_scenarios must be a multiple of num_envs = 3, got 4"),
        ({"max_scenarios": 2, "max_gap": 1.0}, "max_scenarios must be >= num_scenarios = 3, got 2"),
        ({"max_gap": -1.0}, "max_gap must be >= 0, got -1.0"),
        ({"max_gap": float("nan")}, "max_gap must be >= 0, got nan"),
        ({"gap_every": 0}, "gap_every must be >= 1, got 0"),
        ({"num_fresh": 0}, "num_fresh must be >= 1, got 0"),
        ({"gamma": 1.2}, r"gamma must be in \(0, 1\], got 1.2"),
        ({"learning_rate": 0.0}, "learning_rate must be > 0, got 0.0"),
        ({"perturbation": 0.0}, "perturbation must be > 0, got 0.0"),
        ({"optimizer": "sgd"}, "optimizer must be one of adam, lbfgs, coordinate, got 'sgd'"),
        ({"gradient": "none"}, "gradient must be one of pathwise, finite_differences, got 'none'"),
        ({"seed": -1}, "seed must be >= 0, got -1"),
    ],
)
def test_errors_name_argument_rule_and_value(kwargs, message):
    with pytest.raises(ValueError, match=message):
        Pegasus(LinearQuadratic(), LinearPolicy(), **kwargs)
