"""Motions with a closed form: falls, pendulums, springs, energy, and each integrator's order of convergence."""

import math

import mujoco
import numpy as np
import pytest
import torch

import diffsim

from .engine import step, tensors
from .reference import INTEGRATORS, load, moving_states

GRAVITY = 9.81


def single(joint: str, body: str, *, integrator: str = "RK4", timestep: float = 1e-3) -> mujoco.MjModel:
    """One body on one joint under gravity."""
    return mujoco.MjModel.from_xml_string(f"""
        <mujoco>
          <option timestep="{timestep}" integrator="{integrator}" gravity="0 0 -{GRAVITY}"/>
          <worldbody><body>{joint}{body}</body></worldbody>
        </mujoco>""")


POINT = '<inertial pos="0 0 0" mass="2" diaginertia="0.01 0.01 0.01"/>'
BOB = '<inertial pos="0 0 -1" mass="2" diaginertia="1e-6 1e-6 1e-6"/>'


@pytest.mark.parametrize("integrator", INTEGRATORS)
def test_free_fall(integrator):
    mj_model = single("<freejoint/>", POINT, integrator=integrator)
    velocity, spin = np.array([1.0, -2.0, 3.0]), np.array([0.4, -0.3, 1.2])
    state = np.concatenate([[0, 0, 5, 1, 0, 0, 0], velocity, spin])[None]
    n, h = 500, mj_model.opt.timestep
    end = step(mj_model, state, np.zeros((1, 0)), n)[0]
    # Semi-implicit Euler sums v_1 ... v_n, which gives a fall g h t / 2 longer than the parabola.
    fall = GRAVITY * (n * h) ** 2 / 2 + (0 if integrator == "RK4" else GRAVITY * h * n * h / 2)
    np.testing.assert_allclose(end[:3], [n * h, -2 * n * h, 5 + 3 * n * h - fall], rtol=1e-12)
    np.testing.assert_allclose(end[7:10], velocity - [0, 0, GRAVITY * n * h], rtol=1e-12)
    # A body with equal principal moments rotates at a constant rate about a fixed axis.
    angle = np.linalg.norm(spin) * n * h
    axis = spin / np.linalg.norm(spin)
    np.testing.assert_allclose(end[3:7], [np.cos(angle / 2), *(np.sin(angle / 2) * axis)], atol=1e-12)
    np.testing.assert_allclose(end[10:], spin, rtol=1e-12)


def arithmetic_geometric_mean(a: float, b: float) -> float:
    while abs(a - b) > 1e-15 * a:
        a, b = (a + b) / 2, math.sqrt(a * b)
    return a


@pytest.mark.parametrize("amplitude", [1e-3, 0.5, 2.0])
def test_pendulum_period(amplitude):
    mj_model = single('<joint type="hinge" axis="0 1 0"/>', BOB)
    # Period at any amplitude: 2 pi / (omega agm(1, cos(amplitude / 2))); inertia m l^2 plus the bob's own.
    omega = math.sqrt(2 * GRAVITY / (2 + 1e-6))
    period = 2 * math.pi / (omega * arithmetic_geometric_mean(1.0, math.cos(amplitude / 2)))
    mj_model.opt.timestep = period / 2000
    end = step(mj_model, np.array([[amplitude, 0.0]]), np.zeros((1, 0)), 2000)[0]
    np.testing.assert_allclose(end, [amplitude, 0.0], atol=1e-9 * amplitude)
    half = step(mj_model, np.array([[amplitude, 0.0]]), np.zeros((1, 0)), 1000)[0]
    np.testing.assert_allclose(half, [-amplitude, 0.0], atol=1e-9 * amplitude)


def test_conical_pendulum():
    # On a ball joint: a steady circle at angle a needs spin^2 = g / (l cos a).
    mj_model = single('<joint type="ball"/>', BOB)
    tilt = 0.6
    rate = math.sqrt(GRAVITY / math.cos(tilt))
    mj_model.opt.timestep = 2 * math.pi / rate / 2000
    quat = np.array([np.cos(tilt / 2), 0, np.sin(tilt / 2), 0])
    spin = np.zeros(3)
    mujoco.mju_rotVecQuat(spin, np.array([0, 0, rate]), quat * [1, -1, -1, -1])
    start = np.concatenate([quat, spin])
    end = step(mj_model, start[None], np.zeros((1, 0)), 2000)[0]
    # A full turn changes the sign of the quaternion. The formula omits the bob's own inertia, 1e-6.
    np.testing.assert_allclose(end, np.concatenate([-quat, spin]), atol=2e-5)


def test_damped_spring():
    stiffness, damping, mass = 50.0, 0.8, 2.0
    joint = f'<joint type="slide" axis="1 0 0" stiffness="{stiffness}" damping="{damping}" springref="0.3"/>'
    mj_model = single(joint, POINT)
    decay = damping / (2 * mass)
    omega = math.sqrt(stiffness / mass - decay**2)
    t = 1.0
    end = step(mj_model, np.array([[0.5, 0.0]]), np.zeros((1, 0)), 1000)[0]
    cosine, sine = math.cos(omega * t), math.sin(omega * t)
    position = 0.3 + 0.2 * math.exp(-decay * t) * (cosine + decay / omega * sine)
    velocity = -0.2 * math.exp(-decay * t) * (decay**2 + omega**2) / omega * sine
    np.testing.assert_allclose(end, [position, velocity], atol=1e-10)


@pytest.mark.parametrize("name", ["spherical_pendulum", "multi_joint", "tree"])
def test_energy_is_conserved(name):
    mj_model = load(name, "RK4")
    mj_model.dof_damping[:] = 0
    mj_model.opt.timestep = 5e-4
    data = mujoco.MjData(mj_model)

    def energy(states: np.ndarray) -> np.ndarray:
        result = []
        for state in states:
            data.qpos[:], data.qvel[:] = np.split(state, [mj_model.nq])
            mujoco.mj_forward(mj_model, data)
            mujoco.mj_energyPos(mj_model, data)
            mujoco.mj_energyVel(mj_model, data)
            result.append(data.energy.sum())
        return np.array(result)

    state, ctrl = moving_states(mj_model, 4)
    end = step(mj_model, state, 0 * ctrl, 1000)
    assert np.abs(end - state).max() > 0.1
    np.testing.assert_allclose(energy(end), energy(state), atol=1e-7)


@pytest.mark.parametrize(("integrator", "order"), [("Euler", 1), ("implicitfast", 1), ("RK4", 4)])
@pytest.mark.parametrize("name", ["spherical_pendulum", "springs", "tree"])
def test_order_of_convergence(name, integrator, order):
    mj_model = load(name, integrator)
    state, ctrl = moving_states(mj_model, 1)
    duration = 0.08

    def end(num_steps: int, integrator: str = integrator) -> np.ndarray:
        mj_model.opt.integrator = getattr(mujoco.mjtIntegrator, f"mjINT_{integrator.upper()}")
        mj_model.opt.timestep = duration / num_steps
        return step(mj_model, state, ctrl, num_steps)

    exact = end(1024, "RK4")
    counts = [16, 32, 64]
    errors = [np.abs(end(count) - exact).max() for count in counts]
    slope = -np.polyfit(np.log(counts), np.log(errors), 1)[0]
    assert slope == pytest.approx(order, abs=0.15)


def test_gradient_of_free_fall():
    # d z / d v_z = t, d z / d z_0 = 1, and nothing else.
    mj_model = single("<freejoint/>", POINT)
    (state,) = tensors(np.array([[0, 0, 5, 1, 0, 0, 0, 1, 2, 3, 0, 0, 0.0]]), requires_grad=True)
    ctrl = torch.zeros(1, 0, dtype=diffsim.dtype)
    end = diffsim.Simulator(diffsim.Model(mj_model), 1).step(state, ctrl, num_steps=100)
    (grad,) = torch.autograd.grad(end[0, 2], [state])
    expected = np.zeros(13)
    expected[2], expected[9] = 1, 0.1
    np.testing.assert_allclose(grad[0].numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("first_impedance", [0.9, 0.5, 0.0])
def test_gradient_omits_the_jump_at_the_onset_of_a_limit(first_impedance):
    # The mean of the next velocity over positions spread evenly about the limit, and its derivative by their centre.
    # Between the last motion that misses the limit and the first that touches it, the velocity jumps by h d0 b |v|:
    # MuJoCo damps the approach with b = 2 / (dmax timeconst), and with impedance d0 at the onset.
    h, dmax, timeconst, velocity, width, n = 2e-3, 0.95, 0.02, -1.5, 2e-4, 4001
    limit = f'solimplimit="{first_impedance} {dmax} 0.001" solreflimit="{timeconst} 1"'
    mj_model = single(
        f'<joint type="slide" limited="true" range="0 9" {limit}/>', POINT, integrator="Euler", timestep=h
    )
    mj_model.opt.gravity[:] = 0.0
    position = torch.linspace(-width / 2, width / 2, n, dtype=diffsim.dtype, requires_grad=True)
    state = torch.stack([position, torch.full_like(position, velocity)], dim=1)
    after = diffsim.Simulator(diffsim.Model(mj_model), n).step(state, torch.zeros(n, 0, dtype=diffsim.dtype))[:, 1]
    (slope,) = torch.autograd.grad(after.sum(), position)
    truth = (after[-1] - after[0]).item() / width
    jump = -h * first_impedance * 2 / (dmax * timeconst) * -velocity
    # Tolerances: a mean over n points differs from the integral by 1 / n of it, below 2e-3 of 1,400. MuJoCo's smallest
    # impedance is 1e-4, not 0, which gives 0.16.
    assert slope.mean().item() - truth == pytest.approx(-jump / width, rel=2e-3, abs=1.0)
