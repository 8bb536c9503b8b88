"""Sample ids and labels."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from runner.errors import InputError
from runner.probe.arrow_values import text_lengths
from runner.sizes import readable

# Maximum length of an id or a label; a longer text is hardly a name.
_TEXT_BYTES = 10_000
_WHOLE_NUMBER = r"0|-?[1-9][0-9]{0,17}"

Locate = Callable[[int], str]


def identifiers(
    ids: Iterable[Any], place: str, locate: Locate | None = None, advice: str = ""
) -> np.ndarray:
    """Return sample ids as int64 if all are integers, otherwise as text.

    `advice` is added to the message about a repeated id.

    Raises
    ------
    InputError
        If an id occurs twice, or is empty.
    """
    array = categories(ids, place)
    if array.dtype == "int64" and len(np.unique(array)) == len(array):
        return array  # as objects of Python, many take ten times the memory
    seen: dict[Any, int] = {}
    for row, sample in enumerate(array.tolist()):
        if sample == "":
            if locate is not None:
                raise InputError.of(locate(row), "the sample id is empty")
            raise InputError.of(place, f"row {row}: the sample id is empty")
        if sample in seen:
            if locate is not None:
                other = locate(seen[sample])
                raise InputError.of(
                    locate(row), f"the sample id {sample!r} is already used by {other}", advice
                )
            raise InputError.of(
                place, f"rows {seen[sample]} and {row} have the same sample id {sample!r}", advice
            )
        seen[sample] = row
    return array


def categories(values: Iterable[Any], place: str) -> np.ndarray:
    """Return labels as int64 if all are integers, otherwise as text.

    Raises
    ------
    InputError
        If a label is not a single value.
    """
    if isinstance(values, np.ndarray) and values.ndim == 1 and _fits_int64(values):
        return values.astype("int64")
    found = [value.item() if isinstance(value, np.generic) else value for value in values]
    if all(isinstance(value, int) and not isinstance(value, bool) for value in found) and all(
        -(2**63) <= value < 2**63 for value in found
    ):
        return np.asarray(found, dtype="int64")
    array = np.empty(len(found), dtype=object)
    for row, value in enumerate(found):
        if isinstance(value, (list, tuple, dict, np.ndarray)):
            raise InputError.of(
                place, f"row {row}: expected one id or label, found {len(value)} values"
            )
        text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
        if not text.isascii() and re.search("[\ud800-\udfff]", text):
            raise InputError.of(place, f"row {row}: {text!r} is not valid text")
        array[row] = text
    return array


def _fits_int64(values: np.ndarray) -> bool:
    kind = values.dtype
    return kind.kind in "iu" and not (kind == "uint64" and bool(np.any(values >= 2**63)))


def numbers_or_text(values: list[Any]) -> list[Any]:
    """Return texts as integers if all are written in the usual form of integers."""
    if all(re.fullmatch(_WHOLE_NUMBER, value) for value in values):
        return [int(value) for value in values]
    return values


class ColumnGatherer:
    """Collects one column of ids or labels from the pieces of a table.

    Integers are stored as int64, all other values as text in Arrow's memory, which takes a
    tenth of the memory of Python objects.

    Parameters
    ----------
    name
        Name of the column.
    source
        Description of the table in one line, for messages.
    limit
        Maximum number of bytes to store.
    look
        Whether to convert texts to integers if all are written as such, as in a text file.
    locate
        As in `runner.probe.probe.Probe`.
    """

    def __init__(
        self, name: str, source: str, limit: int, *, look: bool, locate: Locate | None = None
    ) -> None:
        self._name = name
        self._source = source
        self._limit = limit
        self._look = look
        self._locate = locate
        self._pieces: list[pa.Array] = []
        self._bytes = 0
        self._rows = 0

    def add(self, column: pa.ChunkedArray) -> None:
        """Add the next rows.

        Raises
        ------
        InputError
            If a value is missing or very long, or all values exceed the limit.
        """
        for chunk in column.chunks:
            piece = self._plain(chunk)
            self._pieces.append(piece)
            self._bytes += piece.nbytes
            self._rows += len(piece)
            self._check_size(self._rows, self._bytes)

    def values(self) -> SampleColumn:
        """Return the whole column."""
        if all(pa.types.is_int64(piece.type) for piece in self._pieces):
            arrays = [piece.to_numpy(zero_copy_only=False) for piece in self._pieces]
            return SampleColumn(np.concatenate([np.empty(0, "int64"), *arrays]))
        texts = pa.chunked_array([piece.cast(pa.string()) for piece in self._pieces])
        if self._look and pc.all(pc.match_substring_regex(texts, f"^({_WHOLE_NUMBER})$")).as_py():
            return SampleColumn(texts.cast(pa.int64()).to_numpy())
        return SampleColumn(texts)

    def _plain(self, chunk: pa.Array) -> pa.Array:
        if chunk.null_count:
            row = chunk.is_null().to_pylist().index(True)
            raise self._mistake(row, "found an empty cell")
        try:
            chunk.validate(full=True)
            self._check_lengths(chunk)
            return self._cast(chunk)
        except InputError:
            raise
        except pa.ArrowException as error:
            raise self._mistake(None, "holds invalid text") from error
        except (OverflowError, ValueError) as error:  # of a time that Python cannot count
            raise self._mistake(None, f"holds a {chunk.type} that is out of range") from error

    def _check_lengths(self, chunk: pa.Array) -> None:
        """Check what texts take by themselves, of which many may be one and the same."""
        lengths = text_lengths(chunk)
        if lengths is None:
            return
        longest = pc.max(lengths).as_py() or 0
        if longest > _TEXT_BYTES:
            raise self._mistake(
                None,
                f"a text of {readable(longest)} is not an id or label, the limit is "
                f"{readable(_TEXT_BYTES)}",
            )
        size = pc.sum(lengths).as_py() or 0
        self._check_size(self._rows + len(chunk), self._bytes + size)

    def _check_size(self, rows: int, size: int) -> None:
        if size > self._limit:
            raise InputError.of(
                "probe.max_bytes",
                f"{self._source}: the first {rows:,} values of column '{self._name}' "
                f"take {readable(size)}, the limit is {readable(self._limit)}",
                "if this is intended, raise probe.max_bytes",
            )

    def _cast(self, chunk: pa.Array) -> pa.Array:
        """Return integers as int64 if they fit, all other values as text."""
        if pa.types.is_dictionary(chunk.type):
            chunk = chunk.cast(chunk.type.value_type)
        if pa.types.is_integer(chunk.type):
            fits = (
                not pa.types.is_uint64(chunk.type)
                or pc.all(pc.less(chunk, pa.scalar(2**63, pa.uint64()))).as_py() is not False
            )
            return chunk.cast(pa.int64() if fits else pa.string())
        if _is_text(chunk.type):
            text = chunk.cast(pa.string())
            text.validate(full=True)
            return text
        return pa.array(categories(chunk.to_pylist(), self._source).tolist(), pa.string())

    def _mistake(self, row: int | None, message: str) -> InputError:
        at = f"column '{self._name}'"
        if row is not None and self._locate is not None:
            return InputError.of(self._locate(self._rows + row), f"{at}: {message}")
        if row is not None:
            at = f"counted from 0, row {self._rows + row}, {at}"
        return InputError.of("probe", f"{self._source}: {at}: {message}")


class SampleColumn:
    """Ids or labels of all samples; slices are arrays.

    Parameters
    ----------
    values
        Integers as a range or an int64 array, or texts as an Arrow array.
    """

    def __init__(self, values: range | np.ndarray | pa.ChunkedArray) -> None:
        self._values = values

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, rows: slice) -> np.ndarray:
        values = self._values[rows]
        if isinstance(values, range):
            return np.arange(values.start, values.stop, values.step, dtype="int64")
        if isinstance(values, np.ndarray):
            return values
        return np.asarray(values.to_numpy(), dtype=object)

    @property
    def is_text(self) -> bool:
        """Whether the values are texts rather than integers."""
        return not isinstance(self._values, (range, np.ndarray))

    def check_unique(self, source: str, locate: Locate | None, advice: str = "") -> None:
        """Check that no value is empty or repeated, as required of sample ids.

        Raises
        ------
        InputError
            If a value is empty or repeated; names the rows.
        """
        if isinstance(self._values, np.ndarray):
            unique = len(np.unique(self._values)) == len(self._values)
        else:
            unique = pc.count_distinct(self._values).as_py() == len(self._values)
            unique = unique and not pc.any(pc.equal(self._values, "")).as_py()
        if not unique:
            identifiers(self[:].tolist(), source, locate, advice)


def joined(columns: Sequence[SampleColumn]) -> SampleColumn:
    """Return several columns joined into one: ``a/1`` for the levels of a MultiIndex."""
    if len(columns) == 1:
        return columns[0]
    texts = [
        pa.chunked_array([pa.array(column[:].tolist())]).cast(pa.string()) for column in columns
    ]
    return SampleColumn(pc.binary_join_element_wise(*texts, "/"))


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
    )
