"""Planning by the cross-entropy method: compared with the optimal action, and deterministic by seed."""

import pytest
import torch

from diffsim.models import LearnedMDP
from diffsim.trainers.model_based.pets import PETS
from diffsim.trainers.model_based.planner import CEMPlanner
from diffsim.trainers.run.arguments import RunOptions
from diffsim.trainers.run.checkpoint import read_checkpoint
from diffsim.trainers.run.run_folder import RunFolder
from tests.models.linear_system import LinearGaussianSystem, perfect_model, system_data
from tests.trainers.running import runner
from tests.trainers.small_envs import LinearEnv, vector

SYSTEM = LinearGaussianSystem(1)
run = runner(RunOptions(task="linear", evaluate_every=5))


def planner(**kwargs):
    spaces = SYSTEM.observation_space, SYSTEM.action_space
    mdp = LearnedMDP(perfect_model(), system_data(50), *spaces)
    return CEMPlanner(mdp, **kwargs)


def optimal_first_action(x, horizon):
    """Optimal first action of the LQR with H rewards -(x'Qx + u'Ru):  u = -(R + B'PB)^-1 B'PA x, P by Riccati."""
    A, B, Q, R = SYSTEM.A, SYSTEM.B, SYSTEM.Q, SYSTEM.R
    P, gain = torch.zeros_like(Q), torch.zeros(1, 2, dtype=torch.float64)
    for _ in range(horizon):
        gain = -torch.linalg.solve(R + B.T @ P @ B, B.T @ P @ A)
        closed = A + B @ gain
        P = Q + gain.T @ R @ gain + closed.T @ P @ closed
    return x @ gain.T


def test_plans_begin_with_the_optimal_action():
    """Certainty equivalence: the optimal action does not depend on additive noise."""
    obs = torch.tensor([[0.8, -0.5], [-0.4, 0.9]], dtype=torch.float64)
    model = planner(horizon=6, num_plans=400, num_best=20, rounds=6, num_particles=2)
    model.model_noise.zero_()
    torch.testing.assert_close(model(obs), optimal_first_action(obs, 6), rtol=0, atol=0.05)
    assert optimal_first_action(obs, 6).abs().min() > 0.1


@pytest.mark.parametrize("bound", [torch.inf, 0.6])
def test_returns_are_summed_until_termination(bound):
    model = planner(horizon=3, num_plans=2, num_best=2, num_particles=2, gamma=0.5)
    model.model.known_termination = lambda obs: obs[:, 0].abs() > bound
    obs, plans = torch.tensor([0.5, 0.2], dtype=torch.float64), torch.tensor([[0.4, -1.0], [1.0, 0.2], [-0.5, 0.7]])
    plans, expected, lengths = plans[:, :, None].double(), [], []
    for plan in range(2):
        total = 0.0
        for particle in range(2):
            x = obs[None]
            for t in range(3):
                u = plans[t, plan][None]
                reached = SYSTEM.transition(x, u, model.model_noise[t, particle][None])
                total += 0.5**t * SYSTEM.reward(x, u, reached).item() / 2
                x = reached
                if x[0, 0].abs() > bound:
                    break
            lengths.append(t + 1)
        expected.append(total)
    found = model.returns(torch.stack([obs, -obs]), torch.stack([plans, plans], dim=1))
    assert found[0].tolist() == pytest.approx(expected) and found.shape == (2, 2)
    assert len(set(lengths)) > 1 or bound == torch.inf, lengths


def test_actions_are_deterministic_by_observation_and_seed():
    obs = torch.tensor([[0.8, -0.5], [-0.4, 0.9]], dtype=torch.float64)
    small = {"horizon": 3, "num_plans": 20, "num_best": 4, "rounds": 2}
    assert torch.equal(planner(**small)(obs), planner(**small)(obs))
    torch.testing.assert_close(planner(**small)(obs)[1:], planner(**small)(obs[1:]))
    assert not torch.equal(planner(**small)(obs), planner(**small, seed=1)(obs))
    bounded = planner(**small)(obs * 1e3)
    assert (bounded.abs() <= 2.0).all()


def test_a_plan_starts_from_the_last_plan_shifted():
    """With zero spread all plans equal the initial mean: the last plan, shifted, with zero at the end."""
    obs = torch.tensor([[0.8, -0.5], [-0.4, 0.9]], dtype=torch.float64)
    model = planner(horizon=4, num_plans=20, num_best=4, rounds=2, num_particles=1)
    first = model.plan(obs)
    assert first.abs().min() > 0
    model.initial_std = 1e-12
    shifted = torch.cat([first[1:], torch.zeros(1, 2, 1)])
    torch.testing.assert_close(model.plan(obs), shifted)
    torch.testing.assert_close(model.plan(obs), torch.cat([shifted[1:], torch.zeros(1, 2, 1)]))
    model.reset(torch.tensor([True, False]))
    again = model.plan(obs)
    assert not again[:, 0].any() or again[:, 0].abs().max() < 1e-9
    torch.testing.assert_close(again[:1, 1], first[3:, 1])
    model.plan(obs[:1])  # another number of copies: starts from zero
    assert model.last_plan.abs().max() < 1e-9
    cold = planner(horizon=4, num_plans=20, num_best=4, rounds=2, num_particles=1, warm_start=False)
    assert torch.equal(cold.plan(obs), cold.plan(obs)) and cold.last_plan is None


def test_warm_start_is_better_when_one_search_is_too_short():
    """Regulation from a distant state with one round of few plans."""

    def cost(warm):
        model = planner(horizon=12, num_plans=40, num_best=4, rounds=1, num_particles=1, warm_start=warm)
        model.model_noise.zero_()
        state, total = torch.tensor([[0.3, 0.2]], dtype=torch.float64), 0.0
        for _ in range(15):
            action = model(state)
            reached = SYSTEM.transition(state, action, torch.zeros(1, 2))
            total, state = total - SYSTEM.reward(state, action, reached).item(), reached
        return total

    assert cost(True) < 0.9 * cost(False)


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path):
    from diffsim.models import REWARDS
    from tests.models.linear_system import quadratic_reward

    REWARDS["linear"] = quadratic_reward
    model = {"num_members": 2, "num_elites": 2, "hidden_sizes": (), "noise": "constant", "reward": "linear"}

    def fresh():
        plans = {"horizon": 3, "num_plans": 8, "num_best": 2, "rounds": 2, "num_particles": 2}
        fit = {"max_epochs": 2}
        kwargs = {"planner_kwargs": plans, "model_kwargs": model, "fit_kwargs": fit}
        return PETS(vector(LinearEnv, 2), initial_steps=60, steps_per_iteration=20, seed=4, **kwargs)

    try:
        whole = run(fresh(), tmp_path / "whole", 3)
        run(fresh(), tmp_path / "parts", 2)
        assert read_checkpoint(RunFolder(tmp_path / "parts").checkpoint)["diffsim"]["env_steps"] == 80
        parts = run(fresh(), tmp_path / "parts", 3, resume=True)
    finally:
        del REWARDS["linear"]
    assert whole.env_steps == 100 and len(whole.data) == 100
    assert whole.planner.last_plan is not None and torch.equal(whole.planner.last_plan, parts.planner.last_plan)
    assert all(torch.equal(value, parts.state_dict()[name]) for name, value in whole.state_dict().items())


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"horizon": 0}, "horizon must be >= 1, got 0"),
        ({"num_best": 101}, "num_best must be <= num_plans = 100, got 101"),
        ({"gamma": 0.0}, r"gamma must be in \(0, 1\], got 0.0"),
        ({"initial_std": 0.0}, "initial_std must be > 0, got 0.0"),
    ],
)
def test_errors_name_argument_rule_and_value(kwargs, message):
    with pytest.raises(ValueError, match=message):
        planner(**kwargs)
