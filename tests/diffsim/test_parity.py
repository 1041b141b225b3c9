"""Our simulator's steps equal `mj_step`, in float64, on every model with every integrator."""

import mujoco
import numpy as np
import pytest
import torch

from .engine import simulator, step, tensors
from .reference import (
    BALL,
    FREE,
    INTEGRATORS,
    MODELS,
    TASK_MODELS,
    Stepper,
    load,
    moving_states,
    parts_error,
    relative_error,
)

every_model = pytest.mark.parametrize("name", TASK_MODELS + MODELS)
every_integrator = pytest.mark.parametrize("integrator", INTEGRATORS)


@every_integrator
@every_model
@pytest.mark.parametrize(("num_steps", "tolerance"), [(1, 1e-9), (100, 1e-6)])
def test_step(name, integrator, num_steps, tolerance):
    mj_model = load(name, integrator)
    state, ctrl = moving_states(mj_model, 100)
    expected = Stepper(mj_model).step_batch(state, ctrl, num_steps)
    assert np.isfinite(expected).all()
    assert parts_error(mj_model, step(mj_model, state, ctrl, num_steps), expected) <= tolerance


@every_integrator
@every_model
def test_last_evaluation(name, integrator):
    # In MjData, accelerations, forces and positions are those of the last evaluation of the dynamics.
    mj_model = load(name, integrator)
    state, ctrl = moving_states(mj_model, 30)
    stepper = Stepper(mj_model)
    qacc, force, xpos, site_xpos = [], [], [], []
    for world in zip(state, ctrl, strict=True):
        stepper.step(*world, num_steps=2)
        # qacc_warmstart is that evaluation's acceleration; RK4 overwrites qacc with the mean of its stages.
        qacc.append(stepper.data.qacc_warmstart.copy())
        force.append(stepper.data.qfrc_constraint.copy())
        xpos.append(stepper.data.xpos.copy())
        site_xpos.append(stepper.data.site_xpos.copy())
    sim = simulator(mj_model, len(state))
    _, evaluation = sim.advance(*tensors(state, ctrl), num_steps=2)
    bodies = [mj_model.body(body).name for body in range(mj_model.nbody)]
    assert relative_error(evaluation.qacc.numpy(), np.array(qacc)) <= 1e-8
    assert np.abs(evaluation.qfrc_constraint.numpy() - force).max() <= 1e-8 * max(1, np.abs(force).max())
    assert relative_error(sim.xpos(evaluation.qpos, bodies[1:]).numpy(), np.array(xpos)[:, 1:]) <= 1e-9
    if mj_model.nsite:
        sites = sim.site_xpos(evaluation.qpos, list(range(mj_model.nsite)))
        assert relative_error(sites.numpy(), np.array(site_xpos)) <= 1e-9


@every_model
def test_forward(name):
    mj_model = load(name)
    state, ctrl = moving_states(mj_model, 30)
    stepper = Stepper(mj_model)
    qacc, force = [], []
    for world in zip(state, ctrl, strict=True):
        mujoco.mj_forward(mj_model, stepper.set(*world))
        qacc.append(stepper.data.qacc.copy())
        force.append(stepper.data.qfrc_constraint.copy())
    evaluation = simulator(mj_model, len(state)).forward(*tensors(state, ctrl))
    assert relative_error(evaluation.qacc.numpy(), np.array(qacc)) <= 1e-9
    assert np.abs(evaluation.qfrc_constraint.numpy() - force).max() <= 1e-9 * max(1, np.abs(force).max())
    np.testing.assert_array_equal(evaluation.qpos.numpy(), state[:, : mj_model.nq])


def test_states_cover_limits_and_clamps():
    # Parity tests limits and clamps only at states where they are active.
    for name in ("limits", "ball_limits", "inverted_double_pendulum", "reacher", "swimmer"):
        mj_model = load(name)
        stepper = Stepper(mj_model)
        active = 0
        for world in zip(*moving_states(mj_model, 100), strict=True):
            mujoco.mj_forward(mj_model, stepper.set(*world))
            active += bool((stepper.data.efc_force > 0).any())
        assert active >= 10, name
    mj_model = load("actuators")
    ctrl = moving_states(mj_model, 100)[1]
    limited = mj_model.actuator_ctrllimited.astype(bool)
    low, high = mj_model.actuator_ctrlrange.T
    assert ((ctrl < low) | (ctrl > high))[:, limited].any(axis=0).all()


@pytest.mark.parametrize("name", ["spherical_pendulum", "tree", "ball_limits"])
@every_integrator
def test_length_of_quaternions_has_no_effect(name, integrator):
    mj_model = load(name, integrator)
    state, ctrl = moving_states(mj_model, 20)
    scaled = state.copy()
    for kind, adr in zip(mj_model.jnt_type, mj_model.jnt_qposadr, strict=True):
        if kind in (FREE, BALL):
            adr += 3 * (kind == FREE)
            scaled[:, adr : adr + 4] *= 1.7
    assert relative_error(step(mj_model, scaled, ctrl), step(mj_model, state, ctrl)) <= 1e-12


def test_no_constraint_force_without_limits():
    mj_model = load("tree")
    state, ctrl = moving_states(mj_model, 5)
    force = simulator(mj_model, 5).forward(*tensors(state, ctrl)).qfrc_constraint
    assert torch.equal(force, torch.zeros_like(force))
