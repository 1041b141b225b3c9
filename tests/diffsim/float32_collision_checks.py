"""Checks of collision in float32 kernels. test_collision.py runs them in a process with that precision."""

import numpy as np
import pytest

from diffsim.types import numpy_dtype

from .capsule_cylinder import in_order, lying_poses, pair
from .capsule_cylinder import random_poses as cylinder_poses
from .contact_cases import MARGIN, PAIRS, SPECIAL, Case, random_poses
from .contact_pairs import MOST, Poses, differences

every_pair = pytest.mark.parametrize("case", PAIRS, ids=str)


def test_precision():
    assert numpy_dtype is np.float32


@every_pair
def test_random_poses(case: Case):
    pair, poses = case.pair(), random_poses(case, 600)
    expected = pair.reference(poses)
    actual = pair.contacts(poses)
    # Poses where rounding does not decide the number of contacts.
    clear = (np.abs(expected.dist - MARGIN) > 1e-5).all(1) & (expected.count == actual.count)
    assert clear.mean() > 0.98
    assert np.abs(actual.dist - expected.dist)[clear].max() <= 1e-6
    assert np.quantile(np.abs(actual.flat() - expected.flat())[clear].max((1, 2)), 0.98) <= 2e-5


@every_pair
def test_gradient(case: Case):
    pair, poses = case.pair(), random_poses(case, 300)
    poses = poses[pair.reference(poses).count > 0]
    bar = np.random.default_rng(1).standard_normal((len(poses), MOST, 13))
    actual = pair.gradient(poses, bar)
    expected, smooth = differences(pair.reference, poses, bar)
    error = np.abs(actual - expected) / np.maximum(np.abs(expected).max(-1, keepdims=True), 1.0)
    assert np.quantile(error[smooth].max(-1), 0.98) <= 1e-4


@pytest.mark.parametrize("name", SPECIAL)
def test_special_pose_is_finite(name: str):
    case, poses, _ = SPECIAL[name]
    for size in (1.0, 1e-9, 0.0):
        pair = case.pair()
        pair.sizes = size * pair.sizes
        assert np.isfinite(pair.contacts(poses).flat()).all()
        assert np.isfinite(pair.gradient(poses, np.ones((len(poses), MOST, 13)))).all()


def test_deep_penetration():
    for case in PAIRS:
        poses = random_poses(case, 100)
        poses = Poses(0.03 * poses.pos, poses.mat)
        gradient = case.pair().gradient(poses, np.ones((len(poses), MOST, 13)))
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize("poses", [cylinder_poses(2000), lying_poses(1000)], ids=["any", "lying"])
def test_capsule_and_cylinder(poses: Poses):
    expected, actual = pair().reference(poses), pair().contacts(poses)
    same = expected.count == actual.count
    assert same.mean() >= 0.99
    error = np.abs(in_order(actual) - in_order(expected))[same & (expected.count > 0)]
    assert np.quantile(error[..., 0].max(1), 0.9) <= 1e-5
    assert np.quantile(error[..., 1:7].max((1, 2)), 0.8) <= 5e-3
    # Only the distances of C's contacts are exact enough for differences.
    poses = poses[expected.count > 0][:200]
    bar = np.zeros((len(poses), MOST, 13))
    bar[..., 0] = 1
    gradient = pair().gradient(poses, bar)
    assert np.isfinite(gradient).all()
    expected, smooth = differences(pair().reference, poses, bar, step=1e-3)
    assert np.quantile(np.abs(gradient - expected)[smooth].max(-1), 0.9) <= 1e-3
