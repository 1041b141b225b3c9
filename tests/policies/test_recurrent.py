"""Policies with a memory: replayed densities, cleared memories, gradients through time and the Fisher information."""

import math

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from torch.func import functional_call, hessian

from diffsim.policies import GaussianMLP, GRUPolicy, LSTMPolicy, Sequences
from diffsim.trainers.maths.natural_step import fisher_vector_product, flat, trainable

OBS = Box(-np.inf, np.inf, (3,), np.float64)
ACTION = Box(np.array([-1.0, -3.0], np.float32), np.array([2.0, 1.0], np.float32))
KINDS = (GRUPolicy, LSTMPolicy)


def make(cls, **options):
    torch.manual_seed(0)
    options = {"hidden_size": 3, "out_scale": 2.0, "initial_std": 0.8, **options}
    policy = cls(OBS, ACTION, **options).double()
    with torch.no_grad():  # weights of a size at which all parts of a cell matter
        for parameter in policy.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return policy


def randn(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def starts_of(steps, copies, *begins):
    starts = torch.zeros(steps, copies, dtype=torch.bool)
    for time, copy in begins:
        starts[time, copy] = True
    return starts


def log_probs(policy, obs, raw, starts, memory):
    """Log densities of choices one step after the other, by `draw` with the noise that leads to each choice."""
    found = []
    for time in range(len(obs)):
        memory = torch.where(starts[time, :, None], 0.0, memory)
        mean, _ = policy.draw(obs[time], memory)
        std = policy.log_std.exp()
        _, memory = policy.draw(obs[time], memory, (raw[time] - mean) / std)
        found.append(torch.distributions.Normal(mean, std).log_prob(raw[time]).sum(-1))
    return torch.stack(found)


def experience(policy, steps=7, copies=4):
    """A window that starts with memories, with episodes that begin in it."""
    starts = starts_of(steps, copies, (2, 1), (5, 1), (4, 3))
    return Sequences(
        randn(steps, copies, 3), randn(steps, copies, 2, seed=2), starts, 0.5 * randn(copies, policy.memory_size)
    )


@pytest.mark.parametrize("cls", KINDS)
@pytest.mark.parametrize("bounds", ["tanh", "clip"])
def test_a_replayed_sequence_has_the_densities_of_acting(cls, bounds):
    """In acting, x = mean + std * z, whose log density is -z^2 / 2 - log std - log(2 pi) / 2."""
    policy = make(cls, bounds=bounds)
    obs, noise, starts = randn(9, 4, 3), randn(9, 4, 2, seed=2), starts_of(9, 4, (3, 0), (6, 2))
    first = memory = 0.5 * randn(4, policy.memory_size)
    samples, actions = [], []
    for time in range(9):
        memory = torch.where(starts[time, :, None], 0.0, memory)
        actions.append(policy.step(obs[time], memory, noise[time])[0])
        raw, memory = policy.draw(obs[time], memory, noise[time])
        samples.append(raw)
    seen = Sequences(obs, torch.stack(samples), starts, first)
    expected = (-0.5 * noise.square() - policy.log_std - 0.5 * math.log(2 * math.pi)).sum(-1)
    torch.testing.assert_close(policy.distributions(seen).log_prob(seen.raw), expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(policy.replay(obs, noise, starts, first), torch.stack(actions), rtol=1e-12, atol=1e-12)
    forgotten = policy.distributions(seen._replace(starts=torch.zeros_like(starts))).log_prob(seen.raw)
    assert (forgotten - expected)[3:, 0].abs().min() > 1e-6, "negative control: without the starts"
    part = seen.copies(torch.tensor([2, 0]))
    torch.testing.assert_close(policy.distributions(part).log_prob(part.raw), expected[:, [2, 0]])


@pytest.mark.parametrize("cls", KINDS)
def test_the_cell_is_that_of_torch(cls):
    policy = make(cls)
    size = policy.hidden_size
    reference = {GRUPolicy: torch.nn.GRUCell, LSTMPolicy: torch.nn.LSTMCell}[cls](5, size).double()
    order = [0, 1, 2] if cls is GRUPolicy else [0, 1, 3, 2]  # torch has the LSTM's output gate last
    with torch.no_grad():
        for own, theirs in (
            (policy.inputs.weight, reference.weight_ih),
            (policy.recurrence.weight, reference.weight_hh),
            (policy.inputs.bias, reference.bias_ih),
        ):
            theirs.copy_(torch.cat([own.chunk(policy.gates)[k] for k in order]))
        reference.bias_hh.zero_()
    policy.normalizer.update(randn(20, 3) * 2 + 1)
    obs, memory = randn(4, 3, seed=3), 0.5 * randn(4, policy.memory_size)
    inputs = torch.cat([policy.normalizer(obs), memory[:, -2:]], -1)
    state = memory[:, :size] if cls is GRUPolicy else (memory[:, :size], memory[:, size : 2 * size])
    expected = reference(inputs, state)
    expected = expected if cls is GRUPolicy else torch.cat(expected, -1)
    action, after = policy.step(obs, memory)
    torch.testing.assert_close(after[:, :-2], expected, rtol=1e-12, atol=1e-12)
    unit = torch.tanh(policy.output(expected[:, :size]))
    torch.testing.assert_close(after[:, -2:], unit, rtol=1e-12, atol=1e-12)
    center, half_width = torch.tensor([0.5, -1.0]), torch.tensor([1.5, 2.0])
    torch.testing.assert_close(action, center + half_width * unit, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("cls", KINDS)
def test_the_gradient_of_log_densities_equals_central_differences(cls):
    policy = make(cls)
    seen, weights = experience(policy), randn(7, 4, seed=5)
    parameters = trainable(policy)
    objective = (policy.distributions(seen).log_prob(seen.raw) * weights).sum()
    gradient = torch.autograd.grad(objective, parameters)
    step = 1e-6
    for parameter, own in zip(parameters, gradient, strict=True):
        for index in range(0, parameter.numel(), 4):
            values = []
            for sign in (1, -1):
                with torch.no_grad():
                    parameter.view(-1)[index] += sign * step
                    values.append(float((log_probs(policy, *seen) * weights).sum()))
                    parameter.view(-1)[index] -= sign * step
            # The error of central differences is of order step^2 and rounding / step: 1e-9 of values of order 100.
            assert (values[0] - values[1]) / (2 * step) == pytest.approx(float(own.view(-1)[index]), rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("cls", KINDS)
def test_fisher_vector_products_are_the_hessian_of_the_divergence_over_sequences(cls):
    """The Hessian is that of the steps one after the other, by forward-over-reverse differentiation."""
    policy = make(cls)
    seen = experience(policy)
    old = policy.distributions(seen).detach()
    names, sizes = zip(*((n, p.numel()) for n, p in policy.named_parameters()), strict=True)
    shapes = [p.shape for p in policy.parameters()]

    class Divergence(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.policy = policy

        def forward(self):
            memory, total = seen.memory, 0.0
            for time, start in enumerate(seen.starts):
                mean, _ = policy.draw(seen.obs[time], torch.where(start[:, None], 0.0, memory))
                std = policy.log_std.exp()
                _, memory = policy.draw(
                    seen.obs[time], torch.where(start[:, None], 0.0, memory), (seen.raw[time] - mean) / std
                )
                squares = (old.std[time].square() + (old.mean[time] - mean).square()) / (2 * std.square())
                total = total + (std.log() - old.std[time].log() + squares - 0.5).sum(-1).mean()
            return total / len(seen.obs)

    module = Divergence()

    def divergence(vector):
        parts = zip(names, vector.split(sizes), shapes, strict=True)
        return functional_call(module, {f"policy.{n}": part.view(shape) for n, part, shape in parts}, ())

    expected = hessian(divergence)(flat(trainable(policy)).detach())
    product = fisher_vector_product(policy, seen)
    found = torch.stack([product(row) for row in torch.eye(len(expected), dtype=torch.float64)])
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)
    cut = fisher_vector_product(policy, seen._replace(starts=torch.ones_like(seen.starts)))
    assert (cut(torch.ones(len(expected)).double()) - expected.sum(0)).abs().max() > 1e-3, "negative control: no memory"


def test_single_steps_are_refused():
    policy, flat_policy = make(GRUPolicy), GaussianMLP(OBS, ACTION).double()
    for call in (policy, policy.raw_distribution, policy.distributions):
        with pytest.raises(TypeError, match="GRUPolicy has a memory"):
            call(randn(4, 3))
    with pytest.raises(TypeError, match="GaussianMLP has no memory"):
        flat_policy.distributions(experience(policy))
    assert flat_policy.memory_size == 0 and flat_policy.initial_memory(4).shape == (4, 0)
    with pytest.raises(ValueError, match="hidden_size must be >= 1, got 0"):
        GRUPolicy(OBS, ACTION, hidden_size=0)
