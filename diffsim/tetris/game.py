"""Many games of Tetris, placed together."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
import warp as wp
from torch import Tensor

from diffsim.checks import check_choice, check_count, check_shape, require
from diffsim.engine.captured_launch import torch_stream
from diffsim.tetris.kernels import NUM_FEATURES, Tables, afterstates_kernel, draw_kernel, place_kernel, play_kernel
from diffsim.tetris.pieces import HEIGHT, MAX_PLACEMENTS, PIECES, placements

DELLACHERIE_WEIGHTS = (-1.0, 1.0, -1.0, -1.0, -4.0, -1.0)
"""Weights that Dellacherie found by hand, for the features "dellacherie"."""

THIERY_WEIGHTS = (-12.63, 6.60, -9.22, -19.77, -13.08, -10.49, -1.61, -24.04)
"""Weights of Thiery & Scherrer's controller BCTS, for the features "thiery"."""


class TetrisGames:
    """N games of Tetris on a board of 10 x 20, with placements as actions.

    A piece is rotated and moved above the board and then dropped straight down. Full rows vanish. A placement is legal
    if the piece comes to rest within the board, before full rows vanish; a game is over when none is. Pieces are
    uniform, and a function of a game's seed and of the number of pieces placed before.

    Features of a placement describe the board after it:

    * "bertsekas", 21: heights of the 10 columns, 9 absolute differences between neighbours, the largest height, holes
      (empty cells under a full one).
    * "dellacherie", 6: landing height (of the piece's middle), eroded cells (lines times the piece's cells that
      vanish), changes between empty and full along rows (walls are full) and along columns (the floor is full), holes,
      and cumulative wells (for each empty cell between full ones, 1 + the empty cells under it).
    * "thiery", 8: the six above, depth of holes (full cells over a hole, up to the next empty one), rows with holes.

    Args:
        num_games: N, at least 1.
        features: name of the features.
        device: where to play, such as "cpu" or "cuda".

    Attributes:
        seed, time, piece, lines: int32 [N]: seeds of the pieces, placements so far, number of the present piece in
            `pieces.PIECES`, and lines so far.
        rows: int32 [N, 20], the boards: bit c of row r, counted from below, is the cell in column c.
        over: uint8 [N], whether the game is over.

    Raises: ValueError or TypeError if an argument is out of range.
    Source: Bertsekas & Tsitsiklis (1996), "Neuro-Dynamic Programming", section 8.3; Fahey (2003), "Tetris AI";
    Thiery & Scherrer (2009), "Improvements on learning Tetris with cross entropy".
    """

    def __init__(self, num_games: int, features: str = "bertsekas", device: str = "cpu") -> None:
        check_count("num_games", num_games)
        check_choice("features", features, NUM_FEATURES)
        wp.init()
        self.num_games, self.device, self.num_features = num_games, torch.device(device), NUM_FEATURES[features]

        def zeros(*shape: int, dtype: torch.dtype = torch.int32) -> Tensor:
            return torch.zeros(num_games, *shape, dtype=dtype, device=device)

        self.seed, self.time, self.piece, self.lines, self.rows = zeros(), zeros(), zeros(), zeros(), zeros(HEIGHT)
        self.over = zeros(dtype=torch.uint8)
        self._legal = zeros(MAX_PLACEMENTS, dtype=torch.uint8)
        self._features = zeros(MAX_PLACEMENTS, self.num_features, dtype=torch.float32)

    def start(self, seeds: Tensor, mask: Tensor | None = None) -> None:
        """Starts new games with `seeds`, int [N] in [0, 2^31), in all games or in those of `mask`, bool [N]."""
        seeds = seeds.to(self.device, torch.int64)
        require(bool(((seeds >= 0) & (seeds < 2**31)).all()), "seeds", "in [0, 2^31)", seeds)
        mask = torch.ones_like(self.seed, dtype=torch.bool) if mask is None else mask
        for part in (self.time, self.lines, self.rows, self.over):
            part[mask] = 0
        self.seed[mask] = seeds[mask].to(torch.int32)
        self._launch(draw_kernel, self.seed, self.time, self.piece)

    def afterstates(self) -> tuple[Tensor, Tensor]:
        """Whether each placement of the present piece is legal, bool [N, 34], and its features, float32 [N, 34, F].

        Features of placements that are not legal are zero. Games without legal placements are over.
        """
        inputs = self._tables(), self.num_features, self.rows, self.piece
        self._launch(afterstates_kernel, *inputs, self._legal, self._features)
        self.over |= self._legal.sum(1, dtype=torch.uint8) == 0
        return self._legal.bool(), self._features.clone()

    def is_legal(self, action: Tensor) -> Tensor:
        """Whether the last `afterstates` found placements `action`, int [N], to be legal: bool [N]."""
        index = action.to(self.device, torch.int64)
        within = (index >= 0) & (index < MAX_PLACEMENTS)
        return within & (self._legal.gather(1, index.clamp(0, MAX_PLACEMENTS - 1)[:, None])[:, 0] == 1)

    def place(self, action: Tensor) -> Tensor:
        """Places the present pieces by `action`, int [N], and draws the next ones. Games with action -1 wait.

        Returns: lines of this placement, int32 [N].
        Raises: ValueError if a placement is not legal, as the last `afterstates` found.
        """
        wrong = (action != -1) & ~self.is_legal(action)
        if wrong.any():
            game = int(wrong.nonzero()[0])
            name, valid = PIECES[int(self.piece[game])], self._legal[game].nonzero()[:, 0].tolist()
            raise ValueError(f"action must be -1 or legal, one of {valid} for piece {name}, got {int(action[game])}")
        before, state = self.lines.clone(), (self.rows, self.piece, self.time, self.lines)
        self._launch(place_kernel, self._tables(), action.to(self.device, torch.int32), self.seed, *state)
        return self.lines - before

    def play(self, weights: Tensor, max_placements: int) -> None:
        """Places up to `max_placements` pieces in each game, where the weighted sum of the features is largest.

        Args:
            weights: [N, F]. The first of equally good placements is chosen.
            max_placements: at least 1; fewer are placed in games that end.
        """
        check_count("max_placements", max_placements)
        check_shape("weights", weights, (self.num_games, self.num_features))
        inputs = self._tables(), self.num_features, weights.to(self._features).contiguous(), max_placements, self.seed
        self._launch(play_kernel, *inputs, self.rows, self.piece, self.time, self.lines, self.over)

    def state_dict(self) -> dict[str, Tensor]:
        """Everything that the next placements depend on."""
        names = ("seed", "time", "piece", "lines", "rows", "over")
        return {name: getattr(self, name).cpu().clone() for name in names}

    def load_state_dict(self, saved: Mapping[str, Tensor]) -> None:
        """Restores what `state_dict` returned."""
        for name, value in saved.items():
            getattr(self, name).copy_(value)

    def _tables(self) -> Tables:
        return tables(str(self.device))

    def _launch(self, kernel: wp.Kernel, *inputs: Any) -> None:
        """Runs a kernel, a game per thread."""
        arrays = [wp.from_torch(value) if isinstance(value, Tensor) else value for value in inputs]
        wp.launch(kernel, self.num_games, arrays, device=str(self.device), stream=torch_stream(self.device))


@cache
def tables(device: str) -> Tables:
    """The table of placements on a device."""
    table = Tables()
    for name, values in placements()._asdict().items():
        setattr(table, name, wp.array(values, dtype=wp.int32, device=device))
    return table


def greedy_lines(
    weights: Tensor, seeds: Tensor, *, features: str = "bertsekas", max_placements: int = 2**31 - 1, device: str = "cpu"
) -> Tensor:
    """Lines of whole games, each placement with the largest weighted sum of features.

    Args:
        weights: [N, F], weights of each game.
        seeds: int [N] in [0, 2^31). Games of the same seed get the same pieces.
        features: name of the features.
        max_placements: games end after this number of placements, at least 1.
        device: where to play.

    Returns: int32 [N].
    """
    games = TetrisGames(len(weights), features, device)
    games.start(seeds)
    games.play(weights, max_placements)
    return games.lines
