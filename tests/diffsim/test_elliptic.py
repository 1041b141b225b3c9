"""Elliptic friction cones equal C MuJoCo's in each of their zones, with their gradients, and the solver converges."""

from dataclasses import dataclass

import mujoco
import numpy as np
import pytest
import torch

from .contact_reference import derivative, visited_states
from .engine import simulator, tensors
from .reference import Stepper, load
from .test_contact_gradient import check
from .test_contact_parity import check_forces, check_steps


def model(impratio: float = 10, name: str = "contact_elliptic", integrator: str | None = None) -> mujoco.MjModel:
    """A test model with elliptic cones, whose solver in C converges."""
    mj_model = load(name, integrator)
    mj_model.opt.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    mj_model.opt.impratio, mj_model.opt.iterations = impratio, 50
    return mj_model


@dataclass
class Zones:
    """How many contacts of each dimension hold, and slide, in C MuJoCo."""

    sticking: set[int]
    sliding: set[int]
    separating: int


def zones(mj_model: mujoco.MjModel, state: np.ndarray, ctrl: np.ndarray) -> Zones:
    """The dimensions of the contacts that stick and slide at states [N, nq + nv], and the number of those that part."""
    found = Zones(set(), set(), 0)
    stepper = Stepper(mj_model)
    for world in zip(state, ctrl, strict=True):
        data = stepper.set(*world)
        mujoco.mj_forward(mj_model, data)
        for contact in range(data.ncon):
            force = np.zeros(6)
            mujoco.mj_contactForce(mj_model, data, contact, force)
            dim, friction = int(data.contact.dim[contact]), data.contact.friction[contact]
            share = np.linalg.norm(force[1:dim] / friction[: dim - 1]) / max(force[0], 1e-300)
            if force[0] == 0:
                found.separating += 1
            elif share > 1 - 1e-9:
                found.sliding.add(dim)
            else:
                found.sticking.add(dim)
    return found


@pytest.mark.parametrize(("impratio", "integrator"), [(1, None), (100, "implicitfast"), (10, "RK4")])
def test_steps_forces_and_gradients(impratio, integrator):
    mj_model = model(impratio, integrator=integrator)
    state, ctrl = visited_states(mj_model, 60, 5)
    check_steps(mj_model, state, ctrl, 3)
    check_forces(mj_model, state, ctrl)
    check(mj_model, derivative(mj_model, 4, 1), 1)
    found = zones(mj_model, state, ctrl)
    assert found.sticking >= {1, 3, 4} and found.sliding == {3, 4, 6} and found.separating > 0


@pytest.mark.parametrize("name", ["contact_condim", "contact_capsules", "contact_grasp", "contact_friction_loss"])
def test_models_of_pyramids(name):
    mj_model = model(30, name)
    check_steps(mj_model, *visited_states(mj_model, 40, 5), 1)


def test_gradient_by_friction():
    # Of accelerations and constraint forces, at each of several states.
    mj_model = model(3)
    state, ctrl = visited_states(mj_model, 12, 5)
    weight = np.random.default_rng(0).standard_normal((2, len(state), mj_model.nv))
    friction = torch.tensor(mj_model.geom_friction).repeat(len(state), 1, 1).requires_grad_()
    evaluation = simulator(mj_model, len(state)).forward(*tensors(state, ctrl), parameters={"geom_friction": friction})
    scalar = (evaluation.qacc * torch.tensor(weight[0]) + evaluation.qfrc_constraint * torch.tensor(weight[1])).sum(1)
    actual = torch.autograd.grad(scalar.sum(), friction)[0].numpy()
    stepper = Stepper(mj_model)

    def scalars() -> np.ndarray:
        values = []
        for world, by_qacc, by_force in zip(zip(state, ctrl, strict=True), *weight, strict=True):
            mujoco.mj_forward(mj_model, stepper.set(*world))
            values.append(stepper.data.qacc @ by_qacc + stepper.data.qfrc_constraint @ by_force)
        return np.array(values)

    expected = np.zeros_like(actual)
    np.testing.assert_allclose(scalar.detach().numpy(), scalars(), rtol=1e-7)
    for index in np.ndindex(*mj_model.geom_friction.shape):
        value = mj_model.geom_friction[index]
        for sign in (1, -1):
            mj_model.geom_friction[index] = value + sign * 1e-6 * value
            expected[:, *index] += sign * scalars() / (2e-6 * value)
        mj_model.geom_friction[index] = value
    size = np.abs(expected).max((1, 2))
    assert (size > 1).sum() > 6 and (np.abs(expected[..., 1:]).max((0, 1)) > 1).all()
    error = np.abs(actual - expected).max((1, 2)) / np.maximum(size, 1)
    assert np.median(error) < 1e-6 and error.max() < 1e-4, error
