"""Parameter gradients against central differences of C MuJoCo with changed model fields."""

import mujoco
import numpy as np
import pytest
import torch

import diffsim
from diffsim.compile.lines import fixed_by_lines
from tests.diffsim.parameter_reference import FIELDS, central_differences, field, has_effect
from tests.diffsim.reference import load, set_state

NUM_STEPS = 3
CASES = [
    ("hopper", None),
    ("limits", "Euler"),
    ("ball_limits", "RK4"),
    ("contact_friction_loss", None),
    ("half_cheetah", None),
    ("ant", None),
    ("swimmer", "implicitfast"),
    ("actuators", "Euler"),
    ("actuators", "RK4"),
    ("springs", "implicitfast"),
    ("springs", "RK4"),
    ("fluid_chain", "implicitfast"),
    ("fluid_chain", "RK4"),
    ("free_body", "RK4"),
    ("connect", "RK4"),
    ("weld", "Euler"),
    ("joint_equality", "Euler"),
    ("tendon_forces", "implicitfast"),
    ("tree", "implicitfast"),
    ("activations", "Euler"),
    ("activations", "implicitfast"),
    ("spatial_tendons", "RK4"),
    ("transmissions", "Euler"),
    ("tendon_actuators", "implicitfast"),
]

DAMPING_BY_CONTROL = """
<mujoco>
  <option integrator="implicitfast" timestep="0.01"/>
  <worldbody>
    <body><joint name="hinge" axis="0 1 0"/><geom type="capsule" size=".05" fromto="0 0 0 0 0 -.5"/></body>
  </worldbody>
  <actuator><general joint="hinge" gaintype="affine" gainprm="10 0 {gain}" biastype="affine"/></actuator>
</mujoco>
"""
"""A pendulum whose motor damps in proportion to its control."""


def moving(name: str, integrator: str | None) -> tuple[mujoco.MjModel, np.ndarray, np.ndarray]:
    """A model, its state after 60 steps of random controls, and controls inside their ranges."""
    mj_model = load(name, integrator)
    for shortcut in ("body_sameframe", "geom_sameframe", "body_simple", "dof_simplenum"):
        getattr(mj_model, shortcut)[:] = 0  # they hold for the compiled body_ipos only
    data = mujoco.MjData(mj_model)
    rng = np.random.default_rng(0)
    for _ in range(60):
        data.ctrl[:] = rng.uniform(-1, 1, mj_model.nu)
        mujoco.mj_step(mj_model, data)
    return mj_model, np.concatenate([data.qpos, data.qvel, data.act]), rng.uniform(-0.8, 0.8, mj_model.nu)


def supported(mj_model: mujoco.MjModel, name: str) -> bool:
    """Whether the model has the parameter, and the simulator can differentiate by it."""
    implicit = mj_model.opt.integrator == mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    joints = np.bincount(mj_model.body_rootid[mj_model.jnt_bodyid], minlength=mj_model.nbody)
    standalone = bool(((mj_model.body_dofnum == 6) & (joints == 1)).any())
    refused = name in fixed_by_lines(mj_model, list(range(mj_model.nu))) or (
        name.startswith("body") and implicit and standalone
    )
    return field(mj_model, name).size > 0 and not refused and name not in diffsim.Model(mj_model).parameters.fixed


@pytest.mark.parametrize(("name", "integrator"), CASES)
def test_gradient(name, integrator):
    mj_model, state, ctrl = moving(name, integrator)
    seen = compare(mj_model, state, ctrl, [n for n in FIELDS if supported(mj_model, n)])
    assert {"dof_armature", "gravity", "body_ipos"} <= seen


@pytest.mark.parametrize("name", ["actuators", "activations"])
def test_gradient_by_gears_of_servos_many_turns_away(name):
    mj_model, state, ctrl = moving(name, "Euler")
    turning = diffsim.Model(mj_model).field("actuator_period") > 0
    assert turning.any()
    ctrl[turning], state[mj_model.nq + mj_model.nv :] = 9.0, -7.0
    assert compare(mj_model, state, ctrl, ["actuator_gear", "timestep"]) == {"actuator_gear", "timestep"}


@pytest.mark.parametrize(
    "name",
    [
        "contact_condim",
        "contact_boxes",
        "contact_capsules",
        "contact_elliptic",
        "contact_surface_velocity",
        "contact_adhesion",
    ],
)
def test_gradient_by_shapes_and_contact_parameters(name):
    names = ["geom_pos", "geom_size", "geom_friction", "geom_solref", "geom_solimp"]
    assert {"geom_pos", "geom_size", "geom_solimp"} <= compare(*moving(name, None), names)


def compare(mj_model: mujoco.MjModel, state: np.ndarray, ctrl: np.ndarray, names: list[str]) -> set[str]:
    """Compares the gradient of a step by parameters; returns those that have an effect."""
    sim = diffsim.Simulator(diffsim.Model(mj_model), 1)
    weight = np.random.default_rng(1).normal(size=mj_model.nq + mj_model.nv + mj_model.na)
    parameters = {n: torch.tensor(field(mj_model, n)).requires_grad_() for n in names}
    inputs = torch.tensor(state)[None], torch.tensor(ctrl)[None]
    loss = (sim.step(*inputs, NUM_STEPS, parameters=parameters)[0] * torch.tensor(weight)).sum()
    grads = torch.autograd.grad(loss, list(parameters.values()))
    data = mujoco.MjData(mj_model)

    def scalar() -> float:
        mujoco.mj_resetData(mj_model, data)
        set_state(mj_model, data, state)
        data.ctrl[:] = ctrl
        mujoco.mj_step(mj_model, data, NUM_STEPS)
        return np.concatenate([data.qpos, data.qvel, data.act]) @ weight

    assert abs(loss.item() - scalar()) <= 1e-9 * max(1, abs(loss.item()))
    seen = set()
    for parameter, grad in zip(names, grads, strict=True):
        expected = central_differences(mj_model, parameter, scalar)
        values = field(mj_model, parameter)
        timestep = mj_model.opt.timestep
        effects = np.array([has_effect(parameter, i, float(values[i]), timestep) for i in np.ndindex(*values.shape)])
        actual = grad.numpy() * effects.reshape(values.shape)
        size = np.linalg.norm(expected)
        error = np.linalg.norm(actual - expected)
        assert error <= 1e-5 * size + 1e-9, f"{parameter}: {error} of {size}"
        if size > 1e-6:
            seen.add(parameter)
    return seen


@pytest.mark.parametrize("name", ["hopper", "half_cheetah"])
def test_gradient_where_feet_slide(name):
    # Friction has an effect only if a contact slides or the pyramid's edges differ: drag the body along the floor.
    mj_model, state, ctrl = moving(name, None)
    state[mj_model.nq] += 1.0
    sim = diffsim.Simulator(diffsim.Model(mj_model), 1)
    friction = torch.tensor(mj_model.geom_friction).requires_grad_()
    inputs = torch.tensor(state)[None], torch.tensor(ctrl)[None]
    evaluation = sim.forward(*inputs, parameters={"geom_friction": friction})
    assert friction.shape == (mj_model.ngeom, 3)
    (grad,) = torch.autograd.grad(evaluation.qacc.square().sum(), friction)
    data = mujoco.MjData(mj_model)

    def scalar() -> float:
        mujoco.mj_resetData(mj_model, data)
        data.qpos[:], data.qvel[:], data.ctrl[:] = state[: mj_model.nq], state[mj_model.nq :], ctrl
        mujoco.mj_forward(mj_model, data)
        return data.qacc @ data.qacc

    expected = central_differences(mj_model, "geom_friction", scalar)
    assert np.linalg.norm(grad.numpy() - expected) <= 1e-5 * np.linalg.norm(expected) + 1e-9


def test_shared_and_batched_values_agree():
    mj_model, state, ctrl = moving("hopper", None)
    sim = diffsim.Simulator(diffsim.Model(mj_model), 3)
    states = torch.tensor(state).repeat(3, 1)
    ctrls = torch.tensor(ctrl).repeat(3, 1) * torch.tensor([[0.5], [1.0], [-1.0]])
    shared = torch.tensor(mj_model.body_mass).requires_grad_()
    batched = shared.detach().repeat(3, 1).requires_grad_()
    for mass in (shared, batched):
        sim.step(states, ctrls, 2, parameters={"body_mass": mass}).sum().backward()
    assert shared.grad is not None and batched.grad is not None
    torch.testing.assert_close(shared.grad, batched.grad.sum(0), rtol=1e-12, atol=1e-12)
    heavy = batched.detach() * torch.tensor([[1.0], [2.0], [1.0]])
    plain = sim.step(states, ctrls, 2)
    changed = sim.step(states, ctrls, 2, parameters={"body_mass": heavy})
    np.testing.assert_array_equal((plain == changed).all(1).numpy(), [True, False, True])


@pytest.mark.parametrize(
    "name", ["connect", "weld", "ball_limits", "contact_friction_loss", "fluid_chain", "actuators"]
)
def test_each_world_has_its_own_values(name):
    mj_model, state, ctrl = moving(name, None)
    names = [n for n in FIELDS if supported(mj_model, n)]
    scales = torch.tensor([1.0, 1.04, 0.97], dtype=diffsim.dtype)
    fields = {n: torch.tensor(field(mj_model, n)) for n in names}
    own = {n: (v * scales.view(3, *[1] * v.dim())).requires_grad_() for n, v in fields.items()}
    inputs = torch.tensor(state).repeat(3, 1).requires_grad_(), torch.tensor(ctrl).repeat(3, 1)
    weight = torch.arange(len(state), dtype=diffsim.dtype).cos()
    together = diffsim.Simulator(diffsim.Model(mj_model), 3).step(*inputs, NUM_STEPS, parameters=own)
    grads = torch.autograd.grad((together @ weight).sum(), [inputs[0], *own.values()])
    sim = diffsim.Simulator(diffsim.Model(mj_model), 1)
    for world in range(3):
        alone = {n: v[world : world + 1].detach().requires_grad_() for n, v in own.items()}
        start = inputs[0][world : world + 1].detach().requires_grad_()
        end = sim.step(start, inputs[1][:1], NUM_STEPS, parameters=alone)
        assert torch.equal(end[0], together[world])
        expected = torch.autograd.grad((end @ weight).sum(), [start, *alone.values()])
        for parameter, one, all_worlds in zip(("state", *names), expected, grads, strict=True):
            assert torch.equal(one[0], all_worlds[world]), parameter


def test_bad_parameters():
    mj_model = load("tree", "implicitfast")
    sim = diffsim.Simulator(diffsim.Model(mj_model), 2)
    state = torch.zeros(2, mj_model.nq + mj_model.nv, dtype=diffsim.dtype)
    state[:, : mj_model.nq] = torch.tensor(mj_model.qpos0)
    ctrl = torch.zeros(2, mj_model.nu, dtype=diffsim.dtype)
    mass = torch.tensor(mj_model.body_mass, dtype=diffsim.dtype)
    for parameters, message in [
        ({"body_mas": mass}, "parameters must be among body_mass"),
        ({"dof_damping": torch.zeros(1)}, r"parameters\['dof_damping'\] must have shape"),
        ({"dof_damping": torch.zeros(mj_model.nv, dtype=torch.int64)}, "must have dtype"),
        ({"dof_damping": torch.full((mj_model.nv,), np.nan, dtype=diffsim.dtype)}, "must be finite"),
        ({"timestep": torch.zeros(2, dtype=diffsim.dtype)}, "must be positive, got 0"),
        ({"body_quat": torch.zeros(mj_model.nbody, 4, dtype=diffsim.dtype)}, "must not have a quaternion of zeros"),
    ]:
        with pytest.raises(ValueError, match=message):
            sim.step(state, ctrl, parameters=parameters)
    free = diffsim.Simulator(diffsim.Model(load("free_body", "implicitfast")), 1)
    inertia = torch.tensor(free.model.mj_model.body_inertia, dtype=diffsim.dtype)
    with pytest.raises(ValueError, match="must not contain body_mass, body_inertia, body_pos"):
        free.step(torch.zeros(1, 13, dtype=diffsim.dtype), ctrl[:1, :1] * 0, parameters={"body_inertia": inertia})
    with pytest.raises(TypeError, match="must be a torch.Tensor"):
        sim.step(state, ctrl, parameters={"body_mass": [1.0]})  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(("gain", "ctrl"), [(-3.0, 0.0), (-3.0, 0.1), (0.0, 0.3)])
def test_implicitfast_where_an_actuator_has_no_damping_at_this_control(gain, ctrl):
    mj_model = mujoco.MjModel.from_xml_string(DAMPING_BY_CONTROL.format(gain=gain))
    sim, data = diffsim.Simulator(diffsim.Model(mj_model), 1), mujoco.MjData(mj_model)
    u = torch.tensor([[ctrl]], dtype=torch.float64, requires_grad=True)
    bias = torch.tensor(mj_model.actuator_biasprm, requires_grad=True)
    state = torch.tensor([[0.3, 2.0]], dtype=torch.float64)
    velocity = sim.step(state, u, parameters={"actuator_biasprm": bias})[0, 1]
    by_ctrl, by_bias = torch.autograd.grad(velocity, [u, bias])

    def next_velocity(u: float, damping: float) -> float:
        mujoco.mj_resetData(mj_model, data)
        mj_model.actuator_biasprm[0, 2] = damping
        data.qpos[:], data.qvel[:], data.ctrl[:] = 0.3, 2.0, u
        mujoco.mj_step(mj_model, data)
        return data.qvel[0]

    h = 1e-5
    expected = (next_velocity(ctrl + h, 0) - next_velocity(ctrl - h, 0)) / (2 * h)
    assert by_ctrl.item() == pytest.approx(expected, rel=1e-7)
    expected = (next_velocity(ctrl, h) - next_velocity(ctrl, -h)) / (2 * h)
    assert by_bias[0, 2].item() == pytest.approx(expected, rel=1e-7)
