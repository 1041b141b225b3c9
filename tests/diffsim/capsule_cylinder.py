"""A capsule and a cylinder of the sizes in Gymnasium's Pusher, and poses of them."""

import numpy as np

from .contact_cases import ALONG_X, Case
from .contact_pairs import Contacts, Pair, Poses, rotations, turn

RADIUS, MARGIN = 0.02, 0.004
CASE = Case("capsule", "cylinder", (RADIUS, 0.1, 0.0), (0.05, 0.05, 0.0), 2)


def pair(margin: float = MARGIN) -> Pair:
    """Both geoms in a model of their own."""
    return Pair((CASE.first, CASE.second), (CASE.size1, CASE.size2), margin)


def random_poses(n: int, reach: float = 0.12) -> Poses:
    """Capsules in any direction, within `reach` of the cylinder along each axis."""
    rng = np.random.default_rng(0)
    return Poses(
        rng.uniform(-reach, reach, (n, 2, 3)) * [[[1.0], [0.3]]], np.stack([rotations(rng, n) for _ in range(2)], 1)
    )


def lying_poses(n: int) -> Poses:
    """Capsules on one of the caps, within 5.7 degrees of it."""
    rng = np.random.default_rng(0)
    pos, mat = rng.uniform(-0.3, 0.3, (n, 2, 3)), np.stack([rotations(rng, n) for _ in range(2)], 1)
    for i in range(n):
        heading, tilt = rng.uniform(0, 2 * np.pi), rng.uniform(-0.1, 0.1)
        mat[i, 0] = mat[i, 1] @ turn(turn(ALONG_X, np.array([0, tilt, 0])), np.array([0, 0, heading]))
        height = rng.choice([-1, 1]) * rng.uniform(0.04, 0.075)
        pos[i, 0] = pos[i, 1] + mat[i, 1] @ [*rng.uniform(-0.12, 0.12, 2), height]
    return Poses(pos, mat)


def in_order(contacts: Contacts) -> np.ndarray:
    """[N, MOST, 13], the deeper of two contacts first, because the order in C MuJoCo depends on rounding."""
    flat = contacts.flat()
    swap = (contacts.count == 2) & (contacts.dist[:, 1] < contacts.dist[:, 0])
    flat[swap, :2] = flat[swap, 1::-1]
    return flat
