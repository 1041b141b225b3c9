"""Spatial tendons and moving transmissions: every way of a wrap, what is refused, and a pulley in closed form."""

import mujoco
import numpy as np
import pytest

import diffsim

from .engine import step, tensors
from .reference import Stepper, load, moving_states

PULLEY = """
<mujoco>
  <option timestep="0.001" integrator="RK4"/>
  <worldbody>
    <geom name="wheel" type="cylinder" size="0.1 0.02" pos="0 0 1" euler="90 0 0" contype="0" conaffinity="0"/>
    <site name="top" pos="0 0 1.2"/>
    <body pos="-0.1 0 0.5">
      <joint name="light" type="slide" axis="0 0 1"/>
      <geom size="0.03" mass="1" contype="0" conaffinity="0"/><site name="light"/>
    </body>
    <body pos="0.1 0 0.5">
      <joint name="heavy" type="slide" axis="0 0 1"/>
      <geom size="0.03" mass="2" contype="0" conaffinity="0"/><site name="heavy"/>
    </body>
  </worldbody>
  <tendon>
    <spatial stiffness="{stiffness}" damping="{damping}">
      <site site="light"/><geom geom="wheel" sidesite="top"/><site site="heavy"/>
    </spatial>
  </tendon>
</mujoco>
"""

LIMB = """
<mujoco>
  <option integrator="{integrator}"/>
  <worldbody>
    <site name="anchor" pos="0.5 0 1"/>
    <geom name="knob" size="0.05" pos="0.2 0 0.5" contype="0" conaffinity="0"/>
    <body name="link">
      {joints}
      <geom type="capsule" size="0.05" fromto="0 0 0 0 0 -0.5" contype="0" conaffinity="0"/>
      <site name="tip" pos="0 0 -0.5"/>
    </body>
  </worldbody>
  <tendon>
    <spatial name="cable" stiffness="20" {options}><site site="anchor"/>{geom}<site site="tip"/></spatial>
  </tendon>
</mujoco>
"""


def test_states_of_the_test_model_take_every_way():
    # `test_parity` and `test_gradient` compare the model with C MuJoCo. Two points per piece: straight; four: wrapped.
    mj_model = load("spatial_tendons", "Euler")
    stepper, counts = Stepper(mj_model), []
    for world in zip(*moving_states(mj_model, 100), strict=True):
        data = stepper.set(*world)
        mujoco.mj_forward(mj_model, data)
        counts.append(data.ten_wrapnum.copy())
    for name in ("over_knob", "beside_knob", "around_post", "over_hub", "in_ring"):
        column = np.array(counts)[:, mj_model.tendon(name).id]
        assert len(np.unique(column)) == 2, name


def test_two_weights_on_a_pulley():
    # A stiff tendon on which friction of the wheel does not act: both weights accelerate by g (2 - 1) / (2 + 1).
    mj_model = mujoco.MjModel.from_xml_string(PULLEY.format(stiffness=1e5, damping=300))
    state = np.array([[0.0, 0.0, 0.0, 0.0]])
    end = step(mj_model, state, np.zeros((1, 0)), num_steps=300)[0]
    speed = -mj_model.opt.gravity[2] / 3 * 0.3
    np.testing.assert_allclose(end[2:], [speed, -speed], rtol=1e-3)


def refusal(**parts: str) -> str:
    end = parts.pop("end", "</mujoco>")
    parts = {"integrator": "Euler", "joints": '<joint axis="0 1 0"/>', "options": "", "geom": "", **parts}
    with pytest.raises(diffsim.UnsupportedModelError) as error:
        diffsim.Model.from_mjcf(LIMB.format(**parts).replace("</mujoco>", end))
    return "; ".join(error.value.features)


def test_armature_is_refused_where_the_derivative_of_the_jacobian_is_not_exact():
    joints = '<joint type="ball"/><joint type="slide" axis="0 1 0"/>'
    place = "tendon armature, tendon 'cable' on body 'link' where a joint follows a ball joint"
    assert refusal(joints=joints, options='armature="0.1"').startswith(place)
    motor = '<actuator><motor tendon="cable" armature="0.1"/></actuator></mujoco>'
    assert refusal(joints=joints, end=motor).startswith(place)


@pytest.mark.parametrize(
    ("name", "parts", "reason"),
    [
        ("body_pos", {"integrator": "implicitfast"}, "implicit integrators and spatial tendons"),
        ("body_pos", {"options": 'armature="0.1"'}, "armature of spatial tendons"),
        ("geom_size", {"geom": '<geom geom="knob"/>'}, "spatial tendons around geoms"),
    ],
)
def test_parameters_that_tendons_do_not_follow_are_refused(name, parts, reason):
    parts = {"integrator": "Euler", "joints": '<joint axis="0 1 0"/>', "options": "", "geom": "", **parts}
    model = diffsim.Model.from_mjcf(LIMB.format(**parts))
    (value, state, ctrl) = tensors(getattr(model.mj_model, name), np.zeros((1, 2)), np.zeros((1, 0)))
    with pytest.raises(ValueError, match=f"parameters must not contain {name} with {reason}"):
        diffsim.Simulator(model, 1).step(state, ctrl, parameters={name: value})
