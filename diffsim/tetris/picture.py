"""Pictures of a game of Tetris."""

from __future__ import annotations

import numpy as np

from diffsim.tetris.pieces import HEIGHT, PIECES, WIDTH, placements

CELL = 20
"""Side of a cell, pixels."""
ROOM = 4
"""Rows above the board, where the present piece is shown."""
COLORS = np.array(
    [
        *((24, 26, 32), (0, 180, 216), (240, 200, 40), (160, 80, 200), (80, 180, 80)),
        *((220, 70, 70), (230, 140, 40), (70, 110, 220), (44, 47, 56)),
    ],
    dtype=np.uint8,
)
"""Empty cells, the seven pieces, and the room above the board."""


class Picture:
    """The colours of a board's cells, which the board itself does not store.

    Attributes:
        cells: int [20, 10], 0 for an empty cell, 1 + number of the piece for a full one; lowest row first.
    """

    def __init__(self) -> None:
        self.cells = np.zeros((HEIGHT, WIDTH), dtype=np.int64)

    def place(self, piece: int, k: int) -> None:
        """Drops a piece, by placement k of the table, and removes full rows."""
        table = placements()
        columns = slice(table.left[piece, k], table.left[piece, k] + table.width[piece, k])
        filled = self.cells[:, columns] > 0
        heights = np.where(filled.any(0), HEIGHT - filled[::-1].argmax(0), 0)
        base = max(0, (heights - table.bottom[piece, k, : table.width[piece, k]]).max())
        rows = slice(base, base + table.height[piece, k])
        self.cells[rows][bits(table.cells[piece, k, : table.height[piece, k]])] = piece + 1
        kept = self.cells[~(self.cells > 0).all(1)]
        self.cells = np.concatenate([kept, np.zeros((HEIGHT - len(kept), WIDTH), dtype=np.int64)])

    def rgb(self, piece: int) -> np.ndarray:
        """The board, and above it the present piece: uint8 [480, 200, 3]."""
        table = placements()
        room = np.full((ROOM, WIDTH), len(COLORS) - 1)
        room[1 : 1 + table.height[piece, 3]][bits(table.cells[piece, 3, : table.height[piece, 3]])] = piece + 1
        pixels = COLORS[np.concatenate([self.cells, room])[::-1]].repeat(CELL, 0).repeat(CELL, 1)
        pixels[::CELL], pixels[:, ::CELL] = pixels[::CELL] // 2, pixels[:, ::CELL] // 2
        return pixels

    def text(self, piece: int) -> str:
        """The board in letters, and under it the present piece."""
        letters = "." + PIECES
        rows = ["".join(letters[cell] for cell in row) for row in self.cells[::-1]]
        return "\n".join([*rows, f"next: {PIECES[piece]}"])


def bits(rows: np.ndarray) -> np.ndarray:
    """Cells of rows [R] that are stored in bits: bool [R, 10]."""
    return (rows[:, None] >> np.arange(WIDTH) & 1).astype(bool)
