"""Contacts of two geoms against C MuJoCo: number, order, distance, position and frame; gradients against central
differences; poses where directions are undefined."""

import os
from pathlib import Path

import numpy as np
import pytest

from diffsim.collision.geometry import CANDIDATES
from tests import processes

from .contact_cases import PAIRS, SPECIAL, Case, random_poses
from .contact_pairs import MOST, Pair, Poses, differences

every_pair = pytest.mark.parametrize("case", PAIRS, ids=str)


def compare(pair: Pair, poses: Poses, tolerance: float = 1e-10) -> np.ndarray:
    """Asserts that the contacts at all poses equal C MuJoCo's; returns the number of contacts at each pose."""
    expected = pair.reference(poses)
    actual = pair.contacts(poses)
    np.testing.assert_array_equal(actual.count, expected.count)
    np.testing.assert_allclose(actual.flat(), expected.flat(), rtol=0, atol=tolerance)
    return expected.count


@every_pair
def test_random_poses(case: Case):
    count = compare(case.pair(), random_poses(case, 600))
    assert (count > 0).sum() >= 150  # touching or within the margin
    assert (count == 0).sum() >= 50
    assert count.max() == case.most


@pytest.mark.parametrize("name", SPECIAL)
def test_special_pose(name: str):
    case, poses, counts = SPECIAL[name]
    np.testing.assert_array_equal(compare(case.pair(), poses), counts)


@every_pair
def test_gradient(case: Case):
    pair, poses = case.pair(), random_poses(case, 300)
    count = pair.reference(poses).count
    poses = poses[count > 0]
    bar = np.random.default_rng(1).standard_normal((len(poses), MOST, 13))
    actual = pair.gradient(poses, bar)
    expected, smooth = differences(pair.reference, poses, bar)
    scale = np.maximum(np.abs(expected).max(-1, keepdims=True), 1.0)
    error = np.abs(actual - expected) / scale
    assert smooth.mean() > 0.9
    assert error[smooth].max() <= 1e-6


@pytest.mark.parametrize("name", SPECIAL)
def test_special_pose_is_finite(name: str):
    case, poses, _ = SPECIAL[name]
    pair = case.pair()
    for size in (1.0, 1e-9, 0.0):  # also with sizes near or equal to zero
        pair.sizes = size * case.pair().sizes
        contacts = pair.contacts(poses)
        assert np.isfinite(contacts.flat()).all()
        assert np.isfinite(pair.gradient(poses, np.ones((len(poses), MOST, 13)))).all()


def test_deep_penetration():
    for case in PAIRS:
        poses = random_poses(case, 100)
        poses = Poses(0.03 * poses.pos, poses.mat)
        pair = case.pair()
        compare(pair, poses)
        assert np.isfinite(pair.gradient(poses, np.ones((len(poses), MOST, 13)))).all()


def test_kinds_are_ordered_as_in_mujoco():
    assert all(first <= second for first, second in CANDIDATES)
    assert all(candidates >= most for candidates, most in CANDIDATES.values())


def test_float32():
    checks = Path(__file__).with_name("float32_collision_checks.py")
    environment = os.environ | {"DIFFSIM_X64": "0", "DIFFSIM_KERNELS": "float32"}
    result = processes.run("-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", checks, env=environment)
    assert result.returncode == 0, result.stdout[-6000:]
