"""Sensors equal C MuJoCo's `sensordata` after mj_forward; so do their derivatives, by state and control."""

import mujoco
import numpy as np
import pytest
import torch

import diffsim
from diffsim.sensors.sensor import UnsupportedSensorError

from .engine import simulator, tensors
from .quantities import gradient_error, reference
from .reference import converge, moving_states, relative_error

WORLD = """
<mujoco>
  <option integrator="Euler" magnetic="0.2 -0.5 0.1"/>
  <default><default class="scenery"><geom contype="0" conaffinity="0"/></default></default>
  <worldbody>
    <geom name="floor" type="plane" size="5 5 .1" pos="0 0 -2"/>
    <geom name="wall" class="scenery" type="box" size=".1 3 3" pos="1.6 0 0" euler="0 10 5"/>
    <geom name="pillar" class="scenery" type="cylinder" size=".3 1" pos="-1 .2 0" euler="20 0 0"/>
    <geom name="ball" class="scenery" type="ellipsoid" size=".3 .5 .4" pos="0 1.2 1"/>
    <geom name="rod" class="scenery" type="capsule" size=".2 .6" pos="0 -1.5 1" euler="80 0 0"/>
    <geom class="scenery" type="sphere" size=".2" pos="0 0 2.7"/>
    <site name="zone" type="box" size=".6 .6 .6" pos="0 0 1"/>
    <site name="base" pos=".3 .2 .1" euler="10 20 30"/>
    <camera name="corner" pos="-3 0 1" xyaxes="0 -1 0 0.2 0 1" fovy="60" resolution="64 48"/>
    <body name="drone" pos="0 0 1">
      <freejoint/>
      <geom type="box" size=".1 .2 .05" pos=".02 .01 .03" euler="20 10 0"/>
      <site name="imu" pos=".1 0 .02" euler="0 30 40"/>
      <site name="down" euler="170 0 0"/><site name="ahead" euler="0 90 0"/><site name="back" euler="0 -90 0"/>
      <site name="left" euler="-90 0 0"/><site name="right" euler="90 0 0"/><site name="up" pos="0 0 .1"/>
      <body name="arm" pos=".1 0 0" euler="0 40 0">
        <joint name="ball" type="ball" pos="0 .01 0" stiffness="2" range="0 .3" limited="true"/>
        <geom type="capsule" size=".03" fromto="0 0 0 .1 0 .3"/>
        <body name="hand" pos=".1 0 .3">
          <joint name="slide" type="slide" axis="1 0 1" stiffness="3" springref=".1" range="-.05 .05" limited="true"
            margin=".01"/>
          <joint name="hinge" axis="0 1 0.3" pos=".02 0 0" stiffness="1 .5 2" range="-.4 .3" limited="true"/>
          <geom type="sphere" size=".06" pos=".05 0 0" mass=".4"/>
          <camera name="eye" pos=".02 0 .1" euler="30 0 60"/>
          <site name="tip" pos="0 .1 .02" euler="0 0 50"/>
        </body>
      </body>
    </body>
    <body name="cart" pos="2 0 5"><joint name="rail" type="slide" axis="1 0 0" armature=".2"/><geom size=".1"/>
      <body name="pole"><joint name="pivot" axis="0 1 0"/><geom type="capsule" size=".05" fromto="0 0 0 0 0 1"/></body>
    </body>
  </worldbody>
  <tendon><fixed name="rope" limited="true" range="-.2 .2" stiffness="3" springlength=".1" armature=".1">
    <joint joint="rail" coef="1"/><joint joint="pivot" coef=".5"/></fixed></tendon>
  <actuator>
    <position name="servo" joint="hinge" kp="3" gear="2" forcerange="-.5 .5"/>
    <velocity name="push" joint="rail" kv="2" gear="3" armature=".1"/>
    <motor name="pull" tendon="rope" gear="1.5"/>
  </actuator>
  <sensor>
    {}
  </sensor>
</mujoco>
"""
POSITION = """
    <magnetometer site="imu"/>
    <camprojection site="imu" camera="corner"/>
    <rangefinder site="down"/> <rangefinder site="up"/> <rangefinder site="ahead"/>
    <rangefinder site="left" data="dist dir origin point depth"/>
    <rangefinder site="right" data="dist dir origin point depth"/>
    <rangefinder site="back" cutoff="1"/>
    <jointpos joint="hinge"/> <jointpos joint="rail"/> <ballquat joint="ball"/>
    <tendonpos tendon="rope"/> <actuatorpos actuator="servo"/> <actuatorpos actuator="pull"/>
    <jointlimitpos joint="hinge"/> <jointlimitpos joint="slide"/> <jointlimitpos joint="ball"/>
    <tendonlimitpos tendon="rope"/>
    <framepos objtype="body" objname="hand"/> <framepos objtype="xbody" objname="hand"/>
    <framepos objtype="site" objname="tip" reftype="camera" refname="eye"/>
    <framepos objtype="geom" objname="floor" reftype="xbody" refname="drone" cutoff=".5"/>
    <framequat objtype="camera" objname="eye"/> <framequat objtype="body" objname="arm" reftype="site" refname="imu"/>
    <framexaxis objtype="site" objname="imu"/> <frameyaxis objtype="site" objname="imu" reftype="body" refname="hand"/>
    <framezaxis objtype="xbody" objname="arm"/>
    <subtreecom body="drone"/> <subtreecom body="hand"/>
    <e_potential/> <e_kinetic/>
    <clock/>
    <insidesite site="zone" objtype="site" objname="imu"/>
    <insidesite site="base" objtype="body" objname="hand"/>
"""
VELOCITY = """
    <velocimeter site="imu"/> <gyro site="imu"/> <velocimeter site="base"/> <gyro site="tip" cutoff=".6"/>
    <jointvel joint="hinge"/> <jointvel joint="rail"/> <ballangvel joint="ball"/>
    <tendonvel tendon="rope"/> <actuatorvel actuator="servo"/> <actuatorvel actuator="pull"/>
    <jointlimitvel joint="hinge"/> <jointlimitvel joint="slide"/> <jointlimitvel joint="ball"/>
    <tendonlimitvel tendon="rope"/>
    <framelinvel objtype="site" objname="tip"/> <frameangvel objtype="body" objname="hand"/>
    <framelinvel objtype="site" objname="tip" reftype="xbody" refname="arm"/>
    <frameangvel objtype="body" objname="hand" reftype="site" refname="imu"/>
    <framelinvel objtype="site" objname="base" reftype="xbody" refname="arm"/>
    <subtreelinvel body="drone"/> <subtreelinvel body="hand"/> <subtreeangmom body="drone"/>
    <subtreeangmom body="world"/>
"""


def model(sensors: str) -> mujoco.MjModel:
    mj_model = mujoco.MjModel.from_xml_string(WORLD.format(sensors))
    converge(mj_model)
    return mj_model


def sensordata(_, data):
    return data.sensordata


@pytest.mark.parametrize("sensors", [POSITION, VELOCITY], ids=["position", "velocity"])
def test_values_and_derivatives(sensors):
    mj_model = model(sensors)
    state, ctrl = moving_states(mj_model, 4, seed=2)
    sim = simulator(mj_model, len(state))
    given = tensors(state, ctrl)
    values = sim.sensors(given[0], given[1]).numpy()
    expected = reference(mj_model, sensordata, state, ctrl)
    assert relative_error(values, expected) <= 1e-11
    # every sensor but the clock measures something, and not only one number
    assert (np.ptp(expected, axis=0) > 0).sum() >= 0.9 * expected.shape[1]
    assert gradient_error(mj_model, sensordata, sim.sensors, state, ctrl) <= 1e-6


def test_sensors_by_name_and_the_clock():
    mj_model = model('<clock name="time"/><gyro name="gyro" site="imu"/><jointpos name="angle" joint="hinge"/>')
    state, ctrl = tensors(*moving_states(mj_model, 2))
    sim = simulator(mj_model, 2)
    now = torch.tensor([3.0, 4.0], dtype=diffsim.dtype)
    everything = sim.sensors(state, ctrl, time=now)
    assert torch.equal(everything[:, 0], now)
    assert torch.equal(sim.sensors(state, ctrl, ["angle", 1]), everything[:, [4, 1, 2, 3]])
    with pytest.raises(KeyError, match=r"sensor must be one of \['time', 'gyro', 'angle'\] or an id below 3, got 'x'"):
        sim.sensors(state, ctrl, ["x"])


@pytest.mark.parametrize(
    ("sensor", "reason"),
    [
        (
            '<user name="s" dim="1" objtype="site" objname="imu" needstage="pos" datatype="real"/>',
            "no sensor of this type",
        ),
        ('<rangefinder name="s" camera="corner"/>', "it is at a camera"),
        ('<rangefinder name="s" site="up" data="dist normal"/>', "data normal"),
        ('<gyro name="s" site="imu" delay=".01" nsample="5"/>', "delay"),
    ],
)
def test_unsupported_sensors_are_refused_when_they_are_read(sensor, reason):
    mj_model = model(f'{sensor}<gyro name="gyro" site="imu"/>')
    state, ctrl = tensors(*moving_states(mj_model, 2))
    sim = simulator(mj_model, 2)
    assert sim.sensors(state, ctrl, ["gyro"]).shape == (2, 3)
    with pytest.raises(UnsupportedSensorError, match=f"sensor 's' .*{reason}"):
        sim.sensors(state, ctrl)


ROBOT = """
<mujoco>
  <option integrator="Euler" cone="CONE" impratio="2"/>
  <default><geom friction=".6 .02 .01" condim="3" solref=".03 1.1"/>
    <default class="ghost"><geom contype="0" conaffinity="0"/></default></default>
  <worldbody>
    <geom name="floor" type="plane" size="5 5 .1"/>
    <site name="ground" pos=".2 0 .1"/>
    <body name="trunk" pos="0 0 .5">
      <freejoint name="root"/>
      <geom name="trunk" type="box" size=".2 .15 .05" mass="3" euler="0 5 0" condim="4"/>
      <site name="imu" pos=".1 .02 .05" euler="0 20 10"/>
      <body name="left" pos=".1 .2 0">
        <joint name="left" axis="0 1 0" range="-.3 .2" limited="true" solreflimit=".05 1"/>
        <geom name="left" type="capsule" size=".04" fromto="0 0 0 .05 0 -.4" condim="6"/>
        <site name="foot" pos=".05 0 -.4" size=".08" euler="0 30 0"/>
        <site name="box" type="box" pos=".05 0 -.42" size=".1 .1 .05" euler="0 10 20"/>
        <body name="toe" pos=".05 0 -.4"><joint name="toe" type="slide" axis="1 0 .2" range="-.02 .03" limited="true"/>
          <geom name="toe" type="sphere" size=".03" pos=".08 0 0" condim="1"/>
          <site name="toe" pos=".08 0 0" size=".1"/></body>
      </body>
      <body name="right" pos="-.1 -.2 0">
        <joint name="right" type="ball" range="0 .4" limited="true"/>
        <geom name="right" type="capsule" size=".04" fromto="0 0 0 -.05 0 -.4"/>
        <site name="ankle" pos="-.05 0 -.35" euler="10 20 30"/>
      </body>
    </body>
    <body name="crate" pos=".4 .2 .1"><freejoint/><geom name="crate" type="box" size=".1 .1 .1" mass="1"/></body>
    <body name="pendulum" pos="1 0 1"><joint name="swing" axis="0 1 0"/>
      <geom class="ghost" type="capsule" size=".03" fromto="0 0 0 0 0 -.5"/>
      <site name="bob" pos="0 0 -.4"/></body>
    <body name="tied" pos="1.1 .1 .5"><freejoint/><geom class="ghost" size=".05"/><site name="tied"/></body>
    <body name="stuck" pos="1.5 .1 .5"><freejoint/>
      <geom class="ghost" type="box" size=".05 .06 .07"/><site name="stuck" euler="3 4 5"/></body>
  </worldbody>
  <equality>
    <connect body1="pendulum" body2="tied" anchor="0 0 -.5" solref=".05 1"/>
    <weld body1="stuck" body2="pendulum" relpose="-.5 -.1 .1 .99 .1 0.02 .03" torquescale=".7" solref=".06 1.2"/>
  </equality>
  <tendon><fixed name="rope" limited="true" range="-.1 .1">
    <joint joint="left" coef="1"/><joint joint="toe" coef="3"/></fixed></tendon>
  <actuator>
    <position name="servo" joint="left" kp="20" forcerange="-5 5"/>
    <motor name="pull" tendon="rope" gear="2"/> <motor name="pull2" tendon="rope" gear="-1"/>
    <motor name="jet" joint="toe" gear="3"/>
    <general name="slow" joint="swing" dyntype="filter" dynprm=".1" gainprm="2" actearly="true"/>
  </actuator>
  <sensor>
    {}
  </sensor>
</mujoco>
"""
ACCELERATION = """
    <accelerometer site="imu"/> <accelerometer site="foot"/> <accelerometer site="ground"/>
    <force site="foot"/> <torque site="foot"/> <force site="imu"/> <torque site="imu"/> <torque site="ankle"/>
    <force site="tied"/> <torque site="bob"/> <force site="bob"/> <torque site="stuck"/> <force site="ground"/>
    <framelinacc objtype="body" objname="toe"/> <frameangacc objtype="site" objname="ankle"/>
    <touch site="foot"/> <touch site="box"/> <touch site="toe" cutoff="20"/>
    <actuatorfrc actuator="servo"/> <actuatorfrc actuator="jet"/> <jointactuatorfrc joint="toe"/>
    <jointactuatorfrc joint="left"/> <tendonactuatorfrc tendon="rope"/>
    <actuatorfrc actuator="slow"/> <jointactuatorfrc joint="swing"/>
    <jointlimitfrc joint="left"/> <jointlimitfrc joint="right"/> <jointlimitfrc joint="toe"/>
    <tendonlimitfrc tendon="rope"/>
"""
CONTACTS = """
    <contact geom1="left" geom2="floor" data="found force torque dist pos normal tangent linvel angvel" num="2"/>
    <contact geom1="floor" body2="trunk" data="force torque normal tangent linvel angvel" num="3" reduce="mindist"/>
    <contact body1="trunk" data="found force dist pos" num="3" reduce="maxforce"/>
    <contact subtree1="trunk" subtree2="world" data="found force torque pos normal" reduce="netforce"/>
    <contact subtree2="trunk" data="found force pos tangent" num="2" reduce="mindist"/>
    <contact site="box" data="found force pos"/>
    <contact body1="crate" subtree2="trunk" data="found force dist" num="2" reduce="maxforce"/>
"""


def standing(mj_model, count, seed=0):
    """States of the robot in touch with floor and crate, in motion."""
    rng = np.random.default_rng(seed)
    data = mujoco.MjData(mj_model)
    states = []
    while len(states) < count:
        mujoco.mj_resetData(mj_model, data)
        data.qpos[2] = 0.35 + 0.15 * rng.random()
        data.qvel[:] = 0.3 * rng.standard_normal(mj_model.nv)
        data.ctrl[:] = rng.standard_normal(mj_model.nu)
        mujoco.mj_step(mj_model, data, nstep=int(rng.integers(30, 120)))
        if data.ncon >= 3:
            states.append(np.concatenate([data.qpos, data.qvel, data.act]))
    return np.array(states), rng.standard_normal((count, mj_model.nu))


def robot(sensors, cone="pyramidal", surfaces=()):
    text = ROBOT.replace("CONE", cone).format(sensors)
    for geom, velocity in surfaces:
        text = text.replace(f'<geom name="{geom}"', f'<geom name="{geom}" surfacevel="{velocity}"')
    mj_model = mujoco.MjModel.from_xml_string(text)
    converge(mj_model)
    return mj_model


@pytest.mark.parametrize("cone", ["pyramidal", "elliptic"])
@pytest.mark.parametrize("sensors", [ACCELERATION, CONTACTS], ids=["acceleration", "contact"])
def test_forces(sensors, cone):
    check_forces(robot(sensors, cone))


@pytest.mark.parametrize("cone", ["pyramidal", "elliptic"])
def test_forces_on_surfaces_that_move(cone):
    surfaces = ("floor", "0.3 -0.2 0.1 0.1 0.2 0.5"), ("left", "-0.1 0.3 0.2 0.4 -0.2 0.1")
    check_forces(robot(CONTACTS, cone, surfaces))


def check_forces(mj_model):
    state, ctrl = standing(mj_model, 4)
    sim = simulator(mj_model, len(state))
    given = tensors(state, ctrl)
    values = sim.sensors(given[0], given[1]).numpy()
    expected = reference(mj_model, sensordata, state, ctrl)
    assert relative_error(values, expected) <= 1e-9
    assert gradient_error(mj_model, sensordata, sim.sensors, state, ctrl) <= 1e-6


def contact_list(_, data):
    """Count, then per contact geoms, position, frame, distance and force, sorted by geoms and position."""
    rows = []
    for i, contact in enumerate(data.contact):
        force = np.zeros(6)
        mujoco.mj_contactForce(_, data, i, force)
        rows.append(np.concatenate([contact.geom, contact.pos, contact.frame, [contact.dist], force]))
    return np.array(rows)


def test_contacts_equal_those_of_mujoco():
    mj_model = robot("")
    state, ctrl = standing(mj_model, 4)
    sim = simulator(mj_model, 4)
    found = sim.contacts(*tensors(state, ctrl))
    parts = (found.geom, found.position, found.frame.flatten(2), found.distance[..., None], found.force)
    rows = torch.cat([part.double() for part in parts], dim=2).numpy()
    for world in range(4):
        expected = reference(mj_model, contact_list, state[[world]], ctrl[[world]])[0].reshape(-1, 21)
        count = int(found.count[world])
        assert count == len(expected) >= 3
        assert (rows[world, count:, :2] == -1).all() and (rows[world, count:, 2:] == 0).all()
        order, same = (np.lexsort(np.round(part[:, :5].T, 6)) for part in (rows[world, :count], expected))
        assert relative_error(rows[world, order], expected[same]) <= 1e-9


def test_inputs_of_worlds_reach_the_sensors():
    """Mocap poses and forces on bodies, and gradients by them against differences of our own values."""
    mj_model = mujoco.MjModel.from_xml_string("""
    <mujoco><option integrator="Euler"/><worldbody>
      <body name="hand" mocap="true" pos="0 0 1"><site name="hand"/></body>
      <body name="tool" pos="0 0 .9"><freejoint/><geom size=".1"/>
        <site name="tool" pos=".1 .02 0" euler="20 30 0"/></body>
    </worldbody><equality><weld body1="hand" body2="tool" solref=".05 1"/></equality>
    <sensor><framepos objtype="site" objname="hand"/><accelerometer site="tool"/><force site="tool"/>
      <torque site="tool"/><framequat objtype="xbody" objname="hand"/></sensor></mujoco>""")
    converge(mj_model)
    rng = np.random.default_rng(0)
    pos, quat = np.array([[[0.1, 0.05, 1.0]]]), np.array([[[0.9, 0.1, 0.2, -0.3]]])
    push = rng.standard_normal((1, mj_model.nbody, 6))
    data = mujoco.MjData(mj_model)
    data.mocap_pos[:], data.mocap_quat[:], data.xfrc_applied[:] = pos[0], quat[0], push[0]
    data.qvel[:] = rng.standard_normal(6)
    mujoco.mj_forward(mj_model, data)
    state, ctrl = tensors(np.concatenate([data.qpos, data.qvel])[None], np.zeros((1, 0)))
    sim = simulator(mj_model, 1)

    def values(*inputs):
        return sim.sensors(state, ctrl, mocap_pos=inputs[0], mocap_quat=inputs[1], xfrc_applied=inputs[2])

    inputs = tensors(pos, quat, push, requires_grad=True)
    assert relative_error(values(*inputs).detach().numpy(), data.sensordata[None]) <= 1e-9
    assert torch.autograd.gradcheck(values, inputs, eps=1e-6, rtol=1e-6, atol=1e-5)
