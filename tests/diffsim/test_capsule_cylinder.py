"""Contacts of a capsule with a cylinder against C MuJoCo.

C MuJoCo finds them iteratively, our simulator exactly. The number of contacts is equal, and the rest agrees within C's
tolerance, closer as that tolerance is lowered. Gradients are compared with differences of our values, because
differences of C's values are noise.
"""

import numpy as np
import pytest

from .capsule_cylinder import MARGIN, RADIUS, in_order, lying_poses, pair, random_poses
from .contact_cases import ALONG_X, ALONG_Y, I
from .contact_pairs import MOST, Contacts, Poses, differences, turn


def errors(actual: Contacts, expected: Contacts) -> list[np.ndarray]:
    """Largest differences [N] of distances, positions and normals."""
    difference = np.abs(in_order(actual) - in_order(expected))
    return [difference[..., columns].max((1, 2)) for columns in (np.s_[0:1], np.s_[1:4], np.s_[4:7])]


every_sample = pytest.mark.parametrize(
    "poses", [random_poses(3000), random_poses(1000, 0.06), lying_poses(1500)], ids=["any", "deep", "lying"]
)


@every_sample
@pytest.mark.parametrize("margin", [0.0, MARGIN])
def test_contacts(poses: Poses, margin: float):
    expected, actual = pair(margin).reference(poses), pair(margin).contacts(poses)
    np.testing.assert_array_equal(actual.count, expected.count)
    one, two = expected.count == 1, expected.count == 2
    assert one.sum() >= 200 and two.sum() >= 20
    dist, pos, normal = errors(actual, expected)
    # If the capsule's axis is outside, C iterates to a gap of 5e-13 m^2; inside, to 1e-6 m.
    outside = one & (actual.dist[:, 0] > -0.99 * RADIUS)
    assert dist[outside].max() <= 1e-8
    assert pos[outside].max() <= 1e-4
    assert normal[outside].max() <= 1e-3
    inside = one & ~outside
    if inside.any():
        assert np.quantile(dist[inside], 0.98) <= 1e-6
        assert np.quantile(pos[inside], 0.98) <= 5e-4
        assert np.quantile(normal[inside], 0.98) <= 1e-2
    assert np.quantile(pos[two], 0.9) <= 1e-4
    assert normal[two].max() <= 1e-10


@every_sample
def test_c_converges_to_our_contacts(poses: Poses):
    reference = pair()
    reference.mj_model.opt.ccd_tolerance = 1e-14
    reference.mj_model.opt.ccd_iterations = 1000
    expected, actual = reference.reference(poses), pair().contacts(poses)
    np.testing.assert_array_equal(actual.count, expected.count)
    dist, pos, normal = errors(actual, expected)
    assert np.quantile(dist, 0.99) <= 1e-8  # that of two contacts is as exact as the normal
    assert np.quantile(pos, 0.99) <= 1e-6
    assert np.quantile(normal, 0.99) <= 1e-5


@pytest.mark.parametrize(
    "poses", [random_poses(1000), random_poses(300, 0.06), lying_poses(300)], ids=["any", "deep", "lying"]
)
def test_gradient(poses: Poses):
    touching = pair().contacts(poses).count > 0
    poses = poses[touching]
    bar = np.random.default_rng(1).standard_normal((len(poses), MOST, 13))
    actual = pair().gradient(poses, bar)
    expected, smooth = differences(pair().contacts, poses, bar, step=4e-5)
    assert smooth.mean() > 0.9
    scale = np.maximum(np.abs(expected).max(-1, keepdims=True), 1.0)
    assert (np.abs(actual - expected) / scale)[smooth].max() <= 1e-6


# Position of the capsule relative to the cylinder's centre, its rotation, and the number of contacts.
SPECIAL = {
    "along the side": ((0.06, 0, 0.08), I, 1),
    "lying on the middle of a cap": ((0, 0, 0.065), ALONG_X, 2),
    "lying under a cap": ((0.02, 0.01, -0.065), ALONG_Y, 2),
    "axis in the plane of a cap": ((0, 0, 0.05), ALONG_X, 2),
    "axis just below a cap": ((0, 0, 0.0499), ALONG_X, 2),
    "standing on a cap": ((0.01, 0, 0.165), I, 1),
    "standing on the rim": ((0.05, 0, 0.165), I, 1),
    "across the side": ((0.06, 0, 0), ALONG_Y, 1),
    "axis on the side": ((0.05, 0, 0), ALONG_Y, 1),
    "end on the side": ((0.16, 0, 0), ALONG_X, 1),
    "axis through the rim": ((0.05, 0, 0.05), turn(I, np.array([0.7, 0, 0])), 1),
    "on one axis": ((0, 0, 0), I, 1),
}


@pytest.mark.parametrize("name", SPECIAL)
def test_special_pose(name: str):
    offset, mat, count = SPECIAL[name]
    turned = turn(I, np.array([0.4, -0.2, 0.9]))
    base = np.array([0.1, 0.2, -0.3])
    poses = Poses(
        np.array([[offset, (0, 0, 0)], [base + turned @ offset, base]]), np.array([[mat, I], [turned @ mat, turned]])
    )
    expected, actual = pair().reference(poses), pair().contacts(poses)
    np.testing.assert_array_equal(actual.count, expected.count)
    assert actual.count[0] == count
    if name == "on one axis":  # all horizontal directions are equivalent, and C's error is far above its tolerance
        np.testing.assert_allclose(actual.dist, expected.dist, atol=2e-3)
    else:
        np.testing.assert_allclose(actual.dist, expected.dist, atol=1e-6)
        np.testing.assert_allclose(actual.frame[:, :, 0], expected.frame[:, :, 0], atol=5e-3)
    for size in (1.0, 1e-9, 0.0):
        small = pair()
        small.sizes = size * small.sizes
        assert np.isfinite(small.contacts(poses).flat()).all()
        assert np.isfinite(small.gradient(poses, np.ones((2, MOST, 13)))).all()
