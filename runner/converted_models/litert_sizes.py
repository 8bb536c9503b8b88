"""What the graphs of a file of LiteRT unfold to, counted before LiteRT reads it."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import NamedTuple

from runner.errors import InputError
from runner.flat_buffers import FlatTable
from runner.given_files import FileOnDisk
from runner.sizes import readable

# A file may unfold to so many bytes, or so many times its size: without shared parts, to its size.
_LEAST, _TIMES = 2**20, 4


class _Part(NamedTuple):
    """A kind of table: its fields that are lists of numbers, tables, and lists of tables.

    A number of a list has the given bytes, as has a letter of a text.
    """

    numbers: dict[int, int]
    tables: dict[int, _Part]
    lists: dict[int, _Part]


# https://github.com/google-ai-edge/LiteRT/blob/main/tflite/schema/schema.fbs
_QUANTIZATION = _Part({0: 4, 1: 4, 2: 4, 3: 8}, {}, {})
_TENSOR = _Part({0: 4, 3: 1, 7: 4}, {4: _QUANTIZATION}, {})
_OPERATION = _Part({1: 4, 2: 4, 5: 1, 7: 1, 8: 4}, {}, {})
_GRAPH = _Part({1: 4, 2: 4, 4: 1}, {}, {0: _TENSOR, 3: _OPERATION})
_CODE, _BUFFER = _Part({1: 1}, {}, {}), _Part({0: 1}, {}, {})
_MODEL = _Part({}, {}, {1: _CODE, 2: _GRAPH, 4: _BUFFER})


def check_unfolded(path: Path) -> None:
    """Check that all lists are there, and shared not so often that the file stands for far more.

    Raises
    ------
    InputError
        If they are, or the file is damaged.
    """
    data = FileOnDisk(path).content()
    left = most = max(_LEAST, _TIMES * len(data))

    def count(table: FlatTable, part: _Part) -> None:
        nonlocal left
        left -= sum(size * table.vector(field)[1] for field, size in part.numbers.items())
        for field, below in part.tables.items():
            if table.has(field):
                count(table.child(field), below)
        if not all(map(table.has, part.lists)):  # which ends LiteRT's process
            raise IndexError("a list is missing")
        for field, below in part.lists.items():
            for each in table.tables(field):
                left -= 4
                if left < 0:
                    raise InputError.of(
                        "model.path",
                        f"{path} has {readable(len(data))}, and its parts are shared so often that "
                        f"it unfolds to more than {readable(most)}",
                    )
                count(each, below)

    try:
        count(FlatTable.root(data), _MODEL)
    except (IndexError, struct.error) as error:
        raise InputError.of("model.path", f"{path} is no file of LiteRT, or is damaged") from error
