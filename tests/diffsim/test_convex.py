"""Contacts of the general convex collision, and their gradients, equal C MuJoCo's."""

import mujoco
import numpy as np
import pytest
import torch

from .convex_pairs import TIGHT, reference, touching
from .engine import simulator, tensors
from .reference import tangent_basis

# Pairs whose points are vertices: contacts are exact up to rounding.
EXACT = [
    ("plane", "rock"),
    ("plane", "prism"),
    ("sphere", "rock"),
    ("capsule", "rock"),
    ("capsule", "brick"),
    ("box", "rock"),
    ("box", "brick"),
    ("rock", "rock"),
    ("pebble", "brick"),
    ("brick", "prism"),
]
# Pairs with a curved surface: MuJoCo's search ends within a tolerance, and ours takes the same steps.
CURVED = [
    ("capsule", "ellipsoid"),
    ("ellipsoid", "ellipsoid"),
    ("ellipsoid", "cylinder"),
    ("ellipsoid", "box"),
    ("ellipsoid", "rock"),
    ("cylinder", "cylinder"),
    ("cylinder", "box"),
    ("cylinder", "rock"),
    ("cylinder", "prism"),
]


def found(model: mujoco.MjModel, qpos: torch.Tensor) -> tuple[np.ndarray, torch.Tensor]:
    """Number of contacts at each state [N], and distance, position and frame of each [N, C, 13]."""
    state = torch.cat([qpos, qpos.new_zeros(len(qpos), model.nv)], dim=1)
    contacts = simulator(model, len(qpos)).contacts(state, qpos.new_zeros(len(qpos), 0))
    parts = contacts.distance[..., None], contacts.position, contacts.frame.flatten(-2)
    return contacts.count.numpy(), torch.cat(parts, dim=-1)


def share_that_agrees(pair: tuple[str, str], margin: float, flat: bool, option: str, tolerance: float) -> float:
    """Share of states with as many contacts as in C MuJoCo, each within a tolerance of one of ours.

    The order of two contacts on an edge is left to rounding, by both.
    """
    case = touching(*pair, 60, flat=flat, margin=margin, option=option)
    data, agree, touches = mujoco.MjData(case.model), [], 0
    count, contacts = found(case.model, *tensors(case.qpos))
    for i, qpos in enumerate(case.qpos):
        expected = reference(case.model, data, qpos)
        ours = contacts[i, : count[i]].numpy()
        same = len(expected) == len(ours)
        agree.append(same and all(np.abs(ours - contact).max(axis=1).min() <= tolerance for contact in expected))
        touches += len(expected) > 0
    assert touches >= 40
    return float(np.mean(agree))


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("pair", EXACT)
def test_contacts_of_polytopes(pair, flat):
    # Of a prism's twelve corners that lie on a face, four with equal areas are chosen by rounding.
    assert share_that_agrees(pair, 0.0, flat, TIGHT, 1e-9) >= 0.95
    # With a margin, MuJoCo searches rounded shapes where they are in each other: these end within a tolerance.
    assert share_that_agrees(pair, 0.01, flat, TIGHT, 1e-7) >= 0.95


# With MuJoCo's own tolerance: both take the same steps. They part where rounding chooses: among the corners of a round
# cap that lie on a box, and in the last steps of a capsule toward an ellipsoid.
ROUNDED = {("capsule", "ellipsoid"): 0.7, ("cylinder", "box"): 0.75}


@pytest.mark.parametrize("margin", [0.0, 0.01])
@pytest.mark.parametrize("pair", CURVED)
def test_contacts_of_curved_shapes(pair, margin):
    shares = [share_that_agrees(pair, margin, flat, "", 1e-8) for flat in (False, True)]
    assert min(shares) >= ROUNDED.get(pair, 0.93)


def directional(model: mujoco.MjModel, qpos: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Derivative of the weighted sum of all contacts at each state, by the coordinates' tangent: [N, nv]."""
    (q,) = tensors(qpos, requires_grad=True)
    _, contacts = found(model, q)
    (contacts * torch.as_tensor(weights)).sum().backward()
    return np.array([row @ tangent_basis(model, x) for row, x in zip(q.grad.numpy(), qpos, strict=True)])


def differences(model: mujoco.MjModel, qpos: np.ndarray, weights: np.ndarray, ours: np.ndarray, eps: float):
    """Central differences of the same sum in C MuJoCo; NaN where the number of contacts changes."""
    data, result = mujoco.MjData(model), np.zeros((len(qpos), model.nv))
    for i, x in enumerate(qpos):
        base = reference(model, data, x)
        order = [int(np.abs(ours[i] - contact).max(axis=1).argmin()) for contact in base]
        for dof in range(model.nv):
            values = []
            for sign in (1, -1):
                moved = x.copy()
                mujoco.mj_integratePos(model, moved, sign * eps * np.eye(model.nv)[dof], 1.0)
                rows = reference(model, data, moved)
                same = len(rows) == len(base) and len(base) > 0 and np.abs(rows - base).max() < 100 * eps
                values.append((rows * weights[i, order]).sum() if same else np.nan)
            result[i, dof] = (values[0] - values[1]) / (2 * eps)
    return result


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("pair", EXACT)
def test_gradient_of_polytopes(pair, flat):
    case = touching(*pair, 16, flat=flat, option=TIGHT)
    _, contacts = found(case.model, *tensors(case.qpos))
    weights = np.random.default_rng(1).normal(size=contacts.shape)
    actual = directional(case.model, case.qpos, weights)
    expected = differences(case.model, case.qpos, weights, contacts.numpy(), 1e-6)
    smooth = np.isfinite(expected).all(axis=1)
    assert smooth.sum() >= 4
    scale = np.abs(expected[smooth]).max(axis=1)
    assert np.quantile(np.abs(actual - expected)[smooth].max(axis=1) / scale, 0.9) <= 1e-6


@pytest.mark.parametrize("pair", [pair for pair in CURVED if pair != ("cylinder", "box")])
def test_gradient_of_curved_shapes(pair):
    # MuJoCo's search ends 1e-7 from the solution, so that its differences are exact to a thousandth.
    case = touching(*pair, 16, flat=False, option=TIGHT)
    _, contacts = found(case.model, *tensors(case.qpos))
    weights = np.random.default_rng(1).normal(size=contacts.shape)
    actual = directional(case.model, case.qpos, weights)
    expected = differences(case.model, case.qpos, weights, contacts.numpy(), 5e-4)
    smooth = np.isfinite(expected).all(axis=1)
    assert smooth.sum() >= 4
    scale = np.abs(expected[smooth]).max(axis=1)
    errors = np.abs(actual - expected)[smooth].max(axis=1) / scale
    assert np.median(errors) <= 2e-3


@pytest.mark.parametrize("other", ["rock", "box", "cylinder"])
def test_a_round_ellipsoid_is_a_sphere(other):
    """Two colliders of different design agree on the gradient, to rounding."""
    gradients = []
    for name in ("sphere", "ball"):
        pair = (name, other)
        case = touching("sphere", other, 12, flat=False, option=TIGHT)
        model = touching(*pair, 1, flat=False, option=TIGHT).model
        _, contacts = found(model, *tensors(case.qpos))
        weights = np.random.default_rng(1).normal(size=contacts.shape)[:, :1]
        gradients.append(directional(model, case.qpos, weights))
    touches = np.abs(gradients[0]).max(axis=1) > 0
    assert touches.sum() >= 6
    np.testing.assert_allclose(gradients[0][touches], gradients[1][touches], rtol=1e-5, atol=1e-5)


def test_a_stack_of_meshes_rests():
    """Meshes on each other stay at rest for a thousand steps, as in C MuJoCo."""
    model = mujoco.MjModel.from_xml_string(
        """<mujoco><option timestep="0.005"/><asset>
        <mesh name="brick" vertex="-.1 -.1 -.05  .1 -.1 -.05  -.1 .1 -.05  .1 .1 -.05
          -.1 -.1 .05  .1 -.1 .05  -.1 .1 .05  .1 .1 .05"/></asset>
        <worldbody><geom type="plane" size="1 1 1"/>
        <body pos="0 0 .05"><freejoint/><geom type="mesh" mesh="brick"/></body>
        <body pos=".02 0 .15" euler="0 0 20"><freejoint/><geom type="mesh" mesh="brick"/></body>
        <body pos="0 .01 .25" euler="0 0 50"><freejoint/><geom type="mesh" mesh="brick"/></body>
        </worldbody></mujoco>"""
    )
    data = mujoco.MjData(model)
    state = torch.tensor(np.concatenate([data.qpos, data.qvel]))[None]
    for _ in range(10):
        state = simulator(model, 1).step(state, torch.zeros(1, 0, dtype=state.dtype), num_steps=100)
        for _ in range(100):
            mujoco.mj_step(model, data)
    assert np.abs(state[0].numpy() - np.concatenate([data.qpos, data.qvel])).max() <= 1e-6
    assert np.abs(data.qvel).max() <= 1e-4
