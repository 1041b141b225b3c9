"""PID controllers and DC motors: sensors, parameters, what is refused, and a motor in closed form.

`test_parity`, `test_gradient`, `test_implicit` and `test_lanes` compare the model `servos` with C MuJoCo.
"""

import mujoco
import numpy as np
import pytest
import torch

import diffsim

from .engine import simulator, step, tensors
from .quantities import gradient_error, reference
from .reference import Stepper, load, moving_states, parts_error, relative_error, smooth_states

WHEEL = """
<mujoco>
  <option integrator="{integrator}" gravity="0 0 0"/>
  <worldbody>
    <body><joint name="axle" axis="0 0 1"/><geom type="cylinder" size="0.1 0.01" mass="0.1"/></body>
  </worldbody>
  <actuator>{actuator}</actuator>
</mujoco>
"""


def wheel(actuator: str, integrator: str = "implicitfast") -> mujoco.MjModel:
    return mujoco.MjModel.from_xml_string(WHEEL.format(actuator=actuator, integrator=integrator))


def sensordata(_, data):
    return data.sensordata


def test_sensors_and_their_derivatives():
    mj_model = load("servos", "Euler")
    state, ctrl = moving_states(mj_model, 4, seed=1)
    sim = simulator(mj_model, len(state))
    expected = reference(mj_model, sensordata, state, ctrl)
    s, u = tensors(state, ctrl)
    assert relative_error(sim.sensors(s, u).numpy(), expected) <= 1e-11
    assert gradient_error(mj_model, sensordata, sim.sensors, state, ctrl) <= 1e-6


@pytest.mark.parametrize("voltage", [3.0, -5.0])
def test_no_load_speed(voltage):
    # The back-EMF of a motor without load equals the voltage; its time constant is R I / K^2 = 0.025 s.
    mj_model = wheel('<dcmotor joint="axle" motorconst="0.2" resistance="2"/>')
    end = step(mj_model, np.zeros((1, 2)), np.array([[voltage]]), num_steps=500)
    np.testing.assert_allclose(end[0, 1], voltage / 0.2, rtol=1e-9)


def test_parameters():
    mj_model = load("servos", "implicitfast")
    state, ctrl, _ = smooth_states(mj_model, 4, 1, 2e-8)
    sim, (s, u) = simulator(mj_model, 4), tensors(state, ctrl)
    for name in ("dof_damping", "body_mass"):
        value = torch.tensor(getattr(mj_model, name) + 0.1, dtype=s.dtype, requires_grad=True)

        def function(value: torch.Tensor, name: str = name) -> torch.Tensor:
            return sim.step(s, u, parameters={name: value}).square().sum()

        (found,) = torch.autograd.grad(function(value), value)
        direction = torch.linspace(-1, 2, len(value), dtype=value.dtype)
        with torch.no_grad():
            expected = (function(value + 1e-5 * direction) - function(value - 1e-5 * direction)) / 2e-5
        assert np.isclose(float(found @ direction), float(expected), rtol=1e-6)
    with pytest.raises(ValueError, match="must not contain actuator_gainprm with PID controllers or DC motors"):
        sim.step(s, u, parameters={"actuator_gainprm": torch.tensor(mj_model.actuator_gainprm, dtype=s.dtype)})


def test_disabled_servos():
    mj_model = load("servos", "Euler")
    lugre = mj_model.actuator_dynprm[:, 5] > 0
    mj_model.actuator_group[:] = 1 + lugre
    mj_model.opt.disableactuator = 2
    state, ctrl = moving_states(mj_model, 20)
    expected = Stepper(mj_model).step_batch(state, ctrl, 3)
    assert parts_error(mj_model, step(mj_model, state, ctrl, 3), expected) <= 1e-9
    mj_model.opt.disableactuator = 4
    with pytest.raises(diffsim.UnsupportedModelError, match="dcmotor lugre in a disabled group, actuator 'full'"):
        diffsim.Model(mj_model)


def test_every_control_is_checked():
    sim = simulator(wheel('<pid joint="axle" kp="1" kv="1" velrange="-1 1"/>'), 1)
    state, far, limited = tensors(np.zeros((1, 2)), np.array([[1e11, 0.0]]), np.array([[0.0, 1e11]]))
    with pytest.raises(ValueError, match="ctrl"):
        sim.step(state, far)
    assert sim.step(state, limited).isfinite().all()


def test_orientation_servos_are_refused():
    text = WHEEL.replace('name="axle" axis="0 0 1"', 'name="axle" type="ball"')
    with pytest.raises(diffsim.UnsupportedModelError) as error:
        diffsim.Model.from_mjcf(text.format(integrator="Euler", actuator='<orientation joint="axle" kp="1"/>'))
    assert "actuator gaintype=so3, actuator #0" in error.value.features
