"""The cheap values of many jobs as a short text, since Hydra is slow to parse long lists."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import quote, unquote

from runner.config.grammar import INTEGER

_LITERAL = "="


def written(jobs: Mapping[int, tuple[str, ...]]) -> str:
    """Return overrides of the same keys, by job number, as a short text.

    ``0:3:2;seed=7:3:1;name==a:3:0`` is three jobs, numbered 0, 2 and 4: the first number of each
    column is the first value, the next the number of values, the last the step between them.
    A value that is no integer begins with ``=``, and its special characters are escaped.
    """
    columns = [_column(map(str, jobs))]
    for words in zip(*jobs.values(), strict=True):
        key = words[0].partition("=")[0]
        columns.append(f"{key}={_column(word.partition('=')[2] for word in words)}")
    return ";".join(columns)


def read(text: str) -> dict[int, tuple[str, ...]]:
    """Return the overrides by job number in a text from `written`."""
    numbers, *columns = text.split(";")
    words = []
    for column in columns:
        key, _, values = column.partition("=")
        words.append([f"{key}={value}" for value in _values(values)])
    return {
        int(number): tuple(column[place] for column in words)
        for place, number in enumerate(_values(numbers))
    }


def _column(values: Iterable[str]) -> str:
    runs: list[tuple[str | int, int, int]] = []  # first value, number of values, step
    for value in values:
        item = int(value) if INTEGER.fullmatch(value) else _LITERAL + quote(value, safe="")
        longer = _longer(runs[-1], item) if runs else None
        if longer is None:
            runs.append((item, 1, 0))
        else:
            runs[-1] = longer
    return ",".join(":".join(map(str, run)) for run in runs)


def _longer(run: tuple[str | int, int, int], item: str | int) -> tuple[str | int, int, int] | None:
    """Return a run with one more value; ``None`` if the value does not continue it."""
    first, count, step = run
    if isinstance(first, str) or isinstance(item, str):
        return (first, count + 1, 0) if item == first else None
    if count == 1:
        step = item - first
    return (first, count + 1, step) if item == first + count * step else None


def _values(column: str) -> Iterator[str]:
    for run in column.split(","):
        first, count, step = run.split(":")
        for place in range(int(count)):
            if first.startswith(_LITERAL):
                yield unquote(first.removeprefix(_LITERAL))
            else:
                yield str(int(first) + place * int(step))
