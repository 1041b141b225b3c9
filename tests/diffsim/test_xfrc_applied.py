"""Cartesian forces on bodies, and the gradients by them and with them, equal those of C MuJoCo's `xfrc_applied`."""

from dataclasses import dataclass

import mujoco
import numpy as np
import pytest
import torch

import diffsim

from .engine import raw_jacobian, simulator, tangent_jacobian, tensors
from .reference import INTEGRATORS, Stepper, block_error, jacobian, load, moving_states, parts_error, relative_error

every_integrator = pytest.mark.parametrize("integrator", INTEGRATORS)
MODELS = ["humanoid", "ball_limits", "connect"]


@dataclass
class Pushed(Stepper):
    """C MuJoCo under forces on bodies [nbody, 6]."""

    force: np.ndarray

    def set(self, state: np.ndarray, ctrl: np.ndarray) -> mujoco.MjData:
        data = super().set(state, ctrl)
        data.xfrc_applied[:] = self.force
        return data


def cases(mj_model, count):
    state, ctrl = moving_states(mj_model, count)
    weight = 9.81 * mj_model.body_subtreemass[0]
    force = 0.2 * weight * np.random.default_rng(1).standard_normal((count, mj_model.nbody, 6))
    force[..., 3:] *= 0.1
    return state, ctrl, force


@every_integrator
@pytest.mark.parametrize("name", MODELS)
def test_parity(name, integrator):
    mj_model = load(name, integrator)
    state, ctrl, force = cases(mj_model, 8)
    worlds = zip(state, ctrl, force, strict=True)
    expected = np.array([Pushed(mj_model, f).step(s, u, 3) for s, u, f in worlds])
    state, ctrl, force = tensors(state, ctrl, force)
    sim = simulator(mj_model, len(state))
    assert parts_error(mj_model, sim.step(state, ctrl, 3, xfrc_applied=force).numpy(), expected) <= 1e-8
    assert parts_error(mj_model, sim.step(state, ctrl, 3).numpy(), expected) > 1e-4


@every_integrator
@pytest.mark.parametrize("name", ["ball_limits", "connect"])
def test_gradient(name, integrator):
    """By state and control, where the forces turn the bodies, and by the forces."""
    mj_model = load(name, integrator)
    state, ctrl, force = cases(mj_model, 12)
    kept, expected, by_force = [], [], []
    for world, (s, u, f) in enumerate(zip(state, ctrl, force, strict=True)):
        matrix, error = jacobian(Pushed(mj_model, f), s, u, 2)
        if error <= 1e-7:
            kept.append(world)
            expected.append(matrix)
            by_force.append(force_differences(mj_model, s, u, f))
    assert len(kept) >= 4
    given = tensors(state[kept], ctrl[kept], force[kept], requires_grad=True)
    sim = simulator(mj_model, len(kept))
    result = sim.step(given[0], given[1], 2, xfrc_applied=given[2])
    raw = raw_jacobian(result, given[0], given[1])
    actual = tangent_jacobian(mj_model, raw, state[kept], result.detach().numpy())
    pairs = zip(actual, expected, strict=True)
    assert max(block_error(a, e, mj_model.nv) for a, e in pairs) <= 1e-6
    bar = torch.linspace(-1, 1, result.shape[1], dtype=diffsim.dtype)
    found = torch.autograd.grad((result @ bar).sum(), given[2])[0].flatten(1)
    assert relative_error(found.numpy(), np.array(by_force) @ bar.numpy()) <= 1e-6


def force_differences(mj_model, state, ctrl, force):
    """Derivative of two steps by the forces, [6 nbody, nq + nv]."""
    rows = []
    for index in range(force.size):
        shift = np.zeros(force.size)
        shift[index] = 1e-4
        ends = [Pushed(mj_model, force + s.reshape(force.shape)).step(state, ctrl, 2) for s in (shift, -shift)]
        rows.append((ends[0] - ends[1]) / 2e-4)
    return np.array(rows)


def test_forward_and_cfrc_ext():
    mj_model = load("humanoid")
    state, ctrl, force = cases(mj_model, 4)
    expected = []
    for s, u, f in zip(state, ctrl, force, strict=True):
        data = Pushed(mj_model, f).set(s, u)
        mujoco.mj_forward(mj_model, data)
        mujoco.mj_rnePostConstraint(mj_model, data)
        expected.append(np.concatenate([data.qacc, data.cfrc_ext.ravel()]))
    state, ctrl, force = tensors(state, ctrl, force)
    point = simulator(mj_model, 4).forward(state, ctrl, xfrc_applied=force)
    actual = torch.cat([point.qacc, point.cfrc_ext.flatten(1)], dim=1)
    assert relative_error(actual.numpy(), np.array(expected)) <= 1e-9


def test_errors():
    mj_model = load("connect")
    state, ctrl, force = tensors(*cases(mj_model, 2))
    sim = simulator(mj_model, 2)
    with pytest.raises(ValueError, match=r"xfrc_applied must have shape"):
        sim.step(state, ctrl, xfrc_applied=force[:, 1:])
    force[1, 1, 2] = torch.nan
    with pytest.raises(ValueError, match=r"xfrc_applied must be finite, got nan at world 1, index 8"):
        sim.step(state, ctrl, xfrc_applied=force)
    ipos = torch.tensor(mj_model.body_ipos, dtype=diffsim.dtype)
    with pytest.raises(ValueError, match="body_ipos"):
        sim.step(state, ctrl, xfrc_applied=force, parameters={"body_ipos": ipos})
