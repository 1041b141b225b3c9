"""Worlds are independent, and the same input gives the same bits."""

import multiprocessing

import numpy as np
import pytest
import torch

from .engine import simulator, tensors
from .reference import load, moving_states

every_kind = pytest.mark.parametrize(
    ("name", "integrator"),
    [
        ("swimmer", "RK4"),
        ("limits", "Euler"),
        ("tree", "implicitfast"),
        ("ball_limits", "RK4"),
        ("actuators", "Euler"),
    ],
)


def step_and_gradient(mj_model, state, ctrl, num_steps=2):
    """Next state, and the gradients of a fixed function of it by state and ctrl."""
    inputs = tensors(state, ctrl, requires_grad=True)
    end = simulator(mj_model, len(state)).step(*inputs, num_steps=num_steps)
    weight = torch.arange(end.shape[1], dtype=end.dtype).cos()
    return end.detach(), *torch.autograd.grad((end.sin() * weight).sum(), inputs)


@every_kind
def test_batch_equals_single_runs(name, integrator):
    mj_model = load(name, integrator)
    state, ctrl = moving_states(mj_model, 7)
    batch = step_and_gradient(mj_model, state, ctrl)
    for world in range(7):
        single = step_and_gradient(mj_model, state[world : world + 1], ctrl[world : world + 1])
        for together, alone in zip(batch, single, strict=True):
            assert torch.equal(together[world], alone[0])


@every_kind
def test_permuting_worlds_permutes_the_result(name, integrator):
    mj_model = load(name, integrator)
    state, ctrl = moving_states(mj_model, 16)
    order = np.random.default_rng(0).permutation(16)
    straight, mixed = (
        step_and_gradient(mj_model, state, ctrl),
        step_and_gradient(mj_model, state[order], ctrl[order]),
    )
    for one, other in zip(straight, mixed, strict=True):
        assert torch.equal(one[order], other)


@every_kind
def test_same_input_same_bits(name, integrator):
    mj_model = load(name, integrator)
    state, ctrl = moving_states(mj_model, 16)
    for one, other in zip(*(step_and_gradient(mj_model, state, ctrl) for _ in range(2)), strict=True):
        assert torch.equal(one, other)


@every_kind
def test_five_steps_equal_five_single_steps(name, integrator):
    mj_model = load(name, integrator)
    state, ctrl = tensors(*moving_states(mj_model, 8))
    sim = simulator(mj_model, 8)
    here = state
    for _ in range(5):
        here = sim.step(here, ctrl)
    assert torch.equal(sim.step(state, ctrl, num_steps=5), here)


def test_inputs_are_not_modified():
    mj_model = load("swimmer")
    state, ctrl = tensors(*moving_states(mj_model, 4))
    kept = state.clone(), ctrl.clone()
    sim = simulator(mj_model, 4)
    first = sim.step(state, ctrl, num_steps=3)
    copy = first.clone()
    sim.step(2 * state, ctrl, num_steps=3)
    assert torch.equal(state, kept[0]) and torch.equal(ctrl, kept[1]) and torch.equal(first, copy)


def test_strided_input():
    mj_model = load("swimmer")
    state, ctrl = tensors(*moving_states(mj_model, 4))
    sim = simulator(mj_model, 4)
    wide = torch.zeros(4, 2 * state.shape[1], dtype=state.dtype)
    wide[:, ::2] = state
    assert torch.equal(sim.step(wide[:, ::2], ctrl), sim.step(state, ctrl))
    assert torch.equal(sim.step(state.T.contiguous().T, ctrl.T.contiguous().T), sim.step(state, ctrl))


@pytest.fixture
def two_threads():
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


def contacts_batch(count=37):
    return load("half_cheetah"), *moving_states(load("half_cheetah"), count)


def test_threads_compute_the_same_bits(two_threads):
    mj_model, state, ctrl = contacts_batch()
    sim = simulator(mj_model, len(state))
    inputs = tensors(state, ctrl)
    torch.set_num_threads(1)
    alone = sim.step(*inputs, num_steps=3)
    torch.set_num_threads(2)
    for _ in range(20):
        assert torch.equal(sim.step(*inputs, num_steps=3), alone)
    shares = [len(launch.replays) for launch in (sim.launch.captured or {}).values()]
    assert sorted(shares) == [1, 2]


def test_threads_share_worlds_with_their_own_parameters(two_threads):
    mj_model, state, ctrl = contacts_batch()
    sim, inputs = simulator(mj_model, len(state)), tensors(state, ctrl, requires_grad=True)
    mass = torch.tensor(mj_model.body_mass, dtype=inputs[0].dtype) * torch.linspace(0.5, 2, len(state))[:, None]
    results = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        end = sim.step(*inputs, num_steps=3, parameters={"body_mass": mass})
        results.append((end, *torch.autograd.grad(end.sin().sum(), inputs)))
    assert all(torch.equal(*pair) for pair in zip(*results, strict=True))
    assert not torch.equal(results[0][0], sim.step(*inputs, num_steps=3))


def test_threads_work_after_a_fork(two_threads):
    mj_model, state, ctrl = contacts_batch(16)
    sim = simulator(mj_model, len(state))
    expected = sim.step(*tensors(state, ctrl))
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=lambda: sender.send(sim.step(*tensors(state, ctrl)).numpy()))
    child.start()
    try:
        assert receiver.poll(30)
        np.testing.assert_array_equal(receiver.recv(), expected.numpy())
    finally:
        child.kill()
        child.join()
