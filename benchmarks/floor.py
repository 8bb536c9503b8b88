"""The least that tables can cost: what must be done with their values, without Runner."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from benchmarks.timing import Times, Way

PIECES = ("SHA-256", "float64 pass", "raw write")


def pieces(arrays: Sequence[np.ndarray], times: int) -> dict[str, Way]:
    """Return the pieces by name.

    Parameters
    ----------
    arrays
        The values of all tables for one batch.
    times
        The number of batches.
    """
    flat = [np.ascontiguousarray(array).reshape(-1) for array in arrays]

    def every() -> Iterator[tuple[int, np.ndarray]]:
        for _ in range(times):
            yield from enumerate(flat)

    def hashed() -> None:
        hashes = [hashlib.sha256() for _ in flat]
        for place, array in every():
            hashes[place].update(array.view(np.uint8))

    def summed() -> None:
        for _, array in every():
            if array.dtype.kind == "f":
                np.add.reduce(array, dtype="float64")

    def written() -> Callable[[], None]:
        folder = tempfile.TemporaryDirectory()
        paths = [f"{folder.name}/{number}" for number in range(len(flat))]
        files = [os.open(path, os.O_CREAT | os.O_WRONLY) for path in paths]
        for place, array in every():
            os.write(files[place], array.view(np.uint8))
        for file in files:
            os.close(file)
        return folder.cleanup

    return dict(zip(PIECES, (hashed, summed, written), strict=True))


def floor(times: Mapping[str, Sequence[Times]], plain: str, cores: int) -> list[float]:
    """Return the floor of each turn, as a ratio to the plain forward pass.

    It is the CPU time of the forward pass and of all pieces, shared out evenly over the cores, but
    no less than the forward pass takes.
    """
    found = []
    for turn, own in enumerate(times[plain]):
        cpu = own.cpu + sum(times[piece][turn].cpu for piece in PIECES)
        found.append(max(own.wall, cpu / cores) / own.wall)
    return found
