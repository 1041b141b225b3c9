"""Pairs of geoms for the tests of collision, at random poses and at degenerate poses."""

from dataclasses import dataclass

import numpy as np

from .contact_pairs import Pair, Poses, rotations, turn

Vector = tuple[float, float, float]

MARGIN = 0.05


@dataclass(frozen=True)
class Case:
    """Two kinds of geoms with sizes, and the largest number of contacts in the tests."""

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
    Case("capsule", "capsule", (0.12, 0.2, 0.0), CAPSULE, 1),  # two only if they are parallel
    Case("capsule", "box", CAPSULE, BOX, 2),
    Case("box", "box", BOX, (0.2, 0.1, 0.12), 8),
]
BY_NAME = {str(case): case for case in PAIRS}


def random_poses(case: Case, n: int) -> Poses:
    """Positions within 30 cm of the origin, uniform rotations."""
    rng = np.random.default_rng(0)
    return Poses(rng.uniform(-0.3, 0.3, (n, 2, 3)), np.stack([rotations(rng, n), rotations(rng, n)], axis=1))


# ------------------------------------------------------------------------------------------- degenerate poses

I = np.eye(3)  # noqa: E741
X, Y, Z = (0.5 * np.pi * axis for axis in np.eye(3))
ALONG_X = turn(I, Y)  # a capsule's or cylinder's axis along the world's x axis
ALONG_Y = turn(I, -X)
CUBE = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, -1.0], [-1.0, 0.0, 0.0]])
SWAP = np.array([[0.0, 0.0, -1.0], [-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
TILTED = turn(I, np.array([0.3, -0.5, 0.2]))


def _poses(*rows: tuple[Vector, np.ndarray, Vector, np.ndarray]) -> Poses:
    """Poses; each row has position and rotation of the first geom, then of the second."""
    pos = np.array([[row[0], row[2]] for row in rows], dtype=np.float64)
    return Poses(pos, np.array([[row[1], row[3]] for row in rows]))


def _around(name: str, offsets: list[Vector], mat1: np.ndarray, mat2: np.ndarray, *counts: int):
    """A case with the first geom away from the origin, and the second at offsets from the first."""
    base = (0.1, -0.2, 0.3)
    rows = [(base, mat1, tuple(np.add(base, mat1 @ offset)), mat2) for offset in offsets]
    return BY_NAME[name], _poses(*rows), counts


O: Vector = (0.0, 0.0, 0.0)  # noqa: E741
# Name: the case, its poses, and the number of contacts at each pose.
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
    "boxes stacked": _around("box-box", [(0, 0, 0.32), (0.05, 0.02, -0.32), (0.05, 0.05, 0.36)], I, I, 4, 4, 4),
    "boxes stacked, turned": _around("box-box", [(0, 0, 0.32), (0, 0, 0.3)], I, turn(I, Z / 2), 6, 6),
    "boxes on a tilt": _around("box-box", [(0.03, 0.01, 0.32)], TILTED, TILTED @ turn(I, Z), 4),
    "boxes side by side": _around("box-box", [(0.3, 0, 0), (0.3, 0.25, 0)], I, I, 4, 2),
    "box in a box": _around("box-box", [O, (0, 0, 0.08)], I, I, 4, 4),
    "edge of a box on a box": _around("box-box", [(0, 0, 0.35)], I, turn(I, X / 2), 2),
    "edges of boxes crossing": (
        BY_NAME["box-box"],
        _poses(((0, 0, 0.1), turn(I, Y / 2), (0, 0, 0.46), turn(I, X / 2))),
        (1,),
    ),
    "edges of boxes in line": (
        BY_NAME["box-box"],
        _poses(((-0.2, 0.232, -0.25), CUBE, (0.05, 0.15, 0.05), CUBE)),
        (2,),
    ),
    "boxes just touching, hardly tilted": (
        BY_NAME["box-box"],
        _poses(
            *(
                ((0.1, -0.19, -0.05), turn(SWAP, 1e-10 * np.array(tilt)), (-0.3, y, -0.05), turn(I, -X))
                for tilt, y in (((1.5, -3.3, -1.1), -0.287), ((-2.5, -0.6, 0.9), -0.127), ((3.1, 3.6, 0.6), -0.169))
            )
        ),
        (1, 1, 1),
    ),
    "corner of a box on a box": _around("box-box", [(0, 0, 0.44)], I, turn(turn(I, Z / 2), 0.6 * X), 2),
}
