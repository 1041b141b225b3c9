"""Poses of mocap bodies and active equality constraints as inputs, against C MuJoCo, with gradients by the poses."""

import re
from typing import Any

import mujoco
import numpy as np
import pytest
import torch

import diffsim
from diffsim.engine.black_box_simulator import BlackBoxSimulator
from diffsim.tasks import Task

from .engine import raw_jacobian, simulator, tangent_jacobian, tensors
from .reference import INTEGRATORS, converge, parts_error, relative_error

XML = """
<mujoco>
  <option timestep="0.004" gravity="0.3 -0.2 -9.81" density="300" viscosity="0.2"/>
  <worldbody>
    <geom type="plane" size="3 3 .1"/>
    <body name="hand" mocap="true" pos="0.1 0.2 0.7" quat="0.9 0.1 0.3 -0.2">
      <geom type="box" size=".12 .1 .05" pos="0.02 0 0.01"/>
      <body name="finger" pos="0.1 0 0" euler="10 20 30"><geom type="sphere" size=".06" pos="0.05 0 0"/></body>
    </body>
    <body name="hook" mocap="true" pos="1 0 1"/>
    <body name="ball" pos="0.12 0.22 0.8"><freejoint/><geom type="sphere" size=".06" mass="0.5"/></body>
    <body name="rod" pos="0.3 0.2 0.7"><freejoint/><geom type="capsule" size=".05 .1" mass="0.4"/></body>
    <body name="upper" pos="1 0 0.9">
      <joint type="ball" damping="0.1"/>
      <geom type="capsule" fromto="0 0 0 0 0 -0.3" size=".03"/>
      <body name="fore" pos="0 0 -0.3">
        <joint name="elbow" axis="0 1 0" damping="0.05"/>
        <geom type="capsule" fromto="0 0 0 0.2 0 -0.3" size=".03"/>
      </body>
    </body>
  </worldbody>
  <equality>
    <weld body1="hook" body2="fore" relpose="0.1 0.1 0.3 1 0.1 0 0.1" solref="0.05 1"/>
    <connect body1="hand" body2="rod" anchor="0.1 0.1 0.1" active="false"/>
    <joint joint1="elbow" polycoef="0.2 0 0 0 0" active="false"/>
    <weld body1="ball" body2="hand" active="false"/>
  </equality>
  <actuator><motor joint="elbow" ctrlrange="-1 1"/></actuator>
</mujoco>
"""
WORLDS = 8
every_integrator = pytest.mark.parametrize("integrator", INTEGRATORS)


def load(integrator: str = "Euler") -> mujoco.MjModel:
    mj_model = mujoco.MjModel.from_xml_string(XML)
    mj_model.opt.integrator = getattr(mujoco.mjtIntegrator, f"mjINT_{integrator.upper()}")
    converge(mj_model)
    return mj_model


def cases(mj_model: mujoco.MjModel, seed: int = 0) -> list[np.ndarray]:
    """State, control, mocap_pos, mocap_quat (not normalized) and eq_active of every world."""
    rng, data, rows = np.random.default_rng(seed), mujoco.MjData(mj_model), []
    for _ in range(WORLDS):
        mujoco.mj_resetData(mj_model, data)
        mujoco.mj_integratePos(mj_model, data.qpos, 0.03 * rng.standard_normal(mj_model.nv), 1)
        state = np.concatenate([data.qpos, 0.5 * rng.standard_normal(mj_model.nv)])
        place = data.mocap_pos + 0.02 * rng.standard_normal(data.mocap_pos.shape)
        turn = 1.3 * data.mocap_quat + 0.1 * rng.standard_normal(data.mocap_quat.shape)
        rows.append((state, rng.uniform(-0.9, 0.9, mj_model.nu), place, turn, rng.random(mj_model.neq) < 0.6))
    return [np.array(column) for column in zip(*rows, strict=True)]


def step(mj_model: mujoco.MjModel, data: mujoco.MjData, world: tuple, num_steps: int = 1) -> np.ndarray:
    """One world's state after steps of C MuJoCo, started cold."""
    mujoco.mj_resetData(mj_model, data)
    data.qpos[:], data.qvel[:] = np.split(world[0], [mj_model.nq])
    data.ctrl[:], data.mocap_pos[:], data.mocap_quat[:], data.eq_active[:] = world[1:]
    mujoco.mj_step(mj_model, data, nstep=num_steps)
    return np.concatenate([data.qpos, data.qvel])


def own_step(sim: Any, inputs: list, num_steps: int = 1) -> torch.Tensor:
    state, ctrl, place, turn, active = inputs
    return sim.step(state, ctrl, num_steps, mocap_pos=place, mocap_quat=turn, eq_active=active)


def differences(mj_model: mujoco.MjModel, world: tuple, index: int) -> np.ndarray:
    """Derivative of C's step by an input's coordinates, by extrapolated central differences: [nq + nv, size]."""
    data, columns = mujoco.MjData(mj_model), []
    for i in range(world[index].size):

        def slope(h: float, i: int = i) -> np.ndarray:
            shift = np.zeros(world[index].size)
            shift[i] = h
            moved = [
                (*world[:index], world[index] + s * shift.reshape(world[index].shape), *world[index + 1 :])
                for s in (1, -1)
            ]
            return (step(mj_model, data, moved[0]) - step(mj_model, data, moved[1])) / (2 * h)

        columns.append((4 * slope(1e-5) - slope(2e-5)) / 3)
    return np.array(columns).T


@every_integrator
def test_parity(integrator):
    mj_model = load(integrator)
    inputs = cases(mj_model)
    data = mujoco.MjData(mj_model)
    for num_steps, tolerance in ((1, 1e-9), (4, 1e-7)):
        expected = np.array([step(mj_model, data, world, num_steps) for world in zip(*inputs, strict=True)])
        *floats, active = inputs
        own = own_step(simulator(mj_model, WORLDS), [*tensors(*floats), torch.tensor(active)], num_steps)
        assert parts_error(mj_model, own.numpy(), expected) <= tolerance


@every_integrator
def test_gradient(integrator):
    mj_model = load(integrator)
    inputs = cases(mj_model)
    *floats, active = inputs
    state, ctrl, place, turn = tensors(*floats, requires_grad=True)
    flat = [place.detach().flatten(1).requires_grad_(), turn.detach().flatten(1).requires_grad_()]
    given = [state, ctrl, flat[0].unflatten(1, (-1, 3)), flat[1].unflatten(1, (-1, 4)), torch.tensor(active)]
    result = own_step(simulator(mj_model, WORLDS), given)
    for index, own in ((2, flat[0]), (3, flat[1])):
        found = raw_jacobian(result, own)
        expected = np.array([differences(mj_model, world, index) for world in zip(*inputs, strict=True)])
        assert relative_error(found, expected) <= 1e-6
        assert np.abs(found).max() > 0.1


def test_defaults_are_the_model_s():
    mj_model = load()
    state, ctrl = tensors(*cases(mj_model)[:2])
    sim, data = simulator(mj_model, WORLDS), mujoco.MjData(mj_model)
    given = (data.mocap_pos, data.mocap_quat, data.eq_active.astype(bool))
    worlds = [(s.numpy(), u.numpy(), *given) for s, u in zip(state, ctrl, strict=True)]
    expected = np.array([step(mj_model, data, world) for world in worlds])
    assert parts_error(mj_model, sim.step(state, ctrl).numpy(), expected) <= 1e-9


def test_linearize_and_forward():
    mj_model = load()
    *floats, active = cases(mj_model)
    state, ctrl, place, turn = tensors(*floats)
    others: dict[str, Any] = {"mocap_pos": place, "mocap_quat": turn, "eq_active": torch.tensor(active)}
    sim = simulator(mj_model, WORLDS)
    a, b = sim.linearize(state, ctrl, **others)
    for value in (state, ctrl):
        value.requires_grad_()
    result = sim.step(state, ctrl, **others)
    raw = raw_jacobian(result, state, ctrl)
    expected = tangent_jacobian(mj_model, raw, state.detach().numpy(), result.detach().numpy())
    assert relative_error(torch.cat([a, b], dim=2).numpy(), expected) <= 1e-9
    data = mujoco.MjData(mj_model)
    qacc = []
    for world in zip(*floats, active, strict=True):
        step(mj_model, data, world, 0)
        mujoco.mj_forward(mj_model, data)
        qacc.append(data.qacc.copy())
    assert relative_error(sim.forward(state, ctrl, **others).qacc.detach().numpy(), np.array(qacc)) <= 1e-9


def test_black_box_agrees():
    mj_model = load()
    *floats, active = cases(mj_model)
    outcomes = []
    for sim in (simulator(mj_model, WORLDS), BlackBoxSimulator(mj_model)):
        inputs = tensors(*floats, requires_grad=True)
        result = own_step(sim, [*inputs, torch.tensor(active)])
        weight = torch.linspace(-1, 1, result.shape[1], dtype=result.dtype)
        outcomes.append([result, *torch.autograd.grad((result * weight).sum(), inputs)])
    for own, other in zip(*outcomes, strict=True):
        assert relative_error(own.detach().numpy(), other.detach().numpy()) <= 1e-5


def test_second_derivative():
    mj_model = load()
    *floats, active = cases(mj_model)
    state, ctrl, place, turn = tensors(*floats)
    sim = simulator(mj_model, WORLDS)

    def function(place: torch.Tensor) -> torch.Tensor:
        return own_step(sim, [state, ctrl, place, turn, torch.tensor(active)]).square().sum()

    direction = torch.linspace(-1, 1, place.numel(), dtype=place.dtype).view_as(place)
    _, product = torch.autograd.functional.hvp(function, place, direction)
    assert isinstance(product, torch.Tensor)
    ends = [torch.func.grad(function)(place + s * direction) for s in (1e-5, -1e-5)]
    assert relative_error(product.numpy(), ((ends[0] - ends[1]) / 2e-5).numpy()) <= 1e-4


class Tow(Task):
    """Tow an arm by a mocap body that moves with the state."""

    xml_file, frame_skip, max_episode_steps, simulated = XML, 2, 20, True

    def reset_model(self, generator):
        return self.init_qpos + self.uniform(self.mj_model.nq, 0.01, generator), self.uniform(
            self.mj_model.nv, 0.1, generator
        )

    def observation(self, state):
        return state

    def reward(self, state, action, next_state):
        return -next_state[:, :3].square().sum(1)

    def simulator_arguments(self, state):
        hand = torch.cat([state[:, :2], state[:, 2:3] - 0.12], dim=1)
        place = torch.stack([hand, torch.ones_like(hand)], dim=1)
        active = torch.tensor([True, False, True, False]).expand(len(state), -1)
        return {"mocap_pos": place, "eq_active": active}


def test_task():
    report = diffsim.check_task(Tow, num_envs=4, num_steps=5)
    assert report.ok, str(report)


@pytest.mark.parametrize(
    ("name", "value", "error", "message"),
    [
        (
            "mocap_pos",
            torch.zeros(WORLDS, 2, dtype=diffsim.dtype),
            ValueError,
            r"mocap_pos must have shape \(8, 2, 3\)",
        ),
        ("mocap_pos", np.zeros((WORLDS, 2, 3)), TypeError, "mocap_pos must be a torch.Tensor"),
        ("mocap_quat", torch.zeros(WORLDS, 2, 4, dtype=torch.int32), ValueError, "mocap_quat must have dtype"),
        (
            "mocap_pos",
            torch.full((WORLDS, 2, 3), torch.nan, dtype=diffsim.dtype),
            ValueError,
            "mocap_pos must be finite",
        ),
        ("eq_active", torch.ones(WORLDS, 4, dtype=diffsim.dtype), ValueError, "eq_active must have dtype torch.bool"),
    ],
)
def test_bad_input(name, value, error, message):
    mj_model = load()
    state, ctrl = tensors(*cases(mj_model)[:2])
    with pytest.raises(error, match=message):
        simulator(mj_model, WORLDS).step(state, ctrl, **{name: value})


def test_a_constraint_that_is_not_supported_cannot_be_activated():
    # MuJoCo's dJ/dt v is not exact where a joint follows a ball joint.
    ball, connect = (
        '<joint type="ball" damping="0.1"/>',
        '<connect body1="fore" body2="hook" anchor="0 0 0" active="false"/>',
    )
    text = XML.replace(ball, f'{ball}<joint name="after" type="slide" axis="1 0 0"/>')
    text = re.sub(r'<weld body1="hook" .*/>', connect, text)
    sim = simulator(mujoco.MjModel.from_xml_string(text), WORLDS)
    state = torch.zeros(WORLDS, sim.model.state_size, dtype=diffsim.dtype)
    active = torch.ones(WORLDS, 4, dtype=torch.bool)
    with pytest.raises(ValueError, match="eq_active must be None for a model with unsupported .*: equality connect #0"):
        sim.step(state, torch.zeros(WORLDS, 1, dtype=diffsim.dtype), eq_active=active)
