"""Checks in float32, run by test_float32.py in a process of their own, since precision is chosen at
import."""

import numpy as np
import pytest
import torch

import diffsim

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
from .test_tasks import test_observation_after_reset, test_transitions  # noqa: F401  collected here too

every_model = pytest.mark.parametrize("name", TASK_MODELS + MODELS)
every_integrator = pytest.mark.parametrize("integrator", INTEGRATORS)


def test_precision():
    assert diffsim.dtype == torch.float32
    assert diffsim.make("Swimmer-v5").dtype == torch.float32


@every_integrator
@every_model
def test_step(name, integrator):
    mj_model = load(name, integrator)
    state, ctrl = moving_states(mj_model, 100)
    # The same input for both: what float32 can hold.
    state, ctrl = (x.double().numpy() for x in tensors(state, ctrl))
    expected = Stepper(mj_model).step_batch(state, ctrl)
    error = np.abs(step(mj_model, state, ctrl) - expected)
    # Relative to the faster of start and end: a stop may take most of the speed, whose rounding stays.
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
    assert max(block_error(a, e, mj_model.nv) for a, e in zip(actual, expected, strict=True)) <= 1e-3
