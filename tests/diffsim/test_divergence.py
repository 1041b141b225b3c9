"""Numbers beyond 1e10, where C MuJoCo resets a simulation or its controls: an error names the place."""

import re

import mujoco
import numpy as np
import pytest
import torch

import diffsim
from diffsim.engine.black_box_simulator import BlackBoxSimulator

from .engine import simulator, tensors
from .reference import INTEGRATORS, Stepper

WARNINGS = {"qpos": "BADQPOS", "qvel": "BADQVEL", "qacc": "BADQACC", "ctrl": "BADCTRL"}


def slider(integrator: str = "Euler", mass: float = 1.0) -> mujoco.MjModel:
    """A mass on a rail in steps of 1 s; the second motor has a range."""
    return mujoco.MjModel.from_xml_string(f"""
        <mujoco>
          <option timestep="1" gravity="0 0 0" integrator="{integrator}"/>
          <worldbody>
            <body><joint name="rail" type="slide" axis="1 0 0"/>
            <inertial pos="0 0 0" mass="{mass}" diaginertia="1 1 1"/></body>
          </worldbody>
          <actuator><motor joint="rail"/><motor joint="rail" ctrlrange="-2 2"/></actuator>
        </mujoco>""")


@pytest.fixture(autouse=True)
def _no_log_file(tmp_path, monkeypatch):
    """C MuJoCo writes its warnings to a file in the current folder."""
    monkeypatch.chdir(tmp_path)


def bad(data: mujoco.MjData) -> list[str]:
    """Arrays that C MuJoCo has warned of."""
    return [
        name for name, kind in WARNINGS.items() if data.warning[getattr(mujoco.mjtWarning, f"mjWARN_{kind}")].number
    ]


def first_fault(mj_model: mujoco.MjModel, force: float, num_steps: int) -> tuple[str, int] | None:
    """The array and the time step at which C MuJoCo resets a motion from rest."""
    data = Stepper(mj_model).set(np.zeros(2), np.zeros(2))
    for step in range(num_steps):
        data.qfrc_applied[:] = force
        mujoco.mj_step(mj_model, data)
        if bad(data):
            return bad(data)[0], step
    return None


@pytest.mark.parametrize("force", [1e9, 3e9, -7e9, 2e10])
@pytest.mark.parametrize("integrator", INTEGRATORS)
def test_error_names_the_array_and_step_at_which_c_mujoco_resets(integrator, force):
    mj_model, num_steps = slider(integrator), 8
    fault = first_fault(mj_model, force, num_steps)
    assert fault is not None
    name, step = fault
    sim = simulator(mj_model, 3)
    state, ctrl, forces = tensors(np.zeros((3, 2)), np.zeros((3, 2)), np.array([[0.0], [force], [0.0]]))
    message = rf"physics diverged: {name} has \S+, beyond 1e\+10, .* in world 1 at time step {step}$"
    with pytest.raises(FloatingPointError, match=message):
        sim.step(state, ctrl, num_steps, qfrc_applied=forces)
    if name == "qacc":
        return
    # The step before reaches the state that C MuJoCo would reset, and the one before that is C MuJoCo's.
    with pytest.raises(FloatingPointError, match=rf"the next state .* in world 1 at time step {step - 1}$"):
        sim.step(state, ctrl, step, qfrc_applied=forces)
    data = Stepper(mj_model).set(np.zeros(2), np.zeros(2))
    data.qfrc_applied[:] = force
    mujoco.mj_step(mj_model, data, nstep=step - 1)
    found = sim.step(state, ctrl, step - 1, qfrc_applied=forces) if step > 1 else state
    np.testing.assert_allclose(found[1].numpy(), [*data.qpos, *data.qvel], rtol=1e-12)


@pytest.mark.parametrize("size", [9.9e9, -9.9e9, 1.01e10, -1.01e10, 1e300])
@pytest.mark.parametrize("index", [0, 1])
def test_state_as_large_as_c_mujoco_accepts(index, size):
    mj_model = slider()
    mj_model.opt.timestep = 1e-6
    state = np.zeros((2, 2))
    state[1, index] = size
    stepper, sim = Stepper(mj_model), simulator(mj_model, 2)
    expected = stepper.step_batch(state, np.zeros((2, 2)))
    inputs = tensors(state, np.zeros((2, 2)))
    if not bad(stepper.data):
        np.testing.assert_allclose(sim.step(*inputs, num_steps=1).numpy(), expected, rtol=1e-12)
        return
    message = re.escape(f"state must be at most 1e+10 in size, beyond which MuJoCo resets the simulation, got {size:g}")
    for call in (sim.step, sim.forward):
        with pytest.raises(ValueError, match=message + f" at world 1, index {index}"):
            call(inputs[0], inputs[1])


@pytest.mark.parametrize("clamp", [True, False])
@pytest.mark.parametrize("ctrl", [(9e9, 0.0), (1.01e10, 0.0), (0.5, 1.01e10), (0.5, -1e300)])
def test_control_as_large_as_c_mujoco_accepts(ctrl, clamp):
    mj_model = slider()
    mj_model.opt.timestep = 1e-6
    mj_model.opt.disableflags = 0 if clamp else int(mujoco.mjtDisableBit.mjDSBL_CLAMPCTRL)
    stepper, sim = Stepper(mj_model), simulator(mj_model, 2)
    state, controls = np.zeros((2, 2)), np.array([[0.0, 0.0], ctrl])
    expected = stepper.step_batch(state, controls)
    if not bad(stepper.data):
        found = sim.step(*tensors(state, controls), num_steps=1).numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-12)
        return
    with pytest.raises(
        ValueError, match=r"ctrl must be at most 1e\+10 .* sets all controls to zero, got .* at world 1"
    ):
        sim.step(*tensors(state, controls), num_steps=1)
    with pytest.raises(FloatingPointError, match="C MuJoCo reports bad ctrl in world 1"):
        BlackBoxSimulator(mj_model).step(*tensors(state, controls), num_steps=1)


def test_evaluation_without_a_step():
    """C MuJoCo's mj_forward does not check: a large acceleration is a result, one that is not finite is an error."""
    sim = simulator(slider(mass=1e-3), 2)
    state, ctrl, force = tensors(np.zeros((2, 2)), np.zeros((2, 2)), np.array([[0.0], [1e10]]))
    assert sim.forward(state, ctrl, qfrc_applied=force).qacc[1, 0].item() == pytest.approx(1e13)
    with pytest.raises(FloatingPointError, match="qacc is not finite in world 1"):
        sim.forward(state, ctrl, qfrc_applied=1e297 * force)


def test_huge_numbers_of_one_world_are_found_among_many():
    sim = diffsim.Simulator(diffsim.Model(slider()), 40)
    state, ctrl = torch.zeros(40, 2, dtype=diffsim.dtype), torch.zeros(40, 2, dtype=diffsim.dtype)
    state[33, 1] = 9e9
    with pytest.raises(FloatingPointError, match="qpos has 1.8e.10, .* in world 33 at time step 2"):
        sim.step(state, ctrl, 3)
