"""Checks of float32 kernels. test_float32.py runs them in another process, because import sets the precision."""

import os

import numpy as np
import pytest
import torch

import diffsim

from .contact_reference import TASKS, load_task, visited_states
from .engine import raw_jacobian, simulator, step, tangent_jacobian, tensors
from .reference import (
    INTEGRATORS,
    MODELS,
    TASK_MODELS,
    Stepper,
    block_error,
    load,
    moving_states,
    smooth_states,
)

# File with states of each task, and their steps and Jacobians in float64; test_float32.py writes it.
REFERENCE = os.environ["DIFFSIM_FLOAT32_REFERENCE"]

every_model = pytest.mark.parametrize("name", TASK_MODELS + MODELS)
every_integrator = pytest.mark.parametrize("integrator", INTEGRATORS)


def test_precision():
    assert diffsim.dtype == torch.float32
    assert diffsim.make("Swimmer-v5").dtype == torch.float32


def test_second_derivatives_are_refused():
    sim = simulator(load("tree"), 1)
    state, ctrl = torch.zeros(1, sim.model.nq + sim.model.nv), torch.zeros(1, sim.model.nu)
    with pytest.raises(NotImplementedError, match="need kernels in float64: unset DIFFSIM_KERNELS"):
        torch.autograd.functional.hessian(lambda x: (sim.step(x, ctrl) ** 2).sum(), state)


@every_integrator
@every_model
def test_step(name, integrator):
    mj_model = load(name, integrator)
    state, ctrl = moving_states(mj_model, 100)
    # Both get the same input, rounded to float32.
    state, ctrl = (x.double().numpy() for x in tensors(state, ctrl))
    expected = Stepper(mj_model).step_batch(state, ctrl)
    error = np.abs(step(mj_model, state, ctrl) - expected)
    # Relative to the faster of start and end: a joint limit may stop a motion, but its rounding error remains.
    size = np.maximum(np.abs(state), np.abs(expected))
    for part in (np.s_[:, : mj_model.nq], np.s_[:, mj_model.nq :]):
        assert (error[part].max(axis=1) / size[part].max(axis=1)).max() <= 1e-5


@every_model
def test_gradient(name):
    mj_model = load(name)
    state, ctrl, expected = smooth_states(mj_model, 6, 1, 1e-6)
    inputs = tensors(state, ctrl, requires_grad=True)
    output = simulator(mj_model, 6).step(*inputs)
    actual = tangent_jacobian(mj_model, raw_jacobian(output, *inputs), state, output.detach().numpy())
    assert max(block_error(a, e, mj_model.nv, mj_model.na) for a, e in zip(actual, expected, strict=True)) <= 1e-3


@pytest.mark.parametrize("impratio", [1, 100])
def test_elliptic_cones(impratio):
    mj_model = load("contact_elliptic")
    mj_model.opt.impratio, mj_model.opt.iterations = impratio, 50
    state, ctrl = (x.astype(np.float32).astype(np.float64) for x in visited_states(mj_model, 60, 5))
    expected = Stepper(mj_model).step_batch(state, ctrl)
    error = np.abs(step(mj_model, state, ctrl) - expected).max(axis=1)
    assert (error / np.abs(expected).max(axis=1)).max() <= 1e-5


@pytest.mark.parametrize("id", TASKS)
def test_tasks(id):
    mj_model, frame_skip = load_task(id)
    with np.load(REFERENCE) as arrays:
        state, ctrl, expected, jacobian = (arrays[f"{id}/{name}"] for name in ("state", "ctrl", "next", "jacobian"))
    one_step = Stepper(mj_model).step_batch(state, ctrl)
    sim = simulator(mj_model, len(state))
    inputs = tensors(state, ctrl)
    for num_steps, reference in ((1, one_step), (frame_skip, expected)):
        error = np.abs(sim.step(*inputs, num_steps=num_steps).numpy() - reference)
        size = np.maximum(np.abs(state), np.abs(reference))
        for part in (np.s_[:, : mj_model.nq], np.s_[:, mj_model.nq :]):
            relative = error[part].max(axis=1) / np.maximum(size[part].max(axis=1), 1e-3)
            assert np.median(relative) <= 1e-4 and relative.max() <= 1e-3
    # Gradients of a scalar function of the next state, by state and action.
    weight = np.random.default_rng(0).standard_normal(2 * mj_model.nv)
    actual = np.concatenate([x.numpy() for x in sim.linearize(*inputs, num_steps=frame_skip)], axis=2)
    gradients = np.einsum("i,nij->nj", weight, actual), np.einsum("i,nij->nj", weight, jacobian)
    cosine = (gradients[0] * gradients[1]).sum(1) / np.prod([np.linalg.norm(g, axis=1) for g in gradients], axis=0)
    assert np.median(cosine) > 0.9999
