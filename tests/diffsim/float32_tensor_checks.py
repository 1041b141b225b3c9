"""Checks of float32 tensors with float64 kernels. test_float32.py runs them in a process with that precision."""

import os

import numpy as np
import pytest
import torch

import diffsim
from diffsim.types import kernel_dtype

from .engine import simulator, tensors
from .stiff_models import STIFF, stiff_model

# File with states of each model, C MuJoCo's steps from there and our Jacobians in float64; test_float32.py writes it.
REFERENCE = os.environ["DIFFSIM_FLOAT32_REFERENCE"]


def test_precision():
    assert diffsim.dtype == torch.float32 and kernel_dtype == torch.float64


@pytest.mark.parametrize("name", STIFF)
def test_stiff_model(name):
    with np.load(REFERENCE) as arrays:
        state, expected, jacobian, smooth = (
            arrays[f"{name}/{part}"] for part in ("state", "next", "jacobian", "smooth")
        )
    mj_model = stiff_model(name)
    sim = simulator(mj_model, len(state))
    inputs = tensors(state, np.zeros((len(state), mj_model.nu)))
    error = np.abs(sim.step(*inputs).numpy() - expected).max(1)
    assert (error / (1 + np.abs(expected).max(1))).max() <= 1e-6
    actual = np.concatenate([x.numpy() for x in sim.linearize(*inputs)], axis=2)
    scale = np.linalg.norm(jacobian, axis=(1, 2))
    assert smooth.sum() >= 5
    assert (np.linalg.norm(actual - jacobian, axis=(1, 2)) / scale)[smooth].max() <= 1e-6
