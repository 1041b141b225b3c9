"""Second derivatives, forward mode and `torch.func` of the physics: closed forms, C MuJoCo, symmetry, and refusals."""

import functools
import json
import os

import mujoco
import numpy as np
import pytest
import torch
from torch.autograd import functional, gradcheck, gradgradcheck

import diffsim
from diffsim.engine.black_box_simulator import BlackBoxSimulator
from tests import processes

from .contact_reference import load_task, model_states, task_states
from .engine import simulator, tensors
from .reference import Stepper, load

GRAVITY, TIMESTEP = 9.81, 2e-3
PENDULUM = f"""
<mujoco>
  <option timestep="{TIMESTEP}" gravity="0 0 -{GRAVITY}" integrator="Euler"/>
  <worldbody>
    <body name="arm">
      <joint name="hinge" axis="0 1 0"/>
      <inertial pos="0 0 -1" mass="2" diaginertia="1 1 1"/>
    </body>
  </worldbody>
  <actuator><motor joint="hinge" gear="3"/></actuator>
</mujoco>"""


@functools.cache
def pendulum(num_worlds: int = 1) -> diffsim.Simulator:
    return diffsim.Simulator(diffsim.Model.from_mjcf(PENDULUM), num_worlds)


def swing(state: torch.Tensor, ctrl: torch.Tensor, num_steps: int) -> torch.Tensor:
    """The pendulum in torch: a = (3 u - 2 g sin q) / 3, the inertia about the hinge being 1 + 2 * 1**2."""
    q, v = state[:, :1], state[:, 1:]
    for _ in range(num_steps):
        v = v + TIMESTEP * (3 * ctrl - 2 * GRAVITY * q.sin()) / 3
        q = q + TIMESTEP * v
    return torch.cat([q, v], dim=1)


def loss(step):
    """A function of state and control whose cotangent of the next state also depends on them."""
    return lambda state, ctrl: (step(state, ctrl, 20) ** 3).sum() + (state * ctrl).sum()


STATE, CTRL = torch.tensor([[0.7, 0.3]], dtype=torch.float64), torch.tensor([[0.4]], dtype=torch.float64)
DIRECTION = (torch.tensor([[0.2, -1.0]], dtype=torch.float64), torch.tensor([[0.5]], dtype=torch.float64))


@pytest.mark.parametrize("helper", ["hessian", "hvp", "vhp"])
def test_pendulum_by_autograd_functional(helper):
    rest = () if helper == "hessian" else (DIRECTION,)
    found = getattr(functional, helper)(loss(pendulum().step), (STATE, CTRL), *rest)
    expected = getattr(functional, helper)(loss(swing), (STATE, CTRL), *rest)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=2e-8)


@pytest.mark.parametrize(
    "transform", ["grad", "hessian", "jacrev", "jacfwd", "jvp", "vjp", "vmap", "jacrev of jacrev", "vmap of hessian"]
)
def test_pendulum_by_torch_func(transform):
    func = torch.func
    many = torch.stack([STATE, STATE - 1.0, 2 * STATE]), torch.stack([CTRL, -CTRL, 0 * CTRL])
    calls = {
        "grad": lambda step: func.grad(loss(step), (0, 1))(STATE, CTRL),
        "hessian": lambda step: func.hessian(loss(step), (0, 1))(STATE, CTRL),
        "jacrev": lambda step: func.jacrev(step, (0, 1))(STATE, CTRL, 20),
        "jacfwd": lambda step: func.jacfwd(step, (0, 1))(STATE, CTRL, 20),
        "jvp": lambda step: func.jvp(lambda x, u: step(x, u, 20), (STATE, CTRL), DIRECTION),
        "vjp": lambda step: func.vjp(lambda x, u: step(x, u, 20), STATE, CTRL)[1](DIRECTION[0]),
        "vmap": lambda step: func.vmap(lambda x, u: step(x, u, 20))(*many),
        "jacrev of jacrev": lambda step: func.jacrev(func.jacrev(loss(step)))(STATE, CTRL),
        "vmap of hessian": lambda step: func.vmap(func.hessian(loss(step)))(*many),
    }
    torch.testing.assert_close(calls[transform](pendulum().step), calls[transform](swing), rtol=1e-8, atol=2e-8)


def test_worlds_do_not_mix_and_directions_of_any_size_are_exact():
    state, ctrl = torch.randn(3, 2).double(), torch.randn(3, 1).double()
    directions = torch.randn(3, 2).double() * torch.tensor([[1e-9], [0.0], [1e9]])
    found, expected = (
        functional.vhp(lambda x, step=step: (step(x, ctrl, 5) ** 3).sum(), state, directions)[1]
        for step in (pendulum(3).step, swing)
    )
    assert (found[1] == 0).all()
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=0.0)


# ------------------------------------------------------------------------------------------------- C MuJoCo


def second_difference(stepper, bar, state, ctrl, one, two, num_steps, h) -> float:
    """d2/da db of bar @ step(state + a one + b two) at 0, by differences of C MuJoCo, extrapolated over h and h / 2."""

    def mixed(h: float) -> float:
        signs = ((1, 1), (1, -1), (-1, 1), (-1, -1))
        values = (a * b * bar @ stepper.step(state + h * (a * one + b * two), ctrl, num_steps) for a, b in signs)
        return sum(values) / (4 * h * h)

    return (4 * mixed(h / 2) - mixed(h)) / 3


CASES = {
    "free_body": lambda: (load("free_body"), *model_states("free_body", 40)),
    "multi_joint": lambda: (load("multi_joint"), *model_states("multi_joint", 40)),
    "contact_rolling_ball": lambda: (load("contact_rolling_ball"), *model_states("contact_rolling_ball", 40)),
    "contact_plane": lambda: (load("contact_plane"), *model_states("contact_plane", 40)),
    "hopper": lambda: (load_task("Hopper-v5")[0], *task_states("Hopper-v5", 40)),
}


@pytest.mark.parametrize("name", CASES)
def test_hessian_equals_second_differences_of_c_mujoco(name):
    mj_model, state, ctrl = CASES[name]()
    rng = np.random.default_rng(0)
    one, two, bar = rng.standard_normal((3, *state.shape))
    stepper = Stepper(mj_model)
    rows = list(zip(bar, state, ctrl, one, two, strict=True))
    coarse, fine = (np.array([second_difference(stepper, *row, 2, h) for row in rows]) for h in (2e-5, 1e-5))
    x, u, w, v, ybar = tensors(state, ctrl, one, two, bar)
    sim = simulator(mj_model, len(state))
    products = [functional.vhp(lambda x: (sim.step(x, u, 2) * ybar).sum(), x, d)[1] for d in (w, v)]
    found, mirrored = (torch.linalg.vecdot(a, b).numpy() for a, b in zip(products, (v, w), strict=True))
    size = np.maximum(np.abs(fine), 1.0)
    known = np.abs(coarse - fine) / size < 1e-4  # no contact begins or ends nearby
    assert known.sum() >= len(known) / 3
    assert (np.abs(found - fine) / size)[known].max() < 3e-4
    norms = torch.linalg.vecdot(products[0], products[0]).sqrt() * v.norm(dim=1)
    asymmetry = (np.abs(found - mirrored) / norms.numpy())[known]
    assert np.median(asymmetry) < 1e-9
    assert asymmetry.max() < 1e-5  # the impedance of a contact has no second derivative at the middle of its width


def test_gradgradcheck_of_every_differentiable_result():
    """In raw coordinates, normalization of the quaternion included, with a contact that slides."""
    torch.manual_seed(0)  # of the cotangents: an entry of 1e7 beside one of 10 leaves some of them little precision
    xml = """
      <mujoco><option timestep="0.002"/>
      <worldbody><geom type="plane" size="1 1 1"/>
        <body name="ball" pos="0 0 .0993"><freejoint/><geom size=".1"/></body></worldbody></mujoco>"""
    model = diffsim.Model.from_mjcf(xml)
    sim, none = diffsim.Simulator(model, 1), torch.zeros(1, 0, dtype=torch.float64)
    state = torch.tensor([[0, 0, 0.0993, 0.8, 0.1, -0.5, 0.3, 0.5, -0.2, -0.1, 0.3, 0.2, 0.1]], dtype=torch.float64)
    force = torch.tensor([[0.1, -0.2, 0.3, 0.4, -0.5, 0.6]], dtype=torch.float64)
    assert sim.forward(state, none).qfrc_constraint[0, 2] > 1.0
    inputs = (state.requires_grad_(), force.requires_grad_())
    for call in (
        lambda x, f: sim.advance(x, none, 2, qfrc_applied=f)[0],
        lambda x, f: torch.cat(sim.advance(x, none, 2, qfrc_applied=f)[1][:4], dim=1),
        lambda x, f: torch.cat(sim.forward(x, none, qfrc_applied=f)[2:4], dim=1),
    ):
        assert gradgradcheck(call, inputs, eps=1e-6, atol=1e-4, rtol=1e-5)
        assert gradcheck(call, inputs, check_forward_ad=True, eps=1e-6, atol=1e-4, rtol=1e-5)
    points = (inputs[0][:, :7],)
    assert gradgradcheck(
        lambda q: sim.xipos(q, ["ball"]) + sim.xpos(q, ["ball"]), points, eps=1e-6, atol=1e-4, rtol=1e-6
    )


def test_float32_tensors_lose_only_their_rounding():
    """The differences are float64 inside; another process, because import sets the precision."""
    code = f"""
import torch, diffsim
sim = diffsim.Simulator(diffsim.Model.from_mjcf({PENDULUM!r}), 1)
ctrl, call = torch.tensor([[0.4]]), lambda x: (sim.step(x, ctrl, 20) ** 3).sum()
print(torch.autograd.functional.hessian(call, torch.tensor([[0.7, 0.3]])).double().tolist())
print(torch.func.jvp(call, (torch.tensor([[0.7, 0.3]]),), (torch.tensor([[0.2, -1.0]]),))[1].item())"""
    environment = os.environ | {"DIFFSIM_X64": "0", "DIFFSIM_KERNELS": "float64"}
    done = processes.run("-c", code, env=environment, check=True)
    hessian, slope = map(json.loads, done.stdout.splitlines()[-2:])
    call = lambda x: (swing(x, CTRL, 20) ** 3).sum()  # noqa: E731
    torch.testing.assert_close(torch.tensor(hessian).double(), functional.hessian(call, STATE), rtol=2e-6, atol=1e-6)
    assert slope == pytest.approx(torch.func.jvp(call, (STATE,), (DIRECTION[0],))[1].item(), rel=2e-6)


def test_a_gradient_step_is_differentiated_as_meta_learning_does():
    """x -> x - r dL/dx, then L again: needs the second derivative inside a first one."""

    def after_descent(step):
        x = STATE.clone().requires_grad_()
        (grad,) = torch.autograd.grad((step(x, CTRL, 20) ** 2).sum(), x, create_graph=True)
        return torch.autograd.grad((step(x - 0.1 * grad, CTRL, 20) ** 2).sum(), x)

    torch.testing.assert_close(after_descent(pendulum().step), after_descent(swing), rtol=1e-8, atol=2e-8)


# ------------------------------------------------------------------------------------------------- parameters


def test_mixed_derivatives_of_state_and_parameters():
    """d/dx of L and then by the gravity, a parameter in which the pendulum's step is linear; the reverse is refused."""
    gravity = torch.tensor([0.0, 0.0, -GRAVITY], dtype=torch.float64, requires_grad=True)

    def slope(x):
        next_state = pendulum().step(x, CTRL, parameters={"gravity": gravity})
        return torch.autograd.grad(next_state[0, 1], x, create_graph=True)[0][0, 0]

    x = STATE.clone().requires_grad_()
    # v' = v + h (3 u + 2 gz sin q) / 3
    (found,) = torch.autograd.grad(slope(x), gravity)
    assert found[2].item() == pytest.approx(TIMESTEP * 2 * np.cos(0.7) / 3, rel=1e-8)
    next_state = pendulum().step(x, CTRL, parameters={"gravity": gravity})
    (by_gravity,) = torch.autograd.grad(next_state[0, 1], gravity, create_graph=True)
    with pytest.raises(NotImplementedError, match="with respect to parameters are not supported"):
        by_gravity[2].backward()


# --------------------------------------------------------------------------------------------------- refusals


def third(step):
    def product(x):
        """Sum of a Hessian-vector product."""
        first = torch.autograd.grad(step(x), x, create_graph=True)[0]
        return torch.autograd.grad(first.sum(), x, create_graph=True)[0].sum()

    return functional.jacobian(product, STATE)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda f: functional.jacobian(f, STATE, vectorize=True), "use torch.func.jacrev"),
        (lambda f: functional.jacobian(f, STATE, vectorize=True, strategy="forward-mode"), "use torch.func.jacrev"),
        (lambda f: torch.func.jacfwd(torch.func.jacfwd(f))(STATE), "forward mode over forward mode"),
        (third, "third derivatives of the physics"),
    ],
)
def test_what_is_not_supported_says_so(call, message):
    with pytest.raises(NotImplementedError, match=message):
        call(lambda x: (pendulum().step(x, CTRL, 3) ** 2).sum())


def test_body_quantities_are_constants_in_every_mode():
    sim = pendulum()
    for call in (lambda q: sim.cinert(q).sum() + q.sum(), lambda q: sim.cvel(q, STATE[:, 1:]).sum() + q.sum()):
        one = torch.ones(1, 1, dtype=torch.float64)
        assert torch.equal(torch.func.grad(call)(STATE[:, :1]), one)
        assert torch.equal(torch.func.jacfwd(call)(STATE[:, :1]), one)


def test_black_boxes_refuse():
    sim = BlackBoxSimulator(mujoco.MjModel.from_xml_string(PENDULUM))
    f = lambda x: (sim.step(x, CTRL, 3) ** 2).sum()  # noqa: E731
    positions = lambda x: (sim.xipos(x[:, :1], ["arm"]) ** 3).sum()  # noqa: E731
    for call in (f, positions):
        assert functional.jacobian(call, STATE).abs().sum() > 0
        for derivative in (lambda g: functional.hessian(g, STATE), lambda g: functional.hvp(g, STATE, STATE)):
            with pytest.raises(NotImplementedError, match="C MuJoCo's steps are not supported"):
                derivative(call)
        with pytest.raises(NotImplementedError, match="C MuJoCo's steps are not supported"):
            torch.func.jvp(call, (STATE,), (STATE,))
