"""The noslip solver's steps, forces and gradients equal C MuJoCo's, with its order of contacts and its islands."""

import mujoco
import numpy as np
import pytest
import torch

from diffsim.compile.parameters import BEFORE_NOSLIP

from . import test_mocap
from .contact_reference import derivative, visited_states
from .engine import raw_jacobian, simulator, step, tangent_jacobian, tensors
from .quantities import gradient_error
from .reference import Stepper, converge, parts_error, relative_error
from .test_contact_gradient import errors
from .test_contact_parity import check_steps
from .test_parameters import compare

CONE = mujoco.mjtCone
MOST = 16  # contacts of the test model

# Contacts of each dimension, in three islands, beside dry friction of joints, of a ball joint, and of tendons, of which
# one runs through space and has armature.
XML = """
<mujoco model="contact_noslip">
  <option timestep="0.004" noslip_iterations="4" noslip_tolerance="0" gravity="0.8 0.5 -9.81"/>
  <default><geom friction="0.6 0.02 0.01" density="500"/></default>
  <worldbody>
    <geom name="floor" type="plane" size="5 5 0.1"/>
    <site name="peg" pos="0.5 0.1 0.6"/>
    <body name="base" pos="0 0 0.098">
      <freejoint/>
      <geom name="base" type="box" size="0.15 0.12 0.1" condim="4"/>
      <body name="arm" pos="0.1 0 0.1">
        <joint name="shoulder" axis="0 1 0" frictionloss="0.3" damping="0.1"/>
        <geom name="arm" type="capsule" size="0.04" fromto="0 0 0 0.3 0 0"/>
        <site name="arm" pos="0.2 0.05 0.02"/>
        <body name="fore" pos="0.3 0 0">
          <joint name="elbow" axis="0 1 0.3" damping="0.1"/>
          <geom name="fore" type="capsule" size="0.04" fromto="0 0 0 0.2 0 -0.15"/>
          <body name="ball" pos="0.2 0 -0.15">
            <joint name="wrist" type="ball" frictionloss="0.05" damping="0.02"/>
            <geom name="ball" type="sphere" size="0.06" pos="0.02 0 -0.01" condim="6"/>
          </body>
        </body>
      </body>
    </body>
    <body name="marble" pos="-0.3 0.4 0.049">
      <freejoint/>
      <geom name="marble" type="sphere" size="0.05" condim="3"/>
    </body>
    <body name="puck" pos="-0.5 -0.3 0.028">
      <freejoint/>
      <geom name="puck" type="capsule" size="0.03 0.1" euler="90 0 0" condim="1"/>
      <geom name="knob" type="sphere" size="0.06" pos="0.03 0 0.031" condim="6" friction="0.3 0.01 0.01"/>
    </body>
  </worldbody>
  <tendon>
    <fixed name="band" frictionloss="0.2"><joint joint="shoulder" coef="0.5"/><joint joint="elbow" coef="-1"/></fixed>
    <spatial name="cable" frictionloss="0.4" armature="0.05" damping="0.5">
      <site site="peg"/><site site="arm"/>
    </spatial>
  </tendon>
  <actuator>
    <motor joint="shoulder" gear="3" ctrlrange="-1 1"/>
    <motor tendon="cable" ctrlrange="-1 1"/>
  </actuator>
</mujoco>
"""


def model(cone: mujoco.mjtCone, integrator: str = "Euler", tolerance: float = 0) -> mujoco.MjModel:
    """The test model, whose solver in C converges."""
    mj_model = mujoco.MjModel.from_xml_string(XML)
    mj_model.opt.integrator = getattr(mujoco.mjtIntegrator, f"mjINT_{integrator.upper()}")
    converge(mj_model)
    mj_model.opt.cone, mj_model.opt.iterations, mj_model.opt.noslip_tolerance = cone, 50, tolerance
    if cone == CONE.mjCONE_ELLIPTIC:
        mj_model.opt.impratio = 3
    return mj_model


def sweeps(mj_model: mujoco.MjModel, state: np.ndarray, ctrl: np.ndarray) -> set[int]:
    """Numbers of sweeps of the first island in C MuJoCo: all iterations, without those of the solver before."""
    without = mj_model.__copy__()
    without.opt.noslip_iterations = 0
    counts = []
    for m in (mj_model, without):
        stepper = Stepper(m)
        for world in zip(state, ctrl, strict=True):
            mujoco.mj_forward(m, stepper.set(*world))
            counts.append(int(stepper.data.solver_niter[0]))
    return set(np.subtract(*np.split(np.array(counts), 2)).tolist())


@pytest.mark.parametrize("cone", [CONE.mjCONE_PYRAMIDAL, CONE.mjCONE_ELLIPTIC])
def test_early_end_and_islands(cone):
    mj_model = model(cone, tolerance=1e-5)
    mj_model.opt.noslip_iterations = 8
    state, ctrl = visited_states(mj_model, 40, 5)
    assert len(sweeps(mj_model, state, ctrl)) > 2
    check_steps(mj_model, state, ctrl, 3)
    together = step(mj_model, state, ctrl)
    mj_model.opt.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_ISLAND)
    check_steps(mj_model, state, ctrl, 1)
    assert parts_error(mj_model, step(mj_model, state, ctrl), together) > 1e-9


def test_a_hundred_steps():
    mj_model = model(CONE.mjCONE_ELLIPTIC)
    state, ctrl = visited_states(mj_model, 4, 5)
    expected = Stepper(mj_model).step_batch(state, ctrl, 100)
    assert parts_error(mj_model, step(mj_model, state, ctrl, 100), expected) <= 1e-6


ORDER = """
<mujoco>
  <option noslip_iterations="2" noslip_tolerance="0"/>
  <worldbody>
    <geom type="plane" size="2 2 .1"/>
    <body name="second" pos="0 0 .1"><freejoint/>
      <geom name="left" type="box" size=".1 .1 .1"/><geom name="right" type="capsule" size=".1 .1" pos=".25 0 0"/>
    </body>
    <body name="third" pos="0.02 0 .298"><freejoint/>
      <geom name="top" type="box" size=".1 .1 .1"/><geom name="side" type="capsule" size=".1 .1" pos=".23 0 0"/>
    </body>
  </worldbody>
  <contact><pair geom1="right" geom2="side" condim="6"/><pair geom1="left" geom2="top" condim="3"/></contact>
</mujoco>
"""


@pytest.mark.parametrize("midphase", ["enable", "disable"])
def test_the_order_of_contacts(midphase):
    """Two sweeps depend on it: pairs of bodies, explicit pairs first."""
    flag = f'<option><flag midphase="{midphase}"/></option><worldbody>'
    mj_model = mujoco.MjModel.from_xml_string(ORDER.replace("<worldbody>", flag))
    converge(mj_model)
    state, ctrl = visited_states(mj_model, 40, 3)
    check_steps(mj_model, state, ctrl, 1)
    sim, data = simulator(mj_model, len(state)), mujoco.MjData(mj_model)
    contacts = sim.contacts(*tensors(state, ctrl))
    several = 0
    for world, (count, geoms) in enumerate(zip(contacts.count.tolist(), contacts.geom.numpy(), strict=True)):
        data.qpos[:] = state[world, : mj_model.nq]
        mujoco.mj_forward(mj_model, data)
        expected = data.contact.geom[data.contact.efc_address >= 0]
        np.testing.assert_array_equal(geoms[:count], expected)
        several += len(np.unique(expected, axis=0)) > 2
    assert several > 5


@pytest.mark.parametrize(
    ("cone", "integrator"),
    [(CONE.mjCONE_ELLIPTIC, "RK4"), (CONE.mjCONE_ELLIPTIC, "implicit"), (CONE.mjCONE_PYRAMIDAL, "implicitfast")],
)
def test_gradients(cone, integrator):
    mj_model = model(cone, integrator)
    reference = derivative(mj_model, 3 if integrator == "RK4" else 6, 1)
    assert len(reference.state) >= 0.5 * reference.tried
    sim = simulator(mj_model, len(reference.state))
    x, u = tensors(reference.state, reference.ctrl, requires_grad=True)
    result = sim.step(x, u)
    raw = raw_jacobian(result, x, u)
    own = tangent_jacobian(mj_model, raw, reference.state, result.detach().numpy())
    for name, error in errors(own, reference.jacobian, mj_model.nv).items():
        # sweeps have kinks of their own, which the selection of the states does not see
        assert np.median(error) <= 1e-7 and np.quantile(error, 0.75) <= 1e-6, (name, error)
    rows = torch.cat(sim.linearize(x.detach(), u.detach()), dim=2).numpy()
    assert relative_error(rows, own) <= 1e-9


def forces(mj_model: mujoco.MjModel, data: mujoco.MjData) -> np.ndarray:
    """The contacts' forces, zero beyond the last one, those of all constraints on the dofs, and the accelerations."""
    rows = np.zeros((MOST, 6))
    for row, contact in enumerate(np.flatnonzero(data.contact.efc_address[: data.ncon] >= 0)):
        mujoco.mj_contactForce(mj_model, data, int(contact), rows[row])
    return np.concatenate([rows.ravel(), data.qfrc_constraint, data.qacc])


@pytest.mark.parametrize("cone", [CONE.mjCONE_PYRAMIDAL, CONE.mjCONE_ELLIPTIC])
def test_sensed_forces(cone):
    mj_model = model(cone)
    reference = derivative(mj_model, 6, 1)
    sim = simulator(mj_model, len(reference.state))

    def own(state: torch.Tensor, ctrl: torch.Tensor) -> torch.Tensor:
        point = sim.forward(state, ctrl)
        return torch.cat(
            [sim.contacts(state, ctrl).force[:, :MOST].flatten(1), point.qfrc_constraint, point.qacc], dim=1
        )

    world = reference.state[0], reference.ctrl[0]
    stepper = Stepper(mj_model)
    mujoco.mj_forward(mj_model, stepper.set(*world))
    expected = forces(mj_model, stepper.data)
    actual = own(*tensors(reference.state, reference.ctrl))[0].numpy()
    assert np.abs(actual - expected).max() <= 1e-8 * np.abs(expected).max()
    assert gradient_error(mj_model, forces, own, reference.state, reference.ctrl, tolerance=1e-6) <= 1e-5


def test_gradient_by_mocap_poses():
    """Of a mocap body with a joint below it, that touches others."""
    finger = '<body name="finger" pos="0.1 0 0" euler="10 20 30">'
    text = test_mocap.XML.replace(finger, finger + '<joint axis="0 1 0.2" damping="0.1" stiffness="5"/>')
    mj_model = mujoco.MjModel.from_xml_string(text.replace("<option", '<option noslip_iterations="4" cone="elliptic"'))
    converge(mj_model)
    mj_model.opt.iterations, mj_model.opt.noslip_tolerance = 50, 0
    *floats, active = inputs = test_mocap.cases(mj_model)
    state, ctrl, place, turn = tensors(*floats, requires_grad=True)
    flat = [place.detach().flatten(1).requires_grad_(), turn.detach().flatten(1).requires_grad_()]
    given = [state, ctrl, flat[0].unflatten(1, (-1, 3)), flat[1].unflatten(1, (-1, 4)), torch.tensor(active)]
    result = test_mocap.own_step(simulator(mj_model, len(active)), given)
    for index, own in ((2, flat[0]), (3, flat[1])):
        found = raw_jacobian(result, own)
        rows = zip(*inputs, strict=True)
        expected = np.array([test_mocap.differences(mj_model, world, index) for world in rows])
        assert relative_error(found, expected) <= 1e-6


@pytest.mark.parametrize("cone", [CONE.mjCONE_PYRAMIDAL, CONE.mjCONE_ELLIPTIC])
def test_gradients_by_parameters_of_the_forces_before_it(cone):
    servo = '<position joint="elbow" kp="20" kv="0.5"/>'
    text = XML.replace('name="elbow"', 'name="elbow" stiffness="3" range="10 60"')
    text = text.replace("<actuator>", f"<actuator>{servo}").replace('name="cable"', 'name="cable" stiffness="30"')
    mj_model = mujoco.MjModel.from_xml_string(text)
    converge(mj_model)
    mj_model.opt.cone, mj_model.opt.iterations = cone, 50
    # Not where the puck rests: in an elliptic cone, one more force either moves it or does not.
    state, ctrl = (rows[1] for rows in visited_states(mj_model, 6, 5, inside=True, seed=3))
    names = [name for name in BEFORE_NOSLIP if name != "tendon_range"]
    assert compare(mj_model, state, ctrl, names) == set(names)
    sim, inputs = simulator(mj_model, 1), tensors(state[None], ctrl[None])

    def pull(damping: torch.Tensor) -> torch.Tensor:
        return sim.contacts(*inputs, parameters={"dof_damping": damping}).force.square().sum()

    damping = torch.tensor(mj_model.dof_damping + 0.1, requires_grad=True)
    (found,) = torch.autograd.grad(pull(damping), damping)
    direction = torch.linspace(-1, 2, mj_model.nv, dtype=damping.dtype)
    with torch.no_grad():
        expected = (pull(damping + 1e-6 * direction) - pull(damping - 1e-6 * direction)) / 2e-6
    assert float(found @ direction) == pytest.approx(float(expected), rel=1e-6)


def test_other_gradients_by_parameters_are_refused():
    mj_model = model(CONE.mjCONE_PYRAMIDAL)
    state, ctrl = tensors(*visited_states(mj_model, 1, 5))
    mass = torch.tensor(mj_model.body_mass, requires_grad=True)
    sim = simulator(mj_model, 1)
    sim.step(state, ctrl, parameters={"body_mass": mass.detach()})
    with pytest.raises(NotImplementedError, match="noslip solver acts, but body_mass does"):
        sim.step(state, ctrl, parameters={"body_mass": mass})
