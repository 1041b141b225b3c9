"""The integrator "implicit", with its matrix that is not symmetric, against C MuJoCo."""

import numpy as np
import pytest
import torch

from .engine import raw_jacobian, simulator, tangent_jacobian, tensors
from .reference import Stepper, block_error, load, parts_error, smooth_states

MODELS = [
    "tree",
    "free_body",
    "springs",
    "fluid_chain",
    "ellipsoids",
    "transmissions",
    "tendon_forces",
    "polynomials",
    "tendon_actuators",
    "servos",
    "contact_weld",
]


@pytest.mark.parametrize("name", MODELS)
def test_step_and_gradient(name):
    mj_model = load(name, "implicit")
    nv = mj_model.nv
    state, ctrl, jacobian = smooth_states(mj_model, 6, 1, 2e-8)
    sim = simulator(mj_model, 6)
    s, u = tensors(state, ctrl, requires_grad=True)
    result = sim.step(s, u)
    after = result.detach().numpy()
    assert parts_error(mj_model, after, Stepper(mj_model).step_batch(state, ctrl)) <= 1e-9
    own = tangent_jacobian(mj_model, raw_jacobian(result, s, u), state, after)
    assert max(block_error(a, e, nv) for a, e in zip(own, jacobian, strict=True)) <= 1e-6
    A, B = sim.linearize(s.detach(), u.detach())
    both = torch.cat([A, B], dim=2).numpy()
    assert max(block_error(a, e, nv) for a, e in zip(both, own, strict=True)) <= 1e-9
    # Negative control: implicitfast differs, but for the gyroscopic forces of free bodies, which it includes.
    if name not in ("free_body", "contact_weld"):
        fast = load(name, "implicitfast")
        assert parts_error(mj_model, Stepper(fast).step_batch(state, ctrl), after) > 1e-8


def test_parameters():
    mj_model = load("tendon_forces", "implicit")
    state, ctrl, _ = smooth_states(mj_model, 6, 1, 2e-8)
    sim, (s, u) = simulator(mj_model, 6), tensors(state, ctrl)
    damping = torch.tensor(mj_model.dof_damping + 0.1, dtype=s.dtype, requires_grad=True)

    def function(damping: torch.Tensor) -> torch.Tensor:
        return sim.step(s, u, parameters={"dof_damping": damping}).square().sum()

    (found,) = torch.autograd.grad(function(damping), damping)
    direction = torch.linspace(-1, 2, mj_model.nv, dtype=damping.dtype)
    with torch.no_grad():
        expected = (function(damping + 1e-5 * direction) - function(damping - 1e-5 * direction)) / 2e-5
    assert np.isclose(float(found @ direction), float(expected), rtol=1e-6)
    with pytest.raises(ValueError, match="must not contain body_mass.* integrator=implicit"):
        sim.step(s, u, parameters={"body_mass": torch.tensor(mj_model.body_mass, dtype=damping.dtype)})
