"""Pictures of a flight of the helicopter."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SIDE = 240
"""Height of a picture and width of each of its two views, pixels."""
RANGE = 20.0
"""Metres from the middle of a view to its edge."""
PATH, LENGTH = 300, 1.5
"""Steps of the path that are drawn, and length of the helicopter, m."""
SKY, AXIS, TRAIL, BODY = (244, 246, 248), (200, 206, 212), (120, 170, 210), (200, 60, 40)


class HelicopterPicture:
    """Views from above (north up, east right) and from the east (north right, height up), 40 m wide each.

    Distances are drawn by their square root times the sign, so that hovering within a metre is visible.
    """

    def __init__(self) -> None:
        self.path: list[Sequence[float]] = []

    def rgb(self, position: Sequence[float], forward: Sequence[float]) -> np.ndarray:
        """The path so far, and the helicopter: uint8 [240, 480, 3].

        Args:
            position: north, east, down, m.
            forward: direction of the body's x axis in the world.
        """
        self.path = [*self.path[-PATH:], tuple(position)]
        pixels = np.full((SIDE, 2 * SIDE, 3), SKY, dtype=np.uint8)
        pixels[SIDE // 2], pixels[:, [SIDE // 2, 3 * SIDE // 2]] = AXIS, AXIS
        points = np.linspace(-LENGTH / 2, LENGTH / 2, 30)[:, None] * forward + np.asarray(position)
        for color, drawn, size in ((TRAIL, np.array(self.path), 0), (BODY, points, 1)):
            north, east, up = (scaled(drawn[:, i]) for i in (0, 1, 2))
            dot(pixels, SIDE // 2 - north, SIDE // 2 + east, color, size)
            dot(pixels, SIDE // 2 + up, 3 * SIDE // 2 + north, color, size)
        return pixels


def scaled(metres: np.ndarray) -> np.ndarray:
    """Pixels from the middle of a view."""
    return (np.sign(metres) * np.sqrt(np.abs(metres) / RANGE) * (SIDE // 2 - 4)).round().astype(np.int64)


def dot(pixels: np.ndarray, row: np.ndarray, column: np.ndarray, color: Sequence[int], size: int) -> None:
    """Draws squares of 2 * size + 1 pixels; those outside the picture are moved to its edge."""
    for i in range(-size, size + 1):
        for j in range(-size, size + 1):
            pixels[np.clip(row + i, 0, SIDE - 1), np.clip(column + j, 0, 2 * SIDE - 1)] = color
