"""SHAC: its gradient against BPTT, finite differences and definitions; clipping, averaging and truncation; resuming."""

import io
from pathlib import Path

import pytest
import torch
from rich.console import Console

from diffsim.mdp import Scenarios
from diffsim.policies import GaussianMLP, ValueMLP
from diffsim.trainers.errors import NonFiniteError
from diffsim.trainers.experience.mdp_wrappers import BoundedMDP
from diffsim.trainers.experience.rollout import Trajectory, rollout
from diffsim.trainers.maths.returns import lambda_returns
from diffsim.trainers.pathwise.shac import SHAC
from diffsim.trainers.pathwise.value_data import SLOPE_CLIP, ValueData, add_slopes, returns_data, value_loss
from diffsim.trainers.pathwise.window import clip_samples
from diffsim.trainers.run.arguments import RunOptions
from diffsim.trainers.run.checkpoint import read_checkpoint
from diffsim.trainers.run.fit_command import budget
from diffsim.trainers.run.run_folder import RunFolder
from diffsim.trainers.run.train import train
from tests.trainers.linear import LinearPolicy, LinearQuadratic
from tests.trainers.running import assert_resumes_exactly, runner
from tests.trainers.whole_episode import check, differences, make_shac, parameter_gradient

ROOT = Path(__file__).parents[2]
OPTIONS = RunOptions(task="linear", evaluate_every=5)


run = runner(OPTIONS)


def gaussian(mdp, seed=3):
    torch.manual_seed(seed)
    return GaussianMLP(mdp.observation_space, mdp.action_space, hidden_sizes=(8,), out_scale=1.0).double()


@pytest.mark.parametrize("task", ["InvertedDoublePendulum-v5", "HalfCheetah-v5"])
def test_whole_episode_gradient_without_value_equals_bptt_and_finite_differences(task):
    check(task)


@pytest.mark.parametrize("terminal_gradient", [False, True])
def test_gradient_with_value_and_ends_equals_that_of_the_objective(terminal_gradient):
    """Against finite differences, with terminations and truncations at fixed steps inside the window."""
    mdp = LinearQuadratic(6, bound=1.2, noise_std=0.3, max_episode_steps=5)
    shac = make_shac(
        mdp, gaussian(mdp), horizon=8, actor_lam=0.8, undiscount=False, terminal_gradient=terminal_gradient
    )
    scenarios = shac.draw(torch.Generator().manual_seed(1))
    age = torch.arange(6) % 5

    def value():
        trajectory, _ = rollout(mdp, shac.actor, scenarios, age=age)
        assert trajectory.terminated.any() and (trajectory.truncated & ~trajectory.terminated).any()
        reached = shac.critic.target(trajectory.next_obs)
        dead = reached - reached.detach() if not torch.is_grad_enabled() else 0.0
        dead = reached - dead_before if terminal_gradient else dead
        reached = torch.where(trajectory.terminated, dead, reached)
        total = torch.zeros((), dtype=torch.float64)
        for n in range(6):  # world by world, episode by episode, by the definition
            starts = [0, *(t + 1 for t in range(7) if trajectory.ended[t, n])]
            for start, stop in zip(starts, [*starts[1:], 8], strict=True):
                part = slice(start, stop), slice(n, n + 1)
                total += lambda_returns(trajectory.reward[part], reached[part], trajectory.ended[part], 0.99, 0.8)[0, 0]
        return total / 48

    with torch.no_grad():
        dead_before = shac.critic.target(rollout(mdp, shac.actor, scenarios, age=age)[0].next_obs)
    gradient = parameter_gradient(shac, scenarios, age)
    expected, direction = differences(value, list(shac.actor.parameters()))
    assert gradient @ direction == pytest.approx(expected, rel=1e-6)
    shac.critic.terminal = not terminal_gradient
    assert parameter_gradient(shac, scenarios, age) @ direction != pytest.approx(expected, rel=1e-3)


def test_undiscounted_gradient_of_each_action_is_that_of_its_own_return():
    """dG_t / du_t against a separate differentiation for each t."""
    mdp = LinearQuadratic(4, bound=1.5, noise_std=0.3, max_episode_steps=5)
    shac = make_shac(mdp, gaussian(mdp), horizon=7, actor_lam=0.8)
    scenarios = shac.draw(torch.Generator().manual_seed(1))
    window = shac.differentiate(scenarios, torch.arange(4))
    gradient, trajectory = shac.ascent(window), window.trajectory
    assert trajectory.ended[:-1].any()

    probe = torch.zeros(7, 4, 1, dtype=torch.float64, requires_grad=True)
    pending = iter(probe)
    trajectory, _ = rollout(mdp, lambda o, z: shac.actor(o, z) + next(pending), scenarios, age=torch.arange(4))
    value = shac.critic.target(trajectory.next_obs)
    value = value - torch.where(trajectory.terminated, value.detach(), 0.0)
    returns = lambda_returns(trajectory.reward, value, trajectory.ended, 0.99, 0.8)
    for t in range(7):
        (own,) = torch.autograd.grad(returns[t].sum(), probe, retain_graph=True)
        torch.testing.assert_close(gradient[t], own[t], rtol=1e-10, atol=1e-12)


def test_entropy_equals_the_integral_over_the_density():
    """The entropy and its derivative by the mean, against the integral of -p log p over the actions."""
    mdp = LinearQuadratic(1)
    shac = make_shac(mdp, gaussian(mdp), entropy_weight=0.3)
    bias = shac.actor.network[-1].bias
    with torch.no_grad():
        bias += 1.3
    u = torch.linspace(-2, 2, 400_003, dtype=torch.float64)[1:-1]

    def entropy(mean):
        x = torch.atanh(u / 2)
        density = torch.exp(-((x - mean) ** 2) / 0.5) / (0.5 * (2 * torch.pi) ** 0.5) / (2 - u**2 / 2)
        return -torch.trapezoid(torch.special.xlogy(density, density), u).item()

    count = 200_000
    noise = torch.special.ndtri((torch.arange(count, dtype=torch.float64) + 0.5) / count)[:, None, None]
    obs = torch.tensor([0.4, -0.2], dtype=torch.float64).expand(count, 1, 2)
    with torch.no_grad():
        action, mean = shac.actor(obs, noise), shac.actor.distribution(obs[0])[0].item()
    nothing = torch.zeros(count, 1)
    trajectory = Trajectory(obs, action, nothing, obs, nothing > 0, nothing > 0)
    loss = shac.actor_loss(trajectory, noise, torch.zeros_like(action))
    # The noise is 200,000 quantiles. Truncating the tails beyond them causes an error of 2e-5.
    assert loss.item() == pytest.approx(-0.3 * entropy(mean), rel=1e-4)
    (slope,) = torch.autograd.grad(loss, bias)
    expected = (entropy(mean + 1e-4) - entropy(mean - 1e-4)) / 2e-4
    assert slope.item() == pytest.approx(-0.3 * expected, rel=1e-6)


def test_slopes_are_gradients_of_returns_with_respect_to_their_first_state():
    """Each against a separate roll-out from the same state."""
    mdp = LinearQuadratic(4, bound=1.5, noise_std=0.3, max_episode_steps=5)
    shac = make_shac(mdp, gaussian(mdp), horizon=7, actor_lam=0.8)
    scenarios, age = shac.draw(torch.Generator().manual_seed(1)), torch.arange(4)
    window = shac.differentiate(scenarios, age)
    ended = window.trajectory.ended
    data = add_slopes(returns_data(window, shac.critic.target, 0.99, 0.8), mdp, window, 0.99, 0.8)
    known = data.known.view(7, 4)
    assert not known[0].any() and torch.equal(known[1:], ~ended[:-1]) and 0 < ended[:-1].sum() < 24

    expected = []
    for t in range(1, 7):
        age = torch.where(ended[t - 1], 0, age + 1)
        start = window.state[t].requires_grad_(True)
        rest = Scenarios(start, scenarios.resets, scenarios.process_noise[t:], scenarios.action_noise[t:])
        again, _ = rollout(mdp, shac.actor, rest, age=age)
        value = shac.critic.target(again.next_obs)
        value = value - torch.where(again.terminated, value.detach(), 0.0)
        returns = lambda_returns(again.reward, value, again.ended, 0.99, 0.8)[0]
        mixture = 0.2 * shac.critic.target(start) + 0.8 * returns
        expected.append(torch.autograd.grad(mixture.sum(), start)[0][known[t]])
    clipped, scale = clip_samples(torch.cat(expected) * data.scale, SLOPE_CLIP)
    assert (scale == 1).sum() > 10
    torch.testing.assert_close(data.slope[data.known], clipped, rtol=1e-9, atol=1e-12)


def test_slopes_improve_the_fit_of_a_quadratic_value_to_few_samples():
    """V(x) = -x'Qx at 8 states: with slopes, the fit is better between the states."""
    mdp, generator = LinearQuadratic(8), torch.Generator().manual_seed(0)
    state = torch.randn(8, 2, generator=generator, dtype=torch.float64)
    zeros = torch.zeros(8, 1, dtype=torch.float64)
    goal, slope = mdp.reward(state, zeros, state), -2 * state @ mdp.Q
    data = ValueData(state, state, goal, slope, torch.ones(8, dtype=torch.bool), torch.ones(2, dtype=torch.float64))
    fresh = torch.randn(500, 2, generator=generator, dtype=torch.float64)
    errors = []
    for weight in (0.0, 1.0):
        torch.manual_seed(0)
        value = ValueMLP(2, hidden_sizes=(32, 32)).double()
        optimizer = torch.optim.Adam(value.parameters(), lr=1e-2)
        for _ in range(300):
            optimizer.zero_grad()
            value_loss(value, mdp, data, weight).backward()
            optimizer.step()
        errors.append((value(fresh) - mdp.reward(fresh, zeros[:1], fresh)).square().mean().item())
    assert errors[1] < 0.5 * errors[0]


@pytest.mark.parametrize("windows", [1, 2])
def test_critic_is_fitted_to_the_latest_windows_only(windows, tmp_path, monkeypatch):
    """One pass over the data uses each target of the latest windows once, and none of older windows."""
    targets, used = [], []

    def record_targets(*arguments):
        data = returns_data(*arguments)
        targets.append(data.goal)
        used.append([])
        return data

    def record_loss(value, mdp, data, weight):
        used[-1].append(data.goal)
        return value_loss(value, mdp, data, weight)

    monkeypatch.setattr("diffsim.trainers.pathwise.critic.returns_data", record_targets)
    monkeypatch.setattr("diffsim.trainers.pathwise.critic.value_loss", record_loss)
    mdp = LinearQuadratic(4)
    shac = make_shac(mdp, LinearPolicy(), horizon=3, value_windows=windows, value_epochs=1, terminal_gradient=False)
    run(shac, tmp_path, 3)
    for last in range(3):
        expected = torch.cat(targets[max(0, last + 1 - windows) : last + 1])
        assert torch.equal(torch.cat(used[last]).sort().values, expected.sort().values)
    assert len(torch.cat(used[2])) == windows * 12


def test_clipping_by_hand():
    gradient = torch.tensor([[[3.0, 4.0]], [[0.0, 1.0]], [[0.0, 0.0]], [[0.0, -2.0]], [[0.5, 0.0]]])
    clipped, scale = clip_samples(gradient, 2.0)  # norms 5, 1, 0, 2, 0.5: median 1, at most 2
    assert scale.flatten().tolist() == pytest.approx([0.4, 1, 1, 1, 1])
    torch.testing.assert_close(clipped[0], torch.tensor([[1.2, 1.6]]))
    assert torch.equal(clipped[1:], gradient[1:])
    unclipped, scale = clip_samples(gradient, float("inf"))
    assert torch.equal(unclipped, gradient) and (scale == 1).all()


def test_critic_bootstraps_at_time_outs_and_not_in_terminal_states():
    """Reward 1 at every step: the value is 1 / (1 - gamma) unless the episode terminates."""

    class Ones(LinearQuadratic):
        def reward(self, state, action, next_state):
            return 1.0 + 0.0 * action.sum(-1)

    def fitted(mdp):
        shac = make_shac(mdp, gaussian(mdp), horizon=4, gamma=0.8, terminal_gradient=False)
        optimizer = torch.optim.Adam(shac.critic.value.parameters(), lr=1e-2)
        generator = torch.Generator().manual_seed(0)
        for _ in range(40):
            window = shac.differentiate(shac.draw(generator), torch.zeros_like(shac.age))
            for loss in shac.critic.losses(shac.mdp, window, shac.generator):
                shac.gradient_step(loss, optimizer, 1.0)
            shac.critic.target.load_state_dict(shac.critic.value.state_dict())
        with torch.no_grad():
            return shac.critic.value(window.trajectory.obs).mean().item()

    assert fitted(Ones(4, max_episode_steps=2)) == pytest.approx(5.0, abs=0.2)
    assert fitted(Ones(4, bound=0.0)) == pytest.approx(1.0, abs=0.2)  # every step terminates


def test_random_truncation_has_the_given_rate_and_does_not_terminate(tmp_path):
    mdp = LinearQuadratic(200, max_episode_steps=10_000)
    shac = make_shac(mdp, LinearPolicy(), horizon=10, truncation_rate=0.02)
    shac.iteration, cuts, steps = 1, 0, 0
    for _ in range(50):
        scenarios, age = shac.next_scenarios()
        trajectory, worlds = rollout(mdp, LinearPolicy(), scenarios, age=age)
        shac.state, shac.age, _ = worlds
        assert not trajectory.terminated.any()
        cuts, steps = cuts + trajectory.truncated.sum().item(), steps + trajectory.truncated.numel()
    # At most one cut per window and world: 1 - 0.98^10 = 0.183 of them. 10,000 windows: standard error 0.0039.
    assert cuts / (steps / 10) == pytest.approx(1 - 0.98**10, abs=4 * 0.0039)
    assert worlds.age.max() < 500


def test_bounds_end_episodes_in_training_only():
    mdp = LinearQuadratic(3)
    bounded = BoundedMDP(mdp, {1: 0.5})
    state = torch.tensor([[9.0, 0.4], [0.0, -0.6], [0.0, 0.6]], dtype=torch.float64)
    assert bounded.terminal(state).tolist() == [False, True, True] and not mdp.terminal(state).any()
    action = torch.ones(3, 1, dtype=torch.float64)
    assert torch.equal(bounded.transition(state, action), mdp.transition(state, action))
    assert torch.equal(bounded.reward(state, action, state), mdp.reward(state, action, state))


def test_policy_is_the_running_average_of_the_actor(tmp_path):
    mdp, policy = LinearQuadratic(4), LinearPolicy()
    shac = make_shac(mdp, policy, horizon=4, actor_ema=0.75, learning_rate=0.1)
    expected = policy.K.detach().clone()
    for iteration in range(1, 4):
        run(shac, tmp_path, iteration, resume=iteration > 1)
        expected = 0.75 * expected + 0.25 * shac.actor.K.detach()
    torch.testing.assert_close(policy.K.detach(), expected)
    assert not torch.allclose(policy.K, shac.actor.K)
    saved = read_checkpoint(RunFolder(tmp_path).checkpoint)["state_dict"]
    assert torch.equal(saved["policy.K"], policy.K)


@pytest.mark.parametrize("kwargs", [{}, {"normal": 1}], ids=["plain", "all options"])
def test_resuming_is_bitwise_exact(tmp_path, kwargs):
    options = {"truncation_rate": 0.1, "termination_bounds": {1: 1.0}, "clip_ratio": 2.0, "decay_env_steps": 200}
    options |= {"actor_epochs": 2, "entropy_weight": 0.1, "value_slope_weight": 0.1, "value_windows": 3}

    def fresh():
        mdp = LinearQuadratic(3, noise_std=0.1, bound=1.5, max_episode_steps=7)
        return make_shac(mdp, gaussian(mdp), horizon=5, seed=4, value_epochs=2, **(options if kwargs else {}))

    rows = assert_resumes_exactly(run, fresh, tmp_path, "network", iterations=20)
    assert rows[-1]["env_steps"] == 300


def test_learning_rates_fall_to_two_percent(tmp_path):
    run(make_shac(LinearQuadratic(2), LinearPolicy(), horizon=5, learning_rate=0.1, decay_env_steps=40), tmp_path, 6)
    rates = [row["learning_rate"] for row in RunFolder(tmp_path).read_metrics()]
    assert rates == pytest.approx([0.1, 0.075, 0.05, 0.025, 0.002, 0.002])


def test_budget_of_env_steps_ends_training(tmp_path):
    options = RunOptions(task="linear", evaluate_every=5, env_steps=25)
    shac = make_shac(LinearQuadratic(2), LinearPolicy(), horizon=5)
    recorder = train(shac, budget(options), RunFolder(tmp_path), Console(file=io.StringIO()))
    assert shac.env_steps == 30 and not recorder.stopped_early
    assert read_checkpoint(RunFolder(tmp_path).checkpoint)["diffsim"]["env_steps"] == 30


def test_nonfinite_gradient_raises_before_the_update():
    class Kinked(LinearQuadratic):
        def transition(self, state, action, noise=None):
            kink = torch.zeros(3, 1, dtype=torch.float64)
            kink[1] = torch.sqrt(action[1] * 0.0)
            return super().transition(state, action) + kink

    shac = make_shac(Kinked(3), LinearPolicy(), horizon=5)
    with pytest.raises(NonFiniteError, match=r"gradient of action\[0\] is nan in world 1 at time step"):
        shac.differentiate(shac.draw(shac.generator), shac.age)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"horizon": 0}, "horizon must be >= 1, got 0"),
        ({"value_epochs": 0}, "value_epochs must be >= 1, got 0"),
        ({"value_minibatches": 0}, "value_minibatches must be >= 1, got 0"),
        ({"actor_epochs": 0}, "actor_epochs must be >= 1, got 0"),
        ({"action_step": 0.0}, "action_step must be > 0, got 0.0"),
        ({"entropy_weight": -1.0}, "entropy_weight must be >= 0, got -1.0"),
        ({"entropy_weight": 0.1}, "entropy_weight must be 0 unless the policy is a GaussianMLP, got 0.1"),
        ({"value_slope_weight": -1.0}, "value_slope_weight must be >= 0, got -1.0"),
        ({"decay_env_steps": 0}, "decay_env_steps must be >= 1, got 0"),
        ({"gamma": 1.2}, r"gamma must be in \(0, 1\], got 1.2"),
        ({"actor_lam": 0.0}, r"actor_lam must be in \(0, 1\], got 0.0"),
        ({"lam": -0.1}, r"lam must be in \[0, 1\], got -0.1"),
        ({"actor_ema": 1.0}, r"actor_ema must be in \[0, 1\), got 1.0"),
        ({"target_rate": float("nan")}, r"target_rate must be in \[0, 1\), got nan"),
        ({"truncation_rate": 1.0}, r"truncation_rate must be in \[0, 1\), got 1.0"),
        ({"clip_ratio": 0.0}, "clip_ratio must be > 0, got 0.0"),
        ({"learning_rate": 0.0}, "learning_rate must be > 0, got 0.0"),
        ({"value_learning_rate": -1.0}, "value_learning_rate must be > 0, got -1.0"),
        ({"max_norm": -1.0}, "max_norm must be > 0, got -1.0"),
        ({"value_hidden_sizes": (0,)}, "hidden_sizes, in_size and out_size must be >= 1, got 0"),
        (
            {"termination_bounds": {"1": 1.0}},
            "termination_bounds must map indices of .*, 0 to 1, .*got '1': 1.0",
        ),
        (
            {"termination_bounds": {2: 1.0}},
            "termination_bounds must map indices of .*, 0 to 1, .*got 2: 1.0",
        ),
        ({"termination_bounds": {1: 0.0}}, "termination_bounds must map .* to bounds > 0, got 1: 0.0"),
        ({"seed": -1}, "seed must be >= 0, got -1"),
    ],
)
def test_errors_name_argument_rule_and_value(kwargs, message):
    with pytest.raises(ValueError, match=message):
        SHAC(LinearQuadratic(), LinearPolicy(), **kwargs)
