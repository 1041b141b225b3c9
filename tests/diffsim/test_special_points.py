"""Gradients at exact special states equal those of C MuJoCo, or lie between its one-sided ones where it has a kink.

The guide's section "At kinks" lists the choices.
"""

from pathlib import Path

import mujoco
import numpy as np
import pytest
import torch

from .contact_cases import SPECIAL
from .engine import raw_jacobian, simulator, tangent_jacobian, tensors
from .one_sided import SAME, Sides, directions, sides
from .reference import Stepper, converge
from .special_models import MODELS
from .test_degenerate import pair_model, state_of

RANGE = 2e-3  # relative error outside the range of slopes, which are not extrapolated
REPORTS = {path.stem: path for path in sorted((Path(__file__).parent / "reports").glob("*.xml"))}
# A contact at qpos0 is 1e-17 deep: its derivative holds for changes of that size, not for those of the differences.
GRAZING = {"mw530_sliders"}
# Parallel faces of which neither reaches over the other: two tilts at once select a face, each alone selects another.
NO_RANGE = {"boxes stacked", "boxes on a tilt"}


def check(
    mj_model: mujoco.MjModel,
    state: np.ndarray,
    ctrl: np.ndarray,
    *,
    has_derivative: bool = True,
    has_range: bool = True,
) -> Sides:
    """Step and gradient from a state [nq + nv] and control [nu] are C MuJoCo's."""
    sim = simulator(mj_model, 1)
    x, u = tensors(state[None], ctrl[None])
    expected = Stepper(mj_model).step(state, ctrl)
    actual = sim.step(x, u).numpy()[0]
    assert np.abs(actual - expected).max() <= 1e-9 * (1 + np.abs(expected).max())
    along = directions(mj_model)
    slopes = torch.cat(sim.linearize(x, u), dim=2).numpy()[0] @ along
    assert np.isfinite(slopes).all()
    reference = sides(mj_model, state, ctrl, along)
    exact, outside = reference.errors(slopes)
    assert exact <= SAME or not has_derivative
    assert outside <= RANGE or not has_range
    return reference


@pytest.mark.parametrize("name", MODELS)
def test_special_states(name):
    for integrator in MODELS[name].integrators:
        check(*MODELS[name].load(integrator))


@pytest.mark.parametrize(
    "name",
    [
        "tendon's spring at its lower end",
        "tendon's spring at its upper end",
        "tilted body at rest in water",
        "two joint constraints satisfied",
    ],
)
def test_mean_of_both_sides(name):
    mj_model, state, ctrl = MODELS[name].load("implicitfast")
    along = directions(mj_model)
    reference = sides(mj_model, state, ctrl, along)
    mean = (reference.ahead + reference.behind) / 2
    kinks = np.abs(reference.ahead - reference.behind) / reference.scale
    assert kinks.max() > 0.1
    x, u = tensors(state[None], ctrl[None])
    slopes = torch.cat(simulator(mj_model, 1).linearize(x, u), dim=2).numpy()[0] @ along
    assert (np.abs(slopes - mean) / reference.scale).max() <= SAME


@pytest.mark.parametrize("name", SPECIAL)
def test_special_contacts(name):
    case, poses, _ = SPECIAL[name]
    for pos, mat in zip(poses.pos, poses.mat, strict=True):
        mj_model = pair_model(case)
        mj_model.opt.gravity[:] = 0
        mj_model.geom_margin[:] = 0.025
        converge(mj_model)
        check(mj_model, state_of(mj_model, pos, mat), np.zeros(0), has_range=name not in NO_RANGE)


def settled(mj_model: mujoco.MjModel, num_steps: int) -> np.ndarray:
    """State [nq + nv + na] some steps of C MuJoCo after qpos0 with random velocities."""
    velocity = 0.1 * np.random.default_rng(0).standard_normal(mj_model.nv)
    start = np.concatenate([mj_model.qpos0, velocity, np.zeros(mj_model.na)])
    return Stepper(mj_model).step(start, np.zeros(mj_model.nu), num_steps)


@pytest.mark.parametrize("name", REPORTS)
def test_models_of_public_reports(name):
    mj_model = mujoco.MjModel.from_xml_path(str(REPORTS[name]))
    converge(mj_model)
    start = np.concatenate([mj_model.qpos0, np.zeros(mj_model.nv + mj_model.na)])
    check(mj_model, start, np.zeros(mj_model.nu), has_derivative=name not in GRAZING)
    check(mj_model, settled(mj_model, 20), np.zeros(mj_model.nu))


COPLANAR = """<mujoco><option gravity="0 0 0"/><worldbody><geom type="box" size=".1 .2 .3" euler="0 0 50"/>
<body pos="{}"><joint axis="0 1 0"/><geom type="box" size=".1 .2 .3"/></body></worldbody></mujoco>"""


@pytest.mark.parametrize("angle", [0.0, 1e-5, 0.1])
@pytest.mark.parametrize("pos", ["0.05 0 0", "0.03 0.02 0.1", ".25 0 0", ".25 .05 .1"])
def test_boxes_with_coplanar_edges(pos, angle):
    mj_model = mujoco.MjModel.from_xml_string(COPLANAR.format(pos))
    converge(mj_model)
    reference = check(mj_model, np.array([angle, 0.0]), np.zeros(0))
    assert reference.exists.all()


SPINNING = """<mujoco><option integrator="{}"/><worldbody>
<body><joint type="ball" stiffness="3" damping=".1"/><geom size=".1" pos=".1 .2 0"/></body>
<body pos="0 0 9"><freejoint/><geom type="box" size=".1 .2 .3"/></body></worldbody></mujoco>"""


@pytest.mark.parametrize("integrator", ["Euler", "implicitfast", "RK4"])
@pytest.mark.parametrize("scale", [0.0, 1e-160, 5e-16, 1e-14, 1e-8, 3.0])
def test_quaternions_of_any_length(scale, integrator):
    # Below a length of 1e-15 MuJoCo takes the identity: a constant, so the gradient is zero.
    mj_model = mujoco.MjModel.from_xml_string(SPINNING.format(integrator))
    quat = np.array([0.6, 0.0, 0.8, 0.0])
    state = np.concatenate([scale * quat, [0, 0, 1], scale * quat, np.linspace(0.1, 1, 9)])
    unit = state.copy()
    unit[[0, 1, 2, 3, 7, 8, 9, 10]] = np.tile(quat if scale > 1e-15 else [1.0, 0.0, 0.0, 0.0], 2)
    ctrl = np.zeros((1, 0))
    jacobians = []
    for start in (state, unit):
        x, u = tensors(start[None], ctrl, requires_grad=True)
        output = simulator(mj_model, 1).step(x, u)
        expected = Stepper(mj_model).step(start, ctrl[0])
        assert np.abs(output.detach().numpy()[0] - expected).max() <= 1e-13
        jacobians.append(raw_jacobian(output, x)[0])
    own, reference = jacobians
    slots = np.array([0, 1, 2, 3, 7, 8, 9, 10])
    others = np.setdiff1d(np.arange(20), slots)
    assert np.allclose(own[:, others], reference[:, others], rtol=1e-12, atol=1e-12)
    assert np.allclose(scale * own[:, slots], reference[:, slots] if scale > 1e-15 else 0, rtol=1e-12, atol=1e-12)


def test_autograd_takes_the_same_sides_as_linearize():
    for name in ("force at its limit", "tendon's spring at its lower end", "control at its limit"):
        mj_model, state, ctrl = MODELS[name].load("Euler")
        sim = simulator(mj_model, 1)
        x, u = tensors(state[None], ctrl[None], requires_grad=True)
        output = sim.step(x, u)
        raw = raw_jacobian(output, x, u)
        actual = tangent_jacobian(mj_model, raw, state[None], output.detach().numpy())
        expected = torch.cat(sim.linearize(x, u), dim=2).numpy()
        assert np.abs(actual - expected).max() <= 1e-12
