"""SHAC: its gradient against BPTT, differences and definitions; its stabilisers; exact resuming."""

import copy
import io
from dataclasses import replace

import pytest
import torch
from rich.console import Console

import diffsim
from diffsim.mdp import Scenarios
from policies import DeterministicMLP, GaussianMLP
from tests.trainers.linear import LinearPolicy, LinearQuadratic
from trainers.checkpoint import read_checkpoint
from trainers.errors import NonFiniteError
from trainers.fit import train
from trainers.options import RunOptions
from trainers.pathwise.action_gradient import clip_samples
from trainers.pathwise.bptt import BPTT
from trainers.pathwise.shac import SHAC
from trainers.returns import lambda_returns
from trainers.rollout import rollout
from trainers.run_folder import RunFolder
from trainers.training_ends import BoundedMDP

OPTIONS = RunOptions(task="linear", evaluate_every=5)


def run(algorithm, path, iterations, *, resume=False):
    """Trains in `path` without a screen."""
    options = replace(OPTIONS, iterations=iterations)
    train(algorithm, options, RunFolder(path), Console(file=io.StringIO()), resume=resume)
    return algorithm


def gaussian(mdp, seed=3):
    torch.manual_seed(seed)
    return GaussianMLP(mdp.observation_space, mdp.action_space, hidden_sizes=(8,), out_scale=1.0).double()


def make_shac(mdp, policy, **kwargs):
    torch.manual_seed(5)
    return SHAC(mdp, policy, **{"value_hidden_sizes": (8,), **kwargs})


def parameter_gradient(algorithm, scenarios, age=None):
    """What SHAC's two passes give its optimizer, as one vector."""
    age = torch.zeros_like(algorithm.age) if age is None else age
    gradient, trajectory, _ = algorithm.action_gradient(scenarios, age)
    loss = algorithm.actor_loss(trajectory.obs, scenarios.action_noise, gradient)
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


@pytest.mark.parametrize("task", ["InvertedDoublePendulum-v5", "HalfCheetah-v5"])
def test_the_whole_episode_without_value_is_bptt_and_differences(task):
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
    torch.nn.init.zeros_(shac.target_value.network[-1].weight)
    two_passes = parameter_gradient(shac, scenarios)
    torch.testing.assert_close(two_passes, whole, rtol=1e-10, atol=1e-12)
    expected, direction = differences(objective, list(policy.parameters()))
    assert two_passes @ direction == pytest.approx(expected, rel=1e-6)
    assert (with_value - whole).norm() > 1e-3 * whole.norm(), "negative control: the value has its say"


@pytest.mark.parametrize("terminal_gradient", [False, True])
def test_with_value_and_ends_it_is_the_gradient_of_its_objective(terminal_gradient):
    """With ends of both kinds inside the window, against differences of the objective with frozen ends."""
    mdp = LinearQuadratic(6, bound=1.2, noise_std=0.3, max_episode_steps=5)
    shac = make_shac(
        mdp, gaussian(mdp), horizon=8, actor_lam=0.8, undiscount=False, terminal_gradient=terminal_gradient
    )
    scenarios = shac.draw(torch.Generator().manual_seed(1))
    age = torch.arange(6) % 5

    def value():
        trajectory, _ = rollout(mdp, shac.actor, scenarios, age=age)
        assert trajectory.terminated.any() and (trajectory.truncated & ~trajectory.terminated).any()
        reached = shac.target_value(trajectory.next_obs)
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
        dead_before = shac.target_value(rollout(mdp, shac.actor, scenarios, age=age)[0].next_obs)
    gradient = parameter_gradient(shac, scenarios, age)
    expected, direction = differences(value, list(shac.actor.parameters()))
    assert gradient @ direction == pytest.approx(expected, rel=1e-6)
    shac.terminal_gradient = not terminal_gradient
    assert parameter_gradient(shac, scenarios, age) @ direction != pytest.approx(expected, rel=1e-3)


def test_undiscounted_each_action_climbs_its_own_return():
    """dG_t / du_t for each t, every one by a differentiation of its own."""
    mdp = LinearQuadratic(4, bound=1.5, noise_std=0.3, max_episode_steps=5)
    shac = make_shac(mdp, gaussian(mdp), horizon=7, actor_lam=0.8)
    scenarios = shac.draw(torch.Generator().manual_seed(1))
    gradient, trajectory, _ = shac.action_gradient(scenarios, torch.arange(4))
    assert trajectory.ended[:-1].any()

    probe = torch.zeros(7, 4, 1, dtype=torch.float64, requires_grad=True)
    pending = iter(probe)
    trajectory, _ = rollout(mdp, lambda o, z: shac.actor(o, z) + next(pending), scenarios, age=torch.arange(4))
    value = shac.target_value(trajectory.next_obs)
    value = value - torch.where(trajectory.terminated, value.detach(), 0.0)
    returns = lambda_returns(trajectory.reward, value, trajectory.ended, 0.99, 0.8)
    for t in range(7):
        (own,) = torch.autograd.grad(returns[t].sum(), probe, retain_graph=True)
        torch.testing.assert_close(gradient[t], own[t], rtol=1e-10, atol=1e-12)


def test_clipping_by_hand():
    gradient = torch.tensor([[[3.0, 4.0]], [[0.0, 1.0]], [[0.0, 0.0]], [[0.0, -2.0]], [[0.5, 0.0]]])
    clipped, scale = clip_samples(gradient, 2.0)  # norms 5, 1, 0, 2, 0.5: median 1, at most 2
    assert scale.flatten().tolist() == pytest.approx([0.4, 1, 1, 1, 1])
    torch.testing.assert_close(clipped[0], torch.tensor([[1.2, 1.6]]))
    assert torch.equal(clipped[1:], gradient[1:])
    unclipped, scale = clip_samples(gradient, float("inf"))
    assert torch.equal(unclipped, gradient) and (scale == 1).all()


def test_the_critic_sees_time_outs_as_going_on_and_terminal_states_as_worth_nothing():
    """Reward 1 at every step: the value is 1 / (1 - gamma) unless an episode really ends."""

    class Ones(LinearQuadratic):
        def reward(self, state, action, next_state):
            return 1.0 + 0.0 * action.sum(-1)

    def fitted(mdp):
        shac = make_shac(mdp, gaussian(mdp), horizon=4, gamma=0.8, terminal_gradient=False)
        optimizer = torch.optim.Adam(shac.value.parameters(), lr=1e-2)
        shac.manual_backward = lambda loss: loss.backward()
        generator = torch.Generator().manual_seed(0)
        for _ in range(40):
            _, trajectory, _ = shac.action_gradient(shac.draw(generator), torch.zeros_like(shac.age))
            shac.fit_value(trajectory, optimizer)
            shac.target_value.load_state_dict(shac.value.state_dict())
        with torch.no_grad():
            return shac.value(trajectory.obs).mean().item()

    assert fitted(Ones(4, max_episode_steps=2)) == pytest.approx(5.0, abs=0.2)
    assert fitted(Ones(4, bound=0.0)) == pytest.approx(1.0, abs=0.2)  # every step is the last


def test_random_truncation_cuts_at_its_rate_and_bootstraps(tmp_path):
    mdp = LinearQuadratic(200, max_episode_steps=10_000)
    shac = make_shac(mdp, LinearPolicy(), horizon=10, truncation_rate=0.02)
    shac.iteration, cuts, steps = 1, 0, 0
    for _ in range(50):
        scenarios, age = shac.next_scenarios()
        trajectory, worlds = rollout(mdp, LinearPolicy(), scenarios, age=age)
        shac.state, shac.age = worlds
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


def test_what_is_kept_is_the_average_of_the_actors(tmp_path):
    mdp, policy = LinearQuadratic(4), LinearPolicy()
    shac = make_shac(mdp, policy, horizon=4, average=0.75, learning_rate=0.1)
    seen, before = [], policy.K.detach().clone()
    shac.evaluation = lambda p: seen.append(p.K.detach().clone()) or {}
    expected = before.clone()
    for iteration in range(1, 4):
        run(shac, tmp_path, iteration, resume=iteration > 1)
        expected = 0.75 * expected + 0.25 * shac.actor.K.detach()
    torch.testing.assert_close(policy.K.detach(), expected)
    assert not torch.allclose(policy.K, shac.actor.K)
    saved = read_checkpoint(RunFolder(tmp_path).checkpoint)["state_dict"]
    assert torch.equal(saved["policy.K"], policy.K)


@pytest.mark.parametrize("kwargs", [{}, {"normal": 1}], ids=["plain", "all options"])
def test_resuming_is_exact_to_the_bit(tmp_path, kwargs):
    options = {"truncation_rate": 0.1, "end_beyond": {1: 1.0}, "clip_ratio": 2.0, "decay_env_steps": 200}

    def fresh():
        mdp = LinearQuadratic(3, noise_std=0.1, bound=1.5, max_episode_steps=7)
        return make_shac(mdp, gaussian(mdp), horizon=5, seed=4, value_epochs=2, **(options if kwargs else {}))

    whole = run(fresh(), tmp_path / "whole", 20)
    run(fresh(), tmp_path / "parts", 10)
    halfway = read_checkpoint(RunFolder(tmp_path / "parts").checkpoint)
    parts = run(fresh(), tmp_path / "parts", 20, resume=True)

    assert whole.env_steps == parts.env_steps == 300 and whole.iteration == parts.iteration == 20
    assert torch.equal(whole.generator.get_state(), parts.generator.get_state())
    for name, value in whole.state_dict().items():
        assert torch.equal(value, parts.state_dict()[name]), name
        assert "network" not in name or not torch.equal(value, halfway["state_dict"][name]), name
    rows = [RunFolder(tmp_path / name).read_metrics() for name in ("whole", "parts")]
    strip = [[{k: v for k, v in row.items() if k != "seconds"} for row in r] for r in rows]
    assert strip[0] == strip[1] and len(strip[0]) == 20


def test_learning_rates_fall_to_two_percent(tmp_path):
    run(make_shac(LinearQuadratic(2), LinearPolicy(), horizon=5, learning_rate=0.1, decay_env_steps=40), tmp_path, 6)
    rates = [row["learning_rate"] for row in RunFolder(tmp_path).read_metrics()]
    assert rates == pytest.approx([0.1, 0.075, 0.05, 0.025, 0.002, 0.002])


def test_a_budget_of_env_steps_ends_training(tmp_path):
    options = RunOptions(task="linear", evaluate_every=5, env_steps=25)
    shac = make_shac(LinearQuadratic(2), LinearPolicy(), horizon=5)
    recorder = train(shac, options, RunFolder(tmp_path), Console(file=io.StringIO()), resume=False)
    assert shac.env_steps == 30 and not recorder.stopped_early
    assert read_checkpoint(RunFolder(tmp_path).checkpoint)["diffsim"]["env_steps"] == 30


def test_a_nonfinite_gradient_stops_before_the_step():
    class Kinked(LinearQuadratic):
        def transition(self, state, action, noise=None):
            kink = torch.zeros(3, 1, dtype=torch.float64)
            kink[1] = torch.sqrt(action[1] * 0.0)
            return super().transition(state, action) + kink

    shac = make_shac(Kinked(3), LinearPolicy(), horizon=5)
    with pytest.raises(NonFiniteError, match=r"gradient of action\[0\] is nan in world 1 at time step"):
        shac.action_gradient(shac.draw(shac.generator), shac.age)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"horizon": 0}, "horizon must be >= 1, got 0"),
        ({"value_epochs": 0}, "value_epochs must be >= 1, got 0"),
        ({"value_minibatches": 0}, "value_minibatches must be >= 1, got 0"),
        ({"decay_env_steps": 0}, "decay_env_steps must be >= 1, got 0"),
        ({"gamma": 1.2}, r"gamma must be in \(0, 1\], got 1.2"),
        ({"actor_lam": 0.0}, r"actor_lam must be in \(0, 1\], got 0.0"),
        ({"lam": -0.1}, r"lam must be in \[0, 1\], got -0.1"),
        ({"average": 1.0}, r"average must be in \[0, 1\), got 1.0"),
        ({"target_rate": float("nan")}, r"target_rate must be in \[0, 1\), got nan"),
        ({"truncation_rate": 1.0}, r"truncation_rate must be in \[0, 1\), got 1.0"),
        ({"clip_ratio": 0.0}, "clip_ratio must be > 0, got 0.0"),
        ({"learning_rate": 0.0}, "learning_rate must be > 0, got 0.0"),
        ({"value_learning_rate": -1.0}, "value_learning_rate must be > 0, got -1.0"),
        ({"max_norm": -1.0}, "max_norm must be > 0, got -1.0"),
        ({"value_hidden_sizes": (0,)}, "hidden_sizes, in_size and out_size must be >= 1, got 0"),
        ({"end_beyond": {2: 1.0}}, "end_beyond must map indices of observed numbers, 0 to 1, .*got 2: 1.0"),
        ({"end_beyond": {1: 0.0}}, "end_beyond must map .* to bounds > 0, got 1: 0.0"),
        ({"seed": -1}, "seed must be >= 0, got -1"),
    ],
)
def test_messages_name_argument_rule_and_value(kwargs, message):
    with pytest.raises(ValueError, match=message):
        SHAC(LinearQuadratic(), LinearPolicy(), **kwargs)
