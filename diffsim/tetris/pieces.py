"""The seven pieces of Tetris, and every way to place each of them on a board 10 columns wide."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np

WIDTH, HEIGHT = 10, 20
"""Columns and rows of the board."""

MAX_PLACEMENTS = 34
"""Placements of the pieces that have most: L, J and T."""

SHAPES = {
    "I": ["####"],
    "O": ["##", "##"],
    "T": ["###", " # "],
    "S": [" ##", "## "],
    "Z": ["## ", " ##"],
    "L": ["###", "#  "],
    "J": ["###", "  #"],
}
"""Each piece in its first rotation, upper row first."""

PIECES = "".join(SHAPES)
"""Names of the pieces, in the order of their numbers."""


class Placements(NamedTuple):
    """Rotations and columns of all pieces. Placement k of a piece counts columns within rotations.

    Attributes:
        count: int32 [7], placements of each piece.
        left: int32 [7, 34], leftmost column.
        width: int32 [7, 34], columns of the rotated piece.
        height: int32 [7, 34], rows of the rotated piece.
        cells: int32 [7, 34, 4], bits of the rotated piece's rows from its lowest, bit c for column c of the board.
        bottom: int32 [7, 34, 4], row of the lowest cell in each of the rotated piece's columns.
    """

    count: np.ndarray
    left: np.ndarray
    width: np.ndarray
    height: np.ndarray
    cells: np.ndarray
    bottom: np.ndarray


def rotations(name: str) -> list[np.ndarray]:
    """The different rotations of a piece: bool [height, width] each, lowest row first."""
    shape = np.array([[cell == "#" for cell in row] for row in SHAPES[name]])[::-1]
    found: list[np.ndarray] = []
    for turns in range(4):
        rotated = np.rot90(shape, turns)
        if not any(np.array_equal(rotated, other) for other in found):
            found.append(rotated)
    return found


@cache
def placements() -> Placements:
    """The table of all placements."""
    shape = (len(PIECES), MAX_PLACEMENTS)
    count = np.zeros(len(PIECES), dtype=np.int32)
    left, width, height = (np.zeros(shape, dtype=np.int32) for _ in range(3))
    cells, bottom = (np.zeros((*shape, 4), dtype=np.int32) for _ in range(2))
    for piece, name in enumerate(PIECES):
        for rotated in rotations(name):
            rows, columns = rotated.shape
            for column in range(WIDTH - columns + 1):
                k = count[piece]
                left[piece, k], width[piece, k], height[piece, k] = column, columns, rows
                cells[piece, k, :rows] = rotated @ (1 << np.arange(column, column + columns))
                bottom[piece, k, :columns] = rotated.argmax(0)
                count[piece] += 1
    return Placements(count, left, width, height, cells, bottom)
