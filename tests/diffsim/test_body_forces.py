"""Gravity compensation with parts of MuJoCo disabled; gradients of it, and of ellipsoids in a medium, by parameters."""

import mujoco
import numpy as np
import pytest
import torch

from .engine import simulator, tensors
from .reference import load, moving_states, relative_error

FLAGS = {"nothing": "", "actuation": "ACTUATION", "passive forces": "SPRING DAMPER", "gravity": "GRAVITY"}


@pytest.mark.parametrize("disabled", FLAGS)
def test_forces(disabled):
    mj_model = load("gravcomp")
    for flag in FLAGS[disabled].split():
        mj_model.opt.disableflags |= getattr(mujoco.mjtDisableBit, f"mjDSBL_{flag}")
    state, ctrl = moving_states(mj_model, 12)
    data, rows = mujoco.MjData(mj_model), []
    for s, u in zip(state, ctrl, strict=True):
        data.qpos[:], data.qvel[:] = np.split(s, [mj_model.nq])
        data.ctrl[:] = u
        mujoco.mj_forward(mj_model, data)
        rows.append(np.stack([data.qacc, data.qfrc_actuator]))
    found = simulator(mj_model, 12).forward(*tensors(state, ctrl))
    expected = np.array(rows)
    assert relative_error(found.qacc.numpy(), expected[:, 0]) <= 1e-9
    assert np.abs(found.qfrc_actuator.numpy() - expected[:, 1]).max() <= 1e-9
    if disabled == "nothing":  # a clamp is active in some worlds, and in some not
        clamped = np.abs(expected[:, 1, 0]) == 6
        assert clamped.any() and not clamped.all()


CASES = [(model, name) for model in ("gravcomp", "ellipsoids") for name in ("body_mass", "body_ipos", "body_pos")]


@pytest.mark.parametrize(("model", "name"), [*CASES, ("gravcomp", "gravity")])
def test_gradient_by_parameters(model, name):
    mj_model = load(model)
    state, ctrl = tensors(*moving_states(mj_model, 12))
    sim = simulator(mj_model, 12)
    field = mj_model.opt.gravity if name == "gravity" else getattr(mj_model, name)
    value = torch.tensor(field, dtype=state.dtype, requires_grad=True)

    def function(value: torch.Tensor) -> torch.Tensor:
        return (sim.step(state, ctrl, parameters={name: value}) ** 2).sum()

    (found,) = torch.autograd.grad(function(value), value)
    direction = torch.linspace(-1, 1.3, value.numel(), dtype=value.dtype).view_as(value)
    if name.startswith("body"):
        direction[0] = 0
    with torch.no_grad():
        slopes = [(function(value + h * direction) - function(value - h * direction)) / (2 * h) for h in (1e-4, 5e-5)]
    expected = (4 * slopes[1] - slopes[0]) / 3
    assert abs(float((found * direction).sum() - expected)) <= 1e-7 * abs(float(expected))


@pytest.mark.parametrize("name", ["geom_pos", "geom_size"])
def test_parameters_that_ellipsoids_exclude(name):
    mj_model = load("ellipsoids")
    state, ctrl = tensors(*moving_states(mj_model, 2))
    value = torch.tensor(getattr(mj_model, name), dtype=state.dtype)
    with pytest.raises(ValueError, match=f'must not contain {name} with fluidshape="ellipsoid"'):
        simulator(mj_model, 2).step(state, ctrl, parameters={name: value})
