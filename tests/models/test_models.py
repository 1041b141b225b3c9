"""Ensembles against their members, early stopping, and the learned MDP as a function of its noise."""

import math

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box

from diffsim.mdp import Scenarios
from diffsim.models import GaussianEnsemble, LearnedMDP, ModelFit, Moments, WorldModel
from diffsim.models.ensemble import by_member
from diffsim.trainers.experience.rollout import rollout
from tests.models.linear_system import NOISE, LinearGaussianSystem, linear_model, perfect_model, system_data
from tests.trainers.linear import LinearPolicy

OBS, ACTION = Box(-np.inf, np.inf, (2,), np.float64), Box(-2.0, 2.0, (1,), np.float32)


def ensemble(num_members=3, **kwargs):
    torch.manual_seed(1)
    return GaussianEnsemble(3, 2, num_members=num_members, hidden_sizes=(8, 8), **kwargs).double()


def small_model(**kwargs):
    torch.manual_seed(2)
    options = {"num_members": 3, "num_elites": 2, "hidden_sizes": (8,), "reward_hidden_sizes": (8,), **kwargs}
    return WorldModel(2, 1, **options).double()


def test_each_member_is_a_separate_perceptron():
    """Compared with plain matrix products for each member."""
    model, x = ensemble(noise="none"), torch.randn(3, 5, 3, dtype=torch.float64)
    mean, std = model(x)
    first, _, second, _, last = model.network
    for e in range(3):
        h = torch.nn.functional.silu(x[e] @ first.weight[e] + first.bias[e])
        h = torch.nn.functional.silu(h @ second.weight[e] + second.bias[e])
        torch.testing.assert_close(mean[e], h @ last.weight[e] + last.bias[e])
    assert not std.any() and not torch.equal(mean[0], mean[1])


def test_each_row_is_evaluated_by_its_member():
    model, x = ensemble(), torch.randn(7, 3, dtype=torch.float64, requires_grad=True)
    member = torch.tensor([2, 0, 2, 2, 1, 0, 2])
    mean, std = model.predict(x, member)
    every = [torch.stack(part) for part in zip(*(model(x.expand(3, 7, 3)) for _ in range(1)), strict=True)]
    for n, e in enumerate(member):
        torch.testing.assert_close(mean[n], every[0][0, e, n])
        torch.testing.assert_close(std[n], every[1][0, e, n])
    torch.autograd.gradcheck(lambda rows: model.predict(rows, member), x)


def test_permuting_rows_permutes_results():
    x, member = torch.randn(6, 3, dtype=torch.float64), torch.tensor([0, 1, 1, 2, 0, 1])
    order = torch.randperm(6)
    network = ensemble().network
    torch.testing.assert_close(by_member(network, x, member, 3)[order], by_member(network, x[order], member[order], 3))


@pytest.mark.parametrize("noise", ["state", "constant"])
def test_likelihood_is_that_of_the_normal_distribution(noise):
    model, x, y = ensemble(noise=noise), torch.randn(3, 5, 3).double(), torch.randn(3, 5, 2).double()
    model.set_units(
        Moments(torch.ones(3), torch.full((3,), 2.0)), Moments(torch.full((2,), 0.5), torch.full((2,), 3.0))
    )
    mean, std = model(x)
    expected = -torch.distributions.Normal(mean, std).log_prob(y).sum(-1)
    torch.testing.assert_close(model.nll(x, y), expected)


def test_log_std_stays_between_its_bounds():
    model = ensemble()
    with torch.no_grad():
        model.network[-1].weight.mul_(1e4)
    _, log_std = model.normalised(torch.randn(3, 100, 3, dtype=torch.float64))
    # Softplus bounds overlap by log(1 + exp(low - high)) at most.
    assert log_std.min() >= -10.0 - 1e-9 and log_std.max() <= 0.25 + math.log1p(math.exp(-10.25)) + 1e-9
    assert log_std.max() > 0.2 and log_std.min() < -9.9


def test_a_deviation_of_a_thousandth_can_be_learned():
    """Nearly deterministic dynamics, starting from the true mean: the lower bound must not limit the deviation."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 4000, 1, generator=generator, dtype=torch.float64)
    y = x + 1e-3 * torch.randn(x.shape, generator=generator, dtype=torch.float64)
    torch.manual_seed(0)
    model = GaussianEnsemble(1, 1, hidden_sizes=()).double()
    with torch.no_grad():
        model.network[0].weight.copy_(torch.tensor([[[1.0, 0.0]]]))
    optimizer = torch.optim.Adam([model.network[0].bias], lr=0.1)
    for _ in range(150):
        optimizer.zero_grad()
        model.nll(x, y).mean().backward()
        model.network[0].bias.grad[..., 0] = 0.0
        optimizer.step()
    assert model(x)[1].mean().item() == pytest.approx(1e-3, rel=0.05)


def fit(model, data, **kwargs):
    train, validation = data.split(0.2, torch.Generator().manual_seed(0))
    return ModelFit(model, train, validation, torch.Generator().manual_seed(3), **kwargs)


def test_members_are_fitted_independently():
    """The gradient of one member does not depend on the others: fitting three equals fitting each of them.

    The biases start away from their optimum. At the optimum for the normalised data their gradient is 0 up to rounding,
    and Adam turns any gradient, however small, into steps of ordinary length.
    """
    data, together = system_data(100), linear_model(num_members=3)
    alone = linear_model(num_members=1)
    with torch.no_grad():
        together.dynamics.network[0].bias.add_(0.3)
        for mine, theirs in zip(alone.parameters(), together.parameters(), strict=True):
            mine.copy_(theirs[1:2])
    options = {"bootstrap": False, "batch_size": 80, "max_epochs": 5}
    for model in (together, alone):
        fit(model, data, **options).run()
    for mine, theirs in zip(alone.parameters(), together.parameters(), strict=True):
        torch.testing.assert_close(mine[0], theirs[1], rtol=1e-12, atol=1e-12)


def test_every_member_gets_its_best_weights_and_the_best_members_are_the_elites():
    model = small_model(reward="Pendulum-v1")
    process = fit(model, system_data(60), learning_rate=0.3, max_epochs=12, bootstrap=False)
    model.known_reward = lambda obs, action, next_obs: obs[..., 0]
    losses, weights = [], []
    while not process.finished:
        process.epoch()
        from diffsim.models.fitting import validation_loss

        losses.append(validation_loss(model, process.validation, 1))
        weights.append([p.detach().clone() for p in model.parameters()])
    process.finish()
    losses = torch.stack(losses)
    best = losses.argmin(0)
    assert len(set(best.tolist())) > 1  # otherwise the test shows nothing
    for e in range(3):
        assert all(torch.equal(p[e], weights[best[e]][i][e]) for i, p in enumerate(model.parameters()))
    assert model.elites.tolist() == sorted(losses.min(0).values.argsort()[:2].tolist())


def test_fitting_stops_without_improvement():
    process = fit(linear_model(), system_data(60), patience=3, min_gain=1e9)
    process.run()
    assert process.epoch_count == 4  # only the first improves, on infinity


def test_a_resumed_fit_equals_an_uninterrupted_one():
    data = system_data(60)

    def fresh():
        return fit(small_model(reward="learned"), data, max_epochs=6)

    whole = fresh()
    whole.run()
    first = fresh()
    for _ in range(3):
        first.epoch()
    train, validation = data.split(0.2, torch.Generator().manual_seed(0))
    second = ModelFit(small_model(reward="learned"), train, validation, torch.Generator().manual_seed(9), max_epochs=6)
    second.model.load_state_dict(first.model.state_dict())
    second.load_state_dict(first.state_dict())
    second.generator.set_state(first.generator.get_state())
    second.run()
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[name]), name


def test_multi_step_loss_by_hand():
    """Predictions 1 + c and 1 + 2c, from the prediction before; the true value stays 1. Squares of c and 2c."""
    model = linear_model(noise="none")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.dynamics.network[-1].bias.fill_(0.5)
    ones = torch.ones(2, 1, 1, 2, dtype=torch.float64)
    batch = {"obs": ones, "next_obs": ones, "action": ones[..., :1], "reward": ones[..., 0], "terminated": ones[..., 0]}
    constant = 0.5 * math.log(2 * math.pi) * 2
    expected = ((0.5 * 2 * 0.5**2) + (0.5 * 2 * 1.0**2)) / 2 + constant
    assert model.loss(batch, torch.ones(2, 1, 1, dtype=torch.bool)).item() == pytest.approx(expected)
    halved = model.loss(batch, torch.tensor([True, False]).reshape(2, 1, 1)).item()
    assert halved == pytest.approx(0.5 * 2 * 0.5**2 + constant)


def test_multi_step_fit_lowers_the_multi_step_loss():
    data, losses = system_data(400), []
    for horizon in (1, 4):
        process = fit(linear_model(), data, horizon=horizon, max_epochs=25, learning_rate=0.02)
        losses.append([process.epoch()["validation_loss"] for _ in range(25)])
    assert all(loss[-1] < loss[0] - 1.0 for loss in losses)


def learned(model, num_envs=4, **kwargs):
    return LearnedMDP(model, system_data(60), OBS, ACTION, num_envs=num_envs, **kwargs)


@pytest.mark.parametrize("propagation", ["tsinf", "ts1"])
def test_scenarios_determine_a_roll_out(propagation):
    mdp = learned(
        small_model(reward="learned", reward_noise="constant", termination="learned"), 8, propagation=propagation
    )
    assert mdp.noise_size == 2 + 1 + (propagation == "ts1")
    scenarios = Scenarios.draw(mdp, 6, torch.Generator().manual_seed(0))
    first, second = (rollout(mdp, LinearPolicy(), scenarios)[0] for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    other, _ = rollout(mdp, LinearPolicy(), Scenarios.draw(mdp, 6, torch.Generator().manual_seed(1)))
    assert not torch.equal(first.reward, other.reward)


def test_a_member_is_kept_for_an_episode_or_drawn_at_every_step():
    state = learned(small_model(reward="learned")).initial(torch.Generator().manual_seed(0))
    assert set(state[:, 2].tolist()) <= {0.0, 1.0}  # the elites
    kept = learned(small_model(reward="learned"))
    noise = torch.randn(4, 3, dtype=torch.float64)
    assert torch.equal(kept.transition(state, state[:, :1], noise)[:, 2], state[:, 2])
    drawn = learned(small_model(reward="learned"), propagation="ts1")
    noise = torch.cat([noise, torch.tensor([[-1.0], [-0.1], [0.1], [2.0]]).double()], dim=1)
    assert drawn.transition(state, state[:, :1], noise)[:, 2].tolist() == [0.0, 0.0, 1.0, 1.0]


@pytest.mark.parametrize("noise", ["state", "constant"])
def test_inferred_noise_reproduces_the_observed_transitions(noise):
    model, data = small_model(noise=noise, reward="learned"), system_data(60)
    model.set_units(data)
    mdp = learned(model, len(data))
    state = mdp.state(data.obs, torch.arange(len(data)) % 3)
    inferred = mdp.infer_noise(state, data.action, data.next_obs, data.reward)
    reached = mdp.transition(state, data.action, inferred)
    torch.testing.assert_close(mdp.observation(reached), data.next_obs, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(mdp.reward(state, data.action, reached), data.reward, rtol=1e-12, atol=1e-12)
    assert not torch.allclose(
        mdp.observation(mdp.transition(state, data.action, 0 * inferred)), data.next_obs, atol=0.1
    )


def test_inferred_noise_of_the_perfect_model_is_the_true_noise():
    system, generator = LinearGaussianSystem(5), torch.Generator().manual_seed(0)
    state, noise = system.initial(generator), torch.randn(5, 2, generator=generator, dtype=torch.float64)
    action = torch.ones(5, 1, dtype=torch.float64)
    mdp = learned(perfect_model(), 5)
    member = torch.zeros(5, dtype=torch.int64)
    reached = system.transition(state, action, noise)
    inferred = mdp.infer_noise(mdp.state(state, member), action, reached, system.reward(state, action, reached))
    torch.testing.assert_close(inferred, noise, rtol=1e-12, atol=1e-12)
    assert NOISE[0] != NOISE[1]


def test_transition_reward_and_their_derivatives():
    mdp = learned(small_model(reward="learned"), 3)
    state = mdp.initial(torch.Generator().manual_seed(0))
    noise = torch.randn(3, mdp.noise_size, dtype=torch.float64)

    def step(obs, action):
        before = torch.cat([obs, state[:, 2:]], dim=1)
        after = mdp.transition(before, action, noise)
        return mdp.observation(after), mdp.reward(before, action, after)

    inputs = (state[:, :2].clone().requires_grad_(), torch.ones(3, 1, dtype=torch.float64, requires_grad=True))
    torch.autograd.gradcheck(step, inputs)


def test_initial_states_are_observations_of_the_data():
    mdp = learned(small_model(), 50)
    state, data = mdp.initial(torch.Generator().manual_seed(0)), mdp.data
    assert (state[:, None, :2] == data.obs).all(-1).any(1).all()
    firsts = learned(small_model(), 50, starts="episodes").initial(torch.Generator().manual_seed(0))
    assert (firsts[:, None, :2] == data.obs[data.episode_starts()]).all(-1).any(1).all()
    assert not (state[:, None, :2] == data.obs[data.episode_starts()]).all(-1).any(1).all()


def test_termination_is_learned():
    """Termination where |x_0| > 1 is learned from data."""
    from dataclasses import replace

    data = system_data(600)
    data = replace(data, terminated=data.next_obs[:, 0].abs() > 1)
    model = small_model(termination="learned", reward="learned", termination_hidden_sizes=(16,))
    fit(model, data, max_epochs=60, learning_rate=0.02, patience=60).run()
    mdp = learned(model, len(data))
    found = mdp.terminal(mdp.state(data.next_obs, model.elites[torch.arange(len(data)) % 2]))
    assert (found == data.terminated).double().mean() > 0.95


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: small_model(num_elites=4), "num_elites must be in 1, ..., num_members = 3, got 4"),
        (lambda: small_model(noise="some"), "noise must be one of state, constant, none, got 'some'"),
        (lambda: small_model(reward="mine"), "reward must be one of learned, Pendulum-v1, .*, got 'mine'"),
        (lambda: small_model(activation="sine"), "activation must be one of silu, .*, got 'sine'"),
        (lambda: learned(small_model(), 0), "num_envs must be >= 1, got 0"),
        (lambda: fit(small_model(), system_data(60), horizon=6), "train data must have >= 1 window of 6 steps"),
        (lambda: fit(small_model(), system_data(60), learning_rate=0.0), "learning_rate must be > 0, got 0.0"),
        (
            lambda: small_model().step(torch.zeros(1, 3), torch.zeros(1, 1), torch.zeros(1).long()),
            "obs and action must have the model's sizes 2 and 1, got 3 and 1",
        ),
        (
            lambda: LearnedMDP(small_model(), system_data(60), Box(-1, 1, (3,)), ACTION),
            r"observation_space must have shape \(2,\), the model's, got \(3,\)",
        ),
    ],
)
def test_errors_name_argument_rule_and_value(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_noise_cannot_be_inferred_for_a_model_without_noise():
    mdp = learned(small_model(noise="none"))
    data = mdp.data
    with pytest.raises(ValueError, match="to infer noise, .*got noise of size 0 and propagation tsinf"):
        mdp.infer_noise(mdp.initial(torch.Generator()), data.action[:4], data.next_obs[:4], data.reward[:4])
