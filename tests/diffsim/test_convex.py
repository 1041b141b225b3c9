"""Contacts of the general convex collision, and their gradients, equal C MuJoCo's."""

import mujoco
import numpy as np
import pytest
import torch

from .convex_pairs import GROUND, TIGHT, differences, directional, found, reference, touching
from .engine import simulator, tensors
from .reference import Stepper, converge

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
    ("field", "sphere"),
    ("field", "capsule"),
    ("field", "box"),
    ("field", "rock"),
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
    ("field", "ellipsoid"),
    ("field", "cylinder"),
]


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


# On a height field, MuJoCo's expansion of polytopes ends where a vertex of the other shape comes up again. The order of
# vertices that are equally far, and so the end, is left to rounding.
EARLY_ENDS = {("field", "box"): 0.8, ("field", "rock"): 0.9}


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("pair", EXACT)
def test_contacts_of_polytopes(pair, flat):
    # Of a prism's twelve corners that lie on a face, four with equal areas are chosen by rounding.
    assert share_that_agrees(pair, 0.0, flat, TIGHT, 1e-9) >= EARLY_ENDS.get(pair, 0.95)
    # With a margin, MuJoCo searches rounded shapes where they are in each other: these end within a tolerance.
    assert share_that_agrees(pair, 0.01, flat, TIGHT, 1e-7) >= 0.95


@pytest.mark.parametrize("other", ["disc", "rock"])
def test_where_several_faces_nearly_meet_the_most_opposite_ones_do(other):
    assert share_that_agrees((other, "disc"), 0.0, True, TIGHT, 1e-9) == 1


# With MuJoCo's own tolerance: both take the same steps. They part where rounding chooses: among the corners of a round
# cap that lie on a box or a triangle, and in the last steps of a capsule toward an ellipsoid.
ROUNDED = {("capsule", "ellipsoid"): 0.7, ("cylinder", "box"): 0.75, ("field", "cylinder"): 0.6}
ROUNDED[("field", "ellipsoid")] = 0.85


@pytest.mark.parametrize("margin", [0.0, 0.01])
@pytest.mark.parametrize("pair", CURVED)
def test_contacts_of_curved_shapes(pair, margin):
    shares = [share_that_agrees(pair, margin, flat, "", 1e-8) for flat in (False, True)]
    assert min(shares) >= ROUNDED.get(pair, 0.93)


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
    share = 0.8 if pair[0] == "field" else 0.9  # a shallow contact's normal, between two near points, has fewer digits
    assert np.quantile(np.abs(actual - expected)[smooth].max(axis=1) / scale, share) <= 1e-6


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


GROUND_WALKER = """<mujoco><option timestep="0.002"/><asset>{}</asset><worldbody>
<geom type="hfield" hfield="ground" pos=".1 .05 0"/>
<body pos="0 .3 .45"><freejoint/><geom type="box" size=".15 .1 .04"/>
<body pos=".1 0 0"><joint axis="0 1 0" range="-40 40" stiffness="20" damping="1"/>
<geom type="capsule" fromto="0 0 0 0 0 -.18" size=".03"/></body>
<body pos="-.1 .05 0"><joint axis="0 1 0" stiffness="20" damping="1"/>
<geom type="capsule" fromto="0 0 0 0 0 -.16" size=".02"/><geom type="ellipsoid" pos="0 0 -.16" size=".05 .03 .02"/>
</body></body></worldbody></mujoco>"""


def test_feet_on_a_height_field():
    """A body that falls on its feet moves as in C MuJoCo, contact by contact."""
    model = mujoco.MjModel.from_xml_string(GROUND_WALKER.format(GROUND))
    converge(model)
    stepper = Stepper(model)
    states = [np.concatenate([model.qpos0, np.zeros(model.nv)])]
    for _ in range(40):
        states.append(stepper.step(states[-1], np.zeros(0), 10))
    states = np.array(states)
    (x,) = tensors(states)
    actual = simulator(model, len(states)).step(x, x.new_zeros(len(states), 0)).numpy()
    assert simulator(model, len(states)).contacts(x, x.new_zeros(len(states), 0)).count.max() >= 4
    np.testing.assert_allclose(actual, stepper.step_batch(states, np.zeros((len(states), 0))), rtol=1e-8, atol=1e-8)


def test_sizes_of_geoms_on_a_height_field_are_fixed():
    model = mujoco.MjModel.from_xml_string(GROUND_WALKER.format(GROUND))
    (state, size) = tensors(np.concatenate([model.qpos0, np.zeros(model.nv)])[None], model.geom_size)
    with pytest.raises(ValueError, match="must not contain geom_size with contacts with height fields"):
        simulator(model, 1).step(state, state.new_zeros(1, 0), parameters={"geom_size": size})
