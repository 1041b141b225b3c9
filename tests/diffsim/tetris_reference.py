"""Tetris cell by cell, written from the rules: what the kernels are compared with."""

import itertools

SHAPES = {
    "I": {(0, 0), (0, 1), (0, 2), (0, 3)},
    "O": {(0, 0), (0, 1), (1, 0), (1, 1)},
    "T": {(0, 0), (0, 1), (0, 2), (1, 1)},
    "S": {(0, 0), (0, 1), (1, 1), (1, 2)},
    "Z": {(1, 0), (1, 1), (0, 1), (0, 2)},
    "L": {(0, 0), (1, 0), (2, 0), (0, 1)},
    "J": {(0, 0), (0, 1), (1, 1), (2, 1)},
}
"""(row, column) of the cells, rows counted from below."""


def turned(cells):
    """A quarter turn, moved back to the corner."""
    cells = {(column, -row) for row, column in cells}
    low = min(row for row, _ in cells), min(column for _, column in cells)
    return frozenset((row - low[0], column - low[1]) for row, column in cells)


def oriented(name):
    """All different rotations."""
    found, cells = set(), frozenset(SHAPES[name])
    for _ in range(4):
        found.add(cells)
        cells = turned(cells)
    return found


def drops(board, name):
    """{cells that the piece comes to rest on} for every rotation and column, also those above the board."""
    for cells in oriented(name):
        for left in range(10 - max(column for _, column in cells)):
            row = 40
            while row > 0 and not any((r + row - 1, c + left) in board for r, c in cells):
                row -= 1
            yield frozenset((r + row, c + left) for r, c in cells)


def without_full_rows(board):
    """The board after full rows vanished, and these rows."""
    full = [row for row in range(20) if all((row, column) in board for column in range(10))]
    kept = {(row - sum(f < row for f in full), column) for row, column in board if row not in full}
    return kept, full


def heights(board):
    return [max((row + 1 for row, c in board if c == column), default=0) for column in range(10)]


def holes(board):
    tops = heights(board)
    return {(row, column) for column in range(10) for row in range(tops[column]) if (row, column) not in board}


def bertsekas(board, piece):
    after, _ = without_full_rows(board | piece)
    tops = heights(after)
    return [*tops, *(abs(a - b) for a, b in itertools.pairwise(tops)), max(tops), len(holes(after))]


def thiery(board, piece):
    after, full = without_full_rows(board | piece)
    filled = after | {(row, side) for row in range(20) for side in (-1, 10)} | {(-1, column) for column in range(10)}
    along_rows = sum(((r, c) in filled) != ((r, c + 1) in filled) for r in range(20) for c in range(-1, 10))
    along_columns = sum(((r, c) in filled) != ((r + 1, c) in filled) for r in range(-1, 20) for c in range(10))
    wells = depth = 0
    for row, column in itertools.product(range(20), range(10)):
        if (row, column) in filled:
            continue
        if (row, column - 1) in filled and (row, column + 1) in filled:
            under = next(k for k in range(1, 22) if (row - k, column) in filled)
            wells += under
        depth += next(k for k in range(1, 22) if (row + k, column) not in filled) - 1
    rows = [row for row, _ in piece]
    middle, eroded = (min(rows) + max(rows)) / 2, len(full) * sum(row in full for row in rows)
    gaps = holes(after)
    six = [middle, eroded, along_rows, along_columns, len(gaps), wells]
    return [*six, depth, len({row for row, _ in gaps})]
