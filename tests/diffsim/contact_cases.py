"""Pairs of geoms for the tests of collision: random poses, and poses made by hand to be degenerate."""

from dataclasses import dataclass

import numpy as np

from .contact_pairs import Pair, Poses, rotations, turn

Vector = tuple[float, float, float]

MARGIN = 0.05


@dataclass(frozen=True)
class Case:
    """Two kinds of geoms with sizes, and the most contacts they can have."""

    first: str
    second: str
    size1: Vector
    size2: Vector
    most: int

    def __str__(self) -> str:
        return f"{self.first}-{self.second}"

    def pair(self) -> Pair:
        """Both geoms in a model of their own, with contacts up to 5 cm apart."""
        return Pair((self.first, self.second), (self.size1, self.size2), MARGIN)


PLANE, SPHERE, CAPSULE = (0.0, 0.0, 0.1), (0.12, 0.0, 0.0), (0.1, 0.3, 0.0)
ELLIPSOID, CYLINDER, BOX = (0.1, 0.2, 0.3), (0.2, 0.15, 0.0), (0.1, 0.15, 0.2)
PAIRS = [
    Case("plane", "sphere", PLANE, SPHERE, 1),
    Case("plane", "capsule", PLANE, CAPSULE, 2),
    Case("plane", "ellipsoid", PLANE, ELLIPSOID, 1),
    Case("plane", "cylinder", PLANE, CYLINDER, 4),
    Case("plane", "box", PLANE, BOX, 4),
    Case("sphere", "sphere", (0.15, 0.0, 0.0), SPHERE, 1),
    Case("sphere", "capsule", SPHERE, CAPSULE, 1),
    Case("sphere", "cylinder", SPHERE, CYLINDER, 1),
    Case("sphere", "box", SPHERE, BOX, 1),
    Case("capsule", "capsule", (0.12, 0.2, 0.0), CAPSULE, 1),  # two only where they are parallel
    Case("capsule", "box", CAPSULE, BOX, 2),
]
BY_NAME = {str(case): case for case in PAIRS}


def random_poses(case: Case, n: int) -> Poses:
    """Positions within 30 cm of the origin, uniform rotations."""
    rng = np.random.default_rng(0)
    return Poses(rng.uniform(-0.3, 0.3, (n, 2, 3)), np.stack([rotations(rng, n), rotations(rng, n)], axis=1))


# ----------------------------------------------------------------------------------------------- made by hand

I = np.eye(3)  # noqa: E741
X, Y, Z = (0.5 * np.pi * axis for axis in np.eye(3))
ALONG_X = turn(I, Y)  # a capsule's or cylinder's axis along the world's x axis
ALONG_Y = turn(I, -X)
TILTED = turn(I, np.array([0.3, -0.5, 0.2]))


def _poses(*rows: tuple[Vector, np.ndarray, Vector, np.ndarray]) -> Poses:
    """From position and rotation of the first geom, and of the second, in each row."""
    pos = np.array([[row[0], row[2]] for row in rows], dtype=np.float64)
    return Poses(pos, np.array([[row[1], row[3]] for row in rows]))


def _around(name: str, offsets: list[Vector], mat1: np.ndarray, mat2: np.ndarray, *counts: int):
    """A case with the first geom off the origin, the second offset from it."""
    base = (0.1, -0.2, 0.3)
    rows = [(base, mat1, tuple(np.add(base, mat1 @ offset)), mat2) for offset in offsets]
    return BY_NAME[name], _poses(*rows), counts


O: Vector = (0.0, 0.0, 0.0)  # noqa: E741
# Name: the case, its poses, and the contacts that each of these has.
SPECIAL: dict[str, tuple[Case, Poses, tuple[int, ...]]] = {
    "sphere on a plane": _around("plane-sphere", [(0, 0, 0.12), (0, 0, -1), (0, 0, 0.16)], I, I, 1, 1, 1),
    "capsule lying on a plane": _around("plane-capsule", [(0, 0, 0.1), (0, 0, 0.14)], I, ALONG_X, 2, 2),
    "capsule upright on a plane": _around("plane-capsule", [(0, 0, 0.39), (0, 0, -0.3)], I, I, 1, 2),
    "capsule lying on a tilted plane": _around("plane-capsule", [(0, 0, 0.1)], TILTED, TILTED @ ALONG_Y, 2),
    "ellipsoid on a plane": _around("plane-ellipsoid", [(0, 0, 0.3), O], I, I, 1, 1),
    "cylinder upright on a plane": _around("plane-cylinder", [(0, 0, 0.15), (0, 0, -0.1)], I, I, 3, 4),
    "cylinder upside down on a plane": _around("plane-cylinder", [(0, 0, 0.15)], I, turn(I, 2 * X), 3),
    "cylinder lying on a plane": _around("plane-cylinder", [(0, 0, 0.2), (0, 0, -0.1)], I, ALONG_X, 2, 4),
    "box flat on a plane": _around("plane-box", [(0, 0, 0.2), (0, 0, 0.24), (0, 0, -1)], I, I, 4, 4, 4),
    "box on its edge": _around("plane-box", [(0, 0, 0.18)], I, turn(I, X / 2), 2),
    "spheres with one centre": _around("sphere-sphere", [O, O], TILTED, turn(TILTED, X), 1, 1),
    "parallel spheres with one centre": _around("sphere-sphere", [O], TILTED, TILTED, 1),
    "sphere on a capsule's axis": _around("sphere-capsule", [O, (0, 0, 0.2), (0, 0, 0.5)], I, I, 1, 1, 1),
    "sphere beside a capsule": _around("sphere-capsule", [(0.2, 0, 0), (0, 0.2, 0.3)], I, I, 1, 1),
    "sphere on a cylinder's axis": _around("sphere-cylinder", [O, (0, 0, 0.1), (0, 0, -0.27)], I, I, 1, 1, 1),
    "sphere at a cylinder's rim": _around("sphere-cylinder", [(0.25, 0, 0.2), (0.1, 0, 0.2)], I, I, 1, 1),
    "sphere in a box": _around("sphere-box", [O, (0.05, 0, 0), (0, -0.1, 0.1)], I, I, 1, 1, 1),
    "sphere on a box": _around("sphere-box", [(0.2, 0, 0), (0.2, 0.2, 0), (0.15, 0.2, 0.25)], I, I, 1, 1, 1),
    "sphere on the surface of a box": _around("sphere-box", [(0.1, 0, 0), (0.1, 0.15, 0.2)], I, I, 1, 1),
    "parallel capsules": _around("capsule-capsule", [(0.2, 0, 0), (0.2, 0, 0.1), (0, 0.2, -0.4)], I, I, 2, 2, 2),
    "parallel capsules, one upside down": _around(
        "capsule-capsule", [(0.2, 0, 0), (0, 0.2, -0.4)], I, turn(I, 2 * Y), 2, 2
    ),
    "capsules on one axis": _around("capsule-capsule", [(0, 0, 0.7), (0, 0, 0.3), O], I, I, 2, 2, 2),
    "capsules crossing": _around("capsule-capsule", [(0, 0.2, 0), O, (0.1, 0, 0)], I, ALONG_X, 1, 1, 1),
    "capsules end to end": _around("capsule-capsule", [(0.3, 0, 0.3)], I, ALONG_X, 1),
    "capsule along a box's face": _around("capsule-box", [(0, 0.24, 0), (0.2, 0, 0.1), (0, 0, 0.6)], I, I, 2, 2, 1),
    "capsule along a box's edge": _around("capsule-box", [(0.15, 0.2, 0), (0.1, 0.15, 0)], I, I, 2, 2),
    "capsule across a box": _around("capsule-box", [(0.28, 0, 0), (0.28, 0, 0.3)], I, ALONG_X, 1, 2),
    "capsule through a box": _around("capsule-box", [O, (0.05, 0, 0)], I, I, 2, 2),
    "capsule at a box's corner": _around("capsule-box", [(0.15, 0.2, 0.5), (0.15, 0.2, 0.25)], I, turn(I, X / 2), 2, 2),
}
