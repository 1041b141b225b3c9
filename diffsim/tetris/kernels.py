"""Kernels of Tetris: a game per thread, a row of a board in the bits of an integer.

Row 0 is the lowest. Bit c of a row is column c.
"""

from __future__ import annotations

import warp as wp

import diffsim.types  # noqa: F401, no banner of Warp
from diffsim.tetris.pieces import HEIGHT, PIECES, WIDTH

wp.set_module_options({"enable_backward": False})

NUM_FEATURES = {"bertsekas": 21, "dellacherie": 6, "thiery": 8}
"""Numbers in each set of features. The first six of the last set are those of the second."""

FULL = wp.constant((1 << WIDTH) - 1)
ROWS = wp.constant(HEIGHT)
COLUMNS = wp.constant(WIDTH)
NUM_PIECES = wp.constant(len(PIECES))
BERTSEKAS = wp.constant(NUM_FEATURES["bertsekas"])

Board = wp.types.vector(length=HEIGHT, dtype=wp.int32)
Heights = wp.types.vector(length=WIDTH, dtype=wp.int32)
Features = wp.types.vector(length=max(NUM_FEATURES.values()), dtype=wp.float32)


@wp.struct
class Tables:
    """`pieces.Placements` on a device."""

    count: wp.array(dtype=wp.int32)
    left: wp.array2d(dtype=wp.int32)
    width: wp.array2d(dtype=wp.int32)
    height: wp.array2d(dtype=wp.int32)
    cells: wp.array3d(dtype=wp.int32)
    bottom: wp.array3d(dtype=wp.int32)


@wp.func
def load(rows: wp.array2d(dtype=wp.int32), game: int):
    """The board of a game."""
    board = Board()
    for r in range(ROWS):
        board[r] = rows[game, r]
    return board


@wp.func
def drawn(seed: int, time: int):
    """Number of the piece that a game places at a time: uniform, and a function of the game's seed."""
    return wp.randi(wp.rand_init(seed, time), 0, NUM_PIECES)


@wp.func
def column_heights(board: Board):
    """Height of each column."""
    heights = Heights()
    seen = int(0)
    for i in range(ROWS):
        r = ROWS - 1 - i
        first = board[r] & (~seen)
        if first != 0:
            for c in range(COLUMNS):
                if ((first >> c) & 1) == 1:
                    heights[c] = r + 1
            seen = seen | first
    return heights


@wp.func
def landing_row(tables: Tables, heights: Heights, piece: int, k: int):
    """Row in which the lowest cells of a dropped piece come to rest."""
    base = int(0)
    for j in range(tables.width[piece, k]):
        base = wp.max(base, heights[tables.left[piece, k] + j] - tables.bottom[piece, k, j])
    return base


@wp.func
def dropped(tables: Tables, board: Board, piece: int, k: int, base: int):
    """The board after a placement, without its full rows; their number, and the cells of the piece in them."""
    after = Board()
    lines = int(0)
    cells = int(0)
    for r in range(ROWS):
        own = int(0)
        if r >= base and r < base + tables.height[piece, k]:
            own = tables.cells[piece, k, r - base]
        row = board[r] | own
        if row == FULL:
            lines += 1
            cells += wp.bit_count(own)
        else:
            after[r - lines] = row
    return after, lines, cells


@wp.func
def bertsekas(board: Board):
    """Heights of columns, differences between neighbours, the largest height, holes."""
    features = Features()
    heights = column_heights(board)
    highest = int(0)
    for c in range(COLUMNS):
        features[c] = float(heights[c])
        highest = wp.max(highest, heights[c])
        if c > 0:
            features[COLUMNS + c - 1] = float(wp.abs(heights[c] - heights[c - 1]))
    features[2 * COLUMNS - 1] = float(highest)
    cover = int(0)
    holes = int(0)
    for i in range(highest):
        row = board[highest - 1 - i]
        holes += wp.bit_count(cover & (~row))
        cover = cover | row
    features[2 * COLUMNS] = float(holes)
    return features


@wp.func
def dellacherie(board: Board, middle: float, eroded: int):
    """Landing height, eroded cells, transitions in rows and in columns, holes, cumulative wells; depth of holes,
    rows with holes.

    `middle` is the height of the placed piece's middle, `eroded` its eroded cells.
    """
    row_changes, column_changes, holes, wells, depth, rows_with_holes = int(0), int(0), int(0), int(0), int(0), int(0)
    cover, below, above_holes = int(0), int(FULL), int(0)
    for r in range(ROWS):
        row = board[r]
        walled = (row << 1) | 1 | (1 << (COLUMNS + 1))
        row_changes += wp.bit_count((walled ^ (walled >> 1)) & ((1 << (COLUMNS + 1)) - 1))
        column_changes += wp.bit_count(row ^ below)
        if r > 0:
            above_holes = row & ((~below) | above_holes)
            depth += wp.bit_count(above_holes)
        below = row
    column_changes += wp.bit_count(below)
    for i in range(ROWS):
        r = ROWS - 1 - i
        row = board[r]
        found = wp.bit_count(cover & (~row))
        holes += found
        rows_with_holes += wp.min(found, 1)
        cover = cover | row
        # An empty cell between full ones, and the empty cells under it down to the first full one.
        walled = (row << 1) | 1 | (1 << (COLUMNS + 1))
        well = walled & (walled >> 2) & (~row) & FULL
        under = r
        while well != 0:
            wells += wp.bit_count(well)
            under -= 1
            if under < 0:
                well = 0
            else:
                well = well & (~board[under])
    features = Features()
    features[0] = middle
    features[1] = float(eroded)
    features[2] = float(row_changes)
    features[3] = float(column_changes)
    features[4] = float(holes)
    features[5] = float(wells)
    features[6] = float(depth)
    features[7] = float(rows_with_holes)
    return features


@wp.func
def features_of(tables: Tables, board: Board, piece: int, k: int, base: int, num_features: int):
    """Features of a placement: of the board after it, and of how it got there."""
    after, lines, cells = dropped(tables, board, piece, k, base)
    if num_features == BERTSEKAS:
        return bertsekas(after)
    middle = float(base) + 0.5 * float(tables.height[piece, k] - 1)
    return dellacherie(after, middle, lines * cells)


@wp.kernel
def afterstates_kernel(
    # In:
    tables: Tables,
    num_features: int,
    rows: wp.array2d(dtype=wp.int32),
    piece: wp.array(dtype=wp.int32),
    # Out:
    legal_out: wp.array2d(dtype=wp.uint8),
    features_out: wp.array3d(dtype=wp.float32),
):
    """Which placements of the present piece are legal, and their features; zeros for the others."""
    game = wp.tid()
    board = load(rows, game)
    heights = column_heights(board)
    own = piece[game]
    for k in range(legal_out.shape[1]):
        legal = wp.uint8(0)
        features = Features()
        if k < tables.count[own]:
            base = landing_row(tables, heights, own, k)
            if base + tables.height[own, k] <= ROWS:
                legal = wp.uint8(1)
                features = features_of(tables, board, own, k, base, num_features)
        legal_out[game, k] = legal
        for f in range(num_features):
            features_out[game, k, f] = features[f]


@wp.kernel
def draw_kernel(
    # In:
    seed: wp.array(dtype=wp.int32),
    time: wp.array(dtype=wp.int32),
    # Out:
    piece_out: wp.array(dtype=wp.int32),
):
    """Draws the present piece of each game."""
    game = wp.tid()
    piece_out[game] = drawn(seed[game], time[game])


@wp.kernel
def place_kernel(
    # In:
    tables: Tables,
    action: wp.array(dtype=wp.int32),
    seed: wp.array(dtype=wp.int32),
    # In and out:
    rows: wp.array2d(dtype=wp.int32),
    piece: wp.array(dtype=wp.int32),
    time: wp.array(dtype=wp.int32),
    lines: wp.array(dtype=wp.int32),
):
    """Places the present piece of each game, which must be legal, and draws the next one; not where action is -1."""
    game = wp.tid()
    k = action[game]
    if k >= 0:
        board = load(rows, game)
        base = landing_row(tables, column_heights(board), piece[game], k)
        after, gained, cells = dropped(tables, board, piece[game], k, base)
        for r in range(ROWS):
            rows[game, r] = after[r]
        lines[game] = lines[game] + gained
        time[game] = time[game] + 1
        piece[game] = drawn(seed[game], time[game])


@wp.kernel
def play_kernel(
    # In:
    tables: Tables,
    num_features: int,
    weights: wp.array2d(dtype=wp.float32),
    max_placements: int,
    seed: wp.array(dtype=wp.int32),
    # In and out:
    rows: wp.array2d(dtype=wp.int32),
    piece: wp.array(dtype=wp.int32),
    time: wp.array(dtype=wp.int32),
    lines: wp.array(dtype=wp.int32),
    over: wp.array(dtype=wp.uint8),
):
    """Places up to `max_placements` pieces, each where the weighted sum of the features is largest."""
    game = wp.tid()
    board = load(rows, game)
    own = piece[game]
    now = time[game]
    total = lines[game]
    running = bool(over[game] == wp.uint8(0))
    placed = int(0)
    while running and placed < max_placements:
        heights = column_heights(board)
        best = int(-1)
        best_base = int(0)
        best_value = float(0.0)
        for k in range(tables.count[own]):
            base = landing_row(tables, heights, own, k)
            if base + tables.height[own, k] <= ROWS:
                features = features_of(tables, board, own, k, base, num_features)
                value = float(0.0)
                for f in range(num_features):
                    value += weights[game, f] * features[f]
                if best < 0 or value > best_value:
                    best, best_base, best_value = k, base, value
        if best < 0:
            running = False
        else:
            board, gained, cells = dropped(tables, board, own, best, best_base)
            total += gained
            now += 1
            placed += 1
            own = drawn(seed[game], now)
    for r in range(ROWS):
        rows[game, r] = board[r]
    piece[game] = own
    time[game] = now
    lines[game] = total
    if not running:
        over[game] = wp.uint8(1)
