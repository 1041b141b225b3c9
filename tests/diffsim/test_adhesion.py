"""Adhesive contacts, actuators on the contacts of a body, and contacts in the gap equal C MuJoCo's, with gradients."""

import mujoco
import numpy as np
import pytest
import torch

import diffsim
from diffsim.sensors.sensor import UnsupportedSensorError

from .contact_reference import derivative, visited_states
from .engine import simulator, step, tensors
from .quantities import derivative as derivative_of
from .quantities import gradient_error, reference
from .reference import Stepper, asset, block_error, converge, jacobian, relative_error, without_repetition
from .test_contact_gradient import check
from .test_contact_parity import check_forces, check_steps
from .test_sensors import contact_list, sensordata

BRAKE = """<general name="brake" body="box" ctrlrange="-1 1" gainprm="2" biastype="affine" biasprm="0.5 0 -0.4"
      forcerange="-3 3"/>"""
SENSORS = """
    <contact geom1="box" geom2="floor" data="found force torque dist pos normal tangent linvel angvel" num="4"/>
    <contact body1="tape" data="found force dist pos" num="3" reduce="mindist"/>
    <contact geom1="ball" data="found force dist" num="2" reduce="maxforce"/>
    <contact subtree1="tape" subtree2="world" data="found force torque pos" reduce="netforce"/>
    <touch site="tape"/> <force site="tape"/> <torque site="flap"/> <accelerometer site="tape"/>
    <actuatorfrc actuator="suck"/> <actuatorpos actuator="suck"/>
"""
RUNTIME = """
<mujoco>
  <worldbody>
    <geom type="plane" size="1 1 1"/>
    <body name="ball" pos="0 0 {height}">
      <freejoint/><geom size="0.1" mass="2" gap="{gap}"/>
    </body>
  </worldbody>
  <actuator><adhesion body="ball" ctrlrange="0 1" gain="5"/></actuator>
</mujoco>
"""
CONVEX = """
<mujoco>
  <asset><mesh name="rock" vertex="0 0 -0.1 0.2 0 0.1 -0.1 0.15 0.1 -0.1 -0.2 0.15"/></asset>
  <worldbody>
    <geom type="box" size="0.3 0.3 0.1" gap="0.05"/>
    <body name="rock" pos="0 0 0.23" euler="10 20 30"><freejoint/><geom type="mesh" mesh="rock" gap="0.05"/></body>
  </worldbody>
  <actuator><adhesion body="rock" ctrlrange="0 1" gain="5"/></actuator>
</mujoco>
"""


def model(integrator: str = "Euler", cone: str = "pyramidal", actuator: str = "", sensors: str = "") -> mujoco.MjModel:
    """The test model with other options, with sites for sensors."""
    text = asset("contact_adhesion").read_text()
    text = text.replace("<option", f'<option integrator="{integrator}" cone="{cone}"')
    for body in ("tape", "flap"):
        text = text.replace(f'<geom name="{body}"', f'<site name="{body}" size="0.1"/><geom name="{body}"')
    text = text.replace("<actuator>", f"<sensor>{sensors}</sensor><actuator>{actuator}")
    mj_model = mujoco.MjModel.from_xml_string(text)
    converge(mj_model)
    mj_model.opt.iterations = 50
    return mj_model


def kinds(mj_model: mujoco.MjModel, state: np.ndarray, ctrl: np.ndarray) -> np.ndarray:
    """Number of adhesive contacts in the gap, of others there, and of adhesive contacts that pull in the margin."""
    found, stepper = np.zeros(3, int), Stepper(mj_model)
    for world in zip(state, ctrl, strict=True):
        data = stepper.set(*world)
        mujoco.mj_forward(mj_model, data)
        contact, force = data.contact, np.zeros((data.ncon, 6))
        for i, row in enumerate(force):
            mujoco.mj_contactForce(mj_model, data, i, row)
        adheres, apart = contact.adhesion != 0, contact.dist >= contact.includemargin
        found += [(adheres & apart).sum(), (~adheres & apart).sum(), (adheres & ~apart & (force[:, 0] < 0)).sum()]
    return found


@pytest.mark.parametrize(
    ("integrator", "cone", "actuator", "sweeps"),
    [("Euler", "pyramidal", BRAKE, 0), ("RK4", "elliptic", BRAKE, 0), ("implicit", "pyramidal", "", 0)]
    + [("Euler", "elliptic", BRAKE, 4)],
)
def test_steps_forces_and_gradients(integrator, cone, actuator, sweeps):
    mj_model = model(integrator, cone, actuator)
    mj_model.opt.noslip_iterations, mj_model.opt.noslip_tolerance = sweeps, 0
    state, ctrl = visited_states(mj_model, 60, 5)
    check_steps(mj_model, state, ctrl, 3)
    check_forces(mj_model, state, ctrl)
    check(mj_model, derivative(mj_model, 4, 1), 1)
    assert (kinds(mj_model, state, ctrl) > 1).all()


@pytest.mark.parametrize("cone", ["pyramidal", "elliptic"])
def test_sensors(cone):
    mj_model = model(cone=cone, sensors=SENSORS)
    state, ctrl = visited_states(mj_model, 20, 5, inside=True, seed=1)
    sim = simulator(mj_model, len(state))
    given = tensors(state, ctrl)
    values = sim.sensors(given[0], given[1]).numpy()
    assert relative_error(values, reference(mj_model, sensordata, state, ctrl)) <= 1e-9
    quick = without_repetition(mj_model)
    smooth = [derivative_of(quick, sensordata, *world)[1] <= 1e-7 for world in zip(state, ctrl, strict=True)]
    state, ctrl, sim = state[smooth], ctrl[smooth], simulator(mj_model, sum(smooth))
    assert len(state) >= 4
    assert gradient_error(mj_model, sensordata, sim.sensors, state, ctrl) <= 1e-6


def test_list_of_contacts():
    mj_model = model()
    state, ctrl = visited_states(mj_model, 12, 5)
    found = simulator(mj_model, len(state)).contacts(*tensors(state, ctrl))
    parts = (found.geom, found.position, found.frame.flatten(2), found.distance[..., None], found.force)
    rows = torch.cat([part.double() for part in parts], dim=2).numpy()
    for world in range(len(state)):
        expected = reference(mj_model, contact_list, state[[world]], ctrl[[world]])[0].reshape(-1, 21)
        count = int(found.count[world])
        assert count == len(expected)
        assert (rows[world, count:, :2] == -1).all() and (rows[world, count:, 2:] == 0).all()
        order, same = (np.lexsort(np.round(part[:, :5].T, 6)) for part in (rows[world, :count], expected))
        assert relative_error(rows[world, order], expected[same]) <= 1e-9


@pytest.mark.parametrize(("height", "gap", "pull"), [(0.12, 0.05, 4.0), (0.12, 0.01, 0.0), (0.1, 0.0, 4.0)])
def test_pull_through_the_gap(height, gap, pull):
    # Without rows the ball of 2 kg falls, and is pulled; at distance 0 too, as C MuJoCo does.
    mj_model = mujoco.MjModel.from_xml_string(RUNTIME.format(height=height, gap=gap))
    state, ctrl = np.array([[0, 0, height, 1, 0, 0, 0, *np.zeros(6)]]), np.array([[0.8]])
    end = step(mj_model, state, ctrl)[0]
    timestep, gravity = mj_model.opt.timestep, mj_model.opt.gravity[2]
    assert end[9] == pytest.approx(timestep * (gravity - pull / 2), rel=1e-12)
    np.testing.assert_allclose(end, Stepper(mj_model).step(state[0], ctrl[0]), rtol=1e-12)


def test_pull_through_the_gap_of_a_convex_pair():
    # The pull at the contact's point turns the mesh: the gradient passes through its narrow phase.
    mj_model = mujoco.MjModel.from_xml_string(CONVEX)
    state, ctrl = np.array([[*mj_model.qpos0, *np.zeros(6)]]), np.array([[0.8]])
    sim = simulator(mj_model, 1)
    A, B = sim.linearize(*tensors(state, ctrl))
    assert list(sim.contacts(*tensors(state, ctrl)).count) == [1]
    expected, _ = jacobian(Stepper(mj_model), state[0], ctrl[0], 1)
    assert np.abs(expected[6:, 3:6]).max() > 1e-3
    assert block_error(torch.cat([A, B], dim=2)[0].numpy(), expected, 6) <= 1e-6


def test_velocity_dependent_forces_are_refused_with_implicit_integrators():
    with pytest.raises(diffsim.UnsupportedModelError) as error:
        diffsim.Model(model("implicitfast", actuator=BRAKE))
    feature = "actuator transmission body with gain or bias of velocity and integrator=implicitfast, actuator 'brake'"
    assert error.value.features == [feature]


@pytest.mark.parametrize(
    "sensor", ['actuatorvel actuator="suck"', 'actuatorfrc actuator="brake"', 'jointactuatorfrc joint="lift"']
)
def test_sensors_of_moments_are_refused(sensor):
    mj_model = model(actuator=BRAKE, sensors=f"<{sensor}/>")
    state, ctrl = tensors(*visited_states(mj_model, 1, 5))
    with pytest.raises(UnsupportedSensorError, match="the moment of an actuator on the contacts of a body"):
        simulator(mj_model, 1).sensors(state, ctrl)
