"""Rows of numbers on disk that only grow at one end and are forgotten at the other."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from diffsim.trainers.errors import CheckpointError

SEGMENT_BYTES = 2**24


class RowLog:
    """Rows numbered from 0 for ever, in files of equally many: what is written once is never changed.

    Row r of a checkpoint is still row r when that checkpoint is read, whatever was written after it, complete or cut
    short: rows beyond are written anew. So a checkpoint needs to hold only the number of its last row.

    Args:
        folder: where the files are; made when first written to.
        width: numbers per row.
        dtype: of the numbers.
    """

    def __init__(self, folder: Path, width: int, dtype: np.dtype) -> None:
        self.folder, self.width, self.dtype = folder, width, np.dtype(dtype)
        self.row_bytes = width * self.dtype.itemsize
        self.segment = max(SEGMENT_BYTES // self.row_bytes, 1)

    def write(self, first: int, rows: np.ndarray) -> None:
        """Writes `rows` [R, W] as rows `first` to `first + R - 1`, and waits until the disk has them."""
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

        Raises: CheckpointError if some of them are not there.
        """
        rows = np.empty((last - first, self.width), self.dtype)
        done = 0
        while done < len(rows):
            number, offset = divmod(first + done, self.segment)
            count = min(self.segment - offset, len(rows) - done)
            path = self._path(number)
            if not path.is_file() or path.stat().st_size < (offset + count) * self.row_bytes:
                raise CheckpointError(
                    f"replay must hold rows {first} to {last - 1}, as its checkpoint says; they are not all in "
                    f"{str(path)!r}"
                )
            found = np.fromfile(path, self.dtype, count * self.width, offset=offset * self.row_bytes)
            rows[done : done + count] = found.reshape(count, self.width)
            done += count
        return rows

    def forget(self, before: int) -> None:
        """Deletes the files that hold nothing but rows below `before`."""
        for path in self.folder.glob("*.rows"):
            if (int(path.stem) + 1) * self.segment <= before:
                path.unlink()

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:08d}.rows"
