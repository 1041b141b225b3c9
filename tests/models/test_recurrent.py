"""Recurrent models: the GRU, the likelihood against a Kalman filter, and the memory in the learned MDP's state."""

import math

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box

from diffsim.mdp import Scenarios
from diffsim.models import EnsembleGRU, LearnedMDP, ModelFit, WorldModel, from_windows
from diffsim.models.fitting import validation_loss
from diffsim.policies import GaussianMLP
from diffsim.trainers.experience.rollout import rollout
from diffsim.trainers.model_based.planner import CEMPlanner
from diffsim.trainers.model_based.svg import SVG
from tests.trainers.linear import LinearPolicy

# A damped rotation: x' = A x + B u + 0.03 w, observed as o = x_0 + 0.01 v.
A = 0.98 * torch.tensor([[math.cos(0.7), math.sin(0.7)], [-math.sin(0.7), math.cos(0.7)]], dtype=torch.float64)
B = torch.tensor([0.0, 0.02], dtype=torch.float64)
C = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
PROCESS, SENSOR = 0.03, 0.01
STATIONARY = PROCESS**2 / (1 - 0.98**2) * torch.eye(2, dtype=torch.float64)  # P = A P A' + Q, without actions
STEPS = 10


def hidden_oscillator(count, seed):
    """`count` episodes of STEPS transitions from the stationary distribution; x_0 is observed."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    x = draw(count, 2) * STATIONARY[0, 0].sqrt()
    obs, action = [x[:, :1] + SENSOR * draw(count, 1)], draw(STEPS, count, 1)
    for u in action:
        x = x @ A.T + B * u + PROCESS * draw(count, 2)
        obs.append(x[:, :1] + SENSOR * draw(count, 1))
    obs, no = torch.stack(obs), torch.zeros(STEPS, count, dtype=torch.bool)
    ends = no.clone()
    ends[-1] = True
    return from_windows(obs[:-1], action, 0 * obs[1:, :, 0], obs[1:], no, ends)


def nats(variance):
    return 0.5 * math.log(2 * math.pi * math.e * float(variance))


def kalman_nll():
    """Per observation, from the Riccati recursion: the lowest possible value."""
    P, found = STATIONARY, []
    for _ in range(STEPS):
        gain = P @ C.T / (C @ P @ C.T + SENSOR**2)
        P = A @ (P - gain @ C @ P) @ A.T + PROCESS**2 * torch.eye(2)
        found.append(nats(C @ P @ C.T + SENSOR**2))
    return sum(found) / STEPS


def last_observation_nll():
    """Prediction from the last observation alone: the variance of the next observation given it."""
    variance = (C @ STATIONARY @ C.T).item() + SENSOR**2
    return nats(variance - (C @ A @ STATIONARY @ C.T).item() ** 2 / variance)


def no_reward(obs, action, next_obs):
    return 0 * next_obs[..., 0]


def model_of(memory_size=8, **kwargs):
    torch.manual_seed(0)
    options = {"num_members": 1, "num_elites": 1, "hidden_sizes": (), "noise": "constant", "reward": no_reward}
    return WorldModel(1, 1, memory_size=memory_size, **{**options, **kwargs}).double()


def test_each_member_equals_torchs_gru_cell():
    unit = EnsembleGRU(2, 3, 4).double()
    x, memory = torch.randn(2, 5, 3, dtype=torch.float64), torch.randn(2, 5, 4, dtype=torch.float64)
    with torch.no_grad():
        unit.hidden.bias.normal_()
        found = unit(x, memory)
        for e in range(2):
            other = torch.nn.GRUCell(3, 4).double()
            pairs = {"ih": unit.input, "hh": unit.hidden}
            for name, layer in pairs.items():
                getattr(other, f"weight_{name}").copy_(layer.weight[e].T)
                getattr(other, f"bias_{name}").copy_(layer.bias[e, 0])
            torch.testing.assert_close(found[e], other(x[e], memory[e]))


def test_a_recurrent_model_reaches_the_likelihood_of_the_kalman_filter_and_a_markov_model_does_not():
    train, validation = hidden_oscillator(1000, 0), hidden_oscillator(600, 1)
    options = {"bootstrap": False, "batch_size": 80, "weight_decay": 0.0}
    reached = []
    for memory_size, horizon in ((8, STEPS), (0, 1)):
        model = model_of(memory_size, noise="state").float()
        for rate, epochs in ((2e-2, 12), (4e-3, 8)):
            fit = ModelFit(
                model,
                train,
                validation,
                torch.Generator().manual_seed(0),
                horizon=horizon,
                max_epochs=epochs if memory_size else 3,
                learning_rate=rate,
                **options,
            )
            fit.run()
        reached.append(float(validation_loss(model, fit.validation, horizon)))
    # The standard error of the mean over 6,000 innovations is sqrt(1 / (2 * 6,000)) = 0.009 nats.
    assert kalman_nll() - 0.03 < reached[0] < kalman_nll() + 0.08
    assert reached[1] > last_observation_nll() - 0.03 > kalman_nll() + 0.7


def small():
    model = model_of(3, num_members=3, num_elites=2, noise="state", hidden_sizes=(4,))
    model.set_units(hidden_oscillator(20, 2))
    return model


def learned(model=None, num_envs=6, **kwargs):
    box = Box(-np.inf, np.inf, (1,), np.float64)
    model = small() if model is None else model
    return LearnedMDP(
        model, hidden_oscillator(20, 2), box, Box(-2.0, 2.0, (1,), np.float32), num_envs=num_envs, **kwargs
    )


def by_hand(model, member, obs, action):
    """The memory after a sequence, computed by the GRU alone."""
    memory = torch.zeros(3, 1, 3, dtype=torch.float64)
    for o, u in zip(obs, action, strict=True):
        x = model.normalised_inputs(torch.cat([o, u])).expand(3, 1, 2)
        memory = model.memory(x, memory)
    return memory[member, 0]


def test_memory_at_a_transition_is_computed_from_its_episode():
    model, data = small(), hidden_oscillator(20, 2)
    index, member = torch.tensor([0, 7, 13, 10, 19]), torch.tensor([0, 1, 2, 0, 1])
    found = model.memory_at(data, index, member)
    for row, (i, e) in enumerate(zip(index.tolist(), member.tolist(), strict=True)):
        first = i - i % STEPS
        torch.testing.assert_close(found[row], by_hand(model, e, data.obs[first:i], data.action[first:i]))
    assert not found[[0, 3]].any() and found[[1, 2, 4]].all()
    torch.testing.assert_close(
        model.memory_at(data, index[1:2], member[1:2], 2)[0], by_hand(model, 1, data.obs[5:7], data.action[5:7])
    )


def test_memory_is_part_of_the_state():
    """A roll-out equals the sequence computed by GRU and dynamics directly, and scenarios determine it."""
    model, mdp = small(), learned()
    assert mdp.state_size == 1 + 1 + 3 and mdp.noise_size == 1
    scenarios = Scenarios.draw(mdp, 4, torch.Generator().manual_seed(0))
    assert scenarios.initial[:, 2:].any(1).sum() >= 4  # all but initial observations have previous ones
    assert (scenarios.initial[:, None, :1] == mdp.data.obs).any(1).all()

    class Push(LinearPolicy):
        def forward(self, obs, noise=None):
            return 0.3 * obs

    trajectory, _ = rollout(mdp, Push(), scenarios)
    again, _ = rollout(mdp, Push(), scenarios)
    assert torch.equal(trajectory.next_obs, again.next_obs)
    for n in range(6):
        member = int(scenarios.initial[n, 1])
        memory, obs = scenarios.initial[n, 2:].expand(3, 1, 3), scenarios.initial[n, :1]
        for t in range(4):
            x = torch.cat([obs, 0.3 * obs])
            memory = model.memory(model.normalised_inputs(x).expand(3, 1, 2), memory)
            change, std = (part[member, 0] for part in model.dynamics(torch.cat([x.expand(3, 1, 2), memory], dim=-1)))
            obs = obs + change + std * scenarios.process_noise[t, n]
            torch.testing.assert_close(trajectory.next_obs[t, n], obs)


def test_gradients_pass_through_the_memory():
    mdp = learned()
    state, noise = mdp.initial(torch.Generator().manual_seed(1)), torch.randn(6, 1, dtype=torch.float64)

    def two_steps(obs, memory, action):
        here = torch.cat([obs, state[:, 1:2], memory], dim=1)
        reached = mdp.transition(mdp.transition(here, action, noise), 0 * action, noise)
        return reached[:, :1], reached[:, 2:]

    inputs = state[:, :1], state[:, 2:], torch.ones(6, 1, dtype=torch.float64)
    torch.autograd.gradcheck(two_steps, tuple(x.clone().requires_grad_() for x in inputs))


def test_inferred_noise_takes_memory_into_account():
    mdp = learned(num_envs=20)
    data, index, member = mdp.data, torch.arange(5, 25), torch.arange(20) % 3
    state = mdp.state(data.obs[index], member, mdp.model.memory_at(data, index, member))
    chosen = data[index]
    noise = mdp.infer_noise(state, chosen.action, chosen.next_obs, chosen.reward)
    torch.testing.assert_close(mdp.observation(mdp.transition(state, chosen.action, noise)), chosen.next_obs)
    without_memory = mdp.infer_noise(mdp.state(chosen.obs, member), chosen.action, chosen.next_obs, chosen.reward)
    assert not torch.allclose(noise, without_memory, atol=1e-3)


def fit(model, horizon):
    data = hidden_oscillator(20, 2)
    return ModelFit(model, data, data, torch.Generator(), horizon=horizon)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: model_of(-1), "memory_size must be >= 0, and 0 without noise, got -1"),
        (lambda: model_of(2, noise="none"), "memory_size must be >= 0, and 0 without noise, got 2 and noise 'none'"),
        (lambda: fit(model_of(2), 1), "horizon must be >= 2 for a model with a memory, got 1"),
        (lambda: learned(propagation="ts1"), "propagation must be tsinf for a model with a memory, .*, got 'ts1'"),
        (lambda: CEMPlanner(learned()), "memory_size must be 0 to plan from an observation, got 3"),
        (
            lambda: SVG(learned(), GaussianMLP(learned().observation_space, learned().action_space)),
            "memory_size must be 0 to infer noise along windows, got 3",
        ),
        (
            lambda: small().step(torch.zeros(1, 1), torch.zeros(1, 1), torch.zeros(1).long()),
            "memory must have size 3, got 0",
        ),
    ],
)
def test_errors_name_argument_rule_and_value(make, message):
    with pytest.raises(ValueError, match=message):
        make()
