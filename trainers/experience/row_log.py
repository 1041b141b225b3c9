"""Rows of numbers on disk: an append-only log whose oldest files are deleted."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from diffsim.trainers.errors import CheckpointError

SEGMENT_BYTES = 2**24


class RowLog:
    """Append-only rows, numbered from 0, in files of a fixed number of rows.

    A checkpoint needs to hold only the number of its last row: later writes do not change earlier rows, even if they
    are interrupted, and rows after the checkpoint's last one are overwritten when training continues from it.

    Args:
        folder: folder of the files; created by the first write.
        width: numbers per row.
        dtype: of the numbers.

    Attributes:
        saved: number of rows that the log holds up to the last checkpoint.
        needed: first row that the last checkpoint needs.
    """

    def __init__(self, folder: Path, width: int, dtype: np.dtype) -> None:
        self.folder, self.width, self.dtype = folder, width, np.dtype(dtype)
        self.row_bytes = width * self.dtype.itemsize
        self.segment = max(SEGMENT_BYTES // self.row_bytes, 1)
        self.saved = self.needed = 0

    def update(self, oldest: int, count: int, rows_of: Callable[[int, int], np.ndarray]) -> None:
        """Writes what a new checkpoint of rows `oldest` to `count - 1` needs and the log does not hold.

        Also deletes the files that the previous checkpoint does not need.

        Args:
            oldest: first row of the new checkpoint.
            count: its last row plus 1.
            rows_of: returns rows r to s - 1 for any r and s from `oldest` to `count`; a segment of them at a time.
        """
        self.delete_before(self.needed)
        for first in range(max(self.saved, oldest), count, self.segment):
            self.write(first, rows_of(first, min(first + self.segment, count)))
        self.saved, self.needed = count, oldest

    def restore(self, oldest: int, count: int) -> np.ndarray:
        """Reads the rows of a checkpoint, [count - oldest, W], after which `update` continues from there.

        Raises: CheckpointError if rows are missing.
        """
        self.saved, self.needed = count, oldest
        return self.read(oldest, count)

    def restored(self, oldest: int, count: int) -> Iterator[tuple[int, np.ndarray]]:
        """As `restore`, a segment at a time: the number of its first row, and its rows."""
        self.saved, self.needed = count, oldest
        for first in range(oldest, count, self.segment):
            yield first, self.read(first, min(first + self.segment, count))

    def write(self, first: int, rows: np.ndarray) -> None:
        """Writes `rows` [R, W] as rows `first` to `first + R - 1`, and flushes them to the disk."""
        self.folder.mkdir(parents=True, exist_ok=True)
        while len(rows):
            number, offset = divmod(first, self.segment)
            part, rows = np.split(rows, [self.segment - offset])
            path = self._path(number)
            with path.open("r+b" if path.exists() else "wb") as file:
                file.seek(offset * self.row_bytes)
                file.write(np.ascontiguousarray(part, self.dtype).tobytes())
                file.flush()
                os.fsync(file.fileno())
            first += len(part)

    def read(self, first: int, last: int) -> np.ndarray:
        """Rows `first` to `last - 1`, [last - first, W].

        Raises: CheckpointError if rows are missing.
        """
        rows = np.empty((last - first, self.width), self.dtype)
        done = 0
        while done < len(rows):
            number, offset = divmod(first + done, self.segment)
            count = min(self.segment - offset, len(rows) - done)
            path = self._path(number)
            if not path.is_file() or path.stat().st_size < (offset + count) * self.row_bytes:
                raise CheckpointError(
                    f"replay must hold rows {first} to {last - 1}, as its checkpoint says; some are missing in "
                    f"{str(path)!r}"
                )
            found = np.fromfile(path, self.dtype, count * self.width, offset=offset * self.row_bytes)
            rows[done : done + count] = found.reshape(count, self.width)
            done += count
        return rows

    def delete_before(self, before: int) -> None:
        """Deletes the files that hold only rows below `before`."""
        for path in self.folder.glob("*.rows"):
            if (int(path.stem) + 1) * self.segment <= before:
                path.unlink()

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:08d}.rows"
